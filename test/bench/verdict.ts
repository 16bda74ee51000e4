import type { Check } from './bench.ts'
import { table } from './table.ts'

export type Verdict = 'reached' | 'stretch reached' | 'MISSED'

/** A figure that is not a number was not measured, and so reached nothing. */
export const verdictOf = ({ value, target, side, stretch }: Check): Verdict => {
  const reaches = (bound: number) => (side === 'at most' ? value <= bound : value >= bound)
  if (!reaches(target)) return 'MISSED'
  return stretch !== null && reaches(stretch) ? 'stretch reached' : 'reached'
}

export const figureOf = (value: number, unit: Check['unit']): string => {
  const digits = Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0
  return `${value.toFixed(digits)} ${unit}`
}

/** Such as `≤ 5.00 ms`; nothing where there is no bound. */
export const boundOf = ({ side, unit }: Check, bound: number | null): string =>
  bound === null ? '' : `${side === 'at most' ? '≤' : '≥'} ${figureOf(bound, unit)}`

export const checksTable = (checks: Check[]): string =>
  table(
    ['', 'figure', 'target', 'stretch', 'verdict'],
    checks.map((check) => {
      const { what, value, unit, target, stretch } = check
      return [what, figureOf(value, unit), boundOf(check, target), boundOf(check, stretch), verdictOf(check)]
    }),
  )
