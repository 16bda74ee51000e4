import type { Address, Config } from '../config.ts'
import { messageOf } from '../error.ts'
import type { Limits } from '../limits.ts'
import type { Clock } from '../time.ts'
import { knock, listen, type RunningNode, type Said, type Socket } from './control.ts'
import { lookAt, seen } from './path.ts'
import { type Records, recordsOf } from './records.ts'

/** The files of a data folder. */
interface Files {
  database: string
  key: string
  socket: string
  journal: string
  lock: string
  settings: string
}

export interface DoctorDeps {
  version: string
  /** Where a data folder is looked for, in this order. */
  folders: string[]
  filesOf(folder: string): Files
  /** The settings as a start from here would have them. Throws `invalid`. */
  settingsOf(folder: string): Config
  /** Throws `invalid` with what to do. */
  readKeyFile(file: string): { database: string; keys: unknown[] }
  limits: Limits
  now: Clock
  /** The same command for somebody with the rights. */
  sudo(folder: string): string
}

/** What the settings are, from the running node where there is one. */
export interface Settings {
  gate: Address
  console: Address
  gateUrl: string | null
  consoleUrl: string | null
  keyFile: string
  tls: { certFile: string; keyFile: string } | null
  trustedProxies: readonly string[]
  /** As a start from here would have it: a node does not tell. */
  stdioProcessesMax: number
}

/** What is looked at: a data folder, what was found in it, and the node that runs on it. */
export interface Subject {
  deps: DoctorDeps
  folder: string
  files: Files
  /** Who owns the folder, and so whom the node runs as; null: there is none yet, or it can't be told. */
  uid: number | null
  /** This user may not look into the folder. */
  closed: boolean
  socket: Socket
  node: RunningNode | null
  /** Null: they can't be read, and no node runs that would tell. */
  settings: Settings | null
  /** Why the settings can't be read. */
  refusal: string | null
  keyFile: string
  records: Records
  /** What the node says of its servers and operators; null: it does not run, or does not say. */
  said: Said | null
}

/** The first place with a control socket, as for the other commands; else the first that has anything. */
const choose = ({ folders, filesOf }: DoctorDeps): string =>
  folders.find((folder) => seen(filesOf(folder).socket) !== 'absent') ??
  folders.find((folder) => seen(filesOf(folder).database) !== 'absent') ??
  folders.find((folder) => seen(folder) !== 'absent') ??
  (folders[0] as string)

/** A settings file is read only when it is one: reading a pipe would wait for ever. */
const readSettings = ({ deps, folder, files }: { deps: DoctorDeps; folder: string; files: Files }): Config | string => {
  try {
    const at = lookAt(files.settings)
    if (typeof at === 'object' && (!at.isFile() || at.size > deps.limits.smallFileBytesMax))
      return `${files.settings}: is not a file of settings`
    return deps.settingsOf(folder)
  } catch (error) {
    return messageOf(error)
  }
}

const settingsOf = (
  config: Config | null,
  node: RunningNode | null,
  keyFile: string,
  limits: Limits,
): Settings | null => {
  const stdioProcessesMax = config?.stdioProcessesMax ?? limits.stdioProcessesMax
  if (node?.listening) {
    const { gate, console } = node.listening
    const { gateUrl, consoleUrl, tls = null, trustedProxies = [] } = node
    return { gate, console, gateUrl, consoleUrl, keyFile, tls, trustedProxies, stdioProcessesMax }
  }
  if (!config) return null
  const { listen, console, publicUrl, consoleUrl, tls, trustedProxies } = config
  return {
    gate: listen,
    console,
    gateUrl: publicUrl,
    consoleUrl,
    keyFile,
    tls: tls && { certFile: tls.certPath, keyFile: tls.keyPath },
    trustedProxies: trustedProxies.map(({ text }) => text),
    stdioProcessesMax,
  }
}

/** Finds what there is to look at. Changes nothing. */
export const subjectOf = async (deps: DoctorDeps): Promise<Subject> => {
  const { limits } = deps
  const folder = choose(deps)
  const files = deps.filesOf(folder)
  const at = seen(folder)
  const closed = at === 'hidden' || seen(files.database) === 'hidden'
  const socket: Socket = await knock(files.socket, limits.doctorAnswerMs)
  const node = socket.kind === 'answered' ? socket.node : null
  const read = readSettings({ deps, folder, files })
  const config = typeof read === 'string' ? null : read
  const keyFile = node?.keyFile ?? config?.keyFile ?? files.key
  return {
    deps,
    folder,
    files,
    uid: typeof at === 'object' ? at.uid : null,
    closed,
    socket,
    node,
    settings: settingsOf(config, node, keyFile, limits),
    refusal: typeof read === 'string' ? read : null,
    keyFile,
    records: closed ? { kind: 'hidden' } : recordsOf(files.database),
    said: node ? await listen(files.socket, limits.doctorAnswerMs) : null,
  }
}
