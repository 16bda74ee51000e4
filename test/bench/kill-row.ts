import type { RevocationJson } from '../../src/server/api/schemas.ts'
import type { Outcome } from './client.ts'
import type { Played } from './contender.ts'
import { type Figures, figuresOf, median } from './figures.ts'
import { ms, table } from './table.ts'

/** What kills of one size by one contender came to. */
export type Row = {
  contender: string
  streams: number
  firstMs: Figures
  lastMs: Figures
  answerMs: Figures
  farewells: number
  endings: Outcome['endings']
  /** What the node's own receipts said. */
  reported: { commitMs: Figures; firstCutMs: Figures; lastCutMs: Figures } | null
  /** How much later the client saw the last end than the receipt says it was written; negative: earlier. */
  behindReceiptMs: Figures | null
}

const sum = (outcomes: Outcome[], of: (outcome: Outcome) => number): number =>
  outcomes.reduce((total, outcome) => total + of(outcome), 0)

const reportedBy = (receipts: RevocationJson[]): Row['reported'] => {
  if (receipts.length === 0) return null
  const figures = (name: keyof RevocationJson['timings']) =>
    figuresOf(receipts.map(({ timings }) => timings[name] ?? Number.NaN))
  return { commitMs: figures('commitMs'), firstCutMs: figures('firstCutMs'), lastCutMs: figures('lastCutMs') }
}

export const rowOf = (contender: string, streams: number, played: Played[]): Row => {
  const outcomes = played.map(({ outcome }) => outcome)
  const receipts = played.flatMap(({ receipt }) => receipt ?? [])
  const behind = played.flatMap(({ outcome, receipt }) =>
    receipt ? outcome.lastMs - (receipt.timings.lastCutMs ?? Number.NaN) : [],
  )
  return {
    contender,
    streams,
    firstMs: figuresOf(outcomes.map(({ firstMs }) => firstMs)),
    lastMs: figuresOf(outcomes.map(({ lastMs }) => lastMs)),
    answerMs: figuresOf(outcomes.map(({ answerMs }) => answerMs)),
    farewells: sum(outcomes, ({ farewells }) => farewells),
    endings: {
      terminator: sum(outcomes, ({ endings }) => endings.terminator),
      fin: sum(outcomes, ({ endings }) => endings.fin),
      reset: sum(outcomes, ({ endings }) => endings.reset),
      none: sum(outcomes, ({ endings }) => endings.none),
    },
    reported: reportedBy(receipts),
    behindReceiptMs: behind.length > 0 ? figuresOf(behind) : null,
  }
}

/** Each round's own median. */
export const roundsOf = (played: Played[], rounds: number): number[] =>
  Array.from({ length: rounds }, (_, at) => {
    const size = played.length / rounds
    return median(played.slice(at * size, (at + 1) * size).map(({ outcome }) => outcome.lastMs))
  })

const endedBy = (endings: Outcome['endings']): string =>
  Object.entries(endings)
    .filter(([, count]) => count > 0)
    .map(([ending]) => ending)
    .join(' ')

export const figuresTable = (rows: Row[]): string =>
  table(
    ['', 'streams', 'kills', 'last end: median', 'p99', 'min', 'max', 'first end', 'answer', 'farewells', 'ended by'],
    rows.map(({ contender, streams, firstMs, lastMs, answerMs, farewells, endings }) => [
      contender,
      String(streams),
      String(lastMs.count),
      ...[lastMs.median, lastMs.p99, lastMs.min, lastMs.max, firstMs.median, answerMs.median].map(ms),
      `${farewells}/${streams * lastMs.count}`,
      endedBy(endings),
    ]),
  )

export const receiptsTable = (rows: Row[]): string =>
  table(
    ['', 'streams', 'commit', 'first cut', 'first end', 'last cut', 'last end', 'behind: median', 'max'],
    rows.flatMap(({ contender, streams, firstMs, lastMs, reported, behindReceiptMs: behind }) => {
      if (!reported || !behind) return []
      const { commitMs, firstCutMs, lastCutMs } = reported
      const figures = [commitMs.median, firstCutMs.median, firstMs.median, lastCutMs.median, lastMs.median]
      return [[contender, String(streams), ...[...figures, behind.median, behind.max].map(ms)]]
    }),
  )
