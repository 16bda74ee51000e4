import type { Node } from '../../node.ts'
import { clusterAt } from './alarms.ts'

/** Tells the name of the node of an id, where that is another one of the cluster, or was; null: this one did it. */
export type Elsewhere = (id: string) => string | null

export const elsewhereIn = (node: Node, request: Request): Elsewhere => {
  const cluster = clusterAt(node, request)
  const names = new Map(cluster?.status.members.map(({ id, name }) => [id, name]))
  // A folder that was restored has rows of its former self, and a node that stands alone has only such.
  return (id) => (cluster === null || id === node.id ? null : (names.get(id) ?? id))
}
