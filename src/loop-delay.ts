import { Histogram } from './histogram.ts'
import type { Limits } from './limits.ts'

/** The bounds of what a stream may wait for: from nothing to a stall that everybody notices. */
const BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 2_500, 5_000]

/**
 * How late the event loop is, by a timer that is set anew each time: a loop that was held for a second is one delay of a
 * second, and no delay longer than the timer's own time can fall between two looks.
 */
export class LoopDelay {
  readonly delays = new Histogram(BOUNDS_MS)
  /** The longest one of this minute and of the minute before. */
  #maxMs = 0
  #maxBeforeMs = 0
  #minuteAt = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor(readonly limits: Limits) {}

  start(): void {
    const dueAt = performance.now() + this.limits.loopTickMs
    this.#timer = setTimeout(() => {
      this.#observe(performance.now(), dueAt)
      this.start()
    }, this.limits.loopTickMs)
    this.#timer.unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /**
   * The longest delay of the last minute, or a little more. Not the one since it was last asked for: two who ask would
   * take it from each other.
   */
  get maxMs(): number {
    return Math.max(this.#maxMs, this.#maxBeforeMs)
  }

  #observe(now: number, dueAt: number): void {
    const lateMs = Math.max(0, now - dueAt)
    this.delays.observe(lateMs)
    if (now - this.#minuteAt >= this.limits.loopMaxMs) {
      this.#maxBeforeMs = this.#maxMs
      this.#maxMs = 0
      this.#minuteAt = now
    }
    this.#maxMs = Math.max(this.#maxMs, lateMs)
  }
}
