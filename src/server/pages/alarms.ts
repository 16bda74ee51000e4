import type { ClusterStatus, PeerReceipt } from '../../cluster-view.ts'
import type { Node } from '../../node.ts'
import { formatTime } from '../../time.ts'
import type { Alarm } from '../../views/alarms.tsx'
import type { Holdout } from '../../views/holdouts.tsx'
import { count } from '../../views/words.ts'

export const isMember = ({ members }: ClusterStatus): boolean => members.some(({ state }) => state === 'self')

const countOf = ({ members }: ClusterStatus, state: ClusterStatus['members'][number]['state']): number =>
  members.filter((member) => member.state === state).length

/** Those of a revocation's peers that may still let in what it killed, and why. */
export const holdoutsOf = (status: ClusterStatus, peers: readonly PeerReceipt[]): Holdout[] =>
  peers.flatMap(({ id, node, state, leaseEndsAt }): Holdout[] => {
    if (state === 'acked' || state === 'lease_expired') return []
    if (status.void.some((gone) => gone.id === id)) return [{ id, node, why: 'removed', until: null }]
    if (leaseEndsAt !== null) return [{ id, node, why: 'lease', until: formatTime(leaseEndsAt) }]
    const isLinked = status.members.some((member) => member.id === id && member.state === 'linked')
    return [{ id, node, why: isLinked ? 'silent' : 'unreachable', until: null }]
  })

/** Of several revocations: each node once, with the latest end of its lease. */
const united = (holdouts: Holdout[]): Holdout[] => [
  ...Map.groupBy(holdouts, ({ id, why }) => `${why} ${id}`)
    .values()
    .map((same) => same.reduce((last, one) => ((one.until ?? '') > (last.until ?? '') ? one : last))),
]

const incompleteOf = ({ cluster, now }: Node, status: ClusterStatus): Alarm | null => {
  const { incomplete, incompleteCount, policy } = status
  const [first] = incomplete
  if (incompleteCount === 0) return null
  return {
    kind: 'incomplete',
    count: incompleteCount,
    only: incompleteCount === 1 && first ? first.id : null,
    holdouts: united(incomplete.flatMap(({ id }) => holdoutsOf(status, cluster.completion(id).peers))),
    policy,
    now: now(),
  }
}

/** Whether this node lets anybody in, and for how long. */
const standingOf = ({ now }: Node, status: ClusterStatus): Alarm | null => {
  if (!isMember(status)) return { kind: 'removed' }
  if (status.reason === 'not_synced') return { kind: 'not-synced', linked: countOf(status, 'linked') }
  if (status.reason === 'node_stale') return { kind: 'stale' }
  if (!status.isolated) return null
  const { policy, leaseLeftMs } = status
  return {
    kind: 'isolated',
    policy,
    leaseEndsAt: leaseLeftMs !== null && leaseLeftMs > 0 ? formatTime(now() + leaseLeftMs) : null,
    now: now(),
  }
}

export const alarmsOf = (node: Node): Alarm[] => {
  const status = node.cluster.status()
  if (status === null) return []
  return [standingOf(node, status), incompleteOf(node, status)].filter((alarm) => alarm !== null)
}

/** The worst of what is not well in the cluster, in a word; null: all is. */
export const clusterWrong = (status: ClusterStatus): string | null => {
  if (!isMember(status)) return 'This node was removed from its cluster'
  if (!status.serving) return 'This node lets nobody in'
  if (status.isolated) return 'This node hears from no majority of the nodes'
  const { incompleteCount, members } = status
  if (incompleteCount > 0)
    return `${count(incompleteCount, 'revocation')} ${incompleteCount === 1 ? 'is' : 'are'} not known to be complete`
  if (status.void.length > 0) return `${count(status.void.length, 'removed node')} may still let revoked tokens in`
  const silent = members.filter(({ state }) => state === 'unreachable')
  const [only] = silent
  if (only && silent.length === 1) return `Node ${only.name} can't be reached`
  return silent.length > 0 ? `${silent.length} of ${count(members.length, 'node')} can't be reached` : null
}
