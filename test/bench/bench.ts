/** One figure beside what it was to reach. Times are milliseconds, ratios have no unit. */
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
}

export type Bench = () => Promise<Report>
