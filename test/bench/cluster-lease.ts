import { builtBinary } from '../support/binary.ts'
import { startCluster, type TestCluster, type TestMember } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'
import type { Check, Report, Size } from './bench.ts'
import { figuresOf } from './figures.ts'
import { ms, table } from './table.ts'

const SIZES = { full: { rounds: 5, leaseMs: 5_000 }, short: { rounds: 1, leaseMs: 1_000 } }
const WAYS = ['links closed', 'nothing arrives'] as const
/** Between two requests of the client that asks whether the node lets it in. */
const ASK_MS = 2

type Way = (typeof WAYS)[number]

/** One node hears nothing of the others any more, nor they of it; or all do again. */
const isolate = async (cluster: TestCluster, way: Way, isolated: boolean): Promise<void> => {
  const [first, second, third] = cluster.members as [TestMember, TestMember, TestMember]
  for (const other of [first, second]) {
    if (way === 'links closed') await cluster.cut(other, third, isolated)
    else await cluster.deafen(other, third, isolated)
  }
}

/** How long a node that is cut off lets clients in, and how long it needs to do so again. */
export const clusterLease = async (size: Size): Promise<Report> => {
  const { rounds, leaseMs } = SIZES[size]
  const upstream = startStreamUpstream()
  await using cluster = await startCluster(3, {
    proxied: true,
    command: [builtBinary()],
    args: ['--lease', `${leaseMs / 1_000}s`],
  })
  const [first, , third] = cluster.members as [TestMember, TestMember, TestMember]
  await first.running.addServer('live', upstream.url, { kind: 'http' })
  const { token } = await first.running.createToken('any', ['live'])
  await cluster.spread()
  const status = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${token}` }
    return (await fetch(`${third.running.gate}/s/live/once`, { headers })).status
  }
  const until = (wanted: number) =>
    eventually(async () => (await status()) === wanted, { timeoutMs: 20_000 + leaseMs, everyMs: ASK_MS })
  const rows = []
  for (const way of WAYS) {
    const samples: { refusedMs: number; cutMs: number; backMs: number }[] = []
    for (let at = 0; at < rounds; at += 1) {
      const stream = await upstream.open(third.running.gate, token)
      const before = performance.now()
      await isolate(cluster, way, true)
      await until(503)
      const refusedMs = performance.now() - before
      await stream.text
      const healed = performance.now()
      await isolate(cluster, way, false)
      await until(200)
      samples.push({ refusedMs, cutMs: stream.endedAt() - before, backMs: performance.now() - healed })
      await cluster.settled()
    }
    rows.push({
      way,
      refusedMs: figuresOf(samples.map(({ refusedMs }) => refusedMs)),
      cutMs: figuresOf(samples.map(({ cutMs }) => cutMs)),
      backMs: figuresOf(samples.map(({ backMs }) => backMs)),
    })
  }
  upstream.stop()
  const check = (what: string, value: number, target: number): Check => ({
    ...{ what, value, unit: 'ms', target, side: 'at most', stretch: null },
  })
  return {
    text: `A node that is cut off, under leases of ${leaseMs} ms: milliseconds until it refuses, until it cut what was open, and from healing until it lets clients in (${rounds} rounds)

${table(
  ['', 'refuses: median', 'max', 'cut: median', 'max', 'back: median', 'max'],
  rows.map(({ way, refusedMs, cutMs, backMs }) => [
    way,
    ...[refusedMs, cutMs, backMs].flatMap(({ median, max }) => [median, max].map(ms)),
  ]),
)}`,
    checks: rows.flatMap(({ way, refusedMs, cutMs, backMs }) => [
      check(`an isolated node (${way}) refuses and has cut, most`, Math.max(refusedMs.max, cutMs.max), leaseMs * 1.1),
      check(`an isolated node (${way}) lets in again, most`, backMs.max, 1_000),
    ]),
    data: { rounds, leaseMs, rows },
    failures: [],
    missing: [],
  }
}
