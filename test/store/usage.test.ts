import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'
import fc from 'fast-check'
import { limits } from '../../src/limits.ts'
import { openStore, type Store } from '../../src/store/open.ts'
import { UsageStore } from '../../src/store/usage.ts'
import {
  type Usage,
  USAGE_WINDOWS,
  type UsageBucket,
  usageHistory,
  UsageMeter,
  type UsageWindow,
} from '../../src/usage.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** Not at the beginning of an hour, as no real time is. */
const NOW = Date.parse('2026-11-20T10:42:17.123Z')
const WINDOWS = Object.keys(USAGE_WINDOWS) as UsageWindow[]

let folder: string
let store: Store
let usage: UsageStore
beforeEach(() => {
  folder = tempFolder()
  store = openStore({ folder, keyFile: join(folder, 'portcullis.key'), version: '0.0.1', now: () => NOW })
  usage = new UsageStore(store)
})
afterEach(() => {
  store.close()
  removeFolder(folder)
})

const minuteOf = (at: number) => at - (at % MINUTE_MS)
const used = (requests: number, extra: Partial<Usage> = {}): Usage => ({
  requests,
  refusals: 0,
  bytesIn: 0,
  bytesOut: 0,
  lastUsedAt: null,
  client: null,
  ...extra,
})
const add = (at: number, counts: Usage, tokenId = 'tok_1') => usage.addUsage(minuteOf(at), new Map([[tokenId, counts]]))
const history = (window: UsageWindow, pending = used(0), tokenId = 'tok_1'): UsageBucket[] =>
  usageHistory(window, NOW, (since, bucketMs) => usage.bucketsOf(tokenId, since, bucketMs), pending)
const filled = (buckets: UsageBucket[]) =>
  buckets.filter(({ requests }) => requests > 0).map(({ at, requests }) => [new Date(at).toISOString(), requests])
const prune = () => [...usage.prune(NOW - limits.usageRetentionMs, NOW - limits.activityMinutesMs)].length
const rows = () => (store.client.query('SELECT count(*) AS n FROM usage_minutes').get() as { n: number }).n
const sum = (all: { requests: number }[]) => all.reduce((total, { requests }) => total + requests, 0)

test.each(WINDOWS)('%s: so many buckets, evenly spaced, and the last one runs', (window) => {
  const { bucketMs, buckets } = USAGE_WINDOWS[window]
  const found = history(window)
  expect(found).toHaveLength(buckets)
  expect(found.every(({ at }) => at % bucketMs === 0)).toBe(true)
  expect(new Set(found.slice(1).map(({ at }, index) => at - (found[index]?.at ?? 0)))).toEqual(new Set([bucketMs]))
  const last = found.at(-1)?.at ?? 0
  expect([last <= NOW, NOW < last + bucketMs]).toEqual([true, true])
})

test('what is written stands in its bucket, what is not yet in the last, all of it', () => {
  const counts = { refusals: 2, bytesIn: 3, bytesOut: 4 }
  add(NOW - 3 * MINUTE_MS, used(1, counts))
  add(NOW - 20 * MINUTE_MS, used(10, counts))
  add(NOW - DAY_MS, used(100))
  add(NOW - 29 * DAY_MS, used(1_000))
  add(NOW, used(50), 'tok_2')
  const pending = used(7, counts)
  expect(filled(history('hour', pending))).toEqual([
    ['2026-11-20T10:22:00.000Z', 10],
    ['2026-11-20T10:39:00.000Z', 1],
    ['2026-11-20T10:42:00.000Z', 7],
  ])
  expect(filled(history('day', pending))).toEqual([
    ['2026-11-20T10:15:00.000Z', 10],
    ['2026-11-20T10:30:00.000Z', 8],
  ])
  expect(filled(history('month', pending))).toEqual([
    ['2026-10-22T00:00:00.000Z', 1_000],
    ['2026-11-19T00:00:00.000Z', 100],
    ['2026-11-20T00:00:00.000Z', 18],
  ])
  expect(history('month', pending).at(-1)).toMatchObject({ refusals: 6, bytesIn: 9, bytesOut: 12 })
  expect(sum(history('month', used(0), 'tok_3'))).toBe(0)
})

test('minutes older than a day become hours; no chart shows another sum', () => {
  const ages = [5 * MINUTE_MS, 23 * HOUR_MS, 26 * HOUR_MS, 26 * HOUR_MS + 3 * MINUTE_MS, 5 * DAY_MS, 29.9 * DAY_MS]
  for (const age of ages) add(NOW - age, used(1, { bytesOut: age }))
  add(NOW - 26 * HOUR_MS, used(5), 'tok_2')
  const before = WINDOWS.map((window) => history(window))
  prune()
  expect(WINDOWS.map((window) => history(window))).toEqual(before)
  // Two of them were of one hour.
  expect(rows()).toBe(ages.length)
  expect(sum(history('month', used(0), 'tok_2'))).toBe(5)
  // Another time it finds nothing to do.
  prune()
  expect(rows()).toBe(ages.length)
})

test('what is older than thirty days is forgotten; totals stay', () => {
  add(NOW - 31 * DAY_MS, used(3, { lastUsedAt: NOW - 31 * DAY_MS }))
  for (let minute = 0; minute < 300; minute++) add(NOW - 31 * DAY_MS - minute * MINUTE_MS, used(1))
  prune()
  expect(rows()).toBe(0)
  expect(usage.totalsOf(['tok_1']).get('tok_1')).toMatchObject({ requests: 303, lastUsedAt: NOW - 31 * DAY_MS })
})

test('a few rows go in one transaction, so that a revocation need not wait for all', () => {
  const write = store.log.write.bind(store.log)
  const tokens = Array.from({ length: 10 }, (_, n) => `tok_${n}`)
  const minutes = Array.from({ length: 300 }, (_, minute) => NOW - 2 * DAY_MS - minute * MINUTE_MS)
  write(() => {
    for (const at of minutes) for (const id of tokens) add(at, used(1), id)
  })
  const sizes: number[] = []
  let before = rows()
  for (const _ of usage.prune(NOW - limits.usageRetentionMs, NOW - limits.activityMinutesMs)) {
    sizes.push(before - rows())
    before = rows()
  }
  expect(Math.max(...sizes)).toBeLessThanOrEqual(250)
  expect(rows()).toBeLessThanOrEqual(6 * tokens.length)
  expect(sum(history('month'))).toBe(300)
})

test('buckets of every window add up to what was counted in it, before and after the pruning', () => {
  const event = fc.record({ ageMs: fc.integer({ min: 0, max: 29 * DAY_MS }), requests: fc.integer({ min: 1, max: 9 }) })
  let number = 0
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), fc.nat(9), (events, unwritten) => {
      const tokenId = `tok_${(number += 1)}`
      for (const { ageMs, requests } of events) add(NOW - ageMs, used(requests), tokenId)
      const sumsNow = () => WINDOWS.map((window) => sum(history(window, used(unwritten), tokenId)))
      const sums = WINDOWS.map((window) => {
        const since = history(window)[0]?.at ?? 0
        return unwritten + sum(events.filter(({ ageMs }) => minuteOf(NOW - ageMs) >= since))
      })
      const before = sumsNow()
      prune()
      return Bun.deepEquals(before, sums) && Bun.deepEquals(sumsNow(), sums)
    }),
    { numRuns: 30 },
  )
})

test('last uses come by id, a slice at a time', () => {
  const meter = new UsageMeter()
  for (let n = 0; n < 25; n++) meter.of(`tok_${String(n).padStart(2, '0')}`).lastUsedAt = n === 3 ? null : NOW - n
  meter.flush(usage, NOW)
  const slices = [...usage.lastUses(10)]
  expect(slices.map(({ length }) => length)).toEqual([10, 10, 5])
  expect(slices.flat()[3]).toEqual({ tokenId: 'tok_03', lastUsedAt: null })
  expect(slices.flat().map(({ tokenId }) => tokenId)).toEqual(
    slices
      .flat()
      .map(({ tokenId }) => tokenId)
      .toSorted(),
  )
})
