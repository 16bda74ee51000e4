import { ballotOf, forced, roundOf } from './changing.ts'
import { isMember, majorityOf, type MembershipChange, policyFor } from './membership.ts'
import type { Known, Member, Membership } from './message.ts'
import type { Peers } from './peers.ts'

/** What is looked at to put restored and copied folders back into the places of the members that they were. */
export interface FormerGrounds {
  self: Member
  formerly: readonly string[]
  newest: Membership
  peers: Peers
  /** Removed: nobody takes them in. */
  gone: readonly string[]
  known: Known
  /** Linked, or heard from within a lease. */
  recent(id: string): boolean
}

/** A member's part: the first of those that are linked puts another folder into the place that it had, if that is empty. */
export const replacementOf = (grounds: FormerGrounds): { change: MembershipChange; actor: string } | null => {
  const { self, newest, peers, gone, recent } = grounds
  const present = newest.members.map(({ id }) => id).filter((id) => id === self.id || peers.isLinked(id))
  if (present.toSorted()[0] !== self.id) return null
  for (const [id, { former }] of peers.linked) {
    if (!former || isMember(newest, id) || former.member.id !== id || gone.includes(id)) continue
    const was = former.ids.find((one) => isMember(newest, one))
    if (!was && newest.heir?.id !== id) continue
    if (was && recent(was)) continue
    const change: MembershipChange = was
      ? { kind: 'replace', id: was, member: former.member, off: former.retired, secret: '' }
      : { kind: 'add', member: former.member }
    return { change, actor: former.member.name }
  }
  return null
}

/**
 * Where nobody is left but restored folders: the first of a majority of them puts all of them into the places of those that
 * they were; as each must know what all others know before it lets anybody in, nobody does so by a membership of a part only.
 */
export const restoredFrom = (grounds: FormerGrounds): Membership | null => {
  const { self, formerly, newest, peers, known } = grounds
  const was = formerly.find((id) => isMember(newest, id))
  if (!was) return null
  const pairs = new Map([[was, self]])
  for (const [id, { linked, former }] of peers) {
    if (isMember(newest, id) && peers.heardAt(id) > -Infinity) return null
    const theirs = linked && former?.retired ? former.ids.find((one) => isMember(newest, one)) : undefined
    if (theirs && former) pairs.set(theirs, former.member)
  }
  if (pairs.size < majorityOf(newest) || [...pairs.keys()].toSorted()[0] !== was) return null
  const members = newest.members.map((member) => pairs.get(member.id) ?? member)
  return {
    ...newest,
    version: newest.version + 1,
    ballot: forced(ballotOf(roundOf(newest.ballot) + 1, self.id)),
    // Who keeps revocations that its program does not know has to be upgraded first: nobody is left who may have applied them.
    floor: { vector: known.vector, unknown: [] },
    members,
    policy: newest.auto ? policyFor(members.length) : newest.policy,
    off: [...pairs.keys()],
    heir: null,
    actor: self.name,
    change: 'restored from backups',
  }
}
