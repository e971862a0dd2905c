// A client for GoForward's channels: one WebSocket, one channel. For browsers, and for Node.js 22 or later.
//
//   const client = new RealtimeClient('chat-room-1', token, { onMessage: (message) => console.log(message.payload) })
//   client.connect()
//   client.sendMessage('chat_message', { message: 'Hello everyone!' })
//
// The handlers may be given as options or, in a class of your own, as methods.

export const RECONNECT_ATTEMPTS = 5
const SECOND_MS = 1000

const ignore = () => {}

export class RealtimeClient {
  // `url` is the server's address, `WebSocket` a class like the browser's.
  // `refreshToken` returns a new token, or a promise of one, when the server refuses the old one.
  constructor(channelName, token, options = {}) {
    const { url = 'ws://localhost:8080', WebSocket = globalThis.WebSocket, refreshToken } = options
    Object.assign(this, { channelName, token, url, WebSocket, refreshToken, options })
    this.ws = null
    this.reconnectAttempts = 0
    this.maxReconnectAttempts = RECONNECT_ATTEMPTS
    this.monitor = new ConnectionMonitor(this)
    this.isWanted = false
    this.isRefreshing = false
    this.retryAfterMs = null
    this.reconnecting = undefined
  }

  connect() {
    this.isWanted = true
    clearTimeout(this.reconnecting)
    const earlier = this.ws
    this.ws = null
    earlier?.close()
    const channel = encodeURIComponent(this.channelName)
    const token = encodeURIComponent(this.token)
    const ws = new this.WebSocket(`${this.url}/realtime/channels/${channel}/ws?token=${token}`)
    this.ws = ws
    ws.onopen = () => this.handleOpen()
    ws.onmessage = ({ data }) => {
      const message = JSON.parse(data)
      this.monitor.onMessageReceived(message)
      this.handleMessage(message)
    }
    ws.onerror = (error) => (this.options.onError ?? ignore)(error)
    // The end of an earlier socket says nothing about the one that took its place.
    ws.onclose = (event) => this.ws === ws && this.handleClose(event)
  }

  handleOpen() {
    this.reconnectAttempts = 0
    this.retryAfterMs = null
    this.monitor.startMonitoring()
    this.updatePresence({ status: 'online', joined_at: new Date().toISOString() })
    ;(this.options.onOpen ?? ignore)()
  }

  handleClose(event) {
    this.monitor.stopMonitoring()
    ;(this.options.onClose ?? ignore)(event)
    if (this.isWanted && !this.isRefreshing) this.attemptReconnect()
  }

  handleMessage(message) {
    switch (message.type) {
      case 'system': return this.handleSystemMessage(message)
      case 'message': return this.handleChatMessage(message)
      case 'presence': return this.handlePresenceUpdate(message)
      case 'database_change': return this.handleDatabaseChange(message)
      case 'pong': return undefined
      default: return console.log('unknown type of message:', message.type)
    }
  }

  handleSystemMessage(message) {
    ;(this.options.onSystem ?? ignore)(message)
    if (message.event === 'error') this.handleError(message.payload)
  }

  handleChatMessage(message) {
    ;(this.options.onMessage ?? ignore)(message)
  }

  handlePresenceUpdate(message) {
    ;(this.options.onPresence ?? ignore)(message)
  }

  handleDatabaseChange(message) {
    ;(this.options.onDatabaseChange ?? ignore)(message.payload.change)
  }

  // What the server says in a system message `error`, or answers over HTTP.
  handleError(error) {
    switch (error.code) {
      case 'AUTH_FAILED': return this.refreshTokenAndReconnect()
      case 'CHANNEL_NOT_FOUND': return this.handleChannelNotFound(error)
      case 'RATE_LIMIT_EXCEEDED':
        // The connection may go on; if it does not, it is not tried again before that.
        this.retryAfterMs = error.retry_after * SECOND_MS
    }
    return (this.options.onProblem ?? console.error)(error)
  }

  async refreshTokenAndReconnect() {
    if (!this.refreshToken) return this.disconnect()
    this.isRefreshing = true
    try {
      this.token = await this.refreshToken()
    } finally {
      this.isRefreshing = false
    }
    if (this.isWanted) this.connect()
  }

  handleChannelNotFound(error) {
    this.disconnect()
    ;(this.options.onChannelNotFound ?? ignore)(error)
  }

  sendMessage(event, payload) {
    return this.send('broadcast', event, payload)
  }

  updatePresence(state) {
    return this.send('presence', 'update', { state })
  }

  ping() {
    return this.send('ping', 'ping', {})
  }

  // Whether it was sent: what is said while there is no connection is not kept.
  send(type, event, payload) {
    if (this.ws?.readyState !== this.WebSocket.OPEN) return false
    this.ws.send(JSON.stringify({ type, event, payload, timestamp: new Date().toISOString() }))
    this.monitor.onMessageSent(type)
    return true
  }

  attemptReconnect() {
    if (this.reconnectAttempts >= this.maxReconnectAttempts) {
      this.isWanted = false
      return (this.options.onGiveUp ?? ignore)()
    }
    this.reconnectAttempts += 1
    this.monitor.onReconnect()
    const delayMs = this.retryAfterMs ?? 2 ** this.reconnectAttempts * SECOND_MS
    this.reconnecting = setTimeout(() => this.connect(), delayMs)
  }

  disconnect() {
    this.isWanted = false
    clearTimeout(this.reconnecting)
    this.monitor.stopMonitoring()
    this.ws?.close()
  }
}

const PING_MS = 30 * SECOND_MS

// What a connection does and how well: it pings, and measures how long the answers take.
export class ConnectionMonitor {
  constructor(client) {
    this.client = client
    this.latencies = []
    this.awaited = []
    this.metrics = { connectTime: null, messagesSent: 0, messagesReceived: 0, reconnectCount: 0, lastPing: null }
    this.pinging = undefined
  }

  startMonitoring() {
    this.stopMonitoring()
    this.metrics.connectTime = Date.now()
    this.pinging = setInterval(() => this.client.ping(), PING_MS)
  }

  stopMonitoring() {
    clearInterval(this.pinging)
    this.awaited = []
  }

  onMessageSent(type) {
    this.metrics.messagesSent += 1
    if (type !== 'ping') return
    this.metrics.lastPing = Date.now()
    this.awaited.push(this.metrics.lastPing)
  }

  onMessageReceived(message) {
    this.metrics.messagesReceived += 1
    // Pongs come in the order of the pings.
    if (message.type === 'pong' && this.awaited.length) this.latencies.push(Date.now() - this.awaited.shift())
    this.latencies = this.latencies.slice(-100)
  }

  onReconnect() {
    this.metrics.reconnectCount += 1
  }

  // Times are in milliseconds; the average is of the last hundred pings, null before the first was answered.
  getMetrics() {
    const { connectTime } = this.metrics
    return {
      ...this.metrics,
      uptime: connectTime === null ? 0 : Date.now() - connectTime,
      avgLatency: this.calculateAverageLatency(),
    }
  }

  calculateAverageLatency() {
    const { latencies } = this
    return latencies.length ? latencies.reduce((sum, one) => sum + one, 0) / latencies.length : null
  }
}
