// Opens one WebSocket and prints how that went, as one JSON object: the answer to a refused upgrade with its body.
// supabase-js hides why a handshake failed, so this asks with the `ws` library.
// Called as: node handshake.mjs <address>

import WebSocket from 'ws'

const socket = new WebSocket(process.argv[2])
// Ending the socket after a refusal is an error of its own to the library; only what came first counts.
let finished = false
const finish = (report) => {
  if (!finished) console.log(JSON.stringify(report))
  finished = true
  socket.terminate()
}

socket.on('open', () => finish({ status: 101 }))
socket.on('error', (error) => finish({ status: null, error: error.message }))
socket.on('unexpected-response', async (_request, response) => {
  const chunks = []
  for await (const chunk of response) chunks.push(chunk)
  finish({
    status: response.statusCode,
    type: response.headers['content-type'] ?? null,
    body: Buffer.concat(chunks).toString(),
  })
})
