import type { ClusterStatus, PeerReceipt } from '../../cluster-view.ts'
import type { Node } from '../../node.ts'
import { isInCrashLoop } from '../../stdio.ts'
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
    const until = leaseEndsAt === null ? null : formatTime(leaseEndsAt)
    if (status.void.some((gone) => gone.id === id)) return [{ id, node, why: 'removed', until: null }]
    if (status.members.some((member) => member.id === id && member.state === 'linked'))
      return [{ id, node, why: 'silent', until }]
    return [{ id, node, why: until === null ? 'unreachable' : 'lease', until }]
  })

/** Of several revocations: each node once, with the latest end of its lease. */
const united = (holdouts: Holdout[]): Holdout[] => [
  ...Map.groupBy(holdouts, ({ id, why }) => `${why} ${id}`)
    .values()
    .map((same) => same.reduce((last, one) => ((one.until ?? '') > (last.until ?? '') ? one : last))),
]

/** Of a clock that is set wrong nothing may be hidden: what was revoked in the future is not new. */
const isNew = ({ reads, limits, now }: Node, id: string): boolean => {
  const ageMs = now() - (reads.receipt(id)?.at ?? -Infinity)
  return ageMs >= 0 && ageMs < limits.ackToldMs
}

/** What is not known to be complete, but for what linked nodes are about to answer. */
export interface Open {
  items: { id: string; holdouts: Holdout[] }[]
  /** There may be more than are listed. */
  count: number
}

const openOf = (node: Node, status: ClusterStatus): Open => {
  const all = status.incomplete.map(({ id }) => ({
    id,
    holdouts: holdoutsOf(status, node.cluster.completion(id).peers),
  }))
  const items = all.filter(({ id, holdouts }) => holdouts.some(({ why }) => why !== 'silent') || !isNew(node, id))
  return { items, count: status.incompleteCount - (all.length - items.length) }
}

const seen = new WeakMap<Request, ClusterNow>()

/** The cluster, and what is open in it, as it was when a request first asked: each look costs reads of the database. */
export interface ClusterNow {
  status: ClusterStatus
  open: Open
}

/** Null: the node stands alone. */
export const clusterAt = (node: Node, request: Request): ClusterNow | null => {
  const known = seen.get(request)
  if (known) return known
  const status = node.cluster.status()
  if (status === null) return null
  const found = { status, open: openOf(node, status) }
  seen.set(request, found)
  return found
}

const incompleteOf = ({ now }: Node, { status: { policy }, open: { items, count: n } }: ClusterNow): Alarm | null =>
  n === 0
    ? null
    : {
        kind: 'incomplete',
        count: n,
        only: n === 1 ? (items[0]?.id ?? null) : null,
        holdouts: united(items.flatMap(({ holdouts }) => holdouts)),
        policy,
        now: now(),
      }

/** Whether this node lets anybody in, and for how long. */
const standingOf = ({ now }: Node, status: ClusterStatus): Alarm | null => {
  if (status.restored) return { kind: 'not-synced', linked: countOf(status, 'linked') }
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

const crashLoopsOf = ({ servers }: Node): Alarm | null => {
  const [first, ...more] = servers.live().filter(isInCrashLoop)
  return first ? { kind: 'crash-loop', count: 1 + more.length, only: more.length > 0 ? null : first.name } : null
}

export const alarmsOf = (node: Node, request: Request): Alarm[] => {
  const cluster = clusterAt(node, request)
  const ofCluster = cluster ? [standingOf(node, cluster.status), incompleteOf(node, cluster)] : []
  return [...ofCluster, crashLoopsOf(node)].filter((alarm) => alarm !== null)
}

/** The worst of what is not well in the cluster, in a word; null: all is. */
export const clusterWrong = ({ status, open }: ClusterNow): string | null => {
  if (!isMember(status) && !status.restored) return 'This node is no member of its cluster'
  if (!status.serving) return 'This node lets nobody in'
  if (status.isolated) return 'This node hears from no majority of the nodes'
  if (open.count > 0)
    return `${count(open.count, 'revocation')} ${open.count === 1 ? 'is' : 'are'} not known to be complete`
  if (status.void.length > 0) return `${count(status.void.length, 'removed node')} may still let revoked tokens in`
  const { members } = status
  const silent = members.filter(({ state }) => state === 'unreachable')
  const [only] = silent
  if (only && silent.length === 1) return `Node ${only.name} can't be reached`
  return silent.length > 0 ? `${silent.length} of ${count(members.length, 'node')} can't be reached` : null
}
