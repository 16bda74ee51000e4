import type { ClusterMeasures } from '../../cluster-measures.ts'
import type { Cluster, ClusterStatus, MemberStatus } from '../../cluster-view.ts'
import type { Labels, Metric } from './exposition.ts'

export interface ClusterSources {
  cluster: Pick<Cluster, 'status'>
  clusterMeasures: ClusterMeasures
}

/** A status is made out of all members and open revocations; the metrics of one scrape share it. */
const SHARED_MS = 100

const shared = (status: () => ClusterStatus | null): (() => ClusterStatus | null) => {
  let last: ClusterStatus | null = null
  let at = -Infinity
  return () => {
    const now = performance.now()
    if (now - at > SHARED_MS) [last, at] = [status(), now]
    return last
  }
}

/** The other nodes, and how far this one can speak for all. A node that stands alone tells nothing of it. */
export const cluster = ({ cluster: own, clusterMeasures }: ClusterSources): Metric[] => {
  const read = shared(() => own.status())
  const gauge = (name: string, help: string, of: (status: ClusterStatus) => number | null): Metric => ({
    name,
    help,
    type: 'gauge',
    read() {
      const status = read()
      return status && of(status)
    },
  })
  /** By id, since names are for those who sign in. Null: nothing to tell. */
  const byMember = (name: string, help: string, of: (member: MemberStatus) => number | null): Metric => ({
    name,
    help,
    type: 'gauge',
    read: () =>
      (read()?.members ?? []).flatMap((member): [Labels, number][] => {
        const value = member.state === 'self' ? null : of(member)
        return value === null ? [] : [[{ node: member.id }, value]]
      }),
  })
  const counter = (name: string, help: string, of: () => number | Iterable<readonly [Labels, number]>): Metric => ({
    name,
    help,
    type: 'counter',
    read: () => (read() === null ? null : of()),
  })
  return [
    gauge(
      'portcullis_cluster_members',
      'Members of the cluster, this node among them',
      ({ members }) => members.length,
    ),
    gauge('portcullis_cluster_serving', '1 when this node lets tokens in, 0 when it may not', ({ serving }) =>
      Number(serving),
    ),
    gauge('portcullis_cluster_isolated', '1 when this node hears from no majority of the members', ({ isolated }) =>
      Number(isolated),
    ),
    gauge(
      'portcullis_cluster_lease_left_seconds',
      'How long the lease of this node still runs; only under the policy lease',
      ({ leaseLeftMs }) => leaseLeftMs && leaseLeftMs / 1000,
    ),
    gauge(
      'portcullis_cluster_incomplete_revocations',
      'Revocations of which it is not known that no node lets in any more what they killed',
      ({ incompleteCount }) => incompleteCount,
    ),
    gauge(
      'portcullis_cluster_removed_not_off',
      'Nodes that were removed by force and are not known to be off',
      ({ void: gone }) => gone.length,
    ),
    gauge(
      'portcullis_cluster_behind_facts',
      'Changes that the others have and this node has not',
      ({ behind }) => behind,
    ),
    byMember('portcullis_cluster_member_up', '1 when the member is linked', ({ state }) =>
      state === 'joining' ? null : Number(state === 'linked'),
    ),
    byMember(
      'portcullis_cluster_member_behind_facts',
      'Changes that the member has not told to have',
      ({ behind }) => behind,
    ),
    byMember(
      'portcullis_cluster_round_trip_seconds',
      'Of the last question to the member and its answer',
      ({ roundTripMs }) => roundTripMs && roundTripMs / 1000,
    ),
    counter('portcullis_cluster_facts_applied_total', 'Changes of other nodes that were applied here, by stream', () =>
      Object.entries(clusterMeasures.applied).map(([stream, count]): [Labels, number] => [{ stream }, count]),
    ),
    counter('portcullis_cluster_links_lost_total', 'Links to other nodes that ended', () => clusterMeasures.linksLost),
    counter('portcullis_cluster_refused_total', 'Frames and links that were refused, by reason', () =>
      Object.entries(clusterMeasures.refused).map(([reason, count]): [Labels, number] => [{ reason }, count]),
    ),
  ]
}
