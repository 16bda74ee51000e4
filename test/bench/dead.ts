import type { Bench } from './bench.ts'
import { startChild } from './child.ts'
import { figuresOf, median } from './figures.ts'
import { LiveStreams } from './live-streams.ts'
import type { Paced, Target } from './load.ts'
import { cpuMsOf } from './meter.ts'
import { direct, getBytes, type ReverseProxy, startGate } from './reverse-proxy.ts'
import { Stops } from './stops.ts'
import type { Delays } from './stream-client.ts'
import { grouped, ms, table } from './table.ts'

const SIZES = {
  full: { rounds: 9, streams: 500, perSecond: 5_000, recordMs: 3_000 },
  short: { rounds: 1, streams: 50, perSecond: 500, recordMs: 500 },
}
const EVENTS_PER_SECOND = 20
const DEAD_TOKENS = 10
/** The tries have begun when the recording does, and go on until after it. */
const LEAD_MS = 250

interface Pair {
  off: Delays
  on: Delays
  paced: Paced
  gateBusyPercent: number
}

/**
 * What live streams feel of somebody who tries dead tokens. The client of the tries shares a core with the origin and
 * the streams' client: streams that do not go through the gate at all show what that alone changes.
 */
export const run: Bench = async (size) => {
  const { rounds, streams, perSecond, recordMs } = SIZES[size]
  await using stops = new Stops()
  const origin = stops.add(startChild('origin.ts'))
  const live = new LiveStreams(origin, stops.add(startChild('stream-client.ts')))
  const stranger = stops.add(startChild('load.ts'))
  const originPort = await origin.call<number>('port')
  const gate = stops.add(await startGate(`http://127.0.0.1:${originPort}`))
  const dead = []
  for (let at = 0; at < DEAD_TOKENS; at += 1) dead.push(await gate.node.createToken(`dead ${at}`, ['origin']))
  await gate.node.revoke({ tokens: dead.map(({ id }) => id) })
  const requests = dead.map(({ token }) => getBytes({ prefix: gate.prefix, token }, '/events'))
  const target: Target = { port: gate.port, requests, status: '401', holds: 'revoked' }

  const pair = async (): Promise<Pair> => {
    const off = await live.record(recordMs)
    const cpuBefore = cpuMsOf(gate.pid)
    const pacing = stranger.call<Paced>('pace', { target, perSecond, ms: recordMs + 2 * LEAD_MS })
    await Bun.sleep(LEAD_MS)
    const on = await live.record(recordMs)
    const paced = await pacing
    const gateBusyPercent = ((cpuMsOf(gate.pid) - cpuBefore) * 100) / paced.tookMs
    return { off, on, paced, gateBusyPercent }
  }
  const pairs = async (proxy: ReverseProxy): Promise<Pair[]> => {
    await live.open(proxy, streams)
    await live.beat(EVENTS_PER_SECOND)
    await pair()
    const all: Pair[] = []
    for (let round = 0; round < rounds; round += 1) all.push(await pair())
    await live.close()
    return all
  }
  const through = await pairs(gate)
  const around = await pairs(direct('direct', origin.pid, originPort))

  const summary = (name: string, all: Pair[]) => {
    const middle = (of: (pair: Pair) => number) => median(all.map(of))
    const changes = figuresOf(all.map(({ off, on }) => (on.p99Ms / off.p99Ms - 1) * 100))
    return {
      name,
      offMedianMs: middle(({ off }) => off.medianMs),
      onMedianMs: middle(({ on }) => on.medianMs),
      offP99Ms: middle(({ off }) => off.p99Ms),
      onP99Ms: middle(({ on }) => on.p99Ms),
      changePercent: changes,
      addedP99Ms: middle(({ off, on }) => on.p99Ms - off.p99Ms),
      triesPerSecond: middle(({ paced }) => (paced.answers * 1_000) / paced.tookMs),
      tryP99Ms: middle(({ paced }) => paced.p99Ms),
      clientBusyPercent: middle(({ paced }) => (paced.clientCpuMs * 100) / paced.tookMs),
      gateBusyPercent: middle((each) => each.gateBusyPercent),
    }
  }
  const [throughRow, aroundRow] = [summary('through the gate', through), summary('around it', around)]
  const rows = [throughRow, aroundRow]
  return {
    text: `${streams} live streams with ${EVENTS_PER_SECOND} events a second each, beside ${perSecond} tries with dead tokens a second, off and on in turn (medians of ${rounds} rounds)

${table(
  [
    '',
    'off: median ms',
    'p99',
    'on: median ms',
    'p99',
    'change of p99 %',
    'min',
    'max',
    'tries a second',
    'p99 ms',
    'gate busy %',
  ],
  rows.map((row) => [
    row.name,
    ...[row.offMedianMs, row.offP99Ms, row.onMedianMs, row.onP99Ms].map(ms),
    ...[row.changePercent.median, row.changePercent.min, row.changePercent.max].map((value) => value.toFixed(1)),
    row.triesPerSecond.toFixed(0),
    ms(row.tryP99Ms),
    row.gateBusyPercent.toFixed(0),
  ]),
)}

The tries add ${ms(throughRow.addedP99Ms)} ms to the p99 through the gate. To streams that go around it they add ${ms(aroundRow.addedP99Ms)} ms, which is the
machine's part: whoever tries takes ${throughRow.clientBusyPercent.toFixed(0)}% of the core of the streams' client and origin.`,
    checks: [
      {
        what: `live p99 beside ${grouped(perSecond)} dead tries a second, change`,
        value: throughRow.changePercent.median,
        unit: '%',
        target: 10,
        side: 'at most',
        stretch: null,
      },
    ],
    data: { rounds, rows, through, around },
    failures: [],
    missing: [],
  }
}
