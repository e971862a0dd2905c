// A supabase-js client that is told on stdin what to do and says on stdout what happened, one JSON object per line.
// Called by tests/compat/client.py as: node client.mjs <url> <key> <vsn>
// The orders and reports are listed there; py/client.py understands the same ones.

import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'

const [url, key, vsn] = process.argv.slice(2)
const supabase = createClient(url, key, { realtime: { vsn } })
const channels = new Map()

const report = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')

// JSON has no bytes, so binary payloads go between test and client as hexadecimal text.
const toHex = (buffer) => Buffer.from(buffer).toString('hex')
const fromHex = (text) => Uint8Array.from(Buffer.from(text, 'hex')).buffer

// A channel that was not subscribed sends over HTTP.
const channelOf = (topic, config = {}) => channels.get(topic) ?? supabase.channel(topic, { config })

const orders = {
  subscribe({ topic, config = {}, changes = [] }) {
    const channel = supabase.channel(topic, { config })
    channels.set(topic, channel)
    channel.on('broadcast', { event: '*' }, ({ event: name, payload }) =>
      report('broadcast', payload instanceof ArrayBuffer
        ? { topic, name, binary: toHex(payload) }
        : { topic, name, payload }))
    channel.on('system', {}, ({ status, message, extension }) =>
      report('system', { topic, status, message, extension }))
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

  async send({ topic, name, payload, binary }) {
    const content = binary === undefined ? payload : fromHex(binary)
    const answer = await channelOf(topic).send({ type: 'broadcast', event: name, payload: content })
    report('sent', { topic, name, answer })
  },

  async post({ topic, name, payload, binary, config, persist }) {
    const content = binary === undefined ? payload : fromHex(binary)
    try {
      await channelOf(topic, config).httpSend(name, content, { persist })
      report('posted', { topic, name, error: null })
    } catch (error) {
      report('posted', { topic, name, error: error.message })
    }
  },

  async unsubscribe({ topic }) {
    report('unsubscribed', { topic, answer: await channels.get(topic).unsubscribe() })
  },

  async remove({ topic }) {
    report('removed', { topic, answer: await supabase.removeChannel(channels.get(topic)) })
  },
}

report('started')
for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...details } = JSON.parse(line)
  // Not awaited: an answer that never comes must not keep the next order from being carried out.
  orders[order](details)
}
process.exit(0)
