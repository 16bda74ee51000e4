import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'
import fc from 'fast-check'
import { Activity, type ActivityRow, ActivitySummary } from '../../src/activity.ts'
import { limits } from '../../src/limits.ts'
import { ActivityStore } from '../../src/store/activity.ts'
import { openStore, type Store } from '../../src/store/open.ts'
import { rowAt } from '../support/activity-row.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** Not at the beginning of an hour, as no real time is. */
const NOW = Date.parse('2026-11-20T10:42:17.123Z')

let folder: string
let store: Store
let activity: ActivityStore
beforeEach(() => {
  folder = tempFolder()
  store = openStore({ folder, keyFile: join(folder, 'portcullis.key'), version: '0.0.1', now: () => NOW })
  activity = new ActivityStore(store)
})
afterEach(() => {
  store.close()
  removeFolder(folder)
})

const minuteOf = (at: number) => at - (at % MINUTE_MS)
const add = (rows: ActivityRow[]) => {
  for (const row of rows) activity.addActivity(minuteOf(row.lastAt), [row])
}
const rowsSince = (since: number, { tokenId = 'tok_1', slice = 1_000 } = {}) => [
  ...activity.rowsOf(tokenId, since, slice),
]
const all = (tokenId = 'tok_1') => rowsSince(0, { tokenId }).flat()
const stored = () =>
  store.client.query('SELECT minute, count(*) AS n FROM activity GROUP BY minute ORDER BY minute').all() as {
    minute: number
    n: number
  }[]
const prune = () => [...activity.prune(NOW - limits.usageRetentionMs, NOW - limits.activityMinutesMs)].length

test('from where tokens were used is read by time, a slice at a time, whole hours too', () => {
  const since = NOW - DAY_MS
  const rows = [
    rowAt(since + 30 * MINUTE_MS, { address: '192.0.2.2' }),
    rowAt(NOW, { tokenId: 'tok_2', address: '192.0.2.3' }),
    ...Array.from({ length: 20 }, (_, n) => rowAt(NOW - HOUR_MS, { address: `198.51.100.${n}` })),
  ]
  add(rows)
  add([rowAt(since - 2 * HOUR_MS, { address: 'too old' })])
  // As the pruning leaves an hour of which the last minutes are of this day.
  const hour = since - (since % HOUR_MS)
  activity.addActivity(hour, [rowAt(since + 1, { address: '192.0.2.1' })])
  const slices = [...activity.sightingsSince(since, 10)]
  expect(slices.map(({ length }) => length)).toEqual([10, 10, 3])
  const found = slices.flat().map(({ tokenId, address, lastAt }) => ({ tokenId, address, lastAt }))
  expect(found).toHaveLength(23)
  expect(found[0]).toEqual({ tokenId: 'tok_1', address: '192.0.2.1', lastAt: since + 1 })
  for (const { tokenId, address, lastAt } of rows) expect(found).toContainEqual({ tokenId, address, lastAt })
})

test('what is written twice to a minute is added up', () => {
  const at = minuteOf(NOW)
  activity.addActivity(at, [rowAt(at + 500), rowAt(at + 900, { name: 'other' })])
  activity.addActivity(at, [rowAt(at + 100, { calls: 2, errors: 1, refused: 3 }), rowAt(at, { tokenId: 'tok_2' })])
  activity.addActivity(at + MINUTE_MS, [rowAt(at + MINUTE_MS)])
  expect(all()).toMatchObject([
    { name: 'echo', calls: 3, errors: 1, refused: 3, argumentBytes: 20, firstAt: at + 100, lastAt: at + 500 },
    { name: 'other', calls: 1 },
    { name: 'echo', calls: 1, firstAt: at + MINUTE_MS },
  ])
  expect(all('tok_2')).toHaveLength(1)
})

test("a day's counts go from memory to the disk, and a flush that fails writes none of them", () => {
  const counts = new Activity(limits)
  counts.called(rowAt(NOW), 10, NOW)
  counts.called(rowAt(NOW, { name: 'other' }), 10, NOW)
  store.client.run(
    "CREATE TRIGGER full BEFORE INSERT ON activity WHEN new.name = 'other' BEGIN SELECT raise(ABORT, 'full'); END",
  )
  expect(() => counts.flush(activity, NOW)).toThrow('full')
  expect(all()).toEqual([])
  store.client.run('DROP TRIGGER full')
  counts.flush(activity, NOW)
  counts.flush(activity, NOW)
  expect(all()).toMatchObject([
    { minute: minuteOf(NOW), calls: 1, argumentBytes: 10 },
    { minute: minuteOf(NOW), calls: 1, argumentBytes: 10 },
  ])
})

test('rows come in slices, each once, the oldest first, and of that token alone', () => {
  const rows = Array.from({ length: 25 }, (_, index) =>
    rowAt(NOW - Math.floor(index / 10) * MINUTE_MS, { name: `tool ${index}` }),
  )
  add(rows)
  add([rowAt(NOW, { tokenId: 'tok_2' })])
  for (const slice of [1, 4, 10, 25, 26]) {
    const slices = rowsSince(0, { slice })
    expect(slices.every(({ length }) => length > 0 && length <= slice)).toBeTrue()
    const found = slices.flat()
    expect(found.map(({ name }) => name).toSorted()).toEqual(rows.map(({ name }) => name).toSorted())
    expect(found.map(({ lastAt }) => lastAt)).toEqual(found.map(({ lastAt }) => lastAt).toSorted((a, b) => a - b))
  }
  expect(rowsSince(0, { tokenId: 'tok_3' })).toEqual([])
})

test('since: to the minute within a day, to the hour before', () => {
  const ages = [0, 5 * MINUTE_MS, HOUR_MS, 23 * HOUR_MS, 3 * DAY_MS, 3 * DAY_MS + 30 * MINUTE_MS]
  add(ages.map((age) => rowAt(NOW - age)))
  prune()
  const countSince = (since: number) => rowsSince(since).flat().length
  expect(countSince(NOW + 1)).toBe(0)
  expect(countSince(NOW)).toBe(1)
  expect(countSince(NOW - 5 * MINUTE_MS)).toBe(2)
  expect(countSince(NOW - HOUR_MS)).toBe(3)
  expect(countSince(NOW - 23 * HOUR_MS + 1)).toBe(3)
  expect(countSince(NOW - 23 * HOUR_MS)).toBe(4)
  // Both of that hour, or none: within it they can't be told apart any more.
  const hour = rowsSince(NOW - 3 * DAY_MS).flat()[0]
  expect(hour).toMatchObject({ calls: 2, firstAt: NOW - 3 * DAY_MS - 30 * MINUTE_MS, lastAt: NOW - 3 * DAY_MS })
  expect(countSince(NOW - 3 * DAY_MS)).toBe(5)
  expect(countSince(NOW - 3 * DAY_MS + 1)).toBe(4)
})

test('prune: after 30 days it is forgotten, after a day it is hours, before it stays', () => {
  const kept = [rowAt(NOW), rowAt(NOW - DAY_MS + 2 * MINUTE_MS), rowAt(NOW - DAY_MS + HOUR_MS)]
  const hours = [0, 1, 2].map((minute) => rowAt(Date.parse('2026-11-18T04:10:00Z') + minute * MINUTE_MS))
  const edge = rowAt(NOW - limits.usageRetentionMs + MINUTE_MS)
  const gone = [rowAt(NOW - limits.usageRetentionMs - MINUTE_MS), rowAt(NOW - 400 * DAY_MS)]
  add([...kept, ...hours, edge, ...gone])
  prune()
  const expected = [edge.lastAt, Date.parse('2026-11-18T04:00:00Z'), ...kept.map(({ lastAt }) => lastAt).toReversed()]
  expect(stored().map(({ minute }) => minute)).toEqual(expected.map(minuteOf).toSorted((a, b) => a - b))
  expect(all().find(({ calls }) => calls === 3)).toMatchObject({
    firstAt: hours[0]?.firstAt,
    lastAt: hours[2]?.lastAt,
    argumentBytes: 30,
  })
  const before = stored()
  prune()
  expect(stored()).toEqual(before)
})

test('prune puts late minutes into an hour that stands already', () => {
  const hour = Date.parse('2026-11-18T04:00:00Z')
  for (const minute of [7, 0, 59]) {
    add([rowAt(hour + minute * MINUTE_MS)])
    prune()
  }
  expect(stored()).toEqual([{ minute: hour, n: 1 }])
  expect(all()).toMatchObject([{ calls: 3, firstAt: hour, lastAt: hour + 59 * MINUTE_MS }])
})

test('prune works in slices: what can be read between them adds up, and a pause loses nothing', () => {
  const hour = Date.parse('2026-11-18T04:00:00Z')
  const names = Array.from({ length: 40 }, (_, index) => `tool ${index}`)
  for (let minute = 1; minute < 60; minute++) {
    activity.addActivity(
      hour + minute * MINUTE_MS,
      names.map((name) => rowAt(hour + minute * MINUTE_MS, { name })),
    )
  }
  const old = hour - limits.usageRetentionMs
  activity.addActivity(
    old,
    Array.from({ length: 1_000 }, (_, index) => rowAt(old, { name: `${index}` })),
  )
  const rowsAndCalls = (): [rows: number, calls: number] => {
    const { rows, calls } = store.client
      .query('SELECT count(*) AS rows, sum(calls) FILTER (WHERE minute >= ?) AS calls FROM activity')
      .get(hour) as { rows: number; calls: number }
    return [rows, calls]
  }
  let steps = 0
  let [last] = rowsAndCalls()
  for (const _ of activity.prune(NOW - limits.usageRetentionMs, NOW - limits.activityMinutesMs)) {
    steps += 1
    const [rows, calls] = rowsAndCalls()
    // Whatever is done at once is small.
    expect(last - rows).toBeLessThanOrEqual(250)
    expect(calls).toBe(59 * 40)
    last = rows
  }
  expect(steps).toBeGreaterThan(14)
  expect(stored()).toEqual([{ minute: hour, n: 40 }])
  expect(all().every(({ calls }) => calls === 59)).toBeTrue()
})

test('any rows within the retention: prune changes no sum', () => {
  const few = (prefix: string) => fc.integer({ min: 0, max: 2 }).map((n) => `${prefix}${n}`)
  const count = fc.integer({ min: 0, max: 1_000 })
  const age = fc.oneof(
    fc.integer({ min: 0, max: limits.usageRetentionMs - MINUTE_MS }),
    // Close together, so that there is something to put together.
    fc.integer({ min: 0, max: 3 * HOUR_MS }).map((ms) => ms + 23 * HOUR_MS),
    fc.integer({ min: 0, max: 2 * HOUR_MS }).map((ms) => ms + 29 * DAY_MS + 21 * HOUR_MS),
  )
  const row = fc
    .record({ age, tokenId: few('tok_'), serverId: few('srv_'), name: few('tool '), calls: count })
    .chain(({ age: old, ...some }) =>
      fc
        .record({ method: fc.constantFrom('tools/call', 'GET'), address: few('192.0.2.'), client: few('c') })
        .chain((more) =>
          fc
            .record({ errors: count, refused: count, argumentBytes: count })
            .map((counts) => rowAt(NOW - old, { ...some, ...more, ...counts })),
        ),
    )
  const sums = () =>
    ['tok_0', 'tok_1', 'tok_2'].map((tokenId) => {
      const summary = new ActivitySummary()
      for (const one of all(tokenId)) summary.add(one)
      const { tools, methods, addresses, clients } = summary.lists
      const plain = [tools, methods, addresses, clients].map((list) =>
        list.toSorted((a, b) => (a.serverId + a.name < b.serverId + b.name ? -1 : 1)),
      )
      return { plain, totals: summary.totals }
    })
  fc.assert(
    fc.property(fc.array(row, { maxLength: 60 }), (rows) => {
      store.client.run('DELETE FROM activity')
      add(rows)
      const before = sums()
      for (let times = 0; times < 2; times++) {
        prune()
        expect(sums()).toEqual(before)
      }
      const old = stored().filter(({ minute }) => minute + HOUR_MS <= NOW - limits.activityMinutesMs)
      const begun = NOW - limits.usageRetentionMs + HOUR_MS
      expect(old.filter(({ minute }) => minute % HOUR_MS !== 0 && minute > begun)).toEqual([])
    }),
    { numRuns: 20 },
  )
}, 30_000)

test('a refusing database is told, and nothing is done by half', () => {
  add([rowAt(NOW - 3 * DAY_MS), rowAt(NOW - 3 * DAY_MS + MINUTE_MS)])
  const before = stored()
  store.client.run("CREATE TRIGGER full BEFORE DELETE ON activity BEGIN SELECT raise(ABORT, 'full'); END")
  expect(prune).toThrow('full')
  expect(stored()).toEqual(before)
  store.client.run('DROP TRIGGER full')
  prune()
  expect(all()).toMatchObject([{ calls: 2 }])
})
