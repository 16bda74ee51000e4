import type { FactStream } from './fact.ts'

/** Why a frame or a link of another node was refused; counted, and nothing else happens. */
export const REFUSALS = [
  'wrong_key',
  'replayed',
  'truncated',
  'too_large',
  'wrong_version',
  'malformed',
  'not_a_member',
  'too_many',
] as const
export type Refusal = (typeof REFUSALS)[number]

/** What is counted of the cluster since the start, by whoever does it. */
export class ClusterMeasures {
  /** With all reasons from the start: the first refusal must be an increase. */
  readonly refused = Object.fromEntries(REFUSALS.map((reason) => [reason, 0])) as Record<Refusal, number>
  /** Facts of other nodes that were stored and applied here. */
  readonly applied: Record<FactStream, number> = { revocation: 0, change: 0 }
  /** Links that ended, whoever ended them. */
  linksLost = 0
}
