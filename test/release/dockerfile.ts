/** One instruction of a Dockerfile; continued lines are one. */
export interface Instruction {
  line: number
  name: string
  /** `--from=build` and the like, in front of the rest. */
  flags: string[]
  rest: string
}

/** A stage, from its FROM on. */
export type Stage = Instruction[]

/** The stages of a Dockerfile. Throws on a line that is no instruction. */
export const stagesOf = (text: string): Stage[] => {
  const stages: Stage[] = []
  let open = ''
  let openedAt = 0
  for (const [index, raw] of text.split('\n').entries()) {
    if (/^\s*#/.test(raw) || raw.trim() === '') continue
    if (open === '') openedAt = index + 1
    open += raw
    if (open.endsWith('\\')) {
      open = `${open.slice(0, -1).trimEnd()} `
      continue
    }
    const [, name, flags, rest] = /^\s*([A-Z]+)\s+((?:--\S+\s+)*)(.*)$/.exec(open) ?? []
    if (name === undefined || flags === undefined || rest === undefined) throw new Error(`line ${openedAt}: ${open}`)
    const instruction = { line: openedAt, name, flags: flags.split(/\s+/).filter(Boolean), rest }
    if (name === 'FROM') stages.push([])
    const stage = stages.at(-1)
    if (stage) stage.push(instruction)
    else if (name !== 'ARG') throw new Error(`line ${openedAt}: ${name} before FROM`)
    open = ''
  }
  if (open !== '') throw new Error(`line ${openedAt}: it goes on after the end`)
  return stages
}

const isExecForm = (rest: string): boolean => {
  try {
    const words: unknown = JSON.parse(rest)
    return Array.isArray(words) && words.length > 0 && words.every((word) => typeof word === 'string')
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}
const EXACT_IMAGE = /^[a-z0-9./-]+(?::[\w.-]*\d+\.\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})(?: AS [a-z]+)?$/
const SECRET = /(?:SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|PRIVATE|API_?KEY)/i

type Rule = (stages: Stage[]) => Instruction[]

const all = (stages: Stage[], ...names: string[]) => stages.flat().filter(({ name }) => names.includes(name))
const last = (stages: Stage[], name: string) => stages.at(-1)?.findLast((instruction) => instruction.name === name)
/** The FROM of the last stage, where something that it should have is missing. */
const missing = (stages: Stage[], is: boolean): Instruction[] => (is ? [] : (stages.at(-1)?.slice(0, 1) ?? []))

/** What a Dockerfile must keep to, after hadolint's rules; each answers with the instructions that don't. */
export const RULES: Record<string, Rule> = {
  'base images are exact versions': (stages) => {
    const names = all(stages, 'FROM').map(({ rest }) => / AS (\S+)$/.exec(rest)?.[1])
    return all(stages, 'FROM').filter(
      ({ rest }) => rest !== 'scratch' && !names.includes(rest.split(' ')[0]) && !EXACT_IMAGE.test(rest),
    )
  },
  'files come by COPY, not by ADD': (stages) => all(stages, 'ADD'),
  'nothing is fetched without a checksum': (stages) =>
    all(stages, 'RUN').filter(({ rest }) => /\b(?:curl|wget)\b|\bgit clone\b/.test(rest)),
  'packages of npm are exact versions': (stages) =>
    all(stages, 'RUN').filter(({ rest }) =>
      [...rest.matchAll(/\b(?:npm (?:install|i)|npx)((?:\s+[^\s&|;]+)*)/g)].some(([, words = '']) =>
        words.split(/\s+/).some((word) => word !== '' && !word.startsWith('-') && !/@\d+\.\d+\.\d+$/.test(word)),
      ),
    ),
  'the lock file is kept to': (stages) =>
    all(stages, 'RUN').filter(({ rest }) => /\bbun install\b/.test(rest) && !rest.includes('--frozen-lockfile')),
  'apt installs little, and cleans up': (stages) =>
    all(stages, 'RUN').filter(
      ({ rest }) =>
        /\bapt(?:-get)? install\b/.test(rest) &&
        !(rest.includes('--no-install-recommends') && /rm -rf \/var\/lib\/apt\/lists/.test(rest)),
    ),
  'nobody becomes root': (stages) =>
    all(stages, 'RUN').filter(({ rest }) => /\bsudo\b|\bchmod\s+(?:-\S+\s+)*\S*777/.test(rest)),
  'folders are absolute': (stages) => all(stages, 'WORKDIR').filter(({ rest }) => !rest.startsWith('/')),
  'the last USER is a number, not root': (stages) => {
    const user = last(stages, 'USER')
    return user && /^[1-9]\d*:[1-9]\d*$/.test(user.rest) ? [] : user ? [user] : missing(stages, false)
  },
  'what runs is in exec form': (stages) => {
    const health = all(stages, 'HEALTHCHECK').filter(
      ({ rest }) => rest !== 'NONE' && !isExecForm(rest.replace(/^CMD\s+/, '')),
    )
    return [...all(stages, 'CMD', 'ENTRYPOINT').filter(({ rest }) => !isExecForm(rest)), ...health]
  },
  'secrets are in no layer': (stages) => all(stages, 'ARG', 'ENV').filter(({ rest }) => SECRET.test(rest)),
  'ports are above 1023': (stages) =>
    all(stages, 'EXPOSE').filter(({ rest }) => rest.split(/\s+/).some((port) => !(Number.parseInt(port, 10) > 1023))),
  'there is one entry point': (stages) => missing(stages, Boolean(last(stages, 'ENTRYPOINT'))),
}

/** What only the image of the product must have. */
export const PRODUCT_RULES: Record<string, Rule> = {
  'it says whether it is well': (stages) =>
    missing(stages, last(stages, 'HEALTHCHECK')?.rest === 'CMD ["portcullis", "healthcheck"]'),
  'its data is a volume, owned by its user': (stages) => {
    const user = last(stages, 'USER')?.rest
    const owned = all(stages, 'COPY').some(
      ({ flags, rest }) => flags.includes(`--chown=${user}`) && rest.endsWith(' /data'),
    )
    return missing(stages, last(stages, 'VOLUME')?.rest === '["/data"]' && owned)
  },
  'the build stage stays behind': (stages) => missing(stages, stages.length > 1),
  'the build context is copied by name': (stages) =>
    all(stages, 'COPY').filter(({ flags, rest }) => flags.length === 0 && /^\.\/?\s/.test(rest)),
}

export const broken = (rules: Record<string, Rule>, text: string): string[] =>
  Object.entries(rules).flatMap(([what, rule]) =>
    rule(stagesOf(text)).map(({ line, name, rest }) => `${what}: line ${line}: ${name} ${rest}`),
  )
