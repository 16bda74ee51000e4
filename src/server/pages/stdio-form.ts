import { MASK } from '../../control.ts'
import { invalid } from '../../error.ts'
import { limits } from '../../limits.ts'
import { holdsSecret } from '../../secret.ts'
import { parseSize, sizeText } from '../../size.ts'
import { type StdioRequest, type StdioSpec, stdioSpec } from '../../stdio.ts'
import { formatDuration, parseDuration } from '../../time.ts'
import { serverName } from '../../upstream.ts'
import { type StdioFailures, type StdioTyped, USUAL } from '../../views/stdio-form.tsx'
import { commandIn, commandText } from './command-text.ts'
import { reading, shownOf } from './fields.ts'

export const NEW_COMMAND: StdioTyped = {
  name: '',
  command: '',
  env: '',
  isRetyped: false,
  shared: false,
  user: '',
  sandbox: false,
  allow: '',
  noNetwork: false,
  everywhere: false,
  ...USUAL,
}

const cpuTimeText = ({ cpuTimeMs }: Pick<StdioSpec, 'cpuTimeMs'>): string =>
  cpuTimeMs === null ? '' : formatDuration(cpuTimeMs)

/** A command as its form shows it: no value of its environment. */
export const typedAs = (name: string, spec: StdioSpec): StdioTyped => ({
  name,
  command: commandText(spec.command),
  env: spec.env.map(([variable]) => `${variable}=${MASK}`).join('\n'),
  isRetyped: false,
  shared: spec.shared,
  user: spec.user ?? '',
  sandbox: spec.sandbox,
  allow: spec.allow.join('\n'),
  noNetwork: !spec.network,
  everywhere: spec.everywhere,
  idle: formatDuration(spec.idleMs),
  memory: sizeText(spec.memoryBytes),
  cpuTime: cpuTimeText(spec),
})

const linesOf = (text: string): string[] => text.split(/\r\n?|\n/)

/** Those that are not empty. */
const lines = (text: string): string[] =>
  linesOf(text)
    .map((line) => line.trim())
    .filter((line) => line !== '')

const VARIABLE = /^\s*([^=\s]+)=(.*)$/s

/** One `NAME=value` a line, the value exactly as it stands there; messages repeat neither. */
const envIn = (text: string): Record<string, string> => {
  const env = new Map<string, string>()
  for (const [index, line] of linesOf(text).entries()) {
    if (line.trim() === '') continue
    const [, name, value] = VARIABLE.exec(line) ?? []
    if (name === undefined || value === undefined) throw invalid(`line ${index + 1}: write it like NAME=value`)
    if (env.has(name)) throw invalid(`line ${index + 1}: that name is given twice`)
    env.set(name, value)
  }
  return Object.fromEntries(env)
}

/** What was typed as the environment, without values: a line without "=" is refused until its value is typed again. */
const envShown = (text: string): { env: string; isRetyped: boolean } => {
  const shown = linesOf(text).flatMap((line) => {
    const [, name, value] = VARIABLE.exec(line) ?? []
    if (name !== undefined && value === MASK) return [`${name}=${MASK}`]
    return name === undefined || name.length > limits.nameLengthMax || holdsSecret(name) ? [] : [name]
  })
  return { env: shown.join('\n'), isRetyped: shown.some((line) => !line.includes('=')) }
}

/** What the form is filled with when it comes back: all that was typed, but secrets. */
export const typedIn = (fields: URLSearchParams): StdioTyped => {
  const shown = (name: string) => shownOf(fields, name)
  return {
    name: shown('name'),
    command: shown('command'),
    ...envShown(fields.get('env') ?? ''),
    shared: fields.has('shared'),
    user: shown('user'),
    sandbox: fields.has('sandbox'),
    allow: shown('allow'),
    noNetwork: fields.has('noNetwork'),
    everywhere: fields.has('everywhere'),
    idle: shown('idle'),
    memory: shown('memory'),
    cpuTime: shown('cpuTime'),
  }
}

/** Throws what is wrong with a part of a request, where the rest of it is right. */
const checked = <T extends Partial<StdioRequest>>(part: T): T => {
  stdioSpec({ command: ['true'], ...part }, '')
  return part
}

interface Read {
  name: string
  stdio: StdioRequest
  failures: StdioFailures
}

/** What the form asks for; or, for each field that is wrong, why. `spec` is what it was filled with, if anything. */
export const commandOf = (fields: URLSearchParams, spec: StdioSpec | null): Read => {
  const { failures, read } = reading<keyof StdioFailures>()
  const text = (name: string) => (fields.get(name) ?? '').trim()
  // A limit that was set by the API may be finer than can be typed.
  const filled = spec && typedAs('', spec)
  const limit = <T>(field: keyof typeof USUAL, before: T | undefined, parse: () => T) =>
    before !== undefined && text(field) === filled?.[field] ? before : read(field, parse)
  const sandbox = fields.has('sandbox')
  const allow = lines(text('allow'))
  const stdio: StdioRequest = {
    command: read('command', () => commandRead(text('command'))) ?? [],
    env: read('env', () => envRead(fields.get('env') ?? '', spec === null)),
    shared: fields.has('shared'),
    user: read('user', () => checked({ user: text('user') || null }).user),
    sandbox,
    allow: read('allow', () => checked({ sandbox, allow }).allow),
    network: read('noNetwork', () => checked({ sandbox, network: !fields.has('noNetwork') }).network),
    idleMs: limit('idle', spec?.idleMs, () => checked({ idleMs: parseDuration(text('idle'), 'the time') }).idleMs),
    memoryBytes: limit(
      'memory',
      spec?.memoryBytes,
      () => checked({ memoryBytes: parseSize(text('memory'), 'the memory') }).memoryBytes,
    ),
    cpuTimeMs: limit('cpuTime', spec?.cpuTimeMs, () => cpuTimeRead(text('cpuTime'))),
    // Asked for only where there is a cluster.
    everywhere: fields.has('clustered') ? fields.has('everywhere') : (spec?.everywhere ?? false),
  }
  const name = spec === null ? (read('name', () => serverName(text('name'))) ?? '') : ''
  return { name, stdio, failures }
}

const cpuTimeRead = (text: string): number | null =>
  text === '' ? null : checked({ cpuTimeMs: parseDuration(text, 'the time') }).cpuTimeMs

const commandRead = (text: string) => {
  const command = commandIn(text)
  if (command.length === 0) throw invalid('the command is missing')
  return checked({ command }).command
}

const envRead = (text: string, isNew: boolean) => {
  const env = envIn(text)
  if (isNew && Object.values(env).includes(MASK)) throw invalid(`"${MASK}" is no value`)
  return checked({ env }).env
}

/** Of what the form asks for, what is another than it was; the audit log says which. */
export const changesOf = (spec: StdioSpec, asked: StdioRequest): Partial<StdioRequest> => {
  const isSame = (key: keyof StdioRequest): boolean =>
    key === 'env' ? isKept(spec, asked.env ?? {}) : JSON.stringify(asked[key]) === JSON.stringify(spec[key])
  return Object.fromEntries(Object.entries(asked).filter(([key]) => !isSame(key as keyof StdioRequest)))
}

const isKept = (spec: StdioSpec, env: Record<string, string>): boolean =>
  Object.keys(env).length === spec.env.length && spec.env.every(([variable]) => env[variable] === MASK)
