import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { limits as values } from '../../../src/limits.ts'
import { cell, code, page, table } from './markdown.ts'

const SOURCE = join(import.meta.dir, '../../../src/limits.ts')

const UNITS: [size: number, unit: string][] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
]

const time = (ms: number): string => {
  const [size, unit] = UNITS.find(([each]) => ms >= each && ms % each === 0) ?? [1, 'ms']
  return `${ms / size} ${unit}`
}

const bytes = (count: number): string => {
  const power = [3, 2, 1, 0].find((each) => count % 1024 ** each === 0) ?? 0
  return `${count / 1024 ** power} ${['B', 'KiB', 'MiB', 'GiB'][power]}`
}

/** Units stand last in the names. */
const valueOf = (name: string): string => {
  const value = values[name as keyof typeof values]
  if (/Ms(Max)?$/.test(name)) return time(value)
  return /Bytes(Max|Min|PerSecond)?$/.test(name) ? bytes(value) : value.toLocaleString('en')
}

interface Limit {
  name: string
  reason: string
}

/** The names in their groups, each with the comment above it, which is also that of names that follow it closely. */
const groupsOf = (source: string): Map<string, Limit[]> => {
  const groups = new Map<string, Limit[]>()
  let group = ''
  let reason = ''
  for (const line of source.split('\n')) {
    const [, title] = /^ {2}\/\/ (.*)$/.exec(line) ?? []
    const [, comment] = /^ {2}\/\*\* (.*) \*\/$/.exec(line) ?? []
    const [, name] = /^ {2}(\w+): /.exec(line) ?? []
    if (title) group = title
    if (comment) reason = comment
    if (name) {
      groups.set(group, [...(groups.get(group) ?? []), { name, reason }])
      reason = ''
    }
  }
  return groups
}

export const limits = (): string => {
  const groups = groupsOf(readFileSync(SOURCE, 'utf8'))
  const found = [...groups.values()].flat().map(({ name }) => name)
  const missing = Object.keys(values).filter((name) => !found.includes(name))
  if (missing.length > 0) throw new Error(`not read out of src/limits.ts: ${missing.join(', ')}`)
  return page(
    'Limits',
    'Everything has a limit; one past it is a clear error, or makes room by the oldest. They are fixed in `src/limits.ts`.',
    ...[...groups].flatMap(([group, all]) => [
      `## ${group}`,
      table(
        ['limit', 'value', 'why'],
        all.map(({ name, reason }) => [code(name), valueOf(name), cell(reason)]),
      ),
    ]),
    'How many connections a node takes at once also depends on how many files it may open: two for each connection.',
  )
}
