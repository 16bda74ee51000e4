import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { messageOf } from '../error.ts'
import { limits } from '../limits.ts'
import { parseSize, sizeText } from '../size.ts'
import type { StdioRequest } from '../stdio.ts'
import { formatDuration, parseDuration } from '../time.ts'
import { readEnv } from './env.ts'
import { usage } from './exit.ts'
import { warn } from './output.ts'

/** The flags of a server that is a command. */
export interface StdioOptions {
  stdio?: boolean
  env?: string[]
  shared?: boolean
  user?: string
  sandbox?: boolean
  allow?: string[]
  /** Commander's own spelling of `--no-network`. */
  network?: boolean
  idle?: number
  memory?: number
  cpuTime?: number
  everywhere?: boolean
}

const parsedBy =
  (parse: (text: string, what: string) => number, what: string) =>
  (text: string): number => {
    try {
      return parse(text, what)
    } catch (error) {
      throw new InvalidArgumentError(messageOf(error))
    }
  }

const repeated = (value: string, previous: string[] = []): string[] => [...previous, value]

export const stdioOptions = (command: Command): Command =>
  command
    .option(
      '--stdio',
      'run a command in place of a URL: what stands after --, as its program gets it; no shell reads it',
    )
    .option(
      '--env <K=V>',
      "variable of the command, beside PATH, HOME and LANG; 'K=@file' reads the value from a file, 'K=-' from stdin, K alone takes this shell's (repeatable)",
      repeated,
    )
    .option('--shared', 'one process for all clients; else each session gets one of its own')
    .option('--user <NAME>', 'run it as that user; the node must run as root')
    .option(
      '--sandbox',
      'run it in bubblewrap: the system read-only, homes and other data hidden, its own folder writable',
    )
    .option(
      '--allow <PATH>',
      'a path that the sandbox lets it write to, or read with :ro at the end (repeatable)',
      repeated,
    )
    .option('--no-network', 'the sandbox has no network')
    .option(
      '--idle <DURATION>',
      `end a process that nobody used for so long (default: ${formatDuration(limits.stdioIdleMs)})`,
      parsedBy(parseDuration, '--idle'),
    )
    .option(
      '--memory <SIZE>',
      `data that each of its processes may hold (default: ${sizeText(limits.stdioMemoryBytes)})`,
      parsedBy(parseSize, '--memory'),
    )
    .option(
      '--cpu-time <DURATION>',
      'CPU time that each of its processes may use (default: no limit)',
      parsedBy(parseDuration, '--cpu-time'),
    )
    .option('--everywhere', 'run it on every node of the cluster; else on this one alone')

/** The first flag that was given and means something for commands only, as it is typed; null: none. */
export const stdioFlagIn = ({ stdio, network, cpuTime, ...rest }: StdioOptions): string | null => {
  if (stdio) return '--stdio'
  if (network === false) return '--no-network'
  if (cpuTime !== undefined) return '--cpu-time'
  const names = ['env', 'shared', 'user', 'sandbox', 'allow', 'idle', 'memory', 'everywhere'] as const
  const given = names.find((name) => rest[name] !== undefined)
  return given ? `--${given}` : null
}

/** Whether a word names a file of the caller's folder: the command runs in another one. */
const isFileHere = (word: string): boolean => {
  if (word.startsWith('/') || word.startsWith('-')) return false
  return statSync(word, { throwIfNoEntry: false })?.isFile() ?? false
}

/** A path as the node will see it. On another machine the caller's folder means nothing. */
const absolute = (path: string, what: string, isRemote: boolean): string => {
  if (path.startsWith('/')) return path
  if (isRemote) throw usage(`${what} "${path}": with --url, give the whole path, as it is on the node's machine`)
  return resolve(path)
}

/**
 * What is asked of the API. A program with a slash in its name and the paths of `--allow` are the caller's own, as in a
 * shell; arguments go as they are, since only the program knows which of them are paths. Throws `Exit`.
 */
export const stdioRequest = async (
  [program = '', ...args]: readonly string[],
  options: StdioOptions,
  isRemote: boolean,
): Promise<StdioRequest> => {
  const { env = [], shared, user, sandbox, allow, network, idle, memory, cpuTime, everywhere } = options
  const command = [program.includes('/') ? absolute(program, 'the command', isRemote) : program, ...args]
  const lost = isRemote ? undefined : args.find(isFileHere)
  if (lost !== undefined)
    await warn(`Mind: ${lost} is a file in this folder, and the command runs in another one. Give its whole path.`)
  return {
    command,
    ...(env.length > 0 && { env: await readEnv(env) }),
    ...(shared && { shared }),
    ...(user !== undefined && { user }),
    ...(sandbox && { sandbox }),
    ...(allow && { allow: allow.map((path) => absolute(path, '--allow', isRemote)) }),
    ...(network === false && { network }),
    ...(idle !== undefined && { idleMs: idle }),
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(cpuTime !== undefined && { cpuTimeMs: cpuTime }),
    ...(everywhere && { everywhere }),
  }
}
