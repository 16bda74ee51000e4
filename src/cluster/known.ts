import type { FactId, Vector } from '../fact.ts'
import { type Known, type Membership } from './message.ts'
import { isNewer } from './membership.ts'

const NOTHING: readonly [number, number] = [0, 0]

const has = (unknown: readonly FactId[], { origin, seq }: FactId): boolean =>
  unknown.some((fact) => fact.origin === origin && fact.seq === seq)

/** Whether every revocation that is applied there is applied here. Costs the number of origins. */
export const covers = (mine: Known, theirs: Known): boolean => {
  for (const [origin, [revocation]] of Object.entries(theirs.vector)) {
    if (revocation > (mine.vector[origin]?.[0] ?? 0)) return false
  }
  return mine.unknown.every((fact) => fact.seq > (theirs.vector[fact.origin]?.[0] ?? 0) || has(theirs.unknown, fact))
}

/** Whether all that is stored there is stored here, changes too. */
export const reaches = (mine: Vector, theirs: Vector): boolean =>
  Object.entries(theirs).every(([origin, [revocation, change]]) => {
    const [mineRevocation, mineChange] = mine[origin] ?? NOTHING
    return revocation <= mineRevocation && change <= mineChange
  })

/** Facts that are there and not here. */
export const behindBy = (mine: Vector, theirs: Vector): number => {
  let count = 0
  for (const [origin, [revocation, change]] of Object.entries(theirs)) {
    const [mineRevocation, mineChange] = mine[origin] ?? NOTHING
    count += Math.max(0, revocation - mineRevocation) + Math.max(0, change - mineChange)
  }
  return count
}

/** What a peer told of itself, all in one message: what it had applied, and the memberships it reckoned with then. */
export interface Told {
  known: Known
  view: readonly Membership[]
  newest: Membership
  base: Membership
}

/**
 * Whether `next` was told after `last`: messages may overtake each other, and what a node knows only grows. Of the same
 * reach, the one with fewer unknown revocations is the later one: an upgrade applies them.
 */
export const isLater = (next: Told, last: Told): boolean =>
  reaches(next.known.vector, last.known.vector) &&
  !isNewer(last.newest, next.newest) &&
  !isNewer(last.base, next.base) &&
  (next.known.unknown.length <= last.known.unknown.length || !reaches(last.known.vector, next.known.vector))
