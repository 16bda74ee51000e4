import { join } from 'node:path'
import type { Check, Report, Size } from './bench.ts'
import { startChild } from './child.ts'
import { type Figures, figuresOf, median, ratioOf } from './figures.ts'
import { startGateways } from './gateways.ts'
import type { Rate, Target } from './load.ts'
import { type Endpoint, sessionCalls, statelessCalls } from './mcp-bytes.ts'
import { ownCpuMsOf } from './meter.ts'
import { freePort, startProgram } from './program.ts'
import { startGate } from './reverse-proxy.ts'
import { Stops } from './stops.ts'
import { ms, table } from './table.ts'
import { NODE } from './versions.ts'

const SIZES = {
  full: { rounds: 5, rateMs: 1_500, warmUpMs: 1_500, calls: 2_000 },
  short: { rounds: 1, rateMs: 200, warmUpMs: 100, calls: 20 },
}
const CONNECTIONS = 16

const ERAS = {
  'sessions of 2025-11-25': { path: '/session', callsTo: sessionCalls },
  '2026-07-28': { path: '/stateless', callsTo: statelessCalls },
}
type Era = keyof typeof ERAS
const eras = Object.keys(ERAS) as Era[]

/**
 * What runs the upstream. Node, as the SDK's own pages do, is what is compared with; on Bun the same lines answer in so
 * little time that hardly anything can stand in front unseen.
 */
const RUNTIMES = { Node: NODE, Bun: process.execPath }
type Runtime = keyof typeof RUNTIMES

interface Road {
  name: string
  runtime: Runtime
  era: Era
  /** Null: the upstream without anybody in front. */
  pid: number | null
  target: Target
}
type Sample = { perSecond: number; cpuUs: number }

const targetOf = async (era: Era, endpoint: Endpoint): Promise<Target> => {
  return { port: endpoint.port, requests: await ERAS[era].callsTo(endpoint), status: '200', holds: '"result"' }
}

/** Calls of a tool: how many pass a second, and what one waits, beside the upstream without anybody in front. */
export const mcpCalls = async (size: Size): Promise<Report> => {
  const { rounds, rateMs, warmUpMs, calls } = SIZES[size]
  await using stops = new Stops()
  const client = stops.add(startChild('load.ts'))
  const { gateways, missing } = await startGateways(stops)

  const roads: Road[] = []
  for (const [runtime, executable] of Object.entries(RUNTIMES) as [Runtime, string][]) {
    const port = freePort()
    const command = () => [executable, join(import.meta.dir, 'mcp-server.ts'), 'http', `${port}`]
    stops.add(await startProgram({ name: `the MCP server on ${runtime}`, side: 'load', port, command }))
    const gate = stops.add(await startGate(`http://127.0.0.1:${port}`, 'auto'))
    for (const era of eras) {
      const { path } = ERAS[era]
      const throughGate = { port: gate.port, path: gate.prefix + path, token: gate.token }
      const bare = { port, path, token: null }
      roads.push({ name: 'direct', runtime, era, pid: null, target: await targetOf(era, bare) })
      roads.push({ name: 'gate', runtime, era, pid: gate.pid, target: await targetOf(era, throughGate) })
    }
  }
  const [first] = eras
  for (const { name, pid, endpoint } of gateways) {
    const era = first as Era
    roads.push({ name: `${name}, stdio`, runtime: 'Node', era, pid, target: await targetOf(era, endpoint) })
  }

  const sample = async ({ pid, target }: Road, forMs: number): Promise<Sample> => {
    const cpuBefore = pid === null ? 0 : ownCpuMsOf(pid)
    const rate = await client.call<Rate>('rate', { target, connections: CONNECTIONS, ms: forMs })
    const cpuMs = pid === null ? 0 : ownCpuMsOf(pid) - cpuBefore
    return { perSecond: (rate.answers * 1_000) / rate.tookMs, cpuUs: (cpuMs * 1_000) / rate.answers }
  }
  for (const road of roads) await sample(road, warmUpMs)
  const samples = roads.map((): Sample[] => [])
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, road] of roads.entries()) samples[at]?.push(await sample(road, rateMs))
  }
  const rateOf = (at: number) => (samples[at] ?? []).map(({ perSecond }) => perSecond)
  const find = (name: string, runtime: Runtime, era: Era) =>
    roads.findIndex((road) => road.name.startsWith(name) && road.runtime === runtime && road.era === era)
  const rates = roads.map(({ name, runtime, era }, at) => {
    const cpuUs = median((samples[at] ?? []).map((each) => each.cpuUs))
    const share = ratioOf('direct', rateOf(at), rateOf(find('direct', runtime, era)))
    return { name, runtime, era, perSecond: median(rateOf(at)), cpuUs, share }
  })

  const waits: { era: Era; directMs: Figures; gateMs: Figures; addedMedianMs: number }[] = []
  for (const era of eras) {
    const targets = ['direct', 'gate'].map((name) => roads[find(name, 'Node', era)]?.target)
    await client.call('alternate', { targets, count: calls / 10 })
    const [bare = [], passed = []] = await client.call<number[][]>('alternate', { targets, count: calls })
    const addedMedianMs = median(passed) - median(bare)
    waits.push({ era, directMs: figuresOf(bare), gateMs: figuresOf(passed), addedMedianMs })
  }

  const shareOf = (name: string, era: Era) => rates[find(name, 'Node', era)]?.share.ratio ?? Number.NaN
  const checks: Check[] = eras.flatMap((era): Check[] => [
    {
      what: `MCP calls a second, ${era}, of the upstream's own`,
      value: shareOf('gate', era),
      ...{ unit: '×', target: 0.85, side: 'at least', stretch: 0.95 },
    },
    {
      what: `MCP call, ${era}, added at the median`,
      value: waits.find((wait) => wait.era === era)?.addedMedianMs ?? Number.NaN,
      ...{ unit: 'ms', target: 0.5, side: 'at most', stretch: 0.2 },
    },
  ])
  for (const { name } of gateways)
    checks.push({
      what: `MCP calls a second, of ${name}'s`,
      value: shareOf('gate', first as Era) / shareOf(name, first as Era),
      ...{ unit: '×', target: 1, side: 'at least', stretch: null },
    })
  return {
    text: `Calls of a tool over ${CONNECTIONS} connections (medians of ${rounds} rounds)

${table(
  ['', 'upstream on', '', 'a second', "of the upstream's own", 'min', 'max', 'µs of CPU'],
  rates.map(({ name, runtime, era, perSecond, share: { ratio, min, max }, cpuUs }) => [
    name,
    runtime,
    era,
    perSecond.toFixed(0),
    ...[ratio, min, max].map((value) => value.toFixed(2)),
    name === 'direct' ? '' : cpuUs.toFixed(0),
  ]),
)}

One client, one call after the other, in turn (${calls} calls each, upstream on Node), milliseconds

${table(
  ['', 'direct: median', 'p99', 'through the gate: median', 'p99', 'added at the median'],
  waits.map(({ era, directMs, gateMs, addedMedianMs }) => [
    era,
    ...[directMs.median, directMs.p99, gateMs.median, gateMs.p99, addedMedianMs].map(ms),
  ]),
)}`,
    checks,
    data: { rounds, rates, waits },
    failures: [],
    missing,
  }
}
