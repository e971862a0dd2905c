// What both JavaScript clients have in common: orders come in on stdin, reports go out on stdout, one JSON object per line.

import { createInterface } from 'node:readline'

export const report = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')

// JSON has no bytes, so binary payloads go between test and client as hexadecimal text.
const toHex = (buffer) => Buffer.from(buffer).toString('hex')
const fromHex = (text) => Uint8Array.from(Buffer.from(text, 'hex')).buffer

// What an order wants to be sent, and what a broadcast brought, as its report has it.
export const outgoing = ({ payload, binary }) => (binary === undefined ? payload : fromHex(binary))
export const incoming = (payload) => (payload instanceof ArrayBuffer ? { binary: toHex(payload) } : { payload })

// A tracked state as the application gave it; the library's own reference, which must be there, is taken out.
const plain = ({ presence_ref, phx_ref, phx_ref_prev, ...state }) => {
  if (typeof (presence_ref ?? phx_ref) !== 'string') throw new Error('a state without a reference')
  return state
}
export const plainStates = (states) => states.map(plain)

// Carry out orders until there are no more.
export async function obey(orders) {
  report('started')
  for await (const line of createInterface({ input: process.stdin })) {
    const { order, ...details } = JSON.parse(line)
    // Not awaited: an answer that never comes must not keep the next order from being carried out.
    orders[order](details)
  }
  process.exit(0)
}
