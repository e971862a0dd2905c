// RealtimeClient by itself: on timers that the test moves, over sockets that the test plays.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'

import { RealtimeClient } from '../../../examples/goforward/realtime-client.js'

class PlayedSocket {
  static OPEN = 1
  static all = []

  constructor(url) {
    this.url = url
    this.sent = []
    this.readyState = 0
    PlayedSocket.all.push(this)
  }

  send(data) {
    this.sent.push(JSON.parse(data))
  }

  close() {
    if (this.readyState !== 3) this.fail()
  }

  open() {
    this.readyState = 1
    this.onopen()
  }

  say(type, event, payload = {}) {
    this.onmessage({ data: JSON.stringify({ id: 'msg_1', type, event, payload, user_id: 'u', timestamp: 't' }) })
  }

  fail() {
    this.readyState = 3
    this.onclose({ code: 1006 })
  }
}

const last = () => PlayedSocket.all.at(-1)
const opened = () => PlayedSocket.all.length

function connected(options = {}) {
  const client = new RealtimeClient('chat room', 'to/ken', { WebSocket: PlayedSocket, ...options })
  client.connect()
  last().open()
  return client
}

beforeEach(() => {
  PlayedSocket.all = []
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_000_000 })
})

afterEach(() => mock.timers.reset())

test('it dials the channel with its token', () => {
  connected()
  assert.equal(last().url, 'ws://localhost:8080/realtime/channels/chat%20room/ws?token=to%2Fken')
})

test('once open it says that it is online', () => {
  connected()
  const [{ type, event, payload }] = last().sent
  assert.deepEqual([type, event, payload.state.status], ['presence', 'update', 'online'])
  assert.ok(payload.state.joined_at)
})

test('what it sends has the shape that the server takes', () => {
  const client = connected()
  assert.equal(client.sendMessage('chat_message', { message: 'hi' }), true)
  client.updatePresence({ status: 'typing' })
  client.ping()
  const sent = last().sent.slice(1).map(({ type, event, payload }) => [type, event, payload])
  assert.deepEqual(sent, [
    ['broadcast', 'chat_message', { message: 'hi' }],
    ['presence', 'update', { state: { status: 'typing' } }],
    ['ping', 'ping', {}],
  ])
})

test('every type of message has its handler and an unknown one is only logged', () => {
  const heard = []
  const note = (name) => (what) => heard.push([name, what.event ?? what])
  const log = mock.method(console, 'log', () => {})
  connected({
    onSystem: note('system'), onMessage: note('message'), onPresence: note('presence'),
    onDatabaseChange: note('change'),
  })
  last().say('system', 'connected')
  last().say('system', 'channel_closed', { reason: 'x' })
  last().say('message', 'e')
  last().say('presence', 'join', { user_id: 'u', state: {} })
  last().say('database_change', 'INSERT.t', { change: { event: 'INSERT', table: 't' } })
  last().say('pong', 'pong')
  last().say('new', 'thing')
  assert.deepEqual(heard, [
    ['system', 'connected'], ['system', 'channel_closed'], ['message', 'e'], ['presence', 'join'],
    ['change', 'INSERT'],
  ])
  assert.equal(log.mock.callCount(), 1)
})

test('it comes back after 2, 4, 8, 16 and 32 seconds and then gives up', () => {
  let givenUp = 0
  connected({ onGiveUp: () => { givenUp += 1 } })
  for (const seconds of [2, 4, 8, 16, 32]) {
    const before = opened()
    last().fail()
    mock.timers.tick(seconds * 1000 - 1)
    assert.equal(opened(), before)
    mock.timers.tick(1)
    assert.equal(opened(), before + 1)
  }
  last().fail()
  mock.timers.tick(3_600_000)
  assert.deepEqual([opened(), givenUp], [6, 1])
})

test('an open connection begins the count anew', () => {
  const client = connected()
  last().fail()
  mock.timers.tick(2000)
  last().open()
  assert.equal(client.reconnectAttempts, 0)
  last().fail()
  mock.timers.tick(2000)
  assert.equal(opened(), 3)
})

test('it does not come back when it was told to go', () => {
  const client = connected()
  client.disconnect()
  mock.timers.tick(3_600_000)
  assert.equal(opened(), 1)
})

test('going while it waits to come back ends the waiting', () => {
  const client = connected()
  last().fail()
  client.disconnect()
  mock.timers.tick(3_600_000)
  assert.equal(opened(), 1)
})

test('it pings every 30 seconds as long as it is open', () => {
  connected()
  mock.timers.tick(90_000)
  const pings = () => PlayedSocket.all[0].sent.filter(({ type }) => type === 'ping').length
  assert.equal(pings(), 3)
  last().fail()
  mock.timers.tick(1_000)
  assert.equal(pings(), 3)
})

test('a token that is no good any more is replaced at once', async () => {
  const client = connected({ refreshToken: async () => 'new' })
  last().say('system', 'error', { code: 'AUTH_FAILED' })
  last().fail()
  await Promise.resolve().then().then()
  assert.equal(opened(), 2)
  assert.match(last().url, /token=new$/)
  last().open()
  last().fail()
  mock.timers.tick(2000)
  assert.equal(opened(), 3)
  client.disconnect()
})

test('without a way to a new token it stays away', () => {
  connected()
  last().say('system', 'error', { code: 'AUTH_FAILED' })
  mock.timers.tick(3_600_000)
  assert.equal(opened(), 1)
})

test('after too much it waits as long as it is told', () => {
  connected({ onProblem: () => {} })
  last().say('system', 'error', { code: 'RATE_LIMIT_EXCEEDED', retry_after: 30 })
  assert.equal(opened(), 1)
  last().fail()
  mock.timers.tick(29_999)
  assert.equal(opened(), 1)
  mock.timers.tick(1)
  assert.equal(opened(), 2)
})

test('a channel that is not there is not looked for again', () => {
  let missing = 0
  connected({ onChannelNotFound: () => { missing += 1 } })
  last().say('system', 'error', { code: 'CHANNEL_NOT_FOUND' })
  mock.timers.tick(3_600_000)
  assert.deepEqual([opened(), missing], [1, 1])
})

test('what is said without a connection is not sent', () => {
  const client = new RealtimeClient('a', 't', { WebSocket: PlayedSocket })
  assert.equal(client.sendMessage('e', {}), false)
  client.connect()
  assert.equal(client.ping(), false)
})

test('connecting anew leaves one socket that counts', () => {
  const client = connected()
  const first = last()
  client.connect()
  last().open()
  assert.equal(first.readyState, 3)
  mock.timers.tick(3_600_000)
  assert.equal(opened(), 2)
})

test('the monitor counts and measures', () => {
  const client = connected()
  assert.equal(client.monitor.getMetrics().avgLatency, null)
  client.ping()
  mock.timers.tick(20)
  last().say('pong', 'pong')
  client.ping()
  mock.timers.tick(40)
  last().say('pong', 'pong')
  last().say('message', 'e')
  const { connectTime, messagesSent, messagesReceived, reconnectCount, lastPing, uptime, avgLatency } =
    client.monitor.getMetrics()
  assert.deepEqual(
    { connectTime, messagesSent, messagesReceived, reconnectCount, lastPing, uptime, avgLatency },
    {
      connectTime: 1_000_000, messagesSent: 3, messagesReceived: 3, reconnectCount: 0, lastPing: 1_000_020,
      uptime: 60, avgLatency: 30,
    },
  )
  last().fail()
  assert.equal(client.monitor.getMetrics().reconnectCount, 1)
})
