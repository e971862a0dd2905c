// A phoenix.js client, which knows nothing of Supabase, driven like client.mjs: what supabase-js does for an application
// is written out here, as somebody would who uses this server with Phoenix's own library.
// Called by tests/compat/client.py as: node phoenix.mjs <url> <key> [<binary>]

import { Presence, Socket } from 'phoenix'
import { incoming, obey, outgoing, plainStates, report } from './orders.mjs'

const [url, key, binary = 'false'] = process.argv.slice(2)
// With any other `binary` the first broadcast of a supabase-js client, which comes as a frame of kind 4, would end this process.
const socket = new Socket(`${url.replace(/^http/, 'ws')}/socket`, { params: { apikey: key, binary } })
let token = key
socket.connect()
const channels = new Map()

// One push, and what came of it in the words of supabase-js.
const push = (topic, event, payload) =>
  new Promise((resolve) =>
    channels
      .get(topic)
      .push(event, payload)
      .receive('ok', () => resolve('ok'))
      .receive('error', () => resolve('error'))
      .receive('timeout', () => resolve('timed out')))

function listenToPresence(channel, topic) {
  const presence = new Presence(channel)
  const states = () => Object.fromEntries(presence.list((name, { metas }) => [name, plainStates(metas)]))
  presence.onSync(() => report('presence', { topic, kind: 'sync', state: states() }))
  presence.onJoin((name, _before, { metas }) =>
    report('presence', { topic, kind: 'join', key: name, states: plainStates(metas) }))
  presence.onLeave((name, _after, { metas }) =>
    report('presence', { topic, kind: 'leave', key: name, states: plainStates(metas) }))
}

function reportChange(topic, { data }) {
  report('change', {
    topic,
    type: data.type,
    schema: data.schema,
    table: data.table,
    new: data.record ?? {},
    old: data.old_record ?? {},
    errors: data.errors,
    committed_at: data.commit_timestamp,
  })
}

const orders = {
  subscribe({ topic, config = {}, changes = [], presence = false }) {
    // A function, because a rejoin must not come with the token of the first join.
    const channel = socket.channel(`realtime:${topic}`, () => ({
      config: {
        ...config,
        presence: { ...config.presence, enabled: presence },
        postgres_changes: changes,
      },
      access_token: token,
    }))
    channels.set(topic, channel)
    channel.on('broadcast', ({ event: name, payload }) => report('broadcast', { topic, name, ...incoming(payload) }))
    channel.on('system', ({ status, message, extension }) => report('system', { topic, status, message, extension }))
    channel.on('postgres_changes', (change) => reportChange(topic, change))
    if (presence) listenToPresence(channel, topic)
    channel.onClose(() => report('status', { topic, status: 'CLOSED', error: null }))
    channel.onError(() => report('status', { topic, status: 'CHANNEL_ERROR', error: null }))
    channel
      .join()
      .receive('ok', () => report('status', { topic, status: 'SUBSCRIBED', error: null }))
      .receive('error', ({ reason }) => report('status', { topic, status: 'CHANNEL_ERROR', error: reason }))
      .receive('timeout', () => report('status', { topic, status: 'TIMED_OUT', error: null }))
  },

  async send(details) {
    const { topic, name } = details
    const answer = await push(topic, 'broadcast', { type: 'broadcast', event: name, payload: outgoing(details) })
    report('sent', { topic, name, answer })
  },

  async track({ topic, state }) {
    report('tracked', { topic, answer: await push(topic, 'presence', { type: 'presence', event: 'track', payload: state }) })
  },

  async untrack({ topic }) {
    report('untracked', { topic, answer: await push(topic, 'presence', { type: 'presence', event: 'untrack' }) })
  },

  set_auth(details) {
    token = details.token
    for (const channel of channels.values()) channel.push('access_token', { access_token: token })
    report('authorized')
  },

  unsubscribe({ topic }) {
    channels.get(topic).leave()
      .receive('ok', () => report('unsubscribed', { topic, answer: 'ok' }))
  },

  remove({ topic }) {
    channels.get(topic).leave()
      .receive('ok', () => report('removed', { topic, answer: 'ok' }))
  },
}

await obey(orders)
