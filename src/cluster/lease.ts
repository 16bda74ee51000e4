import { majorityOf, shortestLeaseMs, someLease } from './membership.ts'
import type { Membership } from './message.ts'

/**
 * The right to let anybody in, granted by others and not assumed: it runs from the moment at which its question was sent,
 * so that no delay of the answer makes it longer.
 */
export class Lease {
  /** By number of the question: when it was sent. */
  readonly #asked = new Map<number, number>()
  /** By member: when the latest question was sent that it granted. */
  readonly #granted = new Map<string, number>()

  asked(ask: number, now: number, keepMs: number): void {
    this.#asked.set(ask, now)
    for (const [old, sentAt] of this.#asked) {
      if (sentAt >= now - keepMs) break
      this.#asked.delete(old)
    }
  }

  /** When a question was sent; undefined: long ago, or never since the start. */
  sentAt(ask: number): number | undefined {
    return this.#asked.get(ask)
  }

  granted(member: string, sentAt: number): void {
    if (sentAt > (this.#granted.get(member) ?? -Infinity)) this.#granted.set(member, sentAt)
  }

  /** By a majority of each membership, oneself among them. Infinity: none is needed. */
  validUntil(view: readonly Membership[], self: string): number {
    if (!someLease(view)) return Infinity
    let until = Infinity
    for (const membership of view) {
      const sent = membership.members
        .map(({ id }) => (id === self ? Infinity : (this.#granted.get(id) ?? -Infinity)))
        .toSorted((a, b) => b - a)
      until = Math.min(until, sent[majorityOf(membership) - 1] ?? -Infinity)
    }
    return until + shortestLeaseMs(view)
  }
}
