import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { builtBinary } from '../support/binary.ts'
import { startCluster, type TestCluster, type TestMember } from '../support/cluster.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'
import type { Check, Report, Size } from './bench.ts'
import { figuresOf } from './figures.ts'
import { cpuMsOf } from './meter.ts'
import { ms, table } from './table.ts'

const SIZES = {
  full: { rounds: 200, warmUps: 20, nodes: [3, 5], delaysMs: [0, 20], restMs: 5_000 },
  short: { rounds: 2, warmUps: 1, nodes: [3], delaysMs: [0, 20], restMs: 500 },
}
/** What a revocation may take beyond the way to the last node. */
const BEYOND_MS = 10

interface Round {
  lastMs: number
  /** The slowest ack, as the receipt says; it is complete then, and answered. */
  ackMs: number
  answerMs: number
  failures: string[]
}

const play = async (cluster: TestCluster, upstream: ReturnType<typeof startStreamUpstream>): Promise<Round> => {
  const [first] = cluster.members as [TestMember]
  const { id, token } = await first.running.createToken(crypto.randomUUID(), ['live'])
  const streams = await Promise.all(cluster.members.map(({ running }) => upstream.open(running.gate, token)))
  const sentAt = performance.now()
  const body = { tokens: [id], reason: 'compromised' }
  const { json: receipt } = await first.running.api<RevocationJson>('POST', '/revocations?wait=5s', body)
  const answerMs = performance.now() - sentAt
  const said = await Promise.all(streams.map(({ text }) => text))
  const failures = said.some((text) => !text.includes('token_revoked')) ? ['a stream ended without its farewell'] : []
  if (!receipt.complete) failures.push(`the receipt is not complete: ${JSON.stringify(receipt.peers)}`)
  return {
    lastMs: Math.max(...streams.map((stream) => stream.endedAt())) - sentAt,
    ackMs: Math.max(...receipt.peers.map((peer) => peer.ms ?? Number.NaN)),
    answerMs,
    failures,
  }
}

/** What telling each other that nothing happened takes of a processor, by peer. */
const restPercent = async ({ members }: TestCluster, restMs: number): Promise<number> => {
  const cpu = () => members.reduce((sum, { running }) => sum + cpuMsOf(running.pid), 0)
  const [before, at] = [cpu(), performance.now()]
  await Bun.sleep(restMs)
  return ((cpu() - before) * 100) / (performance.now() - at) / members.length / (members.length - 1)
}

/** From a client's request to revoke to the end of the last stream on the last node, as the clients see both. */
export const clusterCuts = async (size: Size): Promise<Report> => {
  const { rounds, warmUps, nodes, delaysMs, restMs } = SIZES[size]
  const upstream = startStreamUpstream()
  const failures: string[] = []
  const rows = []
  const rest = []
  for (const count of nodes) {
    await using cluster = await startCluster(count, { proxied: true, command: [builtBinary()] })
    const [first] = cluster.members as [TestMember]
    await first.running.addServer('live', upstream.url, { kind: 'http' })
    await cluster.spread()
    rest.push({ nodes: count, percent: await restPercent(cluster, restMs) })
    for (const delayMs of delaysMs) {
      await cluster.delay(delayMs)
      for (let at = 0; at < warmUps; at += 1) await play(cluster, upstream)
      const played: Round[] = []
      for (let at = 0; at < rounds; at += 1) played.push(await play(cluster, upstream))
      const figures = (of: (round: Round) => number) => figuresOf(played.map(of))
      failures.push(...played.flatMap((round) => round.failures.map((why) => `${count} nodes, ${delayMs} ms: ${why}`)))
      rows.push({
        ...{ nodes: count, delayMs },
        lastMs: figures(({ lastMs }) => lastMs),
        ackMs: figures(({ ackMs }) => ackMs),
        answerMs: figures(({ answerMs }) => answerMs),
      })
    }
  }
  upstream.stop()
  return {
    text: `Milliseconds from a revocation's request to the last end on the last of so many nodes (${rounds} rounds; ${delaysMs.join(' and ')} ms each way)

${table(
  ['', 'delay', 'last end: median', 'p99', 'max', 'last ack: median', 'p99', 'answer: median', 'p99'],
  rows.map(({ nodes: count, delayMs, lastMs, ackMs, answerMs }) => [
    `${count} nodes`,
    `${delayMs}`,
    ...[lastMs.median, lastMs.p99, lastMs.max, ackMs.median, ackMs.p99, answerMs.median, answerMs.p99].map(ms),
  ]),
)}

At rest a node spends on each of its peers, of one processor: ${rest
      .map(({ nodes: count, percent }) => `${percent.toFixed(2)}% of ${count} nodes`)
      .join(', ')}`,
    checks: rows.map(({ nodes: count, delayMs, lastMs }): Check => ({
      what: `${count} nodes, ${delayMs} ms apart: revoke to the last end, p99`,
      value: lastMs.p99,
      unit: 'ms',
      target: delayMs + BEYOND_MS,
      side: 'at most',
      stretch: null,
    })),
    data: { rounds, rows, rest },
    failures,
    missing: [],
  }
}
