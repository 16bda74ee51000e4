import { usage } from './exit.ts'
import { readValue } from './value.ts'

/** `K=V`, `K=@file`, `K=-`, and `K` alone, whose value is that of this shell: none need be in a history. */
export const readEnv = async (specs: string[]): Promise<Record<string, string>> => {
  const parsed = specs.map((spec, index) => {
    const at = spec.indexOf('=')
    const name = at === -1 ? spec : spec.slice(0, at)
    const own = at === -1 ? process.env[name] : undefined
    // What was given may be nothing but a secret, so it is not repeated.
    if (name === '' || (at === -1 && own === undefined))
      throw usage(
        `--env, number ${index + 1}: write K=V, K=@file, K=- (stdin), or K alone for a variable that is set here`,
      )
    return { name, spec: at === -1 ? null : spec.slice(at + 1), own }
  })
  if (new Set(parsed.map(({ name }) => name)).size < parsed.length) throw usage('--env: the same name is given twice')
  if (parsed.filter(({ spec }) => spec === '-').length > 1) throw usage('--env: only one value can come from stdin')
  const env: Record<string, string> = Object.create(null)
  for (const { name, spec, own } of parsed) env[name] = own ?? (await readValue(`--env ${name}`, spec ?? ''))
  return env
}
