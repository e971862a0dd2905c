// A React hook: the rows of a table as they change from now on.
//
//   const { data: products, connected } = useRealtime<Product>('table:public.products', token)

import { useEffect, useState } from 'react'

import { applied, RealtimeClient } from './realtime-client.ts'

export const ADDRESS = 'ws://localhost:8080/realtime'

export function useRealtime<T extends { id: unknown }>(channel: string, token?: string | null, url = ADDRESS) {
  const [data, setData] = useState<T[]>([])
  const [connected, setConnected] = useState(false)

  useEffect(() => {
    const client = new RealtimeClient(url, { token, onConnected: setConnected })
    client.subscribe(channel, {
      onChange: (change) => setData((rows) => applied(rows, change)),
      onError: (error) => console.error(`${channel}: ${error.message}`),
    })
    return () => {
      client.close()
      setData([])
      setConnected(false)
    }
  }, [channel, token, url])

  return { data, connected }
}
