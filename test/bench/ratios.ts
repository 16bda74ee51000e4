import type { Ratio } from './figures.ts'
import { ms, table } from './table.ts'

export const ratiosTable = (ratios: Ratio[]): string =>
  table(
    ['to', 'ratio', 'min', 'max'],
    ratios.map(({ to, ratio, min, max }) => [to, ...[ratio, min, max].map(ms)]),
  )
