import type { Told } from './known.ts'
import type { Former, Known, Membership } from './message.ts'

/** Another node, as it is known by its link and its messages. */
export interface Peer {
  linked: boolean
  heardAt: number
  told: Told | null
  /** The memberships of the last view that it told in whole; and when it was asked for one. */
  memberships: readonly Membership[]
  askedViewAt: number
  roundTripMs: number | null
  version: string | null
  former: Former | null
  /** A lease that counts once this node knows what `known` says. */
  pending: { sentAt: number; known: Known } | null
}

export class Peers {
  readonly #peers = new Map<string, Peer>()

  /** Made, if there is none. */
  of(id: string): Peer {
    const found = this.#peers.get(id)
    if (found) return found
    const peer: Peer = {
      linked: false,
      heardAt: -Infinity,
      told: null,
      memberships: [],
      askedViewAt: -Infinity,
      roundTripMs: null,
      version: null,
      former: null,
      pending: null,
    }
    this.#peers.set(id, peer)
    return peer
  }

  find(id: string): Peer | undefined {
    return this.#peers.get(id)
  }

  forget(id: string): void {
    this.#peers.delete(id)
  }

  told(id: string): Told | null {
    return this.#peers.get(id)?.told ?? null
  }

  heardAt(id: string): number {
    return this.#peers.get(id)?.heardAt ?? -Infinity
  }

  isLinked(id: string): boolean {
    return this.#peers.get(id)?.linked ?? false
  }

  get linked(): [string, Peer][] {
    return [...this.#peers].filter(([, { linked }]) => linked)
  }

  [Symbol.iterator](): IterableIterator<[string, Peer]> {
    return this.#peers.entries()
  }
}
