import { join } from 'node:path'
import type { Check, Report, Size } from './bench.ts'
import { startChild } from './child.ts'
import { type Figures, figuresOf, median, ratioOf } from './figures.ts'
import { startGateways, STDIO_SERVER } from './gateways.ts'
import type { Rate, Target } from './load.ts'
import { type Endpoint, sessionCalls, statelessCalls } from './mcp-bytes.ts'
import { ownCpuMsOf } from './meter.ts'
import { startProgram } from './program.ts'
import { freePort } from '../support/port.ts'
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

interface Upstream {
  runtime: Runtime
  over: 'HTTP' | 'stdio'
  era: Era
}
interface Road extends Upstream {
  name: string
  /** Null: the upstream without anybody in front. */
  pid: number | null
  /** Null: nothing of it is HTTP. */
  target: Target | null
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
  const stdioClient = stops.add(startChild('stdio-client.ts'))
  await stdioClient.call('start', STDIO_SERVER)
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
      const upstream: Upstream = { runtime, over: 'HTTP', era }
      roads.push({ name: 'direct', ...upstream, pid: null, target: await targetOf(era, bare) })
      roads.push({ name: 'gate', ...upstream, pid: gate.pid, target: await targetOf(era, throughGate) })
    }
  }
  const onHttp: Upstream = { runtime: 'Node', over: 'HTTP', era: 'sessions of 2025-11-25' }
  const onStdio: Upstream = { ...onHttp, over: 'stdio' }
  roads.push({ name: 'direct', ...onStdio, pid: null, target: null })
  for (const { name, pid, endpoint } of gateways)
    roads.push({ name, ...onStdio, pid, target: await targetOf(onStdio.era, endpoint) })

  const sample = async ({ pid, target }: Road, forMs: number): Promise<Sample> => {
    const cpuBefore = pid === null ? 0 : ownCpuMsOf(pid)
    const rate = await (target
      ? client.call<Rate>('rate', { target, connections: CONNECTIONS, ms: forMs })
      : stdioClient.call<Pick<Rate, 'answers' | 'tookMs'>>('rate', { inFlight: CONNECTIONS, ms: forMs }))
    const cpuMs = pid === null ? 0 : ownCpuMsOf(pid) - cpuBefore
    return { perSecond: (rate.answers * 1_000) / rate.tookMs, cpuUs: (cpuMs * 1_000) / rate.answers }
  }
  for (const road of roads) await sample(road, warmUpMs)
  const samples = roads.map((): Sample[] => [])
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, road] of roads.entries()) samples[at]?.push(await sample(road, rateMs))
  }
  const rateOf = (at: number) => (samples[at] ?? []).map(({ perSecond }) => perSecond)
  const find = (name: string, { runtime, over, era }: Upstream) =>
    roads.findIndex((road) => road.name === name && road.runtime === runtime && road.over === over && road.era === era)
  const rates = roads.map(({ name, runtime, over, era }, at) => {
    const cpuUs = median((samples[at] ?? []).map((each) => each.cpuUs))
    const share = ratioOf('direct', rateOf(at), rateOf(find('direct', { runtime, over, era })))
    return { name, runtime, over, era, perSecond: median(rateOf(at)), cpuUs, share }
  })

  const waits: { era: Era; directMs: Figures; gateMs: Figures; addedMedianMs: number }[] = []
  for (const era of eras) {
    const targets = ['direct', 'gate'].map((name) => roads[find(name, { ...onHttp, era })]?.target)
    await client.call('alternate', { targets, count: calls / 10 })
    const [bare = [], passed = []] = await client.call<number[][]>('alternate', { targets, count: calls })
    const addedMedianMs = median(passed) - median(bare)
    waits.push({ era, directMs: figuresOf(bare), gateMs: figuresOf(passed), addedMedianMs })
  }

  const shareOf = (name: string, upstream: Upstream) => rates[find(name, upstream)]?.share.ratio ?? Number.NaN
  const checks: Check[] = eras.flatMap((era): Check[] => [
    {
      what: `MCP calls a second, ${era}, of the upstream's own`,
      value: shareOf('gate', { ...onHttp, era }),
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
      what: `MCP calls a second, share of the upstream's own, of ${name}'s share`,
      value: shareOf('gate', onHttp) / shareOf(name, onStdio),
      ...{ unit: '×', target: 1, side: 'at least', stretch: null },
    })
  return {
    text: `Calls of a tool over ${CONNECTIONS} connections (medians of ${rounds} rounds)

${table(
  ['', 'upstream on', 'over', '', 'a second', "of the upstream's own", 'min', 'max', 'µs of CPU a call'],
  rates.map(({ name, runtime, over, era, perSecond, share: { ratio, min, max }, cpuUs }) => [
    name,
    runtime,
    over,
    era,
    perSecond.toFixed(0),
    ...[ratio, min, max].map((value) => value.toFixed(2)),
    name === 'direct' ? '' : cpuUs.toFixed(0),
  ]),
)}

The upstream's own is its rate with nobody in front, over the same transport: over stdio the server answers a multiple of
what it does over HTTP, so calls a second over the one and over the other do not compare. A share is kept more easily
beside a slow upstream; what each takes by itself is its µs of CPU a call.

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
