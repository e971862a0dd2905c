// The SolidJS hook against the server at <url>, with <key> and the table <table>: says what it shows.

import { createClient } from '@supabase/supabase-js'
import { createEffect, createRoot } from 'solid-js'

import { useLiveRows } from '../../../examples/supabase/use-live-rows.js'
import { report } from './orders.mjs'

const [url, key, table] = process.argv.slice(2)
const supabase = createClient(url, key)

globalThis.leave = createRoot((dispose) => {
  const rows = useLiveRows(supabase, `list:${table}`, {
    table,
    filter: 'user_id=eq.ann',
    fetchRows: async () => (await supabase.from(table).select('*').eq('user_id', 'ann').throwOnError()).data,
  })
  createEffect(() => report('shown', { rows: rows().map(({ id, size }) => [id, size]) }))
  return dispose
})
