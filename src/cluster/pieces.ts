import type { StoredFact, Vector } from '../fact.ts'
import { limits } from '../limits.ts'
import type { Replica } from '../replica.ts'
import { reaches } from './known.ts'
import type { Message } from './message.ts'

interface Asker {
  reached: Vector
  bytesMax: number
  /** To be sent, one in a turn of the loop. */
  pieces: number
  at: number
}

/** Facts for those who ask for them: some pieces ahead of what they told to have, so that the way there and back costs little. */
export class Pieces {
  readonly #askers = new Map<string, Asker>()

  constructor(
    readonly replica: Replica,
    readonly bytesMax: number,
    readonly say: (to: string, message: Message) => void,
  ) {}

  get busy(): boolean {
    return [...this.#askers.values()].some(({ pieces }) => pieces > 0)
  }

  asked(id: string, { vector, bytesMax }: Extract<Message, { t: 'pull' }>, now: number): void {
    const asker = this.#askers.get(id)
    if (asker && now - asker.at < limits.clusterPullMs && reaches(asker.reached, vector)) {
      asker.pieces = Math.min(asker.pieces + 1, limits.clusterPullsMax)
      return this.#send(id, asker, now)
    }
    const anew = {
      reached: vector,
      bytesMax: Math.min(bytesMax, this.bytesMax),
      pieces: limits.clusterPullsMax,
      at: now,
    }
    this.#askers.set(id, anew)
    this.#send(id, anew, now)
  }

  turn(now: number): void {
    for (const [id, asker] of this.#askers) this.#send(id, asker, now)
  }

  drop(id: string): void {
    this.#askers.delete(id)
  }

  #send(id: string, asker: Asker, now: number): void {
    if (asker.pieces === 0) {
      if (now - asker.at >= limits.clusterPullMs) this.#askers.delete(id)
      return
    }
    const { facts, more } = this.replica.behind(asker.reached, asker.bytesMax)
    this.say(id, { t: 'facts', facts, pulled: true, more })
    if (!more) return this.drop(id)
    asker.reached = after(asker.reached, facts)
    asker.pieces -= 1
    asker.at = now
  }
}

const after = (vector: Vector, facts: readonly StoredFact[]): Vector => {
  const reached: Record<string, readonly [number, number]> = { ...vector }
  for (const { origin, stream, seq } of facts) {
    const [revocation, change] = reached[origin] ?? [0, 0]
    reached[origin] = stream === 'revocation' ? [seq, change] : [revocation, seq]
  }
  return reached
}
