// liveRows for SolidJS: an accessor of the rows, and nothing is left when the component goes.
//
//   const positions = useLiveRows(supabase, 'positions:ann', { table: 'positions', filter: 'user_id=eq.ann', fetchRows })

import { createSignal, onCleanup, onMount } from 'solid-js'

import { liveRows } from './live-rows.js'

export function useLiveRows(supabase, topic, options) {
  const [rows, setRows] = createSignal([])

  onMount(() => {
    const channel = supabase.channel(topic)
    const stop = liveRows(channel, { ...options, onRows: setRows })
    channel.subscribe()
    onCleanup(() => {
      stop()
      supabase.removeChannel(channel)
    })
  })

  return rows
}
