import { usage } from './exit.ts'
import { readValue } from './value.ts'

/** `Name: value`, `Name: @file` and `Name: -`, so that no secret need be typed into a shell's history. */
export const readHeaders = async (specs: string[]): Promise<Record<string, string> | null> => {
  if (specs.length === 0) return null
  const parsed = specs.map((spec) => {
    const [, name, value] = /^([^:\s]+)\s*:\s*(.*)$/s.exec(spec.trim()) ?? []
    // What was given may be nothing but a secret, so it is not repeated.
    if (!name || !value) throw usage("--header must look like 'Name: value', 'Name: @file' or 'Name: -'")
    return [name, value] as const
  })
  const names = new Set(parsed.map(([name]) => name.toLowerCase()))
  if (names.size < parsed.length) throw usage('--header: the same name is given twice')
  const typed = parsed.filter(([, value]) => value === '-')
  if (typed.length > 1) throw usage('--header: only one value can come from stdin')
  const headers: [string, string][] = []
  for (const [name, spec] of parsed) headers.push([name, await readValue(`--header ${name}`, spec)])
  return Object.fromEntries(headers)
}
