import type { Limits } from './limits.ts'
import type { Clock } from './time.ts'

export interface UpkeepDeps {
  /** Writes what was counted until `at`. */
  flush(at: number): void
  /** Forgets what is older than a month, and minutes that are older than a day, in steps of a few milliseconds. */
  prune(before: number, minutesBefore: number): Iterable<void>
  limits: Limits
  now: Clock
  onFailed(error: unknown, what: 'flush' | 'prune'): void
}

/** What a node does by the clock: counts are written when a minute ends, and what is old is forgotten every hour. */
export class Upkeep {
  #timers: NodeJS.Timeout[] = []
  #flushTimer: NodeJS.Timeout | undefined

  constructor(private readonly deps: UpkeepDeps) {}

  start(): void {
    const { pruneEveryMs, verifyAfterStartMs } = this.deps.limits
    this.#flushLater()
    // A node that never runs for an hour prunes too, when its start is over.
    const first = setTimeout(() => void this.#prune(), verifyAfterStartMs)
    this.#timers = [first, setInterval(() => void this.#prune(), pruneEveryMs)]
  }

  /** Writes what was counted since the last minute. */
  stop(): void {
    for (const timer of [...this.#timers, this.#flushTimer]) clearTimeout(timer)
    this.#flush(this.deps.now())
  }

  /** When a minute ends, and for that minute, however late the timer is. */
  #flushLater(): void {
    const { usageFlushMs } = this.deps.limits
    const now = this.deps.now()
    const end = now - (now % usageFlushMs) + usageFlushMs
    this.#flushTimer = setTimeout(() => {
      this.#flush(end - 1)
      this.#flushLater()
    }, end - now)
  }

  #flush(at: number): void {
    try {
      this.deps.flush(at)
    } catch (error) {
      this.deps.onFailed(error, 'flush')
    }
  }

  async #prune(): Promise<void> {
    const { limits, now, prune, onFailed } = this.deps
    try {
      for (const _ of prune(now() - limits.usageRetentionMs, now() - limits.activityMinutesMs)) await Bun.sleep(1)
    } catch (error) {
      onFailed(error, 'prune')
    }
  }
}
