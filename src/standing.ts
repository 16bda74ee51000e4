import type { Stopwatch } from './time.ts'

/** Why a node lets nobody in, whatever the token. */
export type Unfit = 'not_synced' | 'node_stale'

/** The same as `/readyz` says it. */
export const UNFIT_PROBLEMS: Record<Unfit, string> = {
  not_synced: 'it does not know yet what the other nodes of its cluster know',
  node_stale: 'it hears from no majority of the nodes of its cluster, and its lease has run out',
}

/**
 * Whether this node may decide at all: alone always, in a cluster once it knows what its peers know and, under the policy
 * `lease`, as long as its lease runs. Asked by the one predicate of the gate, so that a process that was stopped and wakes
 * is judged by the clock and not by a timer.
 */
export class Standing {
  /** By the stopwatch; Infinity: no lease is needed. */
  validUntil = Infinity
  synced = true

  constructor(readonly stopwatch: Stopwatch) {}

  get unfit(): Unfit | null {
    if (!this.synced) return 'not_synced'
    return this.validUntil !== Infinity && this.stopwatch() >= this.validUntil ? 'node_stale' : null
  }
}
