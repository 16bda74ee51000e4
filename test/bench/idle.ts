import type { Report, Size } from './bench.ts'
import { startChild } from './child.ts'
import { figuresOf } from './figures.ts'
import { LiveStreams } from './live-streams.ts'
import { residentKiBOf } from './meter.ts'
import { startPeers } from './peers.ts'
import { type ReverseProxy, startGate, startPlain } from './reverse-proxy.ts'
import { Stops } from './stops.ts'
import { grouped, table } from './table.ts'

/** Starting and opening leave things behind, which a runtime that collects needs a moment to be rid of. */
const SIZES = {
  full: { rounds: 5, streams: 5_000, settleMs: 1_500 },
  short: { rounds: 1, streams: 200, settleMs: 200 },
}

/**
 * What a silent stream holds in memory: a fresh process each time, since none gives all of it back. One stream is
 * open before the first look, so that what every process loads once is not counted.
 */
export const idleStreams = async (size: Size): Promise<Report> => {
  const { rounds, streams, settleMs } = SIZES[size]
  await using stops = new Stops()
  const origin = stops.add(startChild('origin.ts'))
  const live = new LiveStreams(origin, stops.add(startChild('stream-client.ts')))
  const originPort = await origin.call<number>('port')
  const samples = new Map<string, number[]>()
  const sample = async (proxy: ReverseProxy): Promise<void> => {
    await live.open(proxy, 1)
    await Bun.sleep(settleMs)
    const before = residentKiBOf(proxy.pid)
    await live.open(proxy, streams)
    await Bun.sleep(settleMs)
    const each = (residentKiBOf(proxy.pid) - before) / streams
    // HAProxy would keep its side of a stream whose client has gone.
    await proxy.stop()
    await live.close()
    samples.set(proxy.name, [...(samples.get(proxy.name) ?? []), each])
  }
  const lacking = new Set<string>()
  for (let round = 0; round < rounds; round += 1) {
    await sample(stops.add(await startGate(`http://127.0.0.1:${originPort}`)))
    await sample(stops.add(await startPlain(originPort)))
    const { peers, missing } = await startPeers(stops, ['nginx', 'haproxy'], originPort)
    for (const peer of peers) await sample(peer)
    for (const name of missing) lacking.add(name)
  }
  const rows = [...samples].map(([name, values]) => ({ name, ...figuresOf(values) }))
  return {
    text: `Resident memory of each of ${streams} silent streams, KiB (${rounds} rounds)

${table(
  ['', 'median', 'min', 'max'],
  rows.map(({ name, median, min, max }) => [name, ...[median, min, max].map((value) => value.toFixed(1))]),
)}`,
    checks: [
      {
        what: `an idle stream of ${grouped(streams)}, resident`,
        value: rows.find(({ name }) => name === 'gate')?.median ?? Number.NaN,
        unit: 'KiB',
        target: 24,
        side: 'at most',
        stretch: 16,
      },
    ],
    data: { rounds, rows },
    failures: [],
    missing: [...lacking],
  }
}
