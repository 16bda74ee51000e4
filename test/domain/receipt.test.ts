import { expect, test } from 'bun:test'
import type { Emergency } from '../../src/emergency.ts'
import { limits } from '../../src/limits.ts'
import { type ReceiptConnection, Receipts } from '../../src/receipt.ts'
import { type Connection, type CutResult, Registry } from '../../src/registry.ts'
import { NOT_MEASURED, type Timings } from '../../src/revocation-record.ts'
import { eventually } from '../support/poll.ts'

const connectionAt = (n: number, kind: Connection['kind'] = 'sse'): Connection =>
  ({
    number: n,
    id: `c${n}`,
    secret: { diesAt: null, token: { id: `tok_${n % 3}`, expiresAt: null, secrets: [] } },
    server: { id: 'srv_1' },
    startedAt: 1_000 + n,
    address: `10.0.0.${n}`,
    method: 'GET',
    path: '/secret/in/a/path',
    kind,
    client: n % 2 === 0 ? 'tester' : null,
    bytesIn: n,
    bytesOut: 2 * n,
    end: () => undefined,
    release: () => undefined,
  }) as unknown as Connection

const resultOf = (count: number, releasedAt: Promise<number | null> = Promise.resolve(1)): CutResult => ({
  cut: count,
  connections: Array.from({ length: count }, (_, n) => connectionAt(n)),
  firstCutAt: 1,
  lastCutAt: Promise.resolve(1),
  releasedAt,
})

/** A store that fails as often as it is told to, and remembers its transactions. */
const keeper = (some: Partial<typeof limits> = {}) => {
  const state = { failures: 0, problem: null as string | null, asked: 0, late: [] as unknown[] }
  const commits: { cut?: number; timings?: Timings; rows: ReceiptConnection[] }[] = []
  const commit = (done: (typeof commits)[number]) => {
    state.failures -= 1
    if (state.failures >= 0) throw new Error('disk full')
    commits.push(structuredClone(done))
  }
  const receipts = new Receipts({
    store: {
      get: () => null,
      putReceipt: (_id, cut, timings, rows) => commit({ cut, timings, rows: [...rows] }),
      putReceiptConnections: (_id, rows) => commit({ rows: [...rows] }),
      putTimings: (_id, timings) => commit({ timings, rows: [] }),
    },
    emergency: {
      get problem() {
        state.asked += 1
        return state.problem
      },
    } as Emergency,
    limits: { ...limits, journalRetryMs: 1, receiptConnectionsSlice: 10, ...some },
    onLate: (error) => state.late.push(error),
  })
  return { state, commits, receipts, rows: () => commits.flatMap(({ rows }) => rows) }
}
const measured = (result: CutResult, timings: Partial<Timings> = {}) => ({
  id: 'rev_1',
  timings: { ...NOT_MEASURED, upstreamCancelledMs: 3, ...timings },
  result,
  endedAt: 5_000,
})

test('the first slice goes with the figures, before anything waits; the rest one by one', async () => {
  const { receipts, commits, rows } = keeper()
  const kept = receipts.keep(measured(resultOf(25)))
  expect(commits.map(({ cut, rows: slice }) => [cut, slice.length])).toEqual([[25, 10]])
  await kept
  expect(commits.map(({ rows: slice }) => slice.length)).toEqual([10, 10, 5])
  expect(rows().map(({ n }) => n)).toEqual(Array.from({ length: 25 }, (_, index) => index + 1))
  expect(rows()[4]).toEqual({
    n: 5,
    tokenId: 'tok_1',
    serverId: 'srv_1',
    kind: 'sse',
    client: 'tester',
    address: '10.0.0.4',
    startedAt: 1_004,
    endedAt: 5_000,
    bytesIn: 4,
    bytesOut: 8,
  })
  expect(JSON.stringify(commits)).not.toContain('/secret')
})

test('nothing was cut: one transaction', async () => {
  const { receipts, commits } = keeper()
  await receipts.keep(measured(resultOf(0), { upstreamCancelledMs: null }))
  expect(commits).toMatchObject([{ cut: 0, rows: [] }])
})

test('when the last upstream request is cancelled later, that is added', async () => {
  const { receipts, commits } = keeper()
  const released = Promise.withResolvers<number>()
  const given = measured(resultOf(3, released.promise), { upstreamCancelledMs: null })
  const kept = receipts.keep(given)
  expect(commits).toMatchObject([{ cut: 3, timings: { upstreamCancelledMs: null } }])
  given.timings.upstreamCancelledMs = 9
  released.resolve(9)
  await kept
  expect(commits.slice(1)).toMatchObject([{ timings: { upstreamCancelledMs: 9 }, rows: [] }])
})

test('the disk is full: it is tried until it is kept, whole and once; told of once a transaction', async () => {
  const { receipts, commits, rows, state } = keeper()
  state.failures = 3
  await receipts.keep(measured(resultOf(15)))
  expect(commits).toHaveLength(2)
  expect(rows().map(({ n }) => n)).toEqual(Array.from({ length: 15 }, (_, index) => index + 1))
  expect(state.late).toHaveLength(1)
})

test('while the revocation waits in the journal, so does its receipt', async () => {
  const { receipts, commits, state } = keeper()
  state.problem = 'the disk is full'
  const kept = receipts.keep(measured(resultOf(5)))
  await eventually(() => state.asked > 3)
  expect(commits).toEqual([])
  state.problem = null
  await kept
  expect(commits).toMatchObject([{ cut: 5, rows: { length: 5 } }])
})

test('past what may wait in memory, how many there were is kept, and not which; then lists are kept again', async () => {
  const { receipts, commits, state } = keeper({ receiptConnectionsWaitingMax: 20 })
  state.problem = 'the disk is full'
  const kept = [15, 5, 1].map((count) => receipts.keep(measured(resultOf(count))))
  state.problem = null
  await Promise.all(kept)
  const firsts = commits.filter(({ cut }) => cut !== undefined)
  expect(firsts.map(({ cut, rows }) => [cut, rows.length]).toSorted()).toEqual([
    [1, 0],
    [15, 10],
    [5, 5],
  ])
  await receipts.keep(measured(resultOf(20)))
  expect(commits.filter(({ cut }) => cut === 20)).toMatchObject([{ rows: { length: 10 } }])
})

test('a cut says what it cut: not what had ended by itself; calls are let go of before their session', async () => {
  const registry = new Registry({ ...limits, cancelSlice: 2 }, () => 0)
  const released: string[] = []
  const all = [connectionAt(0, 'session'), ...[1, 2, 3, 4].map((n) => connectionAt(n))]
  for (const connection of all) {
    connection.release = () => void released.push(connection.id)
    registry.add(connection)
  }
  registry.remove(all[2] as Connection)
  const before = performance.now()
  const { cut, connections, releasedAt } = registry.cut(all, 'token_revoked')
  expect([cut, connections.map(({ id }) => id)]).toEqual([4, ['c0', 'c1', 'c3', 'c4']])
  expect(released).toEqual([])
  const done = releasedAt.then((at) => {
    released.push('done')
    return at
  })
  expect(await done).toBeGreaterThan(before)
  expect(released).toEqual(['c1', 'c3', 'c4', 'c0', 'done'])
  expect(registry.cut(all, 'token_revoked')).toMatchObject({ cut: 0, connections: [], firstCutAt: null })
  expect(await registry.cut(all, 'token_revoked').releasedAt).toBeNull()
})
