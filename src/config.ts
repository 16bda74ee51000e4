import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { homedir, hostname } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Cidr, parseCidr, unbracketed } from './address.ts'
import type { ClusterPolicy } from './cluster-view.ts'
import { invalid, messageOf } from './error.ts'
import { limits } from './limits.ts'
import { parseDuration } from './time.ts'

export interface Address {
  host: string
  port: number
}

/** How a node reaches others of its cluster, and they it. */
export interface ClusterConfig {
  /** null: NATS alone carries what nodes say, and nobody can join here. */
  listen: Address | null
  /** `ws://HOST:PORT`, where the others reach it; null: `ws://` and the address that was bound. */
  advertise: string | null
  /** `auto`: `lease` from the third member on. */
  policy: ClusterPolicy | 'auto'
  leaseMs: number
  /** Where to join, and with which ticket; a node that is a member already needs neither. */
  join: { url: string; ticket: string | null } | null
  nats: { urls: readonly string[]; credsFile: string | null } | null
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** What a node runs with: checked, complete, frozen. */
export interface Config {
  data: string
  listen: Address
  console: Address
  /** Without a trailing slash; null: `http://` and the address that was bound. */
  publicUrl: string | null
  consoleUrl: string | null
  allowHosts: readonly string[]
  allowOrigins: readonly string[]
  trustedProxies: readonly Cidr[]
  /** In PEM, and the files that it was read from. */
  tls: { cert: string; key: string; certPath: string; keyPath: string } | null
  keyFile: string
  /** How often the node tests itself; null: only when asked. */
  probeEveryMs: number | null
  /** Processes of servers that are commands: in all, and under one token. */
  stdioProcessesMax: number
  stdioProcessesPerTokenMax: number
  /** What people call the node. */
  nodeName: string
  /** The name was chosen, and is not that of the machine. */
  isNamed: boolean
  /** null: it neither listens for other nodes nor reaches for them. */
  cluster: ClusterConfig | null
  logLevel: LogLevel
  logFormat: 'text' | 'json'
}

/** The names of all settings, as flags and in portcullis.toml; `many` may be given more than once. */
export const SETTINGS = {
  data: 'one',
  listen: 'one',
  console: 'one',
  'public-url': 'one',
  'console-url': 'one',
  'allow-host': 'many',
  'allow-origin': 'many',
  'trusted-proxy': 'many',
  'tls-cert': 'one',
  'tls-key': 'one',
  'key-file': 'one',
  'probe-every': 'one',
  'stdio-processes': 'one',
  'stdio-processes-per-token': 'one',
  'node-name': 'one',
  'cluster-listen': 'one',
  'cluster-advertise': 'one',
  'cluster-policy': 'one',
  lease: 'one',
  'cluster-join': 'one',
  ticket: 'one',
  'cluster-nats': 'many',
  'cluster-nats-creds': 'one',
  'log-level': 'one',
  'log-format': 'one',
} as const
type Setting = keyof typeof SETTINGS
const NAMES = Object.keys(SETTINGS) as Setting[]

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'silent']

export type Environment = Record<string, string | undefined>

/** Where install.sh puts the service, and what the service keeps. */
export const SERVICE_UNIT = '/etc/systemd/system/portcullis.service'
export const SERVICE_DATA = '/var/lib/portcullis'

/** The data folder unless a setting names another. */
export const defaultDataFolder = (env: Environment): string =>
  join(
    env.XDG_STATE_HOME && isAbsolute(env.XDG_STATE_HOME)
      ? env.XDG_STATE_HOME
      : join(env.HOME ?? homedir(), '.local/state'),
    'portcullis',
  )

interface Given {
  /** As the person wrote it, for messages: `--listen`, `PORTCULLIS_LISTEN`, `listen in portcullis.toml`. */
  from: string
  values: string[]
}

const fromFlags = (argv: string[]): Partial<Record<Setting, Given>> => {
  const options = Object.fromEntries(NAMES.map((name) => [name, { type: 'string' as const, multiple: true as const }]))
  let values: Record<string, string[] | undefined>
  try {
    values = parseArgs({ args: argv, options, strict: true, allowPositionals: false }).values as typeof values
  } catch (error) {
    throw invalid(messageOf(error).split('\n')[0] as string)
  }
  return collect((name) => (values[name] ? { from: `--${name}`, values: values[name] } : undefined))
}

/** The environment variable of a setting. */
export const variable = (name: Setting) => `PORTCULLIS_${name.toUpperCase().replaceAll('-', '_')}`

const fromEnvironment = (env: Environment): Partial<Record<Setting, Given>> =>
  collect((name) => {
    const text = env[variable(name)]
    if (text === undefined || text === '') return undefined
    const values =
      SETTINGS[name] === 'many'
        ? text
            .split(',')
            .map((part) => part.trim())
            .filter(Boolean)
        : [text]
    return { from: variable(name), values }
  })

const fromFile = (file: string): Partial<Record<Setting, Given>> => {
  if (!existsSync(file)) return {}
  let table: Record<string, unknown>
  try {
    table = Bun.TOML.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  } catch (error) {
    throw invalid(`${file}: ${messageOf(error)}`)
  }
  for (const key of Object.keys(table)) {
    if (!NAMES.includes(key as Setting) || key === 'data')
      throw invalid(`${file}: "${key}" is not a setting; use ${NAMES.filter((name) => name !== 'data').join(', ')}`)
  }
  return collect((name) => {
    const value = table[name]
    if (value === undefined) return undefined
    const values = (Array.isArray(value) ? value : [value]).map(String)
    return { from: `${name} in ${file}`, values }
  })
}

const collect = (get: (name: Setting) => Given | undefined): Partial<Record<Setting, Given>> =>
  Object.fromEntries(
    NAMES.flatMap((name) => {
      const given = get(name)
      return given ? [[name, given]] : []
    }),
  )

/** `HOST:PORT`, `[IPv6]:PORT` or `:PORT` (all addresses). */
const address = ({ from, values }: Given): Address => {
  const text = values.at(-1) as string
  const [, host = '', port = ''] = /^(\[[0-9a-fA-F:.]+\]|[^:\s[\]/]*):(\d{1,5})$/.exec(text) ?? []
  if (port === '' || Number(port) > 65_535) throw invalid(`${from}: "${text}" is not HOST:PORT`)
  return { host: host === '' ? '0.0.0.0' : unbracketed(host), port: Number(port) }
}

const baseUrl = ({ from, values }: Given): string => {
  const text = values.at(-1) as string
  if (!URL.canParse(text)) throw invalid(`${from}: "${text}" is not a URL`)
  const url = new URL(text)
  const plain = /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search && !url.hash
  if (!plain) throw invalid(`${from}: "${text}" must be http:// or https://, without credentials, query or fragment`)
  return url.href.replace(/\/$/, '')
}

const hostName =
  (from: string) =>
  (text: string): string => {
    if (!/^[a-z0-9_]([a-z0-9._-]*[a-z0-9])?$/i.test(text))
      throw invalid(`${from}: "${text}" is not the name of a host (no port, no scheme)`)
    return text.toLowerCase()
  }

const origin =
  (from: string) =>
  (text: string): string => {
    if (!URL.canParse(text) || new URL(text).origin !== text.replace(/\/$/, '').toLowerCase()) {
      throw invalid(`${from}: "${text}" is not an origin; write it like https://app.example.com`)
    }
    return new URL(text).origin
  }

const oneOf = <T extends string>(given: Given | undefined, allowed: readonly T[], otherwise: T): T => {
  if (!given) return otherwise
  const text = given.values.at(-1) as T
  if (!allowed.includes(text)) throw invalid(`${given.from}: "${text}" is none of ${allowed.join(', ')}`)
  return text
}

const PROBE_EVERY_MS = 60_000

const probeEvery = (given: Given | undefined): number | null => {
  if (!given) return PROBE_EVERY_MS
  const text = given.values.at(-1) as string
  if (/^(?:0[smhd]?|off)$/.test(text)) return null
  const ms = parseDuration(text, given.from)
  const { selftestEveryMsMin, selftestEveryMsMax } = limits
  if (ms < selftestEveryMsMin || ms > selftestEveryMsMax) throw invalid(`${given.from}: is none of 1s to 1d, or off`)
  return ms
}

const processes = (given: Given | undefined, otherwise: number): number => {
  if (!given) return otherwise
  const text = given.values.at(-1) as string
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (count < 1 || count > limits.stdioProcessesSettingMax)
    throw invalid(`${given.from}: "${text}" is no number from 1 to ${limits.stdioProcessesSettingMax}`)
  return count
}

/** As it stands in commands, tables and logs; case counts. */
const NODE_NAME = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/i

const nodeName = (given: Given | undefined): string => {
  // The name of a machine may be longer, or be none of ours: what is left of it will do.
  if (!given) return /[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?/i.exec(hostname())?.[0] ?? 'node'
  const text = given.values.at(-1) as string
  if (!NODE_NAME.test(text))
    throw invalid(`${given.from}: "${text}" can not name it; take up to 63 letters, digits, dots, dashes, underscores`)
  return text
}

/** `SCHEME://HOST:PORT` and nothing else. */
const peerUrl = (schemes: readonly string[], from: string, text: string): string => {
  const url = URL.parse(text)
  const [scheme] = schemes
  // A password is not repeated: what is wrong is said of the setting.
  if (url?.username || url?.password) throw invalid(`${from}: must be without credentials`)
  const isPlain = url && schemes.includes(url.protocol.slice(0, -1)) && url.hostname && !url.search && !url.hash
  if (!isPlain || !/^\/?$/.test(url.pathname) || url.port === '0')
    throw invalid(`${from}: "${text}" is none of ${schemes.map((one) => `${one}://HOST:PORT`).join(', ')}`)
  if (isAnyHost(unbracketed(url.hostname)))
    throw invalid(`${from}: "${text}" is every address and none; write it like ${scheme}://10.0.0.5:7072`)
  return url.href.replace(/\/$/, '')
}

const isAnyHost = (host: string): boolean => ['0.0.0.0', '::'].includes(host)

const PEER_SCHEMES = ['ws', 'wss']
const NATS_SCHEMES = ['nats', 'tls']
const TICKET = /^pcj_[0-9A-Za-z_-]{43}$/
const POLICIES: readonly ClusterPolicy[] = ['lease', 'serve']

const leaseOf = (given: Given | undefined): number => {
  if (!given) return limits.leaseMs
  const ms = parseDuration(given.values.at(-1) as string, given.from)
  if (ms < limits.leaseMsMin || ms > limits.leaseMsMax) throw invalid(`${given.from}: is none of 1s to 60s`)
  return ms
}

/** What only makes sense beside another setting. */
const NEEDS: readonly [setting: Setting, needs: readonly Setting[]][] = [
  ['ticket', ['cluster-join']],
  ['cluster-nats-creds', ['cluster-nats']],
  ['cluster-advertise', ['cluster-listen']],
  ['cluster-join', ['cluster-listen']],
  ['cluster-policy', ['cluster-listen', 'cluster-nats']],
  ['lease', ['cluster-listen', 'cluster-nats']],
]

const clusterOf = (given: Partial<Record<Setting, Given>>): ClusterConfig | null => {
  for (const [setting, needs] of NEEDS) {
    const from = given[setting]?.from
    if (from && needs.every((other) => !given[other])) {
      throw invalid(`${from}: needs ${needs.map((other) => `--${other}`).join(' or ')} too`)
    }
  }
  const urlIn = (setting: Setting): string | null => {
    const entry = given[setting]
    return entry ? peerUrl(PEER_SCHEMES, entry.from, entry.values.at(-1) as string) : null
  }
  const own = given['cluster-listen']
  const nats = given['cluster-nats']
  if (!own && !nats) return null
  const listen = own ? address(own) : null
  const advertise = urlIn('cluster-advertise')
  if (own && listen && isAnyHost(listen.host) && !advertise)
    throw invalid(
      `${own.from}: listens on all addresses; say with --cluster-advertise at which one the others reach it`,
    )
  const ticket = given.ticket?.values.at(-1)
  if (given.ticket && !TICKET.test(ticket as string))
    throw invalid(`${given.ticket.from}: is no ticket; \`portcullis cluster ticket\` on a member makes one`)
  const join = urlIn('cluster-join')
  const creds = given['cluster-nats-creds']
  const urls = nats?.values.flatMap((text) => text.split(',').map((part) => part.trim())).filter(Boolean) ?? []
  if (nats && urls.length === 0) throw invalid(`${nats.from}: names no server`)
  if (own && listen?.port === 0 && !advertise)
    throw invalid(
      `${own.from}: name a port, or with --cluster-advertise where the others reach it; 0 is another each time`,
    )
  return {
    listen,
    advertise,
    policy: oneOf<ClusterConfig['policy']>(given['cluster-policy'], POLICIES, 'auto'),
    leaseMs: leaseOf(given.lease),
    join: join === null ? null : { url: join, ticket: ticket ?? null },
    nats: nats
      ? { urls: urls.map((url) => peerUrl(NATS_SCHEMES, nats.from, url)), credsFile: credsFileOf(creds) }
      : null,
  }
}

const fileOf = (given: Given): string => resolve(given.values.at(-1) as string)

const readable = (given: Given): string => {
  const file = fileOf(given)
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw invalid(`${given.from}: ${messageOf(error)}`)
  }
}

/** Read again with each connection; that it can't be read is said before the first. */
const credsFileOf = (given: Given | undefined): string | null => {
  if (given) readable(given)
  return given ? fileOf(given) : null
}

/** Files that hold secrets of the node, wherever they lie. */
export const secretFilesOf = ({ keyFile, tls, cluster }: Config): string[] =>
  [keyFile, tls?.keyPath, cluster?.nats?.credsFile].filter((file) => typeof file === 'string')

/** The certificate and its key, read anew; also what SIGHUP does. Throws `invalid`. */
export const readTls = (cert: Given | undefined, key: Given | undefined): Config['tls'] => {
  if (!cert && !key) return null
  if (!cert) throw invalid(`${key?.from}: needs --tls-cert too`)
  if (!key) throw invalid(`${cert.from}: needs --tls-key too`)
  const tls = { cert: readable(cert), key: readable(key), certPath: fileOf(cert), keyPath: fileOf(key) }
  const parsed = <T>(given: Given, what: string, parse: () => T): T => {
    try {
      return parse()
    } catch {
      throw invalid(`${given.from}: is no ${what} in PEM`)
    }
  }
  const certificate = parsed(cert, 'certificate', () => new X509Certificate(tls.cert))
  const privateKey = parsed(key, 'private key', () => createPrivateKey(tls.key))
  if (!certificate.checkPrivateKey(privateKey)) throw invalid(`${key.from}: is not the key of the certificate`)
  return tls
}

const dataFolder = (given: Given | undefined, otherwise: string): string => {
  const text = given?.values.at(-1)
  if (text?.trim() === '') throw invalid(`${given?.from}: is empty; name a folder`)
  return resolve(text ?? otherwise)
}

/**
 * Settings: flags win over the environment, the environment over `portcullis.toml` in the data folder.
 * Throws `invalid` with one line that names the bad one. Touches nothing.
 */
export const loadConfig = (
  argv: string[],
  env: Environment,
  terminal: boolean,
  dataDefault = defaultDataFolder(env),
): Config => {
  const flags = fromFlags(argv)
  const environment = fromEnvironment(env)
  const data = dataFolder(flags.data ?? environment.data, dataDefault)
  const given = { ...fromFile(join(data, 'portcullis.toml')), ...environment, ...flags }
  const many = <T>(name: Setting, parse: (from: string) => (text: string) => T): T[] => {
    const entry = given[name]
    return entry ? entry.values.map(parse(entry.from)) : []
  }
  return Object.freeze({
    data,
    listen: given.listen ? address(given.listen) : { host: '127.0.0.1', port: 7070 },
    console: given.console ? address(given.console) : { host: '127.0.0.1', port: 7071 },
    publicUrl: given['public-url'] ? baseUrl(given['public-url']) : null,
    consoleUrl: given['console-url'] ? baseUrl(given['console-url']) : null,
    allowHosts: many('allow-host', hostName),
    allowOrigins: many('allow-origin', origin),
    trustedProxies: many('trusted-proxy', (from) => (text) => parseCidr(text, from)),
    tls: readTls(given['tls-cert'], given['tls-key']),
    keyFile: resolve(given['key-file']?.values.at(-1) ?? join(data, 'portcullis.key')),
    probeEveryMs: probeEvery(given['probe-every']),
    stdioProcessesMax: processes(given['stdio-processes'], limits.stdioProcessesMax),
    stdioProcessesPerTokenMax: processes(given['stdio-processes-per-token'], limits.stdioProcessesPerTokenMax),
    nodeName: nodeName(given['node-name']),
    isNamed: given['node-name'] !== undefined,
    cluster: clusterOf(given),
    logLevel: oneOf(given['log-level'], LEVELS, 'info'),
    logFormat: oneOf(given['log-format'], ['text', 'json'], terminal ? 'text' : 'json'),
  })
}
