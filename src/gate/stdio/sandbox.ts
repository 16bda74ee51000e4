import { existsSync, lstatSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { StdioSpec } from '../../stdio.ts'
import { notStartable, ProblemError } from '../problem.ts'
import { attempt } from './attempt.ts'

/**
 * Where people, programs and services keep what is theirs. Sockets of services are in /run: who reaches that of Docker
 * is root.
 */
const HIDDEN = ['/home', '/root', '/tmp', '/var/tmp', '/run', '/dev/shm']
/** Where a program expects to be able to write. */
const SCRATCH = new Set(['/tmp', '/var/tmp', '/dev/shm'])

export interface Sandbox {
  /** The data folder: nothing of it is seen but `folder`. */
  dataFolder: string
  /** Files elsewhere that must not be seen, such as the key's. */
  secretFiles: readonly string[]
  /** The server's own: it may write there. */
  folder: string
}

/** Throws `ProblemError` (502, `server-not-startable`). */
export const refuse = (detail: string): never => {
  throw new ProblemError(notStartable(detail))
}

export const isBelow = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)

const real = (path: string): string => (existsSync(path) ? realpathSync(path) : path)

interface Allowed {
  path: string
  given: string
  writable: boolean
}

const allowedOf = (allow: readonly string[], { dataFolder, folder }: Sandbox): Allowed[] =>
  allow
    .map((text) => {
      const writable = !text.endsWith(':ro')
      const given = (writable ? text : text.slice(0, -3)).replace(/(?<=.)\/+$/, '')
      if (!existsSync(given)) return refuse(`--allow ${given}: there is no such file or folder on this machine`)
      const path = realpathSync(given)
      if (path === '/') return refuse('--allow / would leave nothing of the sandbox: name the folders it needs')
      if (isBelow(path, real(dataFolder)) && !isBelow(path, real(folder)))
        return refuse(`--allow ${given} is in the data folder of portcullis, which no server may see`)
      return { path, given, writable }
    })
    // What is bound later lies over what was bound before.
    .toSorted((a, b) => a.path.length - b.path.length)

/**
 * The outermost folder around a file that is closed to others, and holds nothing that is needed. What covers the file
 * alone is lost when another takes its name, as a renewed key does; what covers the folder is not.
 */
const privateFolder = (file: string, needed: readonly string[]): string | null => {
  const around = dirname(file)
  const outer = around === '/' ? null : privateFolder(around, needed)
  if (outer !== null || !existsSync(around)) return outer
  const folder = realpathSync(around)
  const isPrivate = (statSync(folder).mode & 0o005) === 0
  return isPrivate && !needed.some((path) => isBelow(path, folder)) ? folder : null
}

/** What a name is looked up with may be a link into /run. */
const resolver = (): string[] => {
  const file = '/etc/resolv.conf'
  if (!existsSync(file) || !lstatSync(file).isSymbolicLink()) return []
  const folder = dirname(realpathSync(file))
  return HIDDEN.some((hidden) => isBelow(folder, hidden)) ? ['--ro-bind', folder, folder] : []
}

/**
 * The arguments of bwrap(1) up to the command: the whole system read-only; other people's folders, what services listen
 * on and all of the data folder out of sight; processes, shared memory and names of its own; no capabilities, which
 * root would keep. Throws `ProblemError` where a path of `--allow` can't be given.
 */
export const sandboxArguments = (spec: StdioSpec, sandbox: Sandbox): string[] => {
  const folder = real(sandbox.folder)
  const allowed = allowedOf(spec.allow, sandbox)
  const hidden = HIDDEN.filter((path) => path === '/dev/shm' || (existsSync(path) && real(path) === path))
  // A tmpfs is memory, which the limit of the process doesn't count.
  const veil = (path: string): string[] => ['--size', String(spec.memoryBytes), '--tmpfs', path]
  const dataFolder = real(sandbox.dataFolder)
  const binds = allowed.flatMap(({ path, writable }) => [writable ? '--bind' : '--ro-bind', path, path])
  // A link stays a link: bound where it stands, what it leads to would show there what is hidden in its own place.
  const links = allowed
    .filter(({ given, path }) => given !== path && hidden.some((veiled) => isBelow(given, veiled)))
    .filter(({ given }) => !allowed.some(({ path }) => isBelow(given, path)))
    .filter(({ given }, index, all) => all.findIndex((link) => link.given === given) === index)
    .flatMap(({ given, path }) => ['--symlink', path, given])
  const secrets = sandbox.secretFiles
    .filter((file) => existsSync(file) && statSync(file).isFile() && !isBelow(real(file), dataFolder))
    .map((file) => real(file))
  const needed = [folder, ...allowed.map(({ path }) => path)]
  const closedOff = [...secrets, ...sandbox.secretFiles].flatMap((file) => privateFolder(file, needed) ?? [])
  // Root owns the kernel's settings in /proc, and needs no capability to write them: core_pattern is a way out of here.
  const closed = [...hidden.filter((path) => !SCRATCH.has(path)), '/dev', '/proc']
  return [
    ...['--die-with-parent', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--cap-drop', 'ALL'],
    ...(spec.network ? [] : ['--unshare-net']),
    ...['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc'],
    ...hidden.flatMap(veil),
    ...resolver(),
    ...binds,
    ...links,
    ...[dataFolder, ...closedOff].flatMap((path) => ['--tmpfs', path]),
    ...secrets.flatMap((file) => ['--ro-bind', '/dev/null', file]),
    ...['--bind', folder, folder],
    ...[dataFolder, ...closedOff, ...closed].flatMap((path) => ['--remount-ro', path]),
    ...['--chdir', folder],
  ]
}

/** Whether a program can be seen in the sandbox: it must not lie where only its own folder and `--allow` show. */
export const seenInSandbox = (program: string, spec: StdioSpec, sandbox: Sandbox): boolean => {
  const path = real(program)
  const open = [sandbox.folder, ...spec.allow.map((text) => text.replace(/:ro$/, ''))].map(real)
  if (open.some((folder) => isBelow(path, folder))) return true
  return ![...HIDDEN, sandbox.dataFolder].some((folder) => isBelow(path, real(folder)))
}

const working = new Set<string>()

/**
 * What keeps bwrap from working here, for a user; null: nothing. Asked of the machine until it works once. Namespaces
 * may be forbidden, in a container above all.
 */
export const sandboxTrouble = async (bwrap: string, user: { uid?: number; gid?: number }): Promise<string | null> => {
  const key = `${bwrap} ${user.uid}`
  if (working.has(key)) return null
  const options = ['--unshare-pid', '--ro-bind', '/', '/', '--size', '65536', '--tmpfs', '/tmp', '--proc', '/proc']
  const { trouble } = await attempt([bwrap, ...options, 'true'], user)
  if (trouble === null) working.add(key)
  return trouble
}
