import { invalid } from './error.ts'

/** Milliseconds since the epoch; received by everything, so that tests can set it. */
export type Clock = () => number

/**
 * Milliseconds of a clock that nobody sets, from any zero: for how long something takes, lasts or waits. The wall clock
 * is set, back too, and only what is told or kept as a time follows it.
 */
export type Stopwatch = () => number

const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A duration as people type it (`45s`, `10m`, `12h`, `30d`), in milliseconds. Throws `invalid`. */
export const parseDuration = (text: string, what: string): number => {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text.trim()) ?? []
  if (!count || !unit) throw invalid(`${what}: not a duration; write it like 45s, 10m, 12h or 30d`)
  return Number(count) * (UNITS[unit] as number)
}

/** What `parseDuration` reads, in the largest unit that is exact; of parts of a second, for people alone. */
export const formatDuration = (ms: number): string => {
  const [unit, unitMs] = Object.entries(UNITS).findLast(([, unitMs]) => ms > 0 && ms % unitMs === 0) ?? ['s', 1_000]
  return `${ms / unitMs}${unit}`
}

/** RFC 3339 UTC with milliseconds. */
export const formatTime = (ms: number): string => new Date(ms).toISOString()
export const formatTimeOrNull = (ms: number | null): string | null => (ms === null ? null : formatTime(ms))

const DATE = /^\d{4}-\d{2}-\d{2}$/
const TIME = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})$/

/**
 * A point in time: RFC 3339, or a bare date, which means the end of that day, UTC.
 * Returns milliseconds since the epoch; throws `invalid`.
 */
export const parseTime = (text: string, what: string): number => {
  const trimmed = text.trim()
  const bare = DATE.test(trimmed)
  const ms = bare
    ? Date.parse(`${trimmed}T00:00:00Z`)
    : TIME.test(trimmed)
      ? Date.parse(trimmed.replace(' ', 'T'))
      : NaN
  // Date.parse rolls 31 February over to March; a person who typed that meant something else.
  if (Number.isNaN(ms) || (bare && formatTime(ms).slice(0, 10) !== trimmed)) {
    throw invalid(`${what}: not a time; write it like 2026-12-31 or 2026-12-31T18:00:00Z`)
  }
  return bare ? ms + 86_400_000 : ms
}

/** Since when: how long ago (`24h`), a time, or a date, which here means the day's beginning. Throws `invalid`. */
export const parseSince = (text: string, now: number): number => {
  const trimmed = text.trim()
  if (/^\d+[a-z]*$/i.test(trimmed)) return now - parseDuration(trimmed, 'since')
  const at = parseTime(trimmed, 'since')
  return DATE.test(trimmed) ? at - 86_400_000 : at
}

/** When something ends: a duration from now, or a time that is still to come. */
export const parseExpiry = (text: string, now: number, what: string): number => {
  const at = /^\d+[a-z]*$/i.test(text.trim()) ? now + parseDuration(text, what) : parseTime(text, what)
  if (at <= now) throw invalid(`${what}: that is in the past`)
  return at
}
