import { cpus } from 'node:os'
import { join } from 'node:path'
import { eventually } from '../support/poll.ts'
import { startChild } from './child.ts'
import { type Contender, type Played, startFloors, startGate, startHaproxyContender } from './contender.ts'
import { type Row, figuresTable, ratioOf, ratiosTable, receiptsTable, rowOf } from './report.ts'
import { ms } from './table.ts'

const ROUNDS = 7
/** Kills of one stream in a round: 280 in all, so that a 99th percentile means something. */
const SINGLES = 40
const SIZES = [1, 1_000, 5_000]
const OUT = 'dist/bench-kill.json'

const TARGETS = [
  { streams: 1, what: 'median', targetMs: 3 },
  { streams: 1, what: 'p99', targetMs: 10 },
  { streams: 1_000, what: 'median', targetMs: 40 },
] as const

const GATE = 'gate'
const COLD = 'gate, first kill of a process'

const targetLine = (rows: Row[], { streams, what, targetMs }: (typeof TARGETS)[number]): string => {
  const isMs = rows.find((row) => row.contender === GATE && row.streams === streams)?.lastMs[what] ?? Number.NaN
  return `${streams} streams, ${what}: ${ms(isMs)} of ${targetMs} ms: ${isMs <= targetMs ? 'reached' : 'MISSED'}`
}

/** How long a kill takes, as the client sees it, beside HAProxy's and the least that sockets cost. */
export const run = async (): Promise<string[]> => {
  const samples = new Map<string, Played[]>()
  const failures: string[] = []
  const origin = startChild('origin.ts')
  const client = startChild('client.ts')
  const stops: (() => Promise<unknown>)[] = [origin.stop, client.stop]
  const keep = (contender: Contender): Contender => {
    stops.unshift(contender.stop)
    return contender
  }
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

  try {
    const originPort = await origin.call<number>('port')
    const gate = keep(await startGate(GATE, client, originPort))
    const cold = keep(await startGate(COLD, client, originPort, true))
    const haproxy = await startHaproxyContender(client, originPort, Math.max(...SIZES))
    if (!haproxy) console.log('HAProxy is not installed: its rows are missing')
    const others = [...(haproxy ? [keep(haproxy)] : []), ...(await startFloors(client)).map(keep)]
    const contenders = [gate, ...others]

    // The client must be as warm for the first contender as for the last.
    for (const contender of contenders) for (const streams of [1, 1_000]) await play(contender, streams)
    for (let at = 0; at < ROUNDS; at += 1) {
      console.error(`round ${at + 1} of ${ROUNDS}`)
      await measure(cold, 1)
      for (const streams of SIZES) {
        for (let turn = 0; turn < (streams === 1 ? SINGLES : 1); turn += 1) {
          for (const contender of contenders) await measure(contender, streams)
        }
      }
    }

    const row = (name: string, streams: number) => rowOf(name, streams, playedBy(name, streams))
    const rows = [row(COLD, 1), ...SIZES.flatMap((streams) => contenders.map(({ name }) => row(name, streams)))]
    const ratios = SIZES.flatMap((streams) =>
      others.map(({ name }) => ratioOf(streams, playedBy(GATE, streams), name, playedBy(name, streams), ROUNDS)),
    )
    const machine = { cpus: cpus().length, model: cpus()[0]?.model ?? '', bun: Bun.version }
    const json = { at: new Date().toISOString(), machine, rounds: ROUNDS, rows, ratios, failures }
    await Bun.write(join(import.meta.dir, '../..', OUT), `${JSON.stringify(json, null, 2)}\n`)

    const { cpus: count, model } = machine
    console.log(`
Milliseconds from sending the command to what the client saw; ${count} × ${model}, all on one machine

${figuresTable(rows)}

The gate's last end divided by the other's in the same round (median; below 1 the gate is faster)

${ratiosTable(ratios)}

The receipt beside what the client saw (medians; behind: the last end seen, less the last cut reported)

${receiptsTable(rows)}

${TARGETS.map((target) => targetLine(rows, target)).join('\n')}

written to ${OUT}`)
  } finally {
    for (const stop of stops) await stop()
  }
  return failures
}
