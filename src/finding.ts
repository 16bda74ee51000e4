/** One thing that `doctor` looked at. */
export interface Finding {
  check: string
  ok: boolean
  level: 'ok' | 'warn' | 'fail'
  finding: string
  /** What to do about it; empty when all is well. */
  todo: string
}

export const finding = (check: string, level: Finding['level'], text: string, todo = ''): Finding => ({
  check,
  level,
  ok: level === 'ok',
  finding: text,
  todo,
})
