import type { Actor } from './operator.ts'
import type { RevocationRecord } from './revocation-record.ts'

/** What the console, the API and the receipts know of the cluster. */

export type ClusterPolicy = 'lease' | 'serve'

/** A peer of a receipt. `lease_expired`: it can't be reached, and can't let anybody in any more; `removed`: it is no member. */
export type PeerState = 'acked' | 'pending' | 'lease_expired' | 'removed'

/** What one peer did with a revocation. */
export interface PeerReceipt {
  /** Its id, and the name that people gave it. */
  id: string
  node: string
  state: PeerState
  /** From the arrival of the request, on this node's clock, to the peer's ack; null: none yet, or it came with a digest. */
  ms: number | null
  /** Connections that it cut; null: not told. */
  cut: number | null
  /** Milliseconds since the epoch: until when a peer that is not heard from may still let the token in; null: unknown. */
  leaseEndsAt: number | null
}

/** Whether any node anywhere can still let in what a revocation killed. */
export interface Completion {
  complete: boolean
  /** All members but the node that answers, and removed ones that may still run; by name. */
  peers: PeerReceipt[]
}

/** What the sequence of a revocation needs of the cluster. */
export interface Peers {
  /** Whether there may be tokens elsewhere that this node does not know yet. */
  readonly clustered: boolean
  /** Hands what was committed to the peers' sockets, now. `about`: their acks are timed from `arrivedAt`, by the stopwatch. */
  push(about?: { revocation: string; arrivedAt: number }): void
  /** Tells them of a revocation that the own disk refused: they keep it as a fact of theirs. */
  relay(record: RevocationRecord, issuedUntil: number): void
}

export const NOBODY: Peers = {
  clustered: false,
  push() {},
  relay() {},
}

export interface MemberStatus {
  id: string
  name: string
  /** Where others reach it: `ws://HOST:PORT`. */
  url: string
  /** `self`, `linked` (frames come and go), `unreachable`, or `joining`: not in force yet. */
  state: 'self' | 'linked' | 'unreachable' | 'joining'
  /** Of the last question and its answer; null: none yet, or self. */
  roundTripMs: number | null
  /** Facts that this node has and the member has not told to have; null: it has told nothing. */
  behind: number | null
  /** Milliseconds since the epoch: the last frame from it; null: none since the start. */
  heardAt: number | null
  /** Its program; null: not told yet. */
  version: string | null
}

export interface ClusterStatus {
  /** The cluster's id. */
  id: string
  node: { id: string; name: string }
  transport: 'websocket' | 'nats'
  policy: ClusterPolicy
  leaseMs: number
  /** Whether this node lets anybody in; else why not. */
  serving: boolean
  reason: 'not_synced' | 'node_stale' | null
  /** Milliseconds that this node's lease still runs; null under the policy `serve`. */
  leaseLeftMs: number | null
  /** It is no member: its folder was restored or copied, and waits for the members to put it in its former place. */
  restored: boolean
  /** It hears from no majority of the members. */
  isolated: boolean
  /** Facts that peers have and this node has not. */
  behind: number
  /** Sorted by name; this node among them. */
  members: MemberStatus[]
  /** Removed by force, and not known to be off: as long as one is here, nothing is complete. */
  void: { id: string; name: string; url: string }[]
  /** A change of members or policy that is not in force yet, in words; null: none. */
  changing: string | null
  /** Revocations that are not complete, the newest first; at most so many as `limits.incompleteShownMax`. */
  incomplete: { id: string; waitsFor: string[] }[]
  incompleteCount: number
}

export interface Removal {
  id: string
  name: string
  /** Whether it is known to let nobody in; false after `--force`, until somebody says that it is off. */
  off: boolean
}

/** The cluster as a service of the node. A node that is in none has one too: it can make itself the first member. */
export interface Cluster extends Peers {
  /** null: this node stands alone. */
  status(): ClusterStatus | null
  /** What people call a member; null: none has that id. */
  memberName(id: string): string | null
  /** A one-time ticket; makes this node the first member where there is no cluster. Throws `invalid` without `--cluster-listen`. */
  ticket(actor: Actor): Promise<{ ticket: string; expiresAt: number }>
  /**
   * Removes a member, by name or id; itself: it leaves. `force`: without the agreement of a majority, or though it may go on
   * serving. `off`: says that one removed by force is off. Throws `not_found`, `conflict` with what to do.
   */
  remove(node: string, how: { force: boolean; off: boolean }, actor: Actor): Promise<Removal>
  /** Of a revocation by its id. Alone: complete, without peers. */
  completion(revocation: string): Completion
  /**
   * Resolves when a revocation is complete, the time is over, or all reachable peers have acked; with `complete` not before
   * one of the first two.
   */
  settled(revocation: string, waitMs: number, complete?: boolean): Promise<void>
  /** Resolves when all reachable peers have what was committed here so far, or the time is over. */
  spread(waitMs: number): Promise<void>
}
