import { cpus } from 'node:os'
import { join } from 'node:path'
import { eventually } from '../support/poll.ts'
import { startChild } from './child.ts'
import type { Outcome } from './client.ts'
import { type Contender, type Played, startFloors, startGate, startHaproxyContender } from './contender.ts'
import { type Figures, figuresOf, median, round } from './figures.ts'
import { ms, table } from './table.ts'

const ROUNDS = 7
/** Kills of one stream in a round: 280 in all, so that the 99th hundredth means something. */
const SINGLES = 40
const SIZES = [1, 1_000, 5_000]
const OUT = join(import.meta.dir, '../../dist/bench-kill.json')

const TARGETS: Record<number, { medianMs?: number; p99Ms?: number }> = {
  1: { medianMs: 3, p99Ms: 10 },
  1_000: { medianMs: 40 },
}

type Row = {
  contender: string
  streams: number
  firstMs: Figures
  lastMs: Figures
  answerMs: Figures
  farewells: number
  endings: Outcome['endings']
  reported: { commitMs: Figures; firstCutMs: Figures; lastCutMs: Figures } | null
  /** How much later the client saw the last end than the node says it wrote it; negative: it was early. */
  behindReceiptMs: Figures | null
}

const sum = (outcomes: Outcome[], of: (outcome: Outcome) => number): number =>
  outcomes.reduce((total, outcome) => total + of(outcome), 0)

const COLD = 'gate, first kill of a process'

const rowOf = (contender: string, streams: number, played: Played[]): Row => {
  const outcomes = played.map(({ outcome }) => outcome)
  const receipts = played.flatMap(({ receipt }) => receipt ?? [])
  const reported = (name: 'commitMs' | 'firstCutMs' | 'lastCutMs') =>
    figuresOf(receipts.map(({ timings }) => timings[name] ?? Number.NaN))
  const behind = played.flatMap(({ outcome, receipt }) => (receipt ? outcome.lastMs - (receipt.timings.lastCutMs ?? 0) : []))
  return {
    contender,
    streams,
    firstMs: figuresOf(outcomes.map(({ firstMs }) => firstMs)),
    lastMs: figuresOf(outcomes.map(({ lastMs }) => lastMs)),
    answerMs: figuresOf(outcomes.map(({ answerMs }) => answerMs)),
    farewells: sum(outcomes, (outcome) => outcome.farewells),
    endings: {
      terminator: sum(outcomes, ({ endings }) => endings.terminator),
      fin: sum(outcomes, ({ endings }) => endings.fin),
      reset: sum(outcomes, ({ endings }) => endings.reset),
      none: sum(outcomes, ({ endings }) => endings.none),
    },
    reported: receipts.length > 0
      ? { commitMs: reported('commitMs'), firstCutMs: reported('firstCutMs'), lastCutMs: reported('lastCutMs') }
      : null,
    behindReceiptMs: receipts.length > 0 ? figuresOf(behind) : null,
  }
}

/** Each round's own median. */
const roundsOf = (played: Played[]): number[] =>
  Array.from({ length: ROUNDS }, (_, at) => {
    const size = played.length / ROUNDS
    return median(played.slice(at * size, (at + 1) * size).map(({ outcome }) => outcome.lastMs))
  })

/** Ratios of the same round, so that what else the machine did meanwhile cancels out. */
const ratiosOf = (samples: Map<string, Played[]>, names: string[]) =>
  SIZES.flatMap((streams) => {
    const gate = roundsOf(samples.get(`gate ${streams}`) ?? [])
    return names.map((name) => {
      const other = roundsOf(samples.get(`${name} ${streams}`) ?? [])
      const pairs = gate.map((lastMs, at) => lastMs / (other[at] ?? Number.NaN))
      return { streams, to: name, ratio: round(median(pairs)), min: round(Math.min(...pairs)), max: round(Math.max(...pairs)) }
    })
  })

const endedBy = (endings: Outcome['endings']): string =>
  Object.entries(endings).filter(([, count]) => count > 0).map(([ending]) => ending).join(' ')

const printed = (rows: Row[]): string =>
  table(
    ['', 'streams', 'kills', 'last end: median', 'p99', 'min', 'max', 'first end', 'answer', 'farewells', 'ended by'],
    rows.map(({ contender, streams, firstMs, lastMs, answerMs, farewells, endings }) => [
      contender, String(streams), String(lastMs.count), ms(lastMs.median), ms(lastMs.p99), ms(lastMs.min), ms(lastMs.max),
      ms(firstMs.median), ms(answerMs.median), `${farewells}/${streams * lastMs.count}`, endedBy(endings),
    ]),
  )

const printedReceipts = (rows: Row[]): string =>
  table(
    ['', 'streams', 'commit', 'first cut', 'first end', 'last cut', 'last end', 'behind: median', 'max'],
    rows.flatMap(({ contender, streams, firstMs, lastMs, reported, behindReceiptMs }) =>
      reported && behindReceiptMs
        ? [[
            contender, String(streams), ms(reported.commitMs.median), ms(reported.firstCutMs.median), ms(firstMs.median),
            ms(reported.lastCutMs.median), ms(lastMs.median), ms(behindReceiptMs.median), ms(behindReceiptMs.max),
          ]]
        : [],
    ),
  )

const printedTargets = (rows: Row[]): string =>
  rows
    .filter(({ contender }) => contender === 'gate')
    .flatMap(({ streams, lastMs }) => {
      const { medianMs, p99Ms } = TARGETS[streams] ?? {}
      const verdict = (is: number, target: number) => `${ms(is)} of ${target} ms  ${is <= target ? 'reached' : 'MISSED'}`
      return [
        ...(medianMs === undefined ? [] : [`${streams} streams, median: ${verdict(lastMs.median, medianMs)}`]),
        ...(p99Ms === undefined ? [] : [`${streams} streams, p99: ${verdict(lastMs.p99, p99Ms)}`]),
      ]
    })
    .join('\n')

/** How long a kill takes, as the client sees it, beside HAProxy's and the least that sockets cost. */
export const run = async (): Promise<string[]> => {
  const samples = new Map<string, Played[]>()
  const failures: string[] = []
  const origin = startChild('origin.ts')
  const client = startChild('client.ts')
  const stops: (() => Promise<unknown>)[] = [origin.stop, client.stop]
  const quiet = () => eventually(async () => (await origin.call<number>('open')) === 0, { what: 'the origin is left alone' })
  const once = async (contender: Contender, name: string, streams: number) => {
    const played = await contender.play(streams)
    failures.push(...played.failures.map((failure) => `${name}, ${streams} streams: ${failure}`))
    await quiet().catch((error: unknown) => failures.push(`${name}, ${streams} streams: ${String(error)}`))
    return played
  }
  const measure = async (contender: Contender, name: string, streams: number) => {
    const key = `${name} ${streams}`
    samples.set(key, [...(samples.get(key) ?? []), await once(contender, name, streams)])
  }

  try {
    const originPort = await origin.call<number>('port')
    const gate = await startGate(client, originPort)
    stops.unshift(gate.stop)
    const cold = await startGate(client, originPort, true)
    const haproxy = await startHaproxyContender(client, originPort, Math.max(...SIZES))
    if (haproxy) stops.unshift(haproxy.stop)
    else console.log('HAProxy is not installed: its rows are missing')
    const floors = await startFloors(client)
    stops.unshift(...floors.map(({ stop }) => stop))
    const contenders = [gate, ...(haproxy ? [haproxy] : []), ...floors]

    // The client must be as warm for the first contender as for the last.
    for (const contender of contenders) for (const streams of [1, 1_000]) await once(contender, contender.name, streams)
    for (let at = 0; at < ROUNDS; at += 1) {
      process.stderr.write(`round ${at + 1} of ${ROUNDS}\n`)
      await measure(cold, COLD, 1)
      for (const streams of SIZES) {
        const turns = streams === 1 ? SINGLES : 1
        for (let turn = 0; turn < turns; turn += 1) {
          for (const contender of contenders) await measure(contender, contender.name, streams)
        }
      }
    }

    const names = contenders.map(({ name }) => name)
    const rows = [
      rowOf(COLD, 1, samples.get(`${COLD} 1`) ?? []),
      ...SIZES.flatMap((streams) => names.map((name) => rowOf(name, streams, samples.get(`${name} ${streams}`) ?? []))),
    ]
    const ratios = ratiosOf(samples, names.slice(1))
    const [cpu] = cpus()
    const machine = { cpus: cpus().length, model: cpu?.model ?? '', bun: Bun.version }
    await Bun.write(OUT, `${JSON.stringify({ at: new Date().toISOString(), machine, rounds: ROUNDS, rows, ratios, failures }, null, 2)}\n`)

    console.log(`Milliseconds from sending the command to what the client saw; ${machine.cpus} × ${machine.model}, all on one machine\n`)
    console.log(printed(rows))
    console.log('\nRatio of the last end, gate to other (median of the same round; below 1 the gate is faster)\n')
    console.log(table(['', 'streams', 'ratio', 'min', 'max'], ratios.map((it) => [it.to, String(it.streams), ms(it.ratio), ms(it.min), ms(it.max)])))
    console.log('\nThe receipt beside what the client saw (medians; "behind": last end seen, less the last cut reported)\n')
    console.log(printedReceipts(rows))
    console.log(`\n${printedTargets(rows)}\n\nwritten to dist/bench-kill.json`)
  } finally {
    for (const stop of stops) await stop()
  }
  return failures
}
