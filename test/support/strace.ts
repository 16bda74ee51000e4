import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { eventually } from './poll.ts'

/** Whether processes can be traced; where tests must not be skipped, that they can't is a failure. */
export const mayTrace = (): boolean => {
  if (Bun.which('strace') && Bun.spawnSync(['strace', '-o', '/dev/null', 'true']).exitCode === 0) return true
  if (process.env['CI']) throw new Error('this test needs strace, and to be let trace: apt-get install strace')
  console.warn('SKIPPED LOUDLY: there is no strace, or it may not trace (apt-get install strace)')
  return false
}

/** A system call as it stands in a trace. */
export interface Call {
  /** When it began, in seconds since the epoch. */
  at: number
  name: string
  /** Its arguments as strace spells them, and all texts among them. */
  args: string
  texts: Buffer[]
  /** What it returned; -1 where it failed. */
  result: number
  /** What stands behind the result: the path of a new descriptor, the error. */
  rest: string
}

/**
 * What stands before a command that is to be recorded. The command stays the direct child (`-D`), so that it can be
 * killed and waited for as ever; each thread's calls go to a file of their own, where none is cut in two.
 */
export const recording = (prefix: string, calls: readonly string[], more: readonly string[] = []): string[] => [
  ...['strace', '-D', '-ff', '--seccomp-bpf', '-q', '-ttt', '-yy', '-xx', '-s', '16000000', '-o', prefix],
  ...['-e', `trace=${calls.join(',')}`, ...more],
]

const filesOf = (prefix: string): string[] =>
  readdirSync(dirname(prefix))
    .filter((name) => name.startsWith(`${basename(prefix)}.`))
    .map((name) => join(dirname(prefix), name))

const LINE = /^(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+|\?)(.*)$/s

const SENDS = new Set(['sendto', 'sendmsg'])

export const textOf = (hex: string): Buffer => Buffer.from(hex.replaceAll('\\x', ''), 'hex')

const callOf = (line: string): Call | null => {
  const [, at, name, args, result, rest] = LINE.exec(line) ?? []
  if (!name || args === undefined || result === undefined) return null
  // A kill that follows upon an answer may come before its call has returned.
  if (result === '?' && !SENDS.has(name) && name !== 'exit_group')
    throw new Error(`killed within ${line.slice(0, 200)}`)
  const texts = [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g)].map(([, hex = '', more]) => {
    if (more) throw new Error(`the trace holds a part of a text only: ${line.slice(0, 200)}`)
    return textOf(hex)
  })
  return { at: Number(at), name, args, texts, result: result === '?' ? 0 : Number(result), rest: rest ?? '' }
}

/** All calls of a process that has ended, in the order in which they began. */
export const readTrace = async (prefix: string, pid: number): Promise<Call[]> => {
  const main = `${prefix}.${pid}`
  // strace writes on for a moment after its child is gone.
  const ended = () => /\+\+\+ (exited|killed)[^\n]*\n$/.test(readFileSync(main, 'latin1').slice(-200))
  await eventually(ended, { timeoutMs: 20_000, everyMs: 20, what: `${main} is complete` })
  return filesOf(prefix)
    .flatMap((file) =>
      readFileSync(file, 'latin1')
        .split('\n')
        .flatMap((line) => callOf(line) ?? []),
    )
    .toSorted((a, b) => a.at - b.at)
}
