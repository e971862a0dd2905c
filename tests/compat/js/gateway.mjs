// Stands for what a Supabase stack has beside the server: run as node --import ./gateway.mjs …
// What a client fetches from tables is reported, and answered with the rows that come next on stdin.
// What its WebSockets hear of rows is reported as well, and `drop` cuts them.
// `call` calls what the script has made global.

import { createInterface } from 'node:readline'

import { report } from './orders.mjs'

const fetchElsewhere = globalThis.fetch
const asked = []
const sockets = new Set()

globalThis.fetch = (resource, options) => {
  const { pathname, search } = new URL(resource)
  if (!pathname.startsWith('/rest/v1/')) return fetchElsewhere(resource, options)
  report('fetch', { path: pathname + search })
  return new Promise((answer) => asked.push(answer))
}

globalThis.WebSocket = class extends WebSocket {
  constructor(...address) {
    super(...address)
    sockets.add(this)
    this.addEventListener('close', () => {
      sockets.delete(this)
      report('disconnected', { open: sockets.size })
    })
    this.addEventListener('message', ({ data }) => {
      const [, , topic, event] = typeof data === 'string' ? JSON.parse(data) : []
      if (event === 'postgres_changes') report('row', { topic })
    })
  }
}

const orders = {
  rows: ({ rows }) => asked.shift()(Response.json(rows)),
  drop: () => sockets.forEach((socket) => socket.close(4000)),
  call: ({ name }) => globalThis[name](),
}

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const { order, ...details } = JSON.parse(line)
  orders[order](details)
})
