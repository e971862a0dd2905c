// live-rows.js alone, with a channel that brings what the test says.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { liveRows } from '../../../examples/supabase/live-rows.js'

const FLOWING = { extension: 'postgres_changes', status: 'ok', message: 'Subscribed to PostgreSQL' }
const insert = (id, size = 0) => ({ eventType: 'INSERT', new: { id, size }, old: {}, errors: null })

// What fetchRows is asked for is answered by answers.shift()(rows), or failed by its second function.
function list(options = {}) {
  const listeners = {}
  const fetches = []
  const shown = []
  const errors = []
  const channel = { on: (type, _filter, listener) => ((listeners[type] = listener), channel) }
  const stop = liveRows(channel, {
    table: 'positions',
    fetchRows: () => new Promise((...settle) => fetches.push(settle)),
    onRows: (rows) => shown.push(rows.map(({ id, size }) => [id, size])),
    onError: ({ message }) => errors.push(message),
    ...options,
  })
  const answer = async (rows) => {
    fetches.shift()[0](rows)
    await null
    await null
  }
  return { hear: listeners.postgres_changes, tell: listeners.system, fetches, shown, errors, answer, stop }
}

async function fetched(t, rows) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const it = list()
  it.tell(FLOWING)
  await it.answer(rows)
  t.mock.timers.tick(50)
  return it
}

test('nothing is fetched before changes flow', () => {
  assert.equal(list().fetches.length, 0)
})

test('what comes while rows are fetched is applied behind them', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const it = list()
  it.tell(FLOWING)
  it.hear(insert(2))
  it.hear({ eventType: 'UPDATE', new: { id: 1, size: 5 }, old: { id: 1 }, errors: null })
  await it.answer([{ id: 1, size: 1 }])
  t.mock.timers.tick(50)
  assert.deepEqual(it.shown, [[[1, 5], [2, 0]]])
})

test('inserts are added, updates replace, deletes remove, and a key may change', async (t) => {
  const it = await fetched(t, [{ id: 1, size: 1 }, { id: 2, size: 2 }])
  it.hear(insert(3, 3))
  it.hear({ eventType: 'UPDATE', new: { id: 4, size: 1 }, old: { id: 1 }, errors: null })
  it.hear({ eventType: 'DELETE', new: {}, old: { id: 2 }, errors: null })
  t.mock.timers.tick(50)
  assert.deepEqual(it.shown.at(-1), [[3, 3], [4, 1]])
})

test('a hundred changes are drawn once', async (t) => {
  const it = await fetched(t, [])
  for (let id = 0; id < 100; id += 1) it.hear(insert(id))
  t.mock.timers.tick(50)
  assert.deepEqual(it.shown.map((rows) => rows.length), [0, 100])
})

test('rows are fetched again when changes were lost, and an answer that is out of date is not shown', async (t) => {
  const it = await fetched(t, [])
  it.tell(FLOWING)
  it.tell({ ...FLOWING, status: 'error', message: 'lost' })
  await it.answer([{ id: 1, size: 1 }])
  await it.answer([{ id: 2, size: 2 }])
  t.mock.timers.tick(50)
  assert.deepEqual(it.errors, ['lost'])
  assert.deepEqual(it.shown, [[], [[2, 2]]])
})

test('a row that is not there in full is fetched', async (t) => {
  const it = await fetched(t, [])
  it.hear({ ...insert(1), errors: ['Error 413: Payload Too Large'] })
  assert.equal(it.fetches.length, 1)
  assert.deepEqual(it.errors, ['Error 413: Payload Too Large'])
})

test('a fetch that fails is tried again until it is stopped', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const it = list()
  it.tell(FLOWING)
  it.fetches.shift()[1](new Error('away'))
  await null
  await null
  t.mock.timers.tick(1000)
  assert.equal(it.fetches.length, 1)
  it.stop()
  await it.answer([{ id: 1, size: 1 }])
  t.mock.timers.tick(5000)
  assert.deepEqual([it.errors, it.shown, it.fetches.length], [['away'], [], 0])
})
