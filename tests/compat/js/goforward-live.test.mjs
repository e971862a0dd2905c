// The examples against a running server: node --import ./examples.mjs --test goforward-live.test.mjs
// The environment says where: GOFORWARD_URL, and tokens of two users in GOFORWARD_ALICE and GOFORWARD_BOB.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { createElement as h } from 'react'
import { act, create } from 'react-test-renderer'

import { ChatRoom } from '../../../examples/goforward/chat-room.js'
import { RealtimeClient } from '../../../examples/goforward/realtime-client.js'
import { useRealtime } from '../../../examples/goforward/use-realtime.js'

globalThis.IS_REACT_ACT_ENVIRONMENT = true
const { GOFORWARD_URL: url, GOFORWARD_ALICE: alice, GOFORWARD_BOB: bob } = process.env
const PATIENCE_MS = 10_000

const pause = () => new Promise((done) => setTimeout(done, 10))

async function until(holds, what) {
  const deadline = Date.now() + PATIENCE_MS
  while (!holds()) {
    assert.ok(Date.now() < deadline, `in vain: ${what}`)
    await act(pause)
  }
}

function watched(channel, token, options = {}) {
  const heard = { messages: [], presence: [], system: [] }
  const client = new RealtimeClient(channel, token, {
    url,
    onMessage: (message) => heard.messages.push(message),
    onPresence: ({ event, payload }) => heard.presence.push([event, payload.user_id, payload.state.status]),
    onSystem: ({ event }) => heard.system.push(event),
    ...options,
  })
  client.connect()
  return { client, heard }
}

// What comes and is updated before anybody was told is told at once, as a join with that state.
const sees = (list, user, status) => list.some(([event, who, what]) => event !== 'leave' && who === user && what === status)
const has = (list, wanted) => list.some((item) => JSON.stringify(item) === JSON.stringify(wanted))

test('two clients talk and see one another', async () => {
  const one = watched('js-clients', alice)
  await until(() => sees(one.heard.presence, 'alice', 'online'), 'its own presence')
  const other = watched('js-clients', bob)
  await until(() => sees(one.heard.presence, 'bob', 'online'), 'the presence of the other')
  assert.ok(has(other.heard.presence, ['join', 'alice', 'online']))
  assert.deepEqual(one.heard.system, ['connected'])

  other.client.sendMessage('chat_message', { message: 'Hello', user: 'Bob' })
  for (const { heard } of [one, other]) {
    await until(() => heard.messages.length, 'a message')
    const [{ id, event, payload, user_id: user, timestamp }] = heard.messages
    assert.match(id, /^msg_\d{13}_[0-9a-z]{6}$/)
    assert.deepEqual([event, payload, user], ['chat_message', { message: 'Hello', user: 'Bob' }, 'bob'])
    assert.match(timestamp, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  }

  other.client.ping()
  await until(() => other.client.monitor.getMetrics().avgLatency !== null, 'a pong')
  other.client.disconnect()
  await until(() => has(one.heard.presence, ['leave', 'bob', 'online']), 'that the other left')
  one.client.disconnect()
})

test('a token that is not good opens nothing', async () => {
  let errors = 0
  const { client, heard } = watched('js-clients', 'test-token', { onError: () => { errors += 1 } })
  await until(() => errors, 'an error')
  client.disconnect()
  assert.deepEqual(heard.system, [])
})

test('the hook says what happens in its channel and lets go of the socket', async () => {
  let seen
  function Probe({ channel, token }) {
    seen = useRealtime(channel, token, { url })
    return null
  }
  const friend = watched('js-hook', bob)
  await until(() => friend.heard.system.length, 'the friend in the channel')
  let tree
  await act(() => { tree = create(h(Probe, { channel: 'js-hook', token: '' })) })
  assert.deepEqual([seen.connected, seen.messages, seen.presence, seen.error], [false, [], {}, null])
  assert.equal(seen.sendMessage('e', {}), false)

  await act(() => tree.update(h(Probe, { channel: 'js-hook', token: alice })))
  await until(() => seen.connected && seen.presence.alice && seen.presence.bob, 'everybody in the hook')
  assert.equal(seen.sendMessage('chat_message', { message: 'mine' }), true)
  friend.client.sendMessage('chat_message', { message: 'theirs' })
  await until(() => seen.messages.length === 2, 'both messages')
  assert.deepEqual(seen.messages.map(({ user_id: user }) => user).sort(), ['alice', 'bob'])
  seen.updatePresence({ status: 'away' })
  await until(() => seen.presence.alice.status === 'away', 'its own state')

  await act(() => tree.update(h(Probe, { channel: 'js-hook-2', token: alice })))
  await until(() => has(friend.heard.presence, ['leave', 'alice', 'away']), 'that the first socket was closed')
  await until(() => seen.connected && seen.presence.alice, 'the second channel')
  assert.deepEqual([seen.messages, seen.presence.bob], [[], undefined])
  const again = watched('js-hook-2', bob)
  await until(() => again.heard.presence.length, 'the presence of the second channel')
  await act(() => tree.unmount())
  await until(() => again.heard.presence.some(([event, user]) => event === 'leave' && user === 'alice'), 'the end')
  friend.client.disconnect()
  again.client.disconnect()
})

test('the chat room shows who is there and what they say', async () => {
  let tree
  await act(() => { tree = create(h(ChatRoom, { channelName: 'js-room', token: alice, options: { url } })) })
  const text = () => JSON.stringify(tree.toJSON())
  await until(() => text().includes('Status: Connected') && text().includes('alice: online'), 'the connection')

  const input = tree.root.findByType('input')
  act(() => input.props.onChange({ target: { value: '  ' } }))
  act(() => input.props.onKeyDown({ key: 'Enter' }))
  act(() => input.props.onChange({ target: { value: 'Hello room' } }))
  act(() => input.props.onKeyDown({ key: 'x' }))
  act(() => input.props.onKeyDown({ key: 'Enter' }))
  await until(() => text().includes('Hello room'), 'the message')
  assert.equal(tree.root.findByType('input').props.value, '')
  act(() => tree.root.findByType('input').props.onChange({ target: { value: 'Again' } }))
  act(() => tree.root.findByType('button').props.onClick())
  await until(() => text().includes('Again'), 'the second message')
  const said = tree.root.findAllByType('strong').map(({ children }) => children.join(''))
  assert.deepEqual(said, ['alice:', 'alice:'])
  await act(() => tree.unmount())
})
