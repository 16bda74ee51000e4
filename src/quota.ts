import type { Stopwatch } from './time.ts'

const WINDOW_MS = 60_000

/** What tokens with limits used of them: calls in the last minute, event streams open now. */
export class Quotas {
  /** Times of calls, the oldest first: exact, and as long as the limit at the most. */
  readonly #calls = new Map<string, number[]>()
  readonly #streams = new Map<string, number>()

  constructor(readonly now: Stopwatch) {}

  /**
   * Takes `count` calls, all or none, so that never more than `max` fall in any 60 seconds.
   * Returns null when they were taken, else after how many seconds to try again.
   */
  takeCalls(tokenId: string, count: number, max: number): number | null {
    const at = this.now()
    const recent = this.#calls.get(tokenId) ?? []
    let expired = 0
    while (expired < recent.length && (recent[expired] as number) <= at - WINDOW_MS) expired += 1
    recent.splice(0, expired)
    this.#calls.set(tokenId, recent)
    if (recent.length + count <= max) {
      for (let taken = 0; taken < count; taken += 1) recent.push(at)
      return null
    }
    const freeAt = count > max ? at : (recent[recent.length + count - max - 1] ?? at)
    return Math.max(1, Math.ceil((freeAt + WINDOW_MS - at) / 1_000))
  }

  /** Takes a stream's place, to be given back; false when all `max` are taken. */
  takeStream(tokenId: string, max: number): boolean {
    const open = this.#streams.get(tokenId) ?? 0
    if (open >= max) return false
    this.#streams.set(tokenId, open + 1)
    return true
  }

  giveStream(tokenId: string): void {
    const open = (this.#streams.get(tokenId) ?? 0) - 1
    if (open > 0) this.#streams.set(tokenId, open)
    else this.#streams.delete(tokenId)
  }
}
