import { eventually } from '../support/poll.ts'
import type { Bench, Check } from './bench.ts'
import { startChild } from './child.ts'
import { type Contender, type Played, startFloors, startGate, startHaproxyContender } from './contender.ts'
import { type Ratio, ratioOf } from './figures.ts'
import { figuresTable, receiptsTable, roundsOf, rowOf } from './kill-row.ts'
import { ratiosTable } from './ratios.ts'
import { Stops } from './stops.ts'
import { grouped } from './table.ts'

/** Kills of one stream in a round: 280 in all, so that a 99th percentile means something. */
const SIZES = {
  full: { rounds: 7, singles: 40, many: [1_000, 5_000] },
  short: { rounds: 1, singles: 2, many: [100] },
}

const GATE = 'gate'
const COLD = 'gate, first kill of a process'
const FLOOR = 'floor (end)'

/** How long a kill takes, as the client sees it, beside HAProxy's and the least that sockets cost. */
export const run: Bench = async (size) => {
  const { rounds, singles, many } = SIZES[size]
  const sizes = [1, ...many]
  const samples = new Map<string, Played[]>()
  const failures: string[] = []
  await using stops = new Stops()
  const origin = stops.add(startChild('origin.ts'))
  const client = stops.add(startChild('client.ts'))
  const playedBy = (name: string, streams: number): Played[] => samples.get(`${name} ${streams}`) ?? []
  const play = async (contender: Contender, streams: number): Promise<Played> => {
    const played = await contender.play(streams)
    const quiet = () => origin.call<number>('open').then((open) => open === 0)
    await eventually(quiet).catch(() => played.failures.push('streams of the origin were not let go of'))
    failures.push(...played.failures.map((failure) => `${contender.name}, ${streams} streams: ${failure}`))
    return played
  }
  const measure = async (contender: Contender, streams: number): Promise<void> => {
    const before = playedBy(contender.name, streams)
    samples.set(`${contender.name} ${streams}`, [...before, await play(contender, streams)])
  }

  const originPort = await origin.call<number>('port')
  const gate = stops.add(await startGate(GATE, client, originPort))
  const cold = stops.add(await startGate(COLD, client, originPort, true))
  const haproxy = await startHaproxyContender(client, originPort)
  const others = [...(haproxy ? [stops.add(haproxy)] : []), ...(await startFloors(client)).map((it) => stops.add(it))]
  const contenders = [gate, ...others]

  // The client must be as warm for the first contender as for the last.
  for (const contender of contenders) for (const streams of sizes.slice(0, 2)) await play(contender, streams)
  for (let at = 0; at < rounds; at += 1) {
    console.error(`round ${at + 1} of ${rounds}`)
    await measure(cold, 1)
    for (const streams of sizes) {
      for (let turn = 0; turn < (streams === 1 ? singles : 1); turn += 1) {
        for (const contender of contenders) await measure(contender, streams)
      }
    }
  }

  const row = (name: string, streams: number) => rowOf(name, streams, playedBy(name, streams))
  const rows = [row(COLD, 1), ...sizes.flatMap((streams) => contenders.map(({ name }) => row(name, streams)))]
  const ratioTo = (name: string, streams: number): Ratio => {
    const [own, other] = [GATE, name].map((each) => roundsOf(playedBy(each, streams), rounds))
    return ratioOf(`${name}, ${streams} streams`, own ?? [], other ?? [])
  }
  const ratios = sizes.flatMap((streams) => others.map(({ name }) => ratioTo(name, streams)))
  const one = row(GATE, 1)
  const checks: Check[] = [
    {
      what: 'kill 1 stream, p99',
      value: one.lastMs.p99,
      unit: 'ms',
      target: 5,
      side: 'at most',
      stretch: (one.reported?.commitMs.p99 ?? Number.NaN) + 1,
    },
    ...many.flatMap((streams): Check[] => {
      const against = (name: string, of: string, target: number, stretch: number): Check => ({
        what: `kill ${grouped(streams)} streams, last end seen, of ${of}`,
        value: ratioTo(name, streams).ratio,
        unit: '×',
        target,
        side: 'at most',
        stretch,
      })
      return [
        ...(haproxy ? [against(haproxy.name, "HAProxy's", 1, 0.7)] : []),
        against(FLOOR, "the floor's (raw sockets)", 2.5, 1.5),
      ]
    }),
  ]
  return {
    text: `Milliseconds from sending the command to what the client saw

${figuresTable(rows)}

The gate's last end divided by the other's in the same round (median; below 1 the gate is faster)

${ratiosTable(ratios)}

The receipt beside what the client saw (medians; behind: the last end seen, less the last cut reported)

${receiptsTable(rows)}`,
    checks,
    data: { rounds, rows, ratios },
    failures,
    missing: haproxy ? [] : ['haproxy'],
  }
}
