// The same for SolidJS: data and connected are accessors, and so may be channel and token.
//
//   const { data: products, connected } = useRealtime<Product>('table:public.products', token)

import { createEffect, createSignal, onCleanup } from 'solid-js'

import { applied, RealtimeClient } from './realtime-client.ts'

export const ADDRESS = 'ws://localhost:8080/realtime'

type Given<T> = T | (() => T)

const value = <T>(given: Given<T>): T => (typeof given === 'function' ? (given as () => T)() : given)

export function useRealtime<T extends { id: unknown }>(
  channel: Given<string>,
  token?: Given<string | null | undefined>,
  url = ADDRESS,
) {
  const [data, setData] = createSignal<T[]>([])
  const [connected, setConnected] = createSignal(false)

  createEffect(() => {
    const name = value(channel)
    const client = new RealtimeClient(url, { token: value(token), onConnected: setConnected })
    client.subscribe(name, {
      onChange: (change) => setData((rows) => applied(rows, change)),
      onError: (error) => console.error(`${name}: ${error.message}`),
    })
    onCleanup(() => {
      client.close()
      setData([])
      setConnected(false)
    })
  })

  return { data, connected }
}
