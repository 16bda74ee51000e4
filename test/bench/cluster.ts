import type { Bench } from './bench.ts'
import { clusterCuts } from './cluster-cuts.ts'
import { clusterFacts } from './cluster-facts.ts'
import { clusterLease } from './cluster-lease.ts'
import { joined } from './joined.ts'

/** What a cluster takes: for a revocation, for what was missed, and of a node that is alone. All nodes share the machine. */
export const run: Bench = async (size) =>
  joined({ cuts: await clusterCuts(size), lease: await clusterLease(size), facts: await clusterFacts(size) })
