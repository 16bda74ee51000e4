import { accessSync, constants, existsSync, mkdirSync, realpathSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { StdioSpec } from '../../stdio.ts'
import type { Upstream } from '../../upstream.ts'
import { type Account, accountOf } from './account.ts'
import { attempt } from './attempt.ts'
import { refuse, sandboxArguments, sandboxTrouble, seenInSandbox } from './sandbox.ts'

export type StdioServer = Upstream & { stdio: StdioSpec }

/** All that is needed to run a command. */
export interface Launch {
  argv: string[]
  env: Record<string, string>
  /** Without links in it. */
  cwd: string
  uid?: number
  gid?: number
  memoryBytes: number
  cpuTimeMs: number | null
  /** Its first process is the sandbox, which on SIGTERM would not wait for what is in it. */
  sandbox: boolean
}

export interface LaunchDeps {
  dataFolder: string
  /** Of the gate. */
  env: Record<string, string | undefined>
  /** Files outside of the data folder that no sandbox may show, such as the key's. */
  secretFiles?: readonly string[]
  /** Where users stand; by default /etc/passwd. */
  passwd?: string
}

/** The sandbox sets PWD, which nobody named. */
const UNSET = ['/bin/sh', '-c', 'unset PWD OLDPWD SHLVL; exec "$@"', 'sh']

const PATH = '/usr/local/bin:/usr/bin:/bin'

/** Throws where the gate may not become that user. */
const userOf = (name: string, file: string): Account => {
  const account =
    accountOf(name, file) ?? refuse(`--user ${name}: there is no such user in ${file}; make one with useradd`)
  const own = process.getuid?.()
  if (own !== 0 && own !== account.uid)
    return refuse(`--user ${name}: only a gate that runs as root can run a command as somebody else`)
  if (!existsSync(account.home))
    return refuse(
      `--user ${name}: its home ${account.home || '(none)'} does not exist; a server works in a folder there`,
    )
  return account
}

/** What is made in a user's home is made as that user: whoever owns the home could lead root anywhere by a link. */
const userFolder = async (account: Account, name: string): Promise<string> => {
  const folder = join(account.home, '.portcullis', name)
  const script = 'umask 077 && mkdir -p "$1" && cd "$1" && test -w . && pwd -P'
  const user = { uid: account.uid, gid: account.gid }
  const { said, trouble } = await attempt(['/bin/sh', '-c', script, 'sh', folder], user)
  return trouble === null ? said.trimEnd() : refuse(`the server's folder ${folder} can't be made: ${trouble}`)
}

const ownFolder = (dataFolder: string, serverId: string): string => {
  const folder = resolve(dataFolder, 'stdio', serverId)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return realpathSync(folder)
}

/** A service often has a home that is none: what npx and uvx fetch goes to the server's own folder then. */
const homeOf = (home: string | undefined, folder: string): string =>
  home !== undefined && existsSync(home) && statSync(home).isDirectory() && may(home, constants.W_OK) ? home : folder

const may = (path: string, mode: number): boolean => {
  try {
    accessSync(path, mode)
    return true
  } catch {
    // It says so by throwing.
    return false
  }
}

/** The program's file. `execve` would say the same, but nobody would hear it. */
const programOf = (command: string, path: string, folder: string, account: Account | null): string => {
  const file = command.includes('/') ? resolve(folder, command) : Bun.which(command, { PATH: path })
  if (file === null) return refuse(`the command "${command}" was not found in PATH (${path})`)
  // Root without its capabilities may not look into a home; its owner may.
  if (account && !may(dirname(file), constants.X_OK)) return file
  const found = statSync(file, { throwIfNoEntry: false })
  if (!found) {
    const hint = command.startsWith('/') ? '' : '; write its path from / on'
    return refuse(`there is no file ${file}${hint}`)
  }
  if (!found.isFile()) return refuse(`${file} is no file that can be run`)
  if (!may(file, constants.X_OK)) return refuse(`${file} may not be run: make it executable (chmod +x)`)
  return file
}

/**
 * How the command of a server is run here; makes its working folder where it is needed. Throws `ProblemError`
 * (502, `server-not-startable`), which says what to do.
 */
export const launchOf = async (server: StdioServer, deps: LaunchDeps): Promise<Launch> => {
  const { stdio } = server
  const account = stdio.user === null ? null : userOf(stdio.user, deps.passwd ?? '/etc/passwd')
  // Without links: a sandbox shows the folder itself, not what led there.
  const cwd = account ? await userFolder(account, server.name) : ownFolder(deps.dataFolder, server.id)
  const home = stdio.sandbox ? cwd : (account?.home ?? homeOf(deps.env['HOME'], cwd))
  const { LANG } = deps.env
  const env: Record<string, string> = { PATH: deps.env['PATH'] ?? PATH, HOME: home, ...(LANG ? { LANG } : {}) }
  for (const [name, value] of stdio.env) env[name] = value
  const [command = '', ...rest] = stdio.command
  const program = programOf(command, env['PATH'] as string, cwd, account)
  const self = account && account.uid === process.getuid?.()
  const launch: Launch = {
    argv: [program, ...rest],
    env,
    cwd,
    ...(account && !self ? { uid: account.uid, gid: account.gid } : {}),
    memoryBytes: stdio.memoryBytes,
    cpuTimeMs: stdio.cpuTimeMs,
    sandbox: stdio.sandbox,
  }
  return stdio.sandbox ? inSandbox(launch, stdio, deps) : launch
}

const inSandbox = async (launch: Launch, spec: StdioSpec, deps: LaunchDeps): Promise<Launch> => {
  const { argv, cwd, uid, gid } = launch
  const bwrap =
    Bun.which('bwrap', { PATH: deps.env['PATH'] ?? PATH }) ??
    refuse('--sandbox needs bubblewrap, and there is no bwrap in PATH: install the package bubblewrap')
  const trouble = await sandboxTrouble(bwrap, { uid, gid })
  if (trouble !== null) return refuse(`--sandbox: bwrap does not work here: ${trouble}`)
  const sandbox = { dataFolder: resolve(deps.dataFolder), secretFiles: deps.secretFiles ?? [], folder: cwd }
  const [program = ''] = argv
  if (!seenInSandbox(program, spec, sandbox))
    return refuse(`${program} is out of sight in the sandbox: add --allow ${dirname(program)}:ro`)
  return { ...launch, argv: [bwrap, ...sandboxArguments(spec, sandbox), '--', ...UNSET, ...argv] }
}
