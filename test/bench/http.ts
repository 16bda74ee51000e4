import type { Bench } from './bench.ts'
import { startChild } from './child.ts'
import { median, ratioOf } from './figures.ts'
import { cpuMsOf } from './meter.ts'
import { startPeers } from './peers.ts'
import { direct, type ReverseProxy, startGate, startPlain } from './reverse-proxy.ts'
import { ratiosTable } from './ratios.ts'
import { Stops } from './stops.ts'
import { table } from './table.ts'
import { executableOf } from './versions.ts'
import { rateOf } from './wrk.ts'

const SIZES = { full: { rounds: 5, ms: 3_000, warmUpMs: 2_000 }, short: { rounds: 1, ms: 1_000, warmUpMs: 0 } }
const CONNECTIONS = 32
const PATH = '/small'
/** Who was on a core for less of the time than this was waiting for somebody else. */
const BUSY_PERCENT_MIN = 90

const limitOf = (busyPercent: number, loadBusyPercent: number): string => {
  if (busyPercent >= BUSY_PERCENT_MIN) return 'itself'
  return loadBusyPercent >= BUSY_PERCENT_MIN ? 'the client side' : 'neither: not quiet'
}

interface Sample {
  perSecond: number
  /** Of the contender, for each request. */
  cpuUs: number
  busyPercent: number
  /** Of the client and the origin, who share the other core. */
  loadBusyPercent: number
  medianMs: number
  p99Ms: number
}

/** Small JSON requests over kept connections: the contender alone on its core, so that it is what limits the rate. */
export const run: Bench = async (size) => {
  const { rounds, ms, warmUpMs } = SIZES[size]
  await using stops = new Stops()
  const client = stops.add(startChild('load.ts'))
  const origin = stops.add(startChild('json-origin.ts'))
  const originPort = await origin.call<number>('port')

  const gate = stops.add(await startGate(`http://127.0.0.1:${originPort}`))
  const plain = stops.add(await startPlain(originPort))
  const { peers, missing } = await startPeers(stops, ['nginx', 'caddy'], originPort)
  const contenders: ReverseProxy[] = [gate, plain, ...peers, direct('origin', origin.pid, originPort)]

  const sample = async (proxy: ReverseProxy, forMs: number): Promise<Sample> => {
    const [cpuBefore, originBefore] = [cpuMsOf(proxy.pid), cpuMsOf(origin.pid)]
    const rate = await rateOf(client, proxy, { path: PATH, connections: CONNECTIONS, ms: forMs })
    const [cpuMs, originMs] = [cpuMsOf(proxy.pid) - cpuBefore, cpuMsOf(origin.pid) - originBefore]
    return {
      perSecond: (rate.answers * 1_000) / rate.tookMs,
      cpuUs: (cpuMs * 1_000) / rate.answers,
      busyPercent: (cpuMs * 100) / rate.tookMs,
      loadBusyPercent: ((rate.clientCpuMs + originMs) * 100) / rate.tookMs,
      medianMs: rate.medianMs,
      p99Ms: rate.p99Ms,
    }
  }
  if (warmUpMs > 0) for (const proxy of contenders) await sample(proxy, warmUpMs)
  const samples = contenders.map((): Sample[] => [])
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, proxy] of contenders.entries()) samples[at]?.push(await sample(proxy, ms))
  }

  const rows = contenders.map(({ name }, at) => {
    const middle = (of: keyof Sample) => median((samples[at] ?? []).map((each) => each[of]))
    const row = { name, perSecond: middle('perSecond'), cpuUs: middle('cpuUs'), busyPercent: middle('busyPercent') }
    const loadBusyPercent = middle('loadBusyPercent')
    return {
      ...row,
      loadBusyPercent,
      medianMs: middle('medianMs'),
      p99Ms: middle('p99Ms'),
      limit: name === 'origin' ? 'the client side' : limitOf(row.busyPercent, loadBusyPercent),
    }
  })
  const ratios = contenders.slice(1).map(({ name }, at) => {
    const perSecond = (of: number) => (samples[of] ?? []).map((each) => each.perSecond)
    return ratioOf(name, perSecond(0), perSecond(at + 1))
  })
  const ratioTo = (name: string) => ratios.find(({ to }) => to.startsWith(name))?.ratio ?? Number.NaN
  const installed = (peer: string) => !missing.some((name) => name === peer)
  const what = 'small JSON requests a second'
  return {
    text: `Small JSON requests over ${CONNECTIONS} kept connections by ${executableOf('wrk') === null ? 'our own client, for want of wrk' : 'wrk'} (medians of ${rounds} rounds of ${ms} ms)

${table(
  ['', 'a second', 'µs of CPU', 'busy %', 'client side busy %', 'median ms', 'p99 ms', 'limited by'],
  rows.map((row) => [
    row.name,
    row.perSecond.toFixed(0),
    row.cpuUs.toFixed(1),
    row.busyPercent.toFixed(0),
    row.loadBusyPercent.toFixed(0),
    row.medianMs.toFixed(2),
    row.p99Ms.toFixed(2),
    row.limit,
  ]),
)}

The gate's rate divided by the other's in the same round (above 1 the gate is faster)

${ratiosTable(ratios)}`,
    checks: [
      ...(installed('nginx')
        ? [{ what: `${what}, of nginx's`, value: ratioTo('nginx'), target: 0.5, stretch: 0.7 }]
        : []),
      ...(installed('caddy')
        ? [{ what: `${what}, of Caddy's`, value: ratioTo('Caddy'), target: 2, stretch: null }]
        : []),
    ].map((check) => ({ ...check, unit: '×' as const, side: 'at least' as const })),
    data: { rounds, rows, ratios, samples: contenders.map(({ name }, at) => ({ name, samples: samples[at] })) },
    failures: [],
    missing,
  }
}
