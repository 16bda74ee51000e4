import type { ClusterStatus } from '../../cluster-view.ts'
import type { Node } from '../../node.ts'
import { formatTimeOrNull } from '../../time.ts'
import type { ClusterCard, IncompleteLine } from '../../views/cluster.tsx'
import { tokensWords } from '../../views/revocation-words.tsx'
import { clusterWrong, holdoutsOf, isMember } from './alarms.ts'
import { rowOf } from './receipt.ts'

const incompleteLine = (node: Node, status: ClusterStatus, id: string): IncompleteLine => {
  const receipt = node.reads.receipt(id)
  const row = receipt && rowOf(node, receipt)
  return {
    id,
    what: row ? tokensWords(row.tokens, row.only, row.selector) : [id],
    at: row?.at ?? null,
    doomed: row?.tokens === 1 ? 'the token' : 'its tokens',
    holdouts: holdoutsOf(status, node.cluster.completion(id).peers),
  }
}

export const clusterCard = (node: Node, status: ClusterStatus, mayManage: boolean): ClusterCard => {
  const now = node.now()
  const { leaseLeftMs, incomplete, ...rest } = status
  return {
    ...rest,
    leaseEndsAt: formatTimeOrNull(leaseLeftMs === null ? null : now + leaseLeftMs),
    incomplete: incomplete.slice(0, node.limits.rowsBesideOthersMax).map(({ id }) => incompleteLine(node, status, id)),
    wrong: clusterWrong(status),
    mayManage: mayManage && isMember(status),
    now,
  }
}
