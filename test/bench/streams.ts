import type { Bench, Check, Report, Size } from './bench.ts'
import { startChild } from './child.ts'
import { median, ratioOf } from './figures.ts'
import { idleStreams } from './idle.ts'
import { joined } from './joined.ts'
import { LiveStreams } from './live-streams.ts'
import { cpuMsOf } from './meter.ts'
import { startPeers } from './peers.ts'
import { ratiosTable } from './ratios.ts'
import { direct, type ReverseProxy, startGate, startPlain } from './reverse-proxy.ts'
import { Stops } from './stops.ts'
import { ms, table } from './table.ts'
import type { Delays } from './stream-client.ts'

const SIZES = {
  full: { rounds: 5, streams: 500, settleMs: 500, recordMs: 3_000 },
  short: { rounds: 1, streams: 100, settleMs: 200, recordMs: 1_000 },
}
const EVENTS_PER_SECOND = 20
type Sample = Delays & { cpuUs: number }

/** What a proxy adds to each event of many streams, and what that costs it. */
const busyStreams = async (size: Size): Promise<Report> => {
  const { rounds, streams, settleMs, recordMs } = SIZES[size]
  await using stops = new Stops()
  const origin = stops.add(startChild('origin.ts'))
  const live = new LiveStreams(origin, stops.add(startChild('stream-client.ts')))
  const originPort = await origin.call<number>('port')
  const gate = stops.add(await startGate(`http://127.0.0.1:${originPort}`))
  const plain = stops.add(await startPlain(originPort))
  const { peers, missing } = await startPeers(stops, ['nginx'], originPort)
  const contenders: ReverseProxy[] = [gate, plain, ...peers, direct('direct', origin.pid, originPort)]

  const sample = async (proxy: ReverseProxy): Promise<Sample> => {
    await live.open(proxy, streams)
    await live.beat(EVENTS_PER_SECOND)
    await live.record(settleMs)
    const cpuBefore = cpuMsOf(proxy.pid)
    const delays = await live.record(recordMs)
    const cpuUs = ((cpuMsOf(proxy.pid) - cpuBefore) * 1_000) / delays.count
    await live.close()
    return { ...delays, cpuUs }
  }
  const samples = contenders.map((): Sample[] => [])
  for (const proxy of contenders) await sample(proxy)
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, proxy] of contenders.entries()) samples[at]?.push(await sample(proxy))
  }
  const valuesOf = (name: string, of: keyof Sample): number[] =>
    (samples[contenders.findIndex((it) => it.name === name)] ?? []).map((each) => each[of])
  const rows = contenders.map(({ name }) => {
    const added = (of: 'medianMs' | 'p99Ms') => {
      const bare = valuesOf('direct', of)
      return median(valuesOf(name, of).map((value, at) => value - (bare[at] ?? Number.NaN)))
    }
    const middle = (of: keyof Sample) => median(valuesOf(name, of))
    return {
      name,
      medianMs: middle('medianMs'),
      p99Ms: middle('p99Ms'),
      maxMs: middle('maxMs'),
      addedMedianMs: added('medianMs'),
      addedP99Ms: added('p99Ms'),
      cpuUs: middle('cpuUs'),
    }
  })
  const cpuRatios = [plain, ...peers].map(({ name }) =>
    ratioOf(name, valuesOf('gate', 'cpuUs'), valuesOf(name, 'cpuUs')),
  )
  const nginxCpu = cpuRatios.find(({ to }) => to.startsWith('nginx'))?.ratio
  const checks: Check[] = [
    {
      what: `an event of ${streams} streams, added delay, p99`,
      value: rows[0]?.addedP99Ms ?? Number.NaN,
      unit: 'ms',
      target: 3,
      side: 'at most',
      stretch: null,
    },
  ]
  if (nginxCpu !== undefined)
    checks.push({
      what: `an event of ${streams} streams, CPU, of nginx's`,
      value: nginxCpu,
      unit: '×',
      target: 3,
      side: 'at most',
      stretch: 1.5,
    })
  const text = `${streams} streams with ${EVENTS_PER_SECOND} events a second each, from the origin's write until the client has it (medians of ${rounds} rounds)

${table(
  ['', 'median ms', 'p99 ms', 'max ms', 'added: median', 'p99', 'µs of CPU an event'],
  rows.map((row) => [
    row.name,
    ...[row.medianMs, row.p99Ms, row.maxMs, row.addedMedianMs, row.addedP99Ms].map(ms),
    row.cpuUs.toFixed(1),
  ]),
)}

The gate's CPU an event divided by the other's in the same round (below 1 the gate is cheaper)

${ratiosTable(cpuRatios)}`
  return { text, checks, data: { rounds, rows, cpuRatios, samples }, failures: [], missing }
}

/** Streams that speak, and streams that are silent. */
export const run: Bench = async (size) => joined({ busy: await busyStreams(size), idle: await idleStreams(size) })
