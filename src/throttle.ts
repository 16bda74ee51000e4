import type { Stopwatch } from './time.ts'

/** Counts failures by source within a window, bounded in how many sources it remembers. */
export class Throttle {
  readonly #failures = new Map<string, { count: number; since: number }>()

  constructor(
    readonly now: Stopwatch,
    readonly triesMax: number,
    readonly windowMs: number,
    readonly sourcesMax: number,
  ) {}

  /** How many milliseconds this source must wait; 0 when it may try. */
  waitMs(source: string): number {
    const entry = this.#failures.get(source)
    if (!entry || entry.count < this.triesMax) return 0
    return Math.max(0, entry.since + this.windowMs - this.now())
  }

  fail(source: string): void {
    const entry = this.#failures.get(source)
    if (entry && entry.since + this.windowMs > this.now()) {
      entry.count += 1
      return
    }
    this.#failures.delete(source)
    const oldest = this.#failures.keys().next()
    if (this.#failures.size >= this.sourcesMax && !oldest.done) this.#failures.delete(oldest.value)
    this.#failures.set(source, { count: 1, since: this.now() })
  }

  succeed(source: string): void {
    this.#failures.delete(source)
  }
}
