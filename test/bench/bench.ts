/** One figure beside what it was to reach. Times are milliseconds or seconds, ratios have no unit. */
export interface Check {
  /** Such as `kill 1 stream, p99`. */
  what: string
  value: number
  unit: 'ms' | 's' | '×' | '%' | 'KiB' | 'MiB'
  /** The bound, and on which side of it the value is to be. */
  target: number
  side: 'at most' | 'at least'
  stretch: number | null
}

/** What one benchmark found. Figures never decide; only what did not work does. */
export interface Report {
  /** Tables as they are printed. */
  text: string
  checks: Check[]
  /** What goes into the JSON file. */
  data: unknown
  /** What did not work, one line each. */
  failures: string[]
  /** Peers that are not installed, whose rows are missing. */
  missing: string[]
}

/** `short` shows in seconds that a benchmark works; its figures mean nothing. */
export type Size = 'short' | 'full'

export type Bench = (size: Size) => Promise<Report>
