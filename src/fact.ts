/** What is replicated. No peer reads facts yet, but each is written with its change. */

/** Revocations have a sequence of their own, so that they can overtake the rest. */
export type FactStream = 'revocation' | 'change'

export interface Fact {
  stream: FactStream
  /** `noun.verb`, as in the audit log. */
  kind: string
  payload: Record<string, unknown>
}

const COUNTER_DIGITS = 4
const COUNTER_MAX = 36 ** COUNTER_DIGITS - 1

/**
 * The next reading of a hybrid logical clock (Kulkarni et al., 2014): wall-clock milliseconds, then a
 * counter. Later than `last`, even when the wall clock was set back.
 */
export const nextHlc = (last: string | null, now: number): string => {
  const [lastMs = 0, lastCount = 0] = last ? last.split('-').map((part) => Number.parseInt(part, 36)) : []
  let ms = Math.max(now, lastMs)
  let count = ms === lastMs && last ? lastCount + 1 : 0
  if (count > COUNTER_MAX) [ms, count] = [ms + 1, 0]
  return `${ms.toString(36).padStart(9, '0')}-${count.toString(36).padStart(COUNTER_DIGITS, '0')}`
}
