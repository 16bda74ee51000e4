import type { MemberStatus, PeerState } from '../cluster-view.ts'
import type { FactId, StoredFact } from '../fact.ts'
import type { ProtocolDisk, Replica } from '../replica.ts'
import type { Unfit } from '../standing.ts'
import type { MembershipChange } from './membership.ts'
import type { Member, Membership, Message } from './message.ts'

export interface Timing {
  digestMs: number
  leaseGuard: number
  pullBytesMax: number
  syncGraceMs: number
  changeTimeoutMs: number
}

/** What is on disk. */
export interface ProtocolState {
  /** Whose it is; null: whoever starts first with it. Another one's (a folder restored or copied) is not believed in all. */
  self: string | null
  /** Starts so far: questions of an earlier start are never taken for those of this one. */
  boots: number
  /** The view. */
  memberships: Membership[]
  promised: { version: number; ballot: string } | null
  accepted: { ballot: string; membership: Membership } | null
  /** Removed, the last ones: they are not listened to. */
  gone: string[]
  /** It knew once all that its peers knew. */
  covered: boolean
}

export interface Output {
  to: string
  message: Message
}

/** Times of the stopwatch. */
export interface ProtocolCompletion {
  complete: boolean
  peers: { id: string; state: PeerState; ackedAt: number | null; cut: number | null; leaseEndsAt: number | null }[]
}

export interface ProtocolStatus {
  members: MemberStatus[]
  isolated: boolean
  behind: number
  leaseLeftMs: number | null
  changing: string | null
}

export type ChangeOutcome = 'running' | 'in_force' | { failed: string }

export interface ProtocolOptions {
  self: Member
  replica: Replica
  disk: ProtocolDisk<ProtocolState>
  timing: Timing
  version: string
  /** This identity never knew all that its peers know: it must, before it lets anybody in. */
  fresh: boolean
  /** What this folder was before it was restored or copied, the newest first. */
  formerly?: readonly string[]
  /** Those run nowhere any more: the folder was restored in their place, not copied. */
  retired?: boolean
}

/** What a member has on its disk before its first start: founder (`covered`) or joiner. */
export const stateOf = (memberships: readonly Membership[], covered: boolean): ProtocolState => ({
  self: null,
  boots: 0,
  memberships: [...memberships],
  promised: null,
  accepted: null,
  gone: [],
  covered,
})

export class Protocol {
  nextTickAt = Infinity
  rolledBack = false

  constructor(readonly options: ProtocolOptions) {}

  start(_now: number): void {}
  tick(_now: number): void {}
  linked(_peer: string, _now: number): void {}
  unlinked(_peer: string, _now: number): void {}
  receive(_peer: string, _message: Message, _now: number): void {}
  committed(_facts: readonly StoredFact[], _now: number): void {}
  relay(_record: Record<string, unknown>, _issuedUntil: number, _now: number): void {}
  drain(): Output[] {
    return []
  }
  standing(_now: number): { unfit: Unfit | null; validUntil: number } {
    throw new Error('later')
  }
  track(_origin: string, _seq: number, _now: number): void {}
  completion(_fact: Pick<FactId, 'origin' | 'seq'>, _now: number): ProtocolCompletion {
    throw new Error('later')
  }
  takeCompleted(): FactId[] {
    return []
  }
  change(_change: MembershipChange, _actor: string, _now: number): string {
    throw new Error('later')
  }
  changeOutcome(_id: string): ChangeOutcome {
    throw new Error('later')
  }
  get membership(): Membership {
    throw new Error('later')
  }
  get view(): readonly Membership[] {
    throw new Error('later')
  }
  status(_now: number): ProtocolStatus {
    throw new Error('later')
  }
}
