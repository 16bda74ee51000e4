import type { MemberStatus, PeerState } from '../cluster-view.ts'
import type { ProtocolDisk, Replica } from '../replica.ts'
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
  /** Whose it is; null: whoever starts first with it. That of another (the folder was restored or copied) counts in part. */
  self: string | null
  /** From the last one that is in force up to the newest. */
  memberships: Membership[]
  promised: { version: number; ballot: string } | null
  accepted: { ballot: string; membership: Membership } | null
  /** Removed, the last ones: they are not listened to. */
  gone: string[]
  /** It knew once all that its peers knew. */
  covered: boolean
}

export interface Output {
  /** A member's id, or `all` that are linked. */
  to: string
  message: Message
}

/** Times of the stopwatch. */
export interface ProtocolCompletion {
  complete: boolean
  peers: { id: string; state: PeerState; ackedAt: number | null; cut: number | null; leaseEndsAt: number | null }[]
}

/** Times of the stopwatch. */
export interface ProtocolStatus {
  members: MemberStatus[]
  isolated: boolean
  behind: number
  leaseLeftMs: number | null
  changing: string | null
}

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

/** What a member has on its disk before its first start: a founder is `covered`, a joiner is not. */
export const stateOf = (memberships: readonly Membership[], covered: boolean): ProtocolState => ({
  self: null,
  memberships: [...memberships],
  promised: null,
  accepted: null,
  gone: [],
  covered,
})
