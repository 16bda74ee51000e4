import type { Report } from './bench.ts'

/** Several reports as one, their data under their names. */
export const joined = (named: Record<string, Report>): Report => {
  const reports = Object.values(named)
  return {
    text: reports.map(({ text }) => text).join('\n\n'),
    checks: reports.flatMap(({ checks }) => checks),
    data: Object.fromEntries(Object.entries(named).map(([name, { data }]) => [name, data])),
    failures: reports.flatMap(({ failures }) => failures),
    missing: [...new Set(reports.flatMap(({ missing }) => missing))],
  }
}
