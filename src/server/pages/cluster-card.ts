import type { Node } from '../../node.ts'
import { formatTimeOrNull } from '../../time.ts'
import type { ClusterCard, IncompleteLine } from '../../views/cluster.tsx'
import { tokensWords } from '../../views/revocation-words.tsx'
import { type ClusterNow, clusterWrong, isMember, type Open } from './alarms.ts'
import { rowOf } from './receipt.ts'

const incompleteLine = (node: Node, { id, holdouts }: Open['items'][number]): IncompleteLine => {
  const receipt = node.reads.receipt(id)
  const row = receipt && rowOf(node, receipt)
  return {
    id,
    what: row ? tokensWords(row.tokens, row.only, row.selector) : [id],
    at: row?.at ?? null,
    doomed: row?.tokens === 1 ? 'the token' : 'its tokens',
    holdouts,
  }
}

export const clusterCard = (node: Node, cluster: ClusterNow, mayManage: boolean): ClusterCard => {
  const { status, open } = cluster
  const now = node.now()
  const { leaseLeftMs, ...rest } = status
  return {
    ...rest,
    leaseEndsAt: formatTimeOrNull(leaseLeftMs === null ? null : now + leaseLeftMs),
    incomplete: open.items.slice(0, node.limits.rowsBesideOthersMax).map((item) => incompleteLine(node, item)),
    incompleteCount: open.count,
    wrong: clusterWrong(cluster),
    mayManage: mayManage && isMember(status),
    now,
  }
}
