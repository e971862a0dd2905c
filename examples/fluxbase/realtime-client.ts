// A client for Fluxbase's realtime protocol that comes back by itself.
//
//   const client = new RealtimeClient('ws://localhost:8080/realtime', { token })
//   const subscription = client.subscribe('table:public.products', { onChange: console.log })
//   await subscription.ready
//   subscription.unsubscribe()

export type Row = Record<string, unknown>

export interface Change {
  type: 'INSERT' | 'UPDATE' | 'DELETE'
  schema: string
  table: string
  record?: Row
  old_record?: Row
}

export interface Presence {
  event: 'join' | 'leave' | 'sync'
  key?: string
  newPresences?: Row[]
  leftPresences?: Row[]
  currentPresences?: Record<string, Row[]>
}

export interface Handlers {
  onChange?: (change: Change) => void
  onBroadcast?: (event: string, payload: unknown) => void
  onPresence?: (presence: Presence) => void
  onError?: (error: Error) => void
}

export interface Subscription {
  ready: Promise<void>
  unsubscribe: () => void
}

export interface Options {
  // A token, or what returns one that is good now: it is asked for each time the client connects.
  token?: string | null | (() => string | null | Promise<string | null>)
  onConnected?: (connected: boolean) => void
  maxReconnects?: number
  firstDelayMs?: number
  longestDelayMs?: number
  ackWithinMs?: number
  subscribedWithinMs?: number
  silentForMs?: number
  random?: () => number
  WebSocket?: typeof globalThis.WebSocket
}

interface Message {
  type: string
  channel?: string
  payload?: any
  error?: string
}

interface Waiting {
  succeed: () => void
  fail: (error: Error) => void
}

class Channel {
  handlers = new Set<Handlers>()
  waiting: Waiting[] = []
}

export class RealtimeClient {
  private channels = new Map<string, Channel>()
  private acks = new Map<string, Waiting>()
  private socket: WebSocket | null = null
  private isClosed = false
  private reconnects = 0
  private messages = 0
  private watchdog: ReturnType<typeof setTimeout> | undefined
  private retry: ReturnType<typeof setTimeout> | undefined
  private url: string
  private options: Options

  constructor(url: string, options: Options = {}) {
    this.url = url
    this.options = options
    void this.connect()
  }

  get connected(): boolean {
    return this.socket?.readyState === 1
  }

  subscribe(channel: string, handlers: Handlers): Subscription {
    const known = this.channels.get(channel)
    const found = known ?? new Channel()
    this.channels.set(channel, found)
    found.handlers.add(handlers)
    const ready = this.acknowledged(this.options.subscribedWithinMs ?? 20_000, (waiting) => found.waiting.push(waiting))
    ready.catch((error) => handlers.onError?.(error))
    this.send({ type: 'subscribe', channel })
    return { ready, unsubscribe: () => this.unsubscribe(channel, found, handlers) }
  }

  // Resolves when the server took it.
  broadcast(channel: string, event: string, payload: unknown): Promise<void> {
    const messageId = `m${(this.messages += 1)}`
    const taken = this.acknowledged(this.options.ackWithinMs ?? 5000, (waiting) => this.acks.set(messageId, waiting))
    this.send({ type: 'broadcast', channel, event, payload, messageId })
    return taken.finally(() => this.acks.delete(messageId))
  }

  track(channel: string, key: string, state: Row): void {
    this.send({ type: 'presence', channel, payload: { event: 'track', key, state } })
  }

  untrack(channel: string, key: string): void {
    this.send({ type: 'presence', channel, payload: { event: 'untrack', key } })
  }

  // Speak with another token from now on.
  setToken(token: string): void {
    this.options = { ...this.options, token }
    this.send({ type: 'access_token', token })
  }

  close(): void {
    this.isClosed = true
    clearTimeout(this.retry)
    clearTimeout(this.watchdog)
    this.socket?.close()
  }

  private unsubscribe(name: string, channel: Channel, handlers: Handlers): void {
    channel.handlers.delete(handlers)
    if (channel.handlers.size || this.channels.get(name) !== channel) return
    this.channels.delete(name)
    this.send({ type: 'unsubscribe', channel: name })
  }

  private async connect(): Promise<void> {
    const { token, WebSocket = globalThis.WebSocket } = this.options
    const current = typeof token === 'function' ? await token() : token
    if (this.isClosed) return
    const query = current ? `?token=${encodeURIComponent(current)}` : ''
    const socket = new WebSocket(this.url + query)
    this.socket = socket
    socket.onopen = () => {
      this.reconnects = 0
      this.heard()
      this.options.onConnected?.(true)
      for (const channel of this.channels.keys()) this.send({ type: 'subscribe', channel })
    }
    socket.onmessage = ({ data }) => {
      this.heard()
      this.receive(JSON.parse(String(data)))
    }
    socket.onclose = () => this.lost(socket)
    socket.onerror = () => {}
  }

  private lost(socket: WebSocket): void {
    if (this.socket !== socket) return
    this.socket = null
    clearTimeout(this.watchdog)
    this.options.onConnected?.(false)
    const { maxReconnects = 10, firstDelayMs = 1000, longestDelayMs = 30_000, random = Math.random } = this.options
    if (this.isClosed || this.reconnects >= maxReconnects) return
    const delay = Math.min(firstDelayMs * 2 ** this.reconnects, longestDelayMs)
    this.reconnects += 1
    // Half of it by lot: clients that were lost together do not come back together.
    this.retry = setTimeout(() => void this.connect(), delay * (0.5 + random() / 2))
  }

  // The server says something every 30 seconds: who hears nothing for longer is not connected any more.
  private heard(): void {
    clearTimeout(this.watchdog)
    const socket = this.socket
    this.watchdog = setTimeout(() => socket?.close(), this.options.silentForMs ?? 75_000)
  }

  private receive({ type, channel = '', payload, error }: Message): void {
    const found = this.channels.get(channel)
    if (type === 'ack') {
      const id = payload?.messageId
      if (id !== undefined) this.acks.get(id)?.succeed()
      else if (found) for (const waiting of found.waiting.splice(0)) waiting.succeed()
    } else if (type === 'error') {
      const problem = new Error(error)
      const waiting = found?.waiting.splice(0) ?? []
      if (waiting.length) for (const one of waiting) one.fail(problem)
      else for (const one of found?.handlers ?? []) one.onError?.(problem)
    } else {
      for (const handlers of found?.handlers ?? []) tell(handlers, type, payload)
    }
  }

  private acknowledged(withinMs: number, enter: (waiting: Waiting) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('no acknowledgement')), withinMs)
      const done = (end: () => void) => { clearTimeout(late); end() }
      enter({ succeed: () => done(resolve), fail: (error) => done(() => reject(error)) })
    })
  }

  private send(message: object): void {
    if (this.connected) this.socket?.send(JSON.stringify(message))
  }
}

function tell(handlers: Handlers, type: string, payload: any): void {
  if (type === 'presence') handlers.onPresence?.(payload.presence)
  else if (type === 'broadcast' && payload.broadcast) {
    handlers.onBroadcast?.(payload.broadcast.event, payload.broadcast.payload)
  } else if (type === 'broadcast') handlers.onChange?.(payload)
}

// The rows after a change, by their id.
export function applied<T extends { id: unknown }>(rows: T[], { type, record, old_record: old }: Change): T[] {
  const row = record as T | undefined
  switch (type) {
    case 'INSERT':
      return row ? [...rows.filter((other) => other.id !== row.id), row] : rows
    case 'UPDATE':
      return row ? rows.map((other) => (other.id === row.id ? row : other)) : rows
    case 'DELETE':
      return rows.filter((other) => other.id !== old?.id)
    default:
      return rows
  }
}
