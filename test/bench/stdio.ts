import { readFileSync } from 'node:fs'
import { builtBinary } from '../support/binary.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import type { Bench, Check, Report } from './bench.ts'
import { type Child, startChild } from './child.ts'
import { type Figures, figuresOf, median, percentile, type Ratio, ratioOf } from './figures.ts'
import { type Gateway, startGateways, STDIO_SERVER } from './gateways.ts'
import type { Rate, Target } from './load.ts'
import { endSession, openSession, sessionCalls } from './mcp-bytes.ts'
import { familyOf, ownCpuMsOf, ownResidentKiBOf, residentKiBOf } from './meter.ts'
import { pinned } from './machine.ts'
import { Stops } from './stops.ts'
import { ms, table } from './table.ts'

const SIZES = {
  full: { rounds: 5, starts: 4, calls: 2_000, rateMs: 1_500, sessions: 20 },
  short: { rounds: 1, starts: 1, calls: 20, rateMs: 200, sessions: 2 },
}
const AT_ONCE = 100

interface Contender extends Gateway {
  /** It starts a process for each session; else one is all clients'. */
  processEach: boolean
}

/** The executable, as users run it, with the server as a command: one process a session, and one for all. */
const startGate = async (stops: Stops): Promise<Contender[]> => {
  const node = stops.add(await startNode({ command: pinned('contender', [builtBinary()]) }))
  await node.addCommand('each', STDIO_SERVER)
  await node.addCommand('shared', STDIO_SERVER, { shared: true })
  const { token } = await node.createToken('bench', ['each', 'shared'])
  const port = Number(new URL(node.gate).port)
  return ['each', 'shared'].map((server) => ({
    name: server === 'each' ? 'gate' : 'gate, shared',
    processEach: server === 'each',
    pid: node.pid,
    endpoint: { port, path: `/s/${server}/mcp`, token },
  }))
}

/** The processes of servers that a gateway has: without what else it may have started. */
const serversOf = (pid: number): number[] =>
  familyOf(pid)
    .slice(1)
    .filter((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('mcp-server.ts'))

/** From `initialize` to its answer; where each session has a process, it is started in between. */
const startOnce = async ({ name, pid, endpoint, processEach }: Contender): Promise<number> => {
  const before = serversOf(pid).length
  const { tookMs, headers } = await openSession(endpoint)
  await endSession(endpoint, headers)
  if (!processEach) return tookMs
  // What is still ending would take from the next one's core.
  await eventually(() => serversOf(pid).length <= before, {
    timeoutMs: 20_000,
    what: `the process of the session ended: ${name}`,
  })
  return tookMs
}

/** What a session takes, and what of it the gateway itself does: the rest is the process of the server. */
const memoryOfSession = async ({ pid, endpoint }: Gateway, sessions: number) => {
  // One that has just ended has no memory to tell of.
  const look = () => eventually(() => ({ all: residentKiBOf(pid), own: ownResidentKiBOf(pid) }))
  const before = await look()
  const opened: Record<string, string>[] = []
  for (let at = 0; at < sessions; at += 1) opened.push((await openSession(endpoint)).headers)
  const after = await look()
  for (const headers of opened) await endSession(endpoint, headers)
  return { allKiB: (after.all - before.all) / sessions, ownKiB: (after.own - before.own) / sessions }
}

const targetOf = async ({ endpoint }: Gateway): Promise<Target> => ({
  port: endpoint.port,
  requests: await sessionCalls(endpoint),
  status: '200',
  holds: '"result"',
})

interface Row {
  name: string
  processEach: boolean
  startMs: number[]
  /** Medians and 99th percentiles of each round. */
  callMs: { median: number[]; p99: number[] }
  perSecond: number[]
  cpuUs: number[]
  memory: { allKiB: number; ownKiB: number }
}

/** A server that is a command, behind ours and behind the gateways of npm: starts, calls, calls at once, memory. */
export const run: Bench = async (size): Promise<Report> => {
  const { rounds, starts, calls, rateMs, sessions } = SIZES[size]
  await using stops = new Stops()
  const client: Child = stops.add(startChild('load.ts'))
  const { gateways: peers, missing } = await startGateways(stops)
  // The one shares its process among all clients, and says nothing of it.
  const theirs = peers.map((peer) => ({ ...peer, processEach: peer.name.startsWith('supergateway') }))
  const gateways = [...(await startGate(stops)), ...theirs]
  const rows = gateways.map(({ name, processEach }): Row => {
    return {
      name,
      processEach,
      startMs: [],
      callMs: { median: [], p99: [] },
      perSecond: [],
      cpuUs: [],
      memory: { allKiB: Number.NaN, ownKiB: Number.NaN },
    }
  })
  const each = async (what: (gateway: Contender, row: Row, at: number) => Promise<void>) => {
    for (const [at, gateway] of gateways.entries()) await what(gateway, rows[at] as Row, at)
  }

  // The first one reads the server's files from the disk.
  await each(async (gateway) => void (await startOnce(gateway)))
  for (let round = 0; round < rounds * starts; round += 1)
    await each(async (gateway, row) => void row.startMs.push(await startOnce(gateway)))

  // Before the calls: what they leave behind is collected at some time or other.
  await each(async (gateway, row) => void (row.memory = await memoryOfSession(gateway, sessions)))

  const targets = await Promise.all(gateways.map(targetOf))
  await client.call('alternate', { targets, count: calls / 10 })
  for (let round = 0; round < rounds; round += 1) {
    const latencies = await client.call<number[][]>('alternate', { targets, count: calls / rounds })
    await each(async ({ pid }, row, at) => {
      row.callMs.median.push(median(latencies[at] ?? []))
      row.callMs.p99.push(percentile(latencies[at] ?? [], 99))
      const cpuBefore = ownCpuMsOf(pid)
      const rate = await client.call<Rate>('rate', { target: targets[at], connections: AT_ONCE, ms: rateMs })
      row.perSecond.push((rate.answers * 1_000) / rate.tookMs)
      row.cpuUs.push(((ownCpuMsOf(pid) - cpuBefore) * 1_000) / rate.answers)
    })
  }

  const against = theirs.map(({ name, processEach }) => {
    const ours = rows.find((row) => row.name.startsWith('gate') && row.processEach === processEach)
    const peer = rows.find((row) => row.name === name)
    if (!ours || !peer) throw new Error(`nothing to compare with ${name}`)
    return {
      name: `${name} (${ours.name})`,
      start: ratioOf(name, ours.startMs, peer.startMs),
      call: ratioOf(name, ours.callMs.median, peer.callMs.median),
      tail: ratioOf(name, ours.callMs.p99, peer.callMs.p99),
      rate: ratioOf(name, ours.perSecond, peer.perSecond),
    }
  })
  const checks = against.flatMap(({ name, start, call, rate }): Check[] => [
    { what: `a command: initialize, of ${name}'s`, value: start.ratio, unit: '×', ...atMost(1.1) },
    { what: `a command: a call, median, of ${name}'s`, value: call.ratio, unit: '×', ...atMost(1) },
    {
      what: `a command: calls a second, ${AT_ONCE} at once, of ${name}'s`,
      ...{ value: rate.ratio, unit: '×', target: 1, side: 'at least', stretch: null },
    },
  ])
  const figures = rows.map(({ startMs, ...rest }) => ({ start: figuresOf(startMs), ...rest }))
  return {
    text: text(figures, against, { rounds, sessions, calls }),
    checks,
    data: { rounds, figures, against },
    failures: [],
    missing,
  }
}

const atMost = (target: number) => ({ target, side: 'at most', stretch: null }) as const

const text = (
  figures: (Omit<Row, 'startMs'> & { start: Figures })[],
  against: { name: string; start: Ratio; call: Ratio; tail: Ratio; rate: Ratio }[],
  { rounds, sessions, calls }: { rounds: number; sessions: number; calls: number },
): string => `A server that is a command (medians of ${rounds} rounds)

${table(
  [
    '',
    'processes',
    'initialize, ms',
    'call, ms',
    'p99',
    `a second, ${AT_ONCE} at once`,
    'µs of CPU a call',
    'KiB a session',
    'with its process',
  ],
  figures.map(({ name, processEach, start, callMs, perSecond, cpuUs, memory }) => [
    name,
    processEach ? 'one a session' : 'one for all',
    ...[start.median, median(callMs.median), median(callMs.p99)].map(ms),
    ...[median(perSecond), median(cpuUs), memory.ownKiB, memory.allKiB].map((value) => value.toFixed(0)),
  ]),
)}

One client, one call after the other, in turn (${calls} calls each); memory is what each of ${sessions} sessions adds.

Ours, of theirs, round by round

${table(
  ['', 'initialize', 'call', 'p99', 'a second'],
  against.map(({ name, start, call, tail, rate }) => [
    name,
    ...[start, call, tail, rate].map(({ ratio, min, max }) => `${ms(ratio)} (${ms(min)}–${ms(max)})`),
  ]),
)}`
