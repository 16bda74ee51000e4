import type { Node } from '../../node.ts'

/** Tells the name of the node of an id, where that is another one of the cluster, or was; null: this one did it. */
export const elsewhereIn = ({ id: self, cluster }: Node): ((id: string) => string | null) => {
  const status = cluster.status()
  const names = new Map(status?.members.map(({ id, name }) => [id, name]))
  // A folder that was restored has rows of its former self, and a node that stands alone has only such.
  return (id) => (status === null || id === self ? null : (names.get(id) ?? id))
}
