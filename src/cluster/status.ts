import type { MemberStatus } from '../cluster-view.ts'
import { behindBy } from './known.ts'
import { isMember, majorityOf } from './membership.ts'
import type { Memberships } from './memberships.ts'
import type { Peers } from './peers.ts'
import type { ProtocolOptions, ProtocolStatus } from './protocol-state.ts'

export interface StatusGrounds {
  options: Pick<ProtocolOptions, 'self' | 'version' | 'replica' | 'timing'>
  memberships: Memberships
  peers: Peers
  leaseUntil: number
  /** What is being changed here, in words. */
  changing: string | null
}

/** The cluster as this node sees it, for people. */
export const statusOf = (
  { options, memberships, peers, leaseUntil, changing }: StatusGrounds,
  now: number,
): ProtocolStatus => {
  const { self, version, replica, timing } = options
  const { newest, view } = memberships
  const [base] = view
  const members = newest.members.map(({ id, name, url }): MemberStatus => {
    const peer = peers.find(id)
    const joining = base !== undefined && !isMember(base, id) && !peer?.told
    return {
      id,
      name,
      url,
      state: id === self.id ? 'self' : joining ? 'joining' : peer?.linked ? 'linked' : 'unreachable',
      roundTripMs: peer?.roundTripMs ?? null,
      behind: peer?.told ? behindBy(peer.told.known.vector, replica.vector) : null,
      heardAt: peer && peer.heardAt > -Infinity ? peer.heardAt : null,
      version: id === self.id ? version : (peer?.version ?? null),
    }
  })
  const isHeard = (id: string) => peers.isLinked(id) && peers.heardAt(id) > now - timing.digestMs * 8
  const heard = members.filter(({ id }) => id === self.id || isHeard(id))
  const behinds = [...peers].map(([, { told }]) => (told ? behindBy(replica.vector, told.known.vector) : 0))
  return {
    members,
    isolated: heard.length < majorityOf(newest),
    behind: Math.max(0, ...behinds),
    leaseLeftMs: leaseUntil === Infinity ? null : Math.max(0, leaseUntil - now),
    changing: changing ?? memberships.unheard,
  }
}
