import type { Cluster } from './cluster-view.ts'
import { invalid } from './error.ts'
import type { Upstream } from './upstream.ts'

export interface PlacementDeps {
  /** The id of this node. */
  node: string
  /** Ids that its folder had before it was copied or restored: what ran there runs here. */
  formerly: readonly string[]
  cluster: Pick<Cluster, 'clustered' | 'memberName' | 'status'>
}

/** On which node of the cluster a server that is a command runs. */
export class Placement {
  constructor(readonly deps: PlacementDeps) {}

  /** The id of this node. */
  get node(): string {
    return this.deps.node
  }

  /** The id of a member. Throws `invalid`. */
  idOf(name: string): string {
    const { members = [] } = this.deps.cluster.status() ?? {}
    const member = members.find((one) => one.name === name)
    if (!member) throw invalid(`no member of the cluster is called "${name}"`)
    return member.id
  }

  /** Of a folder that was copied there are two: what runs on the other is not taken from it while that is a member. */
  #isHere(id: string): boolean {
    const { node, formerly, cluster } = this.deps
    return id === node || (formerly.includes(id) && cluster.memberName(id) === null)
  }

  /** The node that alone runs it, where that is another one; null: it runs here, or is no command. */
  elsewhere({ stdio }: Pick<Upstream, 'stdio'>): { name: string | null } | null {
    const { cluster } = this.deps
    if (!stdio || stdio.everywhere || !cluster.clustered || this.#isHere(stdio.node)) return null
    return { name: cluster.memberName(stdio.node) }
  }

  /** The name of the one node that runs it; null: all do, the node is no member any more, or it stands alone. */
  nameOf({ stdio }: Pick<Upstream, 'stdio'>): string | null {
    const { node, cluster } = this.deps
    if (!stdio || stdio.everywhere || !cluster.clustered) return null
    return cluster.memberName(this.#isHere(stdio.node) ? node : stdio.node)
  }
}
