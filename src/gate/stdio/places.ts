import type { Limits } from '../../limits.ts'
import { type Problem, ProblemError, problems } from '../problem.ts'
import type { Running } from './running.ts'

/** The processes of a node, those included that start and those that end: so many in all, and so many of a token. */
export class Places implements Iterable<Running> {
  readonly #taken = new Set<Running>()
  /** Told when one is free. */
  #waiting: (() => void)[] = []

  constructor(readonly limits: Limits) {}

  get size(): number {
    return this.#taken.size
  }

  [Symbol.iterator](): Iterator<Running> {
    return this.#taken.values()
  }

  /** Waits for one that ends, or ends one that was idle for long enough. Throws `ProblemError` where all are in use. */
  async take(running: Running): Promise<void> {
    // An end that was begun is over after the grace; one that the kernel holds up is not waited for.
    const deadline = performance.now() + this.limits.stdioGraceMs * 2
    for (let full = this.#full(running); full; full = this.#full(running)) {
      if (!full.among.some(({ ending }) => ending)) {
        const idle = this.#longestIdle(full.among)
        if (!idle) throw new ProblemError(full.problem)
        idle.stop()
      }
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw new ProblemError(full.problem)
      await this.#freed(leftMs)
    }
    this.#taken.add(running)
  }

  free(running: Running): void {
    this.#taken.delete(running)
    for (const tell of this.#waiting.splice(0)) tell()
  }

  /** Which limit leaves none, and who holds all of them. */
  #full({ tokenId }: Running): { among: Running[]; problem: Problem } | null {
    const { stdioProcessesMax, stdioProcessesPerTokenMax } = this.limits
    const all = [...this.#taken]
    const own = tokenId === null ? [] : all.filter((other) => other.tokenId === tokenId)
    if (own.length >= stdioProcessesPerTokenMax) return { among: own, problem: problems.tokenProcessesFull }
    return all.length >= stdioProcessesMax ? { among: all, problem: problems.processesFull } : null
  }

  #longestIdle(among: readonly Running[]): Running | undefined {
    const now = performance.now()
    return among
      .map((running) => ({ running, idleMs: running.idleMs(now) ?? -1 }))
      .filter(({ idleMs }) => idleMs >= this.limits.stdioEvictIdleMs)
      .toSorted((a, b) => b.idleMs - a.idleMs)[0]?.running
  }

  #freed(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const late = setTimeout(resolve, withinMs)
      this.#waiting.push(() => {
        clearTimeout(late)
        resolve()
      })
    })
  }
}
