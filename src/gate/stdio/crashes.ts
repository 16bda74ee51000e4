import type { Limits } from '../../limits.ts'

/** A life that ended without anybody's asking. Times are of one stopwatch, in milliseconds. */
export interface Crash {
  startedAt: number
  endedAt: number
  /** Another process of the same server has lived for long: what was wrong was not the server. */
  othersLive: boolean
}

/** The ends of one server's processes that nobody asked for: how long to wait, and when it is a loop. */
export class Crashes {
  /** Since the start of the node. */
  count = 0
  /** Short lives in a row. */
  #row = 0
  #lastAt = Number.NEGATIVE_INFINITY
  #retryAt = Number.NEGATIVE_INFINITY

  constructor(readonly limits: Limits) {}

  /** Short lives in a row. */
  get row(): number {
    return this.#row
  }

  /** Until then nothing is started; null: it may be. */
  retryAt(now: number): number | null {
    return this.#retryAt > now ? this.#retryAt : null
  }

  /** Returns whether it is a loop. */
  add({ startedAt, endedAt, othersLive }: Crash): boolean {
    const { stdioShortLifeMs, stdioBackoffMs, stdioBackoffMsMax, stdioCrashesMax } = this.limits
    this.count += 1
    // Those that ran side by side and died of one cause are one crash: only what was started after it is another.
    const isSame = startedAt <= this.#lastAt
    if (endedAt - startedAt >= stdioShortLifeMs || othersLive) this.#row = 0
    else if (!isSame) this.#row += 1
    this.#lastAt = endedAt
    const waitMs = Math.min(stdioBackoffMs * 2 ** Math.max(0, this.#row - 1), stdioBackoffMsMax)
    this.#retryAt = Math.max(this.#retryAt, endedAt + waitMs)
    return this.#row >= stdioCrashesMax
  }

  /** One has lived for long. */
  livesOn(): void {
    this.#row = 0
  }

  /** An operator opened the server, or changed what runs it: what was before counts no more. */
  forget(): void {
    this.#row = 0
    this.#lastAt = Number.NEGATIVE_INFINITY
    this.#retryAt = Number.NEGATIVE_INFINITY
  }
}
