/** What is replicated: numbering, clocks, and what was known of others when something was made. */

/** Revocations have a sequence of their own, so that they can overtake the rest. */
export type FactStream = 'revocation' | 'change'
export const STREAMS: readonly FactStream[] = ['revocation', 'change']

/** What a change leaves for other nodes. */
export interface Fact {
  stream: FactStream
  /** `noun.verb`, as in the audit log. */
  kind: string
  payload: Record<string, unknown>
  /** What the last writer wins (see `Register`): `server:ID`, `gate:ID`, `policy:ID`; none for what only grows. */
  registers?: readonly string[]
}

/** Where a fact stands for ever. An origin is a node's id: a restored or copied folder has another. */
export interface FactId {
  origin: string
  stream: FactStream
  /** From 1, without holes. */
  seq: number
}

/** A fact as it is stored and sent. */
export interface StoredFact extends FactId {
  kind: string
  hlc: string
  /** JSON, kept as it came: a node passes on what it can't read. */
  payload: string
}

/** By origin: how far its revocations, and its changes, are known. Without an entry: not at all. */
export type Vector = Readonly<Record<string, readonly [revocation: number, change: number]>>

/** By origin: which of its revocations were known. */
export type Seen = Readonly<Record<string, number>>

export const reachOf = (vector: Vector, origin: string, stream: FactStream): number =>
  vector[origin]?.[stream === 'revocation' ? 0 : 1] ?? 0

/** The part of a vector that is about revocations: what the issuer of a token writes into its fact. */
export const seenIn = (vector: Vector): Seen =>
  Object.fromEntries(
    Object.entries(vector).flatMap(([origin, [revocation]]) => (revocation > 0 ? [[origin, revocation]] : [])),
  )

/** Asked for each of a hundred thousand tokens, of which most have the same as the one before. */
export const isSameSeen = (a: Seen, b: Seen): boolean => {
  if (a === b) return true
  const origins = Object.keys(a)
  return origins.length === Object.keys(b).length && origins.every((origin) => a[origin] === b[origin])
}

/** The same for the same: origins in their order, as JSON. */
export const seenText = (seen: Seen): string =>
  JSON.stringify(Object.fromEntries(Object.entries(seen).toSorted(([a], [b]) => (a < b ? -1 : 1))))

/** Whether the issuer of a token knew a revocation; one that it did not know kills what its selector names. */
export const hadSeen = (seen: Seen | null, { origin, seq }: Pick<FactId, 'origin' | 'seq'>): boolean =>
  (seen?.[origin] ?? 0) >= seq

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

/** Who wrote a register last: compared as text, the origin decides between two of the same moment. */
export const stampOf = (hlc: string, origin: string): string => `${hlc} ${origin}`
