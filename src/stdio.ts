import { invalid } from './error.ts'
import { limits } from './limits.ts'
import { refuseSecretIn } from './secret.ts'

/** A server that is a command: what the gate runs, and speaks to over its standard input and output. */
export interface StdioSpec {
  /** The program and its arguments, as `execve` takes them: no shell reads them. */
  readonly command: readonly string[]
  /** Added to PATH, HOME and LANG. Plain here, encrypted at rest. */
  readonly env: readonly (readonly [string, string])[]
  /** One process for all clients, since the server keeps nothing by client; else one a session. */
  readonly shared: boolean
  /** Who runs it; null: whoever runs the gate. */
  readonly user: string | null
  /** In a sandbox of bubblewrap: the system read-only, its own folder writable. */
  readonly sandbox: boolean
  /** Absolute paths that the sandbox lets it write to, or with `:ro` at the end read. */
  readonly allow: readonly string[]
  /** False: the sandbox has no network. */
  readonly network: boolean
  /** A process that nobody uses ends after this. */
  readonly idleMs: number
  /** Of each process: its data segment (`RLIMIT_DATA`). */
  readonly memoryBytes: number
  /** Of each process in its life (`RLIMIT_CPU`); null: no limit. */
  readonly cpuTimeMs: number | null
  /** Runs on every node of the cluster; else only on `node`. */
  readonly everywhere: boolean
  /** The id of the node where it was added. */
  readonly node: string
}

export interface StdioRequest {
  command: string[]
  env?: Record<string, string>
  shared?: boolean
  user?: string | null
  sandbox?: boolean
  allow?: string[]
  network?: boolean
  idleMs?: number
  memoryBytes?: number
  cpuTimeMs?: number | null
  everywhere?: boolean
}

/** A line that a process said on its standard error, redacted. */
export interface StderrLine {
  at: number
  line: string
}

/** How the processes of a server are. */
export interface StdioStatus {
  processes: number
  startedInAll: number
  /** Ends that nobody asked for, since the start of the node. */
  crashes: number
  /** How the last one ended that nobody asked to. */
  lastCrash: { at: number; detail: string } | null
  /** Until then nothing is started after a crash; null: it may be. */
  retryAt: number | null
  /** What is wrong since it last worked: how it exited, or why it can't be started; null: nothing that is known. */
  problem: string | null
  stderr: readonly StderrLine[]
}

/** What console and health know of processes. */
export interface StdioProcesses {
  statusOf(server: { readonly id: string }): StdioStatus
}

const CRASH_LOOP = 'crash loop: '

/** Why a server is closed whose processes ended by themselves again and again. */
export const crashLoop = (times: number, detail: string): string =>
  `${CRASH_LOOP}it exited ${times} times in a row, last: ${detail}`

/** Whether it is closed for that, on whichever node; the reason of a closing is what all nodes know, also after a start. */
export const isInCrashLoop = ({
  state,
  stdio,
  reason,
}: {
  state: 'open' | 'closed'
  stdio: StdioSpec | null
  reason: string | null
}): boolean => stdio !== null && state === 'closed' && (reason?.startsWith(CRASH_LOOP) ?? false)

/** Stands where other servers have their URL: no name below `.invalid` leads anywhere (RFC 6761 §6.4). */
export const STDIO_URL = 'http://stdio.invalid/'

const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?$/

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** A request, checked. Throws `invalid`, never with a value of the environment in its words. */
export const stdioSpec = (request: StdioRequest, node: string): StdioSpec => {
  const { command, sandbox = false, allow = [], network = true, cpuTimeMs = null, user = null } = request
  const [program = ''] = command
  if (program.trim() === '') throw invalid('give the command that runs the server, after --')
  if (command.some((argument) => argument.includes('\0'))) throw invalid('the command holds a zero byte')
  if (command.join(' ').length > limits.stdioCommandLengthMax)
    throw invalid(`the command is longer than ${limits.stdioCommandLengthMax} characters`)
  for (const argument of command) refuseSecretIn(argument, 'the command')
  if (!sandbox && (allow.length > 0 || !network))
    throw invalid('--allow and --no-network are for servers in a --sandbox')
  if (allow.length > limits.stdioAllowMax) throw invalid(`more than ${limits.stdioAllowMax} paths of --allow`)
  for (const path of allow) {
    refuseSecretIn(path, 'a path of --allow')
    if (!path.startsWith('/') || path.includes('\0')) throw invalid('a path of --allow must begin with a slash')
    if (path.length > limits.stdioCommandLengthMax) throw invalid('a path of --allow is too long')
  }
  if (user !== null && !USER_NAME.test(user)) throw invalid('the user must be named as in /etc/passwd')
  const spec: StdioSpec = {
    command: [...command],
    env: stdioEnv(request.env ?? {}),
    shared: request.shared ?? false,
    user,
    sandbox,
    allow: [...allow],
    network,
    idleMs: request.idleMs ?? limits.stdioIdleMs,
    memoryBytes: request.memoryBytes ?? limits.stdioMemoryBytes,
    cpuTimeMs,
    everywhere: request.everywhere ?? false,
    node,
  }
  const isWithin = (value: number, least: number, most = Number.MAX_SAFE_INTEGER) =>
    Number.isSafeInteger(value) && value >= least && value <= most
  if (!isWithin(spec.idleMs, 1_000, limits.stdioIdleMsMax)) throw invalid('--idle must be from 1s to 30d')
  if (!isWithin(spec.memoryBytes, limits.stdioMemoryBytesMin)) throw invalid('--memory must be at least 64MiB')
  if (cpuTimeMs !== null && !isWithin(cpuTimeMs, 1_000)) throw invalid('--cpu-time must be at least 1s')
  return spec
}

/** What may be told of it: of its environment the names alone. */
export const publicSpec = ({ env, ...bare }: StdioSpec) => ({ ...bare, env: env.map(([name]) => name) })

const stdioEnv = (given: Record<string, string>): [string, string][] => {
  const entries = Object.entries(given)
  if (entries.length > limits.stdioEnvMax) throw invalid(`more than ${limits.stdioEnvMax} variables`)
  return entries.map(([name, value], index) => {
    refuseSecretIn(name, `the name of variable ${index + 1}`)
    if (!ENV_NAME.test(name) || name.length > limits.nameLengthMax)
      throw invalid(`variable ${index + 1}: its name is none that a variable may have`)
    if (value.includes('\0') || value.length > limits.stdioEnvValueLengthMax)
      throw invalid(`the value of ${name} holds a zero byte, or is too long`)
    return [name, value]
  })
}
