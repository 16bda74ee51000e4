/** One thing that `doctor` looked at. */
export interface Finding {
  check: string
  ok: boolean
  level: 'ok' | 'warn' | 'fail'
  finding: string
  /** What to do about it; empty when all is well. */
  todo: string
}
