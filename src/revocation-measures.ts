import { Histogram } from './histogram.ts'
import type { Timings } from './revocation-record.ts'

/** Fine where revocations are, and one bound is what the project promises for the last cut (`cutPromisedMs`). */
export const KILL_BOUNDS_MS = [0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 250, 1_000]

/** The phases of a revocation, as the receipt has them. */
export const PHASES = {
  commit: 'commitMs',
  deny: 'deniedMs',
  first_cut: 'firstCutMs',
  last_cut: 'lastCutMs',
  upstream_cancelled: 'upstreamCancelledMs',
} as const satisfies Record<string, keyof Timings>

export type Phase = keyof typeof PHASES

/** What was counted of revocations since the start: how many, and how long each phase took from the request's arrival. */
export class RevocationMeasures {
  /** On disk when they were answered, and only in the journal or in memory. */
  durable = 0
  notDurable = 0
  tokens = 0
  readonly phases: Readonly<Record<Phase, Histogram>> = {
    commit: new Histogram(KILL_BOUNDS_MS),
    deny: new Histogram(KILL_BOUNDS_MS),
    first_cut: new Histogram(KILL_BOUNDS_MS),
    last_cut: new Histogram(KILL_BOUNDS_MS),
    upstream_cancelled: new Histogram(KILL_BOUNDS_MS),
  }

  revoked(tokens: number, durable: boolean): void {
    if (durable) this.durable += 1
    else this.notDurable += 1
    this.tokens += tokens
  }

  /** Where nothing was cut, a phase did not happen. */
  took(phase: Phase, timings: Timings): void {
    const ms = timings[PHASES[phase]]
    if (ms !== null) this.phases[phase].observe(ms)
  }
}
