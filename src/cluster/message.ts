import type { ClusterPolicy } from '../cluster-view.ts'
import type { FactId, StoredFact, Vector } from '../fact.ts'

/** What nodes say to each other, inside sealed frames. Unknown types and fields are passed over: a newer node may send them. */

/** One instance, as the others know it. */
export interface Member {
  id: string
  name: string
  /** `ws://HOST:PORT`, `wss://…` behind a proxy. */
  url: string
  /** Its public X25519 key, base64: the proof that it is this node. */
  key: string
}

/** Members and policy, changed one at a time; a higher version follows a lower one for ever. */
export interface Membership {
  version: number
  /** Paxos: who proposed it first and in which round; orders two of one version after a removal by force. */
  ballot: string
  /** What its proposer, and a majority of the members before, knew of revocations: nobody serves under it who knows less. */
  floor: Known
  members: readonly Member[]
  policy: ClusterPolicy
  /** The policy follows the number of members (`lease` from the third on), as nobody chose one. */
  auto: boolean
  leaseMs: number
  /** Removed by force, and not known to be off. */
  void: readonly Member[]
  /** Members of before that certainly run nowhere any more: nobody waits for them. */
  off: readonly string[]
  /** It takes the place of a member that this version removed; to be added next. */
  heir: Member | null
  /** The cluster's secret from this version on, sealed under the key ring that all members share. */
  secret: string
  /** Who changed it, for the audit log, and what: `add b`, `remove c`, … */
  actor: string
  change: string
}

/** Names one: which version, and which ballot of it. Two with the same are the same. */
export type MembershipId = readonly [version: number, ballot: string]

/** What a node has applied: all that its vector reaches, but for what is unknown to its program. */
export interface Known {
  vector: Vector
  /** Revocations of a kind that the program does not know: kept, and neither applied nor acked. */
  unknown: readonly FactId[]
}

/** A node that is no member says which it was, before its folder was restored or copied. */
export interface Former {
  ids: readonly string[]
  /** They run nowhere any more: the folder was restored in their place. */
  retired: boolean
  member: Member
}

export type Message =
  /** Every 250 ms, and on a new link: what is known here, and a question for a lease. `ask` counts up. */
  | {
      t: 'digest'
      ask: number
      vector: Vector
      /** Revocations of a kind that this program does not know: kept, and neither applied nor acked. */
      unknown: readonly FactId[]
      /** The memberships that it reckons with. Who does not know one takes the message for unsaid, and asks. */
      view: readonly MembershipId[]
      version: string
      /** It has pulled what it must before it lets anybody in. */
      synced: boolean
      former: Former | null
    }
  /**
   * The answer to a digest. A lease is granted to a member of the newest membership; it counts once the asker has applied
   * all that the answerer had applied, `known`: facts that are under way then don't cost the lease.
   */
  | { t: 'answer'; ask: number; granted: boolean; known: Known }
  /** New facts as they are made; or what was pulled. `more`: the sender has more than this of what was asked for. */
  | { t: 'facts'; facts: readonly StoredFact[]; pulled: boolean; more: boolean }
  /** Asks for everything behind what `vector` reaches, revocations first; at most `bytesMax` of it. */
  | { t: 'pull'; vector: Vector; bytesMax: number }
  /** Applied now: durable, denied, cut. */
  | {
      t: 'ack'
      acks: readonly { origin: string; seq: number; cut: number }[]
      vector: Vector
      unknown: readonly FactId[]
      view: readonly MembershipId[]
    }
  /** A revocation that the sender's disk refused: whoever gets it stores it as a fact of its own. */
  | { t: 'relay'; record: Record<string, unknown>; issuedUntil: number }
  /** Paxos for the membership of one version. A refusal tells the ballot that was promised to another. */
  | { t: 'prepare'; version: number; ballot: string }
  | {
      t: 'promise'
      version: number
      ballot: string
      ok: boolean
      known: Known
      accepted: { ballot: string; membership: Membership } | null
    }
  | { t: 'accept'; ballot: string; membership: Membership }
  | { t: 'accepted'; version: number; ballot: string; ok: boolean }
  /** All of the memberships of a view: on a new link, to who told an older one, and to who asks. */
  | { t: 'view'; memberships: readonly Membership[] }
  /** Asks for that. */
  | { t: 'which' }
  /** A membership that was chosen. */
  | { t: 'chosen'; membership: Membership }
