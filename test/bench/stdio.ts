import { builtBinary } from '../support/binary.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import type { Bench, Check, Report } from './bench.ts'
import { type Child, startChild } from './child.ts'
import { type Figures, figuresOf, median, percentile, type Ratio, ratioOf } from './figures.ts'
import { type Gateway, startGateways, STDIO_SERVER } from './gateways.ts'
import type { Rate, Target } from './load.ts'
import { endSession, openSession, sessionCalls } from './mcp-bytes.ts'
import { familyOf, ownCpuMsOf, ownResidentKiBOf } from './meter.ts'
import { pinned } from './machine.ts'
import { Stops } from './stops.ts'
import { ms, table } from './table.ts'

const SIZES = {
  full: { rounds: 5, starts: 4, calls: 2_000, rateMs: 1_500, sessions: 20 },
  short: { rounds: 1, starts: 1, calls: 20, rateMs: 200, sessions: 2 },
}
const AT_ONCE = 100
const GATE = 'gate'

/** The executable, as users run it, with the server as a command. */
const startGate = async (stops: Stops): Promise<Gateway> => {
  const node = stops.add(await startNode({ command: pinned('contender', [builtBinary()]) }))
  await node.addCommand('bench', STDIO_SERVER)
  const { token } = await node.createToken('bench', ['bench'])
  return { name: GATE, pid: node.pid, endpoint: { port: Number(new URL(node.gate).port), path: '/s/bench/mcp', token } }
}

/** From `initialize` to its answer, its process started in between. */
const startOnce = async ({ pid, endpoint }: Gateway): Promise<number> => {
  const before = familyOf(pid).length
  const { tookMs, headers } = await openSession(endpoint)
  await endSession(endpoint, headers)
  // What is still ending would take from the next one's core.
  await eventually(() => familyOf(pid).length <= before, {
    timeoutMs: 20_000,
    what: 'the process of the session ended',
  })
  return tookMs
}

/** What a session takes in the gateway itself; its process is the server's own business. */
const kiBOfSession = async ({ pid, endpoint }: Gateway, sessions: number): Promise<number> => {
  const before = ownResidentKiBOf(pid)
  const opened: Record<string, string>[] = []
  for (let at = 0; at < sessions; at += 1) opened.push((await openSession(endpoint)).headers)
  const each = (ownResidentKiBOf(pid) - before) / sessions
  for (const headers of opened) await endSession(endpoint, headers)
  return each
}

const targetOf = async ({ endpoint }: Gateway): Promise<Target> => ({
  port: endpoint.port,
  requests: await sessionCalls(endpoint),
  status: '200',
  holds: '"result"',
})

interface Row {
  name: string
  startMs: number[]
  /** Medians and 99th percentiles of each round. */
  callMs: { median: number[]; p99: number[] }
  perSecond: number[]
  cpuUs: number[]
  sessionKiB: number
}

/** A server that is a command, behind ours and behind the gateways of npm: starts, calls, calls at once, memory. */
export const run: Bench = async (size): Promise<Report> => {
  const { rounds, starts, calls, rateMs, sessions } = SIZES[size]
  await using stops = new Stops()
  const client: Child = stops.add(startChild('load.ts'))
  const { gateways: peers, missing } = await startGateways(stops)
  const gateways = [await startGate(stops), ...peers]
  const rows = gateways.map(({ name }): Row => {
    return { name, startMs: [], callMs: { median: [], p99: [] }, perSecond: [], cpuUs: [], sessionKiB: Number.NaN }
  })
  const each = async (what: (gateway: Gateway, row: Row, at: number) => Promise<void>) => {
    for (const [at, gateway] of gateways.entries()) await what(gateway, rows[at] as Row, at)
  }

  // The first one reads the server's files from the disk.
  await each(async (gateway) => void (await startOnce(gateway)))
  for (let round = 0; round < rounds * starts; round += 1)
    await each(async (gateway, row) => void row.startMs.push(await startOnce(gateway)))

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
  await each(async (gateway, row) => void (row.sessionKiB = await kiBOfSession(gateway, sessions)))

  const [ours, ...others] = rows
  if (!ours) throw new Error('no gate')
  const against = others.map(({ name, startMs, callMs, perSecond }) => ({
    name,
    start: ratioOf(name, ours.startMs, startMs),
    call: ratioOf(name, ours.callMs.median, callMs.median),
    tail: ratioOf(name, ours.callMs.p99, callMs.p99),
    rate: ratioOf(name, ours.perSecond, perSecond),
  }))
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
): string => `A server that is a command, one process a session (medians of ${rounds} rounds)

${table(
  ['', 'initialize, ms', 'call, ms', 'p99', `a second, ${AT_ONCE} at once`, 'µs of CPU a call', 'KiB a session'],
  figures.map(({ name, start, callMs, perSecond, cpuUs, sessionKiB }) => [
    name,
    ...[start.median, median(callMs.median), median(callMs.p99)].map(ms),
    ...[median(perSecond), median(cpuUs), sessionKiB].map((value) => value.toFixed(0)),
  ]),
)}

One client, one call after the other, in turn (${calls} calls each); memory is the gateway's own for each of ${sessions} sessions.

Of theirs, round by round

${table(
  ['', 'initialize', 'call', 'p99', 'a second'],
  against.map(({ name, start, call, tail, rate }) => [
    name,
    ...[start, call, tail, rate].map(({ ratio, min, max }) => `${ms(ratio)} (${ms(min)}–${ms(max)})`),
  ]),
)}`
