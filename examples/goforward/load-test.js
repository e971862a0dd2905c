// Many sockets in one channel, each with one broadcast a second, of which every socket hears all.
//
//   node load-test.js <token> [<url>] [<sockets>] [<seconds>]
//
// Says as one JSON object what was sent, what should have come of it and what came, and ends with 1 if they differ.

const [token, url = 'ws://localhost:8080', sockets = '100', seconds = '60'] = process.argv.slice(2)
const CHANNEL = 'load-test-channel'
const SETTLE_MS = 10_000

const wait = (ms) => new Promise((done) => setTimeout(done, ms))
let sent = 0
let received = 0

function open() {
  const ws = new WebSocket(`${url}/realtime/channels/${CHANNEL}/ws?token=${encodeURIComponent(token)}`)
  return new Promise((done, fail) => {
    ws.onerror = () => fail(new Error('a socket could not be opened'))
    ws.onclose = ({ code }) => fail(new Error(`a socket was closed with ${code}`))
    ws.onmessage = ({ data }) => {
      const { type, event } = JSON.parse(data)
      if (type === 'system' && event === 'connected') done(ws)
      if (type === 'system' && event === 'error') fail(new Error(data))
      if (type === 'message' && event === 'load_test') received += 1
    }
  })
}

const connections = await Promise.all(Array.from({ length: Number(sockets) }, open))
const broadcast = (ws, number) => {
  const payload = { message: `Message from connection ${number}` }
  ws.send(JSON.stringify({ type: 'broadcast', event: 'load_test', payload }))
  sent += 1
}
for (let second = 0; second < Number(seconds); second += 1) {
  connections.forEach(broadcast)
  await wait(1000)
}
const expected = sent * connections.length
for (let waited = 0; received < expected && waited < SETTLE_MS; waited += 100) await wait(100)
console.log(JSON.stringify({ sockets: connections.length, sent, expected, received }))
process.exit(received === expected ? 0 : 1)
