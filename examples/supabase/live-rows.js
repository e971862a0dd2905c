// The rows of a table as they are now, kept by the changes that a supabase-js channel brings.
//
//   const channel = supabase.channel('positions:ann')
//   const stop = liveRows(channel, { table: 'positions', filter: 'user_id=eq.ann', fetchRows, onRows: draw })
//   channel.subscribe()
//
// Rows are fetched when changes flow and not before: what is written while they are fetched is kept and applied behind them.
// They are fetched again whenever the server says that changes flow again, or that some were lost.

const RETRY_MS = 1000

export function liveRows(
  channel,
  { table, filter, schema = 'public', key = 'id', fetchRows, onRows, onError = console.error, drawEveryMs = 50 },
) {
  let rows = new Map()
  let waiting = null // changes that came while rows are being fetched; null while nothing is fetched
  let round = 0
  let drawing = null
  let retrying = null

  const apply = ({ eventType, new: row, old }) => {
    if (eventType === 'DELETE' || old?.[key] !== row[key]) rows.delete(old?.[key])
    if (eventType !== 'DELETE') rows.set(row[key], row)
  }

  // Many changes at once are drawn once.
  const draw = () => {
    drawing ??= setTimeout(() => {
      drawing = null
      onRows([...rows.values()])
    }, drawEveryMs)
  }

  const fetchAgain = async () => {
    const mine = ++round
    waiting = []
    clearTimeout(retrying)
    try {
      const found = await fetchRows()
      if (mine !== round) return
      rows = new Map(found.map((row) => [row[key], row]))
      waiting.forEach(apply)
      waiting = null
      draw()
    } catch (error) {
      if (mine !== round) return
      onError(error)
      retrying = setTimeout(fetchAgain, RETRY_MS)
    }
  }

  const heard = (change) => {
    if (change.errors) {
      // Not all of the row is there, so it has to be asked for.
      onError(new Error(change.errors.join(', ')))
      fetchAgain()
    } else if (waiting) {
      waiting.push(change)
    } else {
      apply(change)
      draw()
    }
  }

  const told = ({ extension, status, message }) => {
    if (extension !== 'postgres_changes') return
    if (status === 'error') onError(new Error(message))
    fetchAgain()
  }

  const wanted = { event: '*', schema, table, ...(filter && { filter }) }
  channel.on('postgres_changes', wanted, heard).on('system', {}, told)

  return () => {
    round += 1
    clearTimeout(drawing)
    clearTimeout(retrying)
  }
}
