// A supabase-js client that is told on stdin what to do and says on stdout what happened, one JSON object per line.
// Called by tests/compat/client.py as: node client.mjs <url> <key> <package> [<vsn>]
// The orders and reports are listed there; phoenix.mjs and py/client.py understand the same ones.

import { incoming, obey, outgoing, plainStates, report } from './orders.mjs'

const [url, key, library, vsn] = process.argv.slice(2)
const { createClient } = await import(library)
const supabase = createClient(url, key, vsn ? { realtime: { vsn } } : {})
const channels = new Map()

// supabase-js presents a state as { key: [states] } already.
const presences = (channel) =>
  Object.fromEntries(Object.entries(channel.presenceState()).map(([name, states]) => [name, plainStates(states)]))

function listenToPresence(channel, topic) {
  channel
    .on('presence', { event: 'sync' }, () => report('presence', { topic, kind: 'sync', state: presences(channel) }))
    .on('presence', { event: 'join' }, ({ key: name, newPresences }) =>
      report('presence', { topic, kind: 'join', key: name, states: plainStates(newPresences) }))
    .on('presence', { event: 'leave' }, ({ key: name, leftPresences }) =>
      report('presence', { topic, kind: 'leave', key: name, states: plainStates(leftPresences) }))
}

// A channel that was not subscribed sends over HTTP.
const channelOf = (topic, config = {}) => channels.get(topic) ?? supabase.channel(topic, { config })

const orders = {
  subscribe({ topic, config = {}, changes = [], presence = false }) {
    const channel = supabase.channel(topic, { config })
    channels.set(topic, channel)
    channel.on('broadcast', { event: '*' }, ({ event: name, payload, meta }) =>
      report('broadcast', { topic, name, meta, ...incoming(payload) }))
    channel.on('system', {}, ({ status, message, extension }) =>
      report('system', { topic, status, message, extension }))
    if (presence) listenToPresence(channel, topic)
    for (const wanted of changes) {
      channel.on('postgres_changes', wanted, (change) =>
        report('change', {
          topic,
          type: change.eventType,
          schema: change.schema,
          table: change.table,
          new: change.new,
          old: change.old,
          errors: change.errors,
          committed_at: change.commit_timestamp,
        }))
    }
    channel.subscribe((status, error) =>
      report('status', { topic, status, error: error?.message ?? null }))
  },

  async send(details) {
    const { topic, name, persist } = details
    const message = { type: 'broadcast', event: name, payload: outgoing(details) }
    const answer = await channelOf(topic).send(persist === undefined ? message : { ...message, persist })
    report('sent', { topic, name, answer })
  },

  async post(details) {
    const { topic, name, config, persist } = details
    try {
      await channelOf(topic, config).httpSend(name, outgoing(details), { persist })
      report('posted', { topic, name, error: null })
    } catch (error) {
      report('posted', { topic, name, error: error.message })
    }
  },

  async track({ topic, state }) {
    report('tracked', { topic, answer: await channels.get(topic).track(state) })
  },

  async untrack({ topic }) {
    report('untracked', { topic, answer: await channels.get(topic).untrack() })
  },

  async set_auth({ token }) {
    await supabase.realtime.setAuth(token)
    report('authorized')
  },

  async unsubscribe({ topic }) {
    report('unsubscribed', { topic, answer: await channels.get(topic).unsubscribe() })
  },

  async remove({ topic }) {
    report('removed', { topic, answer: await supabase.removeChannel(channels.get(topic)) })
  },
}

await obey(orders)
