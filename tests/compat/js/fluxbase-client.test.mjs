// The Fluxbase client by itself: on timers that the test moves, over sockets that the test plays.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'

import { createElement as h } from 'react'
import { act, create } from 'react-test-renderer'

import { ProductList } from '../../../examples/fluxbase/product-list.ts'
import { applied, RealtimeClient } from '../../../examples/fluxbase/realtime-client.ts'

class PlayedSocket {
  static all = []

  constructor(url) {
    this.url = url
    this.sent = []
    this.readyState = 0
    PlayedSocket.all.push(this)
  }

  send(data) { this.sent.push(JSON.parse(data)) }
  open() { this.readyState = 1; this.onopen() }
  say(message) { this.onmessage({ data: JSON.stringify(message) }) }
  close() {
    if (this.readyState === 3) return
    this.readyState = 3
    this.onclose()
  }
}

const last = () => PlayedSocket.all.at(-1)
const opened = () => PlayedSocket.all.length
const turn = () => new Promise((done) => setImmediate(done))

async function connected(options = {}) {
  const client = new RealtimeClient('ws://host/realtime', { WebSocket: PlayedSocket, random: () => 1, ...options })
  await turn()
  last().open()
  return client
}

beforeEach(() => {
  PlayedSocket.all = []
  mock.timers.enable({ apis: ['setTimeout'] })
})
afterEach(() => mock.timers.reset())

test('it dials with the token that is good now', async () => {
  let number = 0
  await connected({ token: () => `to/ken ${(number += 1)}` })
  assert.equal(last().url, 'ws://host/realtime?token=to%2Fken%201')
  last().close()
  mock.timers.tick(1000)
  await turn()
  assert.equal(last().url, 'ws://host/realtime?token=to%2Fken%202')
})

test('it comes back with longer and longer pauses, subscribes again, and gives up in the end', async () => {
  const client = await connected({ maxReconnects: 7 })
  client.subscribe('chat', {}).ready.catch(() => {})
  last().close()
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    const before = opened()
    mock.timers.tick(seconds * 1000 - 1)
    await turn()
    assert.equal(opened(), before)
    mock.timers.tick(1)
    await turn()
    assert.equal(opened(), before + 1)
    last().close()
  }
  mock.timers.tick(100_000)
  await turn()
  assert.equal(opened(), 8)
})

test('what was subscribed is subscribed again', async () => {
  const client = await connected()
  const kept = client.subscribe('chat', {})
  const gone = client.subscribe('gone', {})
  for (const { ready } of [kept, gone]) ready.catch(() => {})
  gone.unsubscribe()
  last().close()
  mock.timers.tick(1000)
  await turn()
  last().open()
  assert.deepEqual(last().sent, [{ type: 'subscribe', channel: 'chat' }])
})

test('a subscription is ready with its ack, or fails with the error of its channel', async () => {
  const client = await connected()
  const good = client.subscribe('a', {})
  const bad = client.subscribe('b', { onError: () => {} })
  last().say({ type: 'ack', channel: 'a' })
  last().say({ type: 'error', channel: 'b', error: 'no such table' })
  await good.ready
  await assert.rejects(bad.ready, /no such table/)
})

test('a broadcast that is not acknowledged within five seconds fails', async () => {
  const client = await connected()
  const taken = client.broadcast('chat', 'e', { x: 1 })
  assert.deepEqual(last().sent.at(-1), { type: 'broadcast', channel: 'chat', event: 'e', payload: { x: 1 }, messageId: 'm1' })
  last().say({ type: 'ack', payload: { messageId: 'm1', status: 'ok' } })
  await taken
  const lost = client.broadcast('chat', 'e', {})
  mock.timers.tick(5000)
  await assert.rejects(lost, /no acknowledgement/)
})

test('another token is said at once', async () => {
  const client = await connected()
  client.setToken('new')
  assert.deepEqual(last().sent, [{ type: 'access_token', token: 'new' }])
})

test('who hears nothing for long is not connected any more', async () => {
  await connected()
  mock.timers.tick(60_000)
  last().say({ type: 'heartbeat' })
  mock.timers.tick(60_000)
  assert.equal(last().readyState, 1)
  mock.timers.tick(15_000)
  assert.equal(last().readyState, 3)
})

test('every message goes to who asked for it', async () => {
  const client = await connected()
  const heard = []
  client.subscribe('chat', {
    onChange: ({ type }) => heard.push(type),
    onBroadcast: (event, payload) => heard.push([event, payload]),
    onPresence: ({ event }) => heard.push(event),
  }).ready.catch(() => {})
  last().say({ type: 'broadcast', channel: 'chat', payload: { type: 'INSERT', record: {} } })
  last().say({ type: 'broadcast', channel: 'chat', payload: { broadcast: { event: 'e', payload: 1 } } })
  last().say({ type: 'presence', channel: 'chat', payload: { presence: { event: 'sync' } } })
  last().say({ type: 'broadcast', channel: 'other', payload: {} })
  last().say({ type: 'heartbeat' })
  assert.deepEqual(heard, ['INSERT', ['e', 1], 'sync'])
})

test('it does not come back when it was closed', async () => {
  const client = await connected()
  client.close()
  mock.timers.tick(100_000)
  await turn()
  assert.equal(opened(), 1)
})

test('rows follow changes by their id', () => {
  const insert = { type: 'INSERT', record: { id: 2 } }
  assert.deepEqual(applied([{ id: 1 }], insert), [{ id: 1 }, { id: 2 }])
  assert.deepEqual(applied([{ id: 2 }], insert), [{ id: 2 }])
  assert.deepEqual(applied([{ id: 1 }], { type: 'UPDATE', record: { id: 1, n: 2 } }), [{ id: 1, n: 2 }])
  assert.deepEqual(applied([{ id: 1 }, { id: 2 }], { type: 'DELETE', old_record: { id: 1 } }), [{ id: 2 }])
})

test('the list of products shows what there is, and lets go when it goes', async () => {
  globalThis.IS_REACT_ACT_ENVIRONMENT = true
  globalThis.WebSocket = PlayedSocket
  let tree
  await act(async () => { tree = create(h(ProductList, { token: 't' })); await turn() })
  const text = () => tree.root.findAllByType('div').map(({ children }) => children.join('')).slice(1)
  assert.deepEqual(text(), ['Status: Disconnected'])
  await act(() => last().open())
  const payload = { type: 'INSERT', record: { id: 1, name: 'Chair' } }
  await act(() => last().say({ type: 'broadcast', channel: 'table:public.products', payload }))
  assert.deepEqual(text(), ['Status: Connected', 'Chair'])
  await act(() => tree.unmount())
  assert.equal(last().readyState, 3)
})
