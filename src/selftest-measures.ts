import { Histogram } from './histogram.ts'
import { KILL_BOUNDS_MS, PHASES } from './revocation-measures.ts'
import type { SelfTestResult, SelfTestTimings } from './selftest-result.ts'

const SELFTEST_PHASES = { ...PHASES, end_seen: 'endSeenMs' } as const satisfies Record<string, keyof SelfTestTimings>

export type SelfTestPhase = keyof typeof SELFTEST_PHASES

/** What the tests of a revocation took since the start, from the revocation's start. */
export class SelfTestMeasures {
  readonly phases: Readonly<Record<SelfTestPhase, Histogram>> = {
    commit: new Histogram(KILL_BOUNDS_MS),
    deny: new Histogram(KILL_BOUNDS_MS),
    first_cut: new Histogram(KILL_BOUNDS_MS),
    last_cut: new Histogram(KILL_BOUNDS_MS),
    upstream_cancelled: new Histogram(KILL_BOUNDS_MS),
    end_seen: new Histogram(KILL_BOUNDS_MS),
  }
  /** When the last one that passed began; null: none has. */
  passedAt: number | null = null

  /** What was not reached took no time at all, and is left out. */
  add({ at, ok, timings }: SelfTestResult): void {
    if (ok) this.passedAt = at
    for (const phase of Object.keys(SELFTEST_PHASES) as SelfTestPhase[]) {
      const ms = timings[SELFTEST_PHASES[phase]]
      if (ms !== null) this.phases[phase].observe(ms)
    }
  }
}
