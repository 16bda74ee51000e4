import type { Replica } from '../replica.ts'
import type { Unfit } from '../standing.ts'
import { covers, reaches } from './known.ts'
import { Lease } from './lease.ts'
import { isMember, isNewer, longestLeaseMs, someLease } from './membership.ts'
import type { Membership, Message } from './message.ts'
import type { Memberships } from './memberships.ts'
import type { Peer, Peers } from './peers.ts'

export interface FitnessDeps {
  self: string
  replica: Replica
  peers: Peers
  memberships: Memberships
  /** So long is somebody waited for who may know more, under `serve`. */
  syncGraceMs: number
}

/** Whether this node may let anybody in: it knows what it must, and others granted it the time. */
export class Fitness {
  /** It knew once since its start what it must know before it lets anybody in. */
  synced = false
  #startedAt = 0
  #ask = 0
  /** The membership whose floor is known to be reached. */
  #floored: Membership | null = null
  readonly #lease = new Lease()

  constructor(readonly deps: FitnessDeps) {}

  start(now: number): void {
    this.#startedAt = now
  }

  standing(now: number): { unfit: Unfit | null; validUntil: number } {
    const { self, memberships } = this.deps
    const { view, newest } = memberships
    if (!this.synced || !isMember(newest, self) || !this.#reachesFloor(newest)) {
      return { unfit: 'not_synced', validUntil: Infinity }
    }
    const validUntil = this.#lease.validUntil(view, self)
    return { unfit: now >= validUntil ? 'node_stale' : null, validUntil }
  }

  #reachesFloor(newest: Membership): boolean {
    if (this.#floored !== newest && covers(this.deps.replica, newest.floor)) this.#floored = newest
    return this.#floored === newest
  }

  /** A restarted node knows what one peer knew; a new identity what all of them know. */
  sync(now: number): void {
    const { self, replica, peers, memberships, syncGraceMs } = this.deps
    const { view, newest, covered } = memberships
    if (this.synced || !isMember(newest, self)) return
    const others = newest.members.filter(({ id }) => id !== self).map(({ id }) => peers.find(id))
    if (!covered) {
      const inStep = others.every((peer) => {
        const told = peer?.told
        return (
          told &&
          !isNewer(newest, told.newest) &&
          reaches(replica.vector, told.known.vector) &&
          covers(replica, told.known)
        )
      })
      this.synced = inStep && replica.unknown.length === 0 && memberships.cover()
      return
    }
    const heardAt = Math.max(this.#startedAt, ...others.map((peer) => peer?.heardAt ?? -Infinity))
    this.synced =
      others.length === 0 ||
      others.some((peer) => peer?.told && reaches(replica.vector, peer.told.known.vector)) ||
      (!someLease(view) && now - heardAt >= syncGraceMs)
  }

  // Leases

  /** The number of the next question for one. */
  ask(now: number): number {
    this.#ask += 1
    this.#lease.asked(this.#ask, now, longestLeaseMs(this.deps.memberships.view))
    return this.#ask
  }

  answered(id: string, peer: Peer, message: Extract<Message, { t: 'answer' }>, now: number): void {
    const { ask, granted, known } = message
    const sentAt = this.#lease.sentAt(ask)
    if (sentAt === undefined) return
    peer.roundTripMs = now - sentAt
    if (!granted) return
    const { replica, memberships } = this.deps
    // The older one is waited for: what it asks for is had first.
    if (!peer.pending || now - peer.pending.sentAt > longestLeaseMs(memberships.view)) peer.pending = { sentAt, known }
    if (covers(replica, known)) this.#lease.granted(id, sentAt)
    this.redeem()
  }

  /** Leases that were granted on the condition that this node knows more than it did. */
  redeem(): void {
    for (const [id, peer] of this.deps.peers) {
      if (!peer.pending || !covers(this.deps.replica, peer.pending.known)) continue
      this.#lease.granted(id, peer.pending.sentAt)
      peer.pending = null
    }
  }
}
