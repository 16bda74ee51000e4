import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer, isIP } from 'node:net'
import type { Address } from '../config.ts'
import { messageOf } from '../error.ts'
import { type Finding, finding } from '../finding.ts'
import { shakeHands } from './handshake.ts'
import { codeOf } from './path.ts'
import type { Settings, Subject } from './subject.ts'
import { ownUid, userName } from './user.ts'

const WILDCARDS: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
const LOOPBACK = /^(?:127\.|::1$|localhost$)/

const spelt = ({ host, port }: Address): string => `${isIP(host) === 6 ? `[${host}]` : host}:${port}`

/** The error's code when the address can't be bound, else null. Lets go of it at once. */
const bindFailure = ({ host, port }: Address): Promise<string | null> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(codeOf(error) ?? messageOf(error)))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)))
  })

const readOrEmpty = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === null) throw error
    return ''
  }
}

/** The sockets that listen on a port, by the inode that names them in /proc. */
const listeners = (port: number): Set<string> => {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const rows = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => readOrEmpty(file).split('\n').slice(1))
  const LISTEN = '0A'
  return new Set(
    rows
      .map((row) => row.trim().split(/\s+/))
      .filter(([, local = '', , state]) => local.endsWith(`:${hex}`) && state === LISTEN)
      .map((columns) => `socket:[${columns[9]}]`),
  )
}

const holds = (pid: string, sockets: Set<string>): boolean => {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return sockets.has(readlinkSync(`/proc/${pid}/fd/${fd}`))
      } catch (error) {
        // Closed since the folder was read.
        if (codeOf(error) === null) throw error
        return false
      }
    })
  } catch (error) {
    // Another user's, or gone.
    if (codeOf(error) === null) throw error
    return false
  }
}

/** Who has a port, as far as this user may know. */
const holderOf = (port: number): string => {
  const sockets = listeners(port)
  if (sockets.size === 0) return 'another process'
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && holds(name, sockets))
  return pid === undefined ? 'another process' : `${readOrEmpty(`/proc/${pid}/comm`).trim()} (process ${pid})`
}

/** Ports below this are root's, or need a capability. */
const firstFreePort = (): number => Number(readOrEmpty('/proc/sys/net/ipv4/ip_unprivileged_port_start') || 1024)

const WHICH = { gate: '--listen', console: '--console' } as const

/** Whether a start could listen there. */
const free = async (which: keyof typeof WHICH, address: Address, uid: number | null): Promise<Finding> => {
  const check = `${which} address`
  const at = spelt(address)
  const other = `name another address: portcullis serve ${WHICH[which]} HOST:PORT`
  const isForRoot = address.port !== 0 && address.port < firstFreePort()
  const user = uid ?? ownUid()
  const failure = await bindFailure(address)
  if (failure === 'EACCES' || (isForRoot && user !== 0 && failure === null)) {
    const todo = `use a port from ${firstFreePort()} on with a proxy before it; or AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit`
    return finding(
      check,
      failure === null ? 'warn' : 'fail',
      `${at}: ${userName(user)} may not use a port that low`,
      todo,
    )
  }
  if (failure === 'EADDRINUSE')
    return finding(check, 'fail', `${at} is in use by ${holderOf(address.port)}`, `stop that, or ${other}`)
  if (failure === 'EADDRNOTAVAIL') return finding(check, 'fail', `${at} is no address of this machine`, other)
  if (failure !== null) return finding(check, 'fail', `${at} can't be listened on: ${failure}`, other)
  return finding(check, 'ok', `${at} is free`)
}

/** Whether the running node answers there. */
const answers = async (which: keyof typeof WHICH, address: Address, settings: Settings, timeoutMs: number) => {
  const check = `${which} address`
  const scheme = settings.tls ? 'https' : 'http'
  const host = spelt({ host: WILDCARDS[address.host] ?? address.host, port: address.port })
  const url = `${scheme}://${host}/healthz`
  const before = performance.now()
  const request = `GET /healthz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
  const { failure, line } = await shakeHands(new URL(url), timeoutMs, request)
  if (failure !== null) {
    const todo = "see the node's log: journalctl -u portcullis -e; a firewall on this machine may be in the way"
    return finding(check, 'fail', `${url} does not answer: ${failure}`, todo)
  }
  if (!line?.startsWith('HTTP/1.1 200'))
    return finding(check, 'fail', `${url} answers "${line}": it is not the node`, 'restart the node')
  return finding(check, 'ok', `${url} answers after ${(performance.now() - before).toFixed(0)} ms`)
}

/** Who else can reach it, and whether what they say to it can be read on the way. */
const exposure = (which: keyof typeof WHICH, { host }: Address, settings: Settings): Finding[] => {
  if (LOOPBACK.test(host)) return []
  const check = `${which} address`
  const where = WILDCARDS[host] ? 'on every address of this machine' : `on ${host}`
  const url = which === 'gate' ? settings.gateUrl : settings.consoleUrl
  const isProxied = url?.startsWith('https:') === true && settings.trustedProxies.length > 0
  if (settings.tls === null && !isProxied) {
    const what = which === 'gate' ? 'tokens' : 'passwords'
    const todo = `give it a certificate (--tls-cert, --tls-key), or ${WHICH[which]} 127.0.0.1:PORT and a proxy with TLS before it`
    return [finding(check, 'warn', `it listens ${where} without TLS: ${what} can be read on the way`, todo)]
  }
  if (which === 'console' && !isProxied) {
    const todo = 'if only you need it: --console 127.0.0.1:7071, and from elsewhere ssh -L 7071:127.0.0.1:7071 HOST'
    return [finding(check, 'warn', `it listens ${where}: whoever reaches it may try passwords`, todo)]
  }
  return []
}

/** Whether the gate, or the console, can be reached where it should, and not by more than that. */
export const address =
  (which: keyof typeof WHICH) =>
  async ({ settings, node, uid, socket, deps }: Subject): Promise<Finding[]> => {
    // Where a node may not be asked, it is what has the port: "stop that" would be bad advice.
    if (!settings || socket.kind === 'denied') return []
    const at = settings[which]
    return [
      node ? await answers(which, at, settings, deps.limits.doctorAnswerMs) : await free(which, at, uid),
      ...exposure(which, at, settings),
    ]
  }

/** Networks whose word on addresses is believed. */
export const trustedProxies = ({ settings }: Subject): Finding[] => {
  if (!settings || settings.trustedProxies.length === 0) return []
  const text = settings.trustedProxies.join(', ')
  if (settings.trustedProxies.every((cidr) => !/\/0+$/.test(cidr))) return [finding('trusted proxies', 'ok', text)]
  const why = `${text}: everybody is believed, so anybody can claim any address`
  return [finding('trusted proxies', 'warn', why, "name the proxy's own address: --trusted-proxy 127.0.0.1")]
}
