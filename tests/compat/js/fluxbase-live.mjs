// The hooks of the Fluxbase examples in React and in SolidJS, against the server in FLUXBASE_URL.
// Says what they show of the table in FLUXBASE_CHANNEL, one line of JSON at a time, until its input ends.

import { createElement as h } from 'react'
import { act, create } from 'react-test-renderer'
import { createEffect, createRoot } from 'solid-js'

import { useRealtime as useReact } from '../../../examples/fluxbase/use-realtime-react.ts'
import { useRealtime as useSolid } from '../../../examples/fluxbase/use-realtime-solid.ts'

globalThis.IS_REACT_ACT_ENVIRONMENT = true
const { FLUXBASE_URL: url, FLUXBASE_CHANNEL: channel, FLUXBASE_TOKEN: token } = process.env
const shown = { subscribed: 0, open: 0, react: null, solid: null }
const say = () => process.stdout.write(`${JSON.stringify(shown)}\n`)

class Watched extends WebSocket {
  constructor(address) {
    super(address)
    shown.open += 1
    this.addEventListener('close', () => { shown.open -= 1; say() })
    this.addEventListener('message', ({ data }) => {
      if (JSON.parse(data).type === 'ack') { shown.subscribed += 1; say() }
    })
  }
}
globalThis.WebSocket = Watched

function Probe() {
  shown.react = useReact(channel, token, url)
  return null
}

let tree
await act(() => { tree = create(h(Probe)) })
const dispose = createRoot((end) => {
  const { data, connected } = useSolid(() => channel, () => token, url)
  createEffect(() => {
    shown.solid = { data: data(), connected: connected() }
    say()
  })
  return end
})
const breathing = setInterval(async () => {
  await act(() => new Promise((done) => setTimeout(done, 10)))
  say()
}, 50)

process.stdin.on('data', () => {})
process.stdin.on('end', async () => {
  clearInterval(breathing)
  await act(() => tree.unmount())
  dispose()
})
