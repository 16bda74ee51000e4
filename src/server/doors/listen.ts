import { X509Certificate } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import type { Server } from 'bun'
import { bracketed } from '../../address.ts'
import type { Address, Config } from '../../config.ts'
import { AppError, invalid, messageOf } from '../../error.ts'
import { limits } from '../../limits.ts'
import { announcesBody } from '../../unread.ts'
import { preferSecond } from './port.ts'

type Handler = (request: Request, server: Server<unknown>) => Response | Promise<Response>

export interface GateHandlers {
  routes: Record<string, Handler>
  fetch: Handler
}

export interface ConsoleHandlers {
  console: Handler
  socket: (request: Request) => Response | Promise<Response>
}

/** The soft limit of open files; where the system does not tell, a usual one. */
export const openFilesLimit = (): number => {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return soft ? Number(soft) : 10_240
  } catch {
    // No /proc on this system.
    return 10_240
  }
}

/** Refuses an address that can't be bound, before anything is made. */
export const preflight = (config: Config): void => {
  const held: { stop(closing: boolean): void }[] = []
  try {
    // All at once: no two of them must want the same port.
    for (const [setting, address] of [
      ['--listen', config.listen],
      ['--console', config.console],
      ['--cluster-listen', config.cluster?.listen],
    ] as const) {
      if (!address) continue
      const { host, port } = address
      try {
        // Exclusive: a node with TLS would share its port with any other listener of its user.
        held.push(Bun.listen({ hostname: host, port, exclusive: true, socket: { data() {} } }))
      } catch (error) {
        const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
        const why = taken ? 'is in use already; `portcullis doctor` says by what' : messageOf(error)
        throw invalid(`${setting} ${bracketed(host)}:${port}: ${why}`)
      }
    }
  } finally {
    for (const listener of held) listener.stop(true)
  }
}

const IDLE_S = limits.idleConnectionMs / 1_000

const unready: Handler = () => new Response(null, { status: 503 })

/**
 * Binds the gate, the console and the control socket. The gate answers 503 until `serveGate`; who asks the console or
 * the socket waits until `serveConsole`.
 */
export const listen = (config: Config, socketPath: string) => {
  let gateHandlers: GateHandlers = { routes: {}, fetch: unready }
  const consoleHandlers = Promise.withResolvers<ConsoleHandlers>()
  const askConsole: Handler = async (request, server) => {
    // Whoever is still to send a body could hold an open file for ever, also without having signed in.
    if (!announcesBody(request.headers)) server.timeout(request, 0)
    const answer = await (await consoleHandlers.promise).console(request, server)
    server.timeout(request, IDLE_S)
    return answer
  }
  let tls = config.tls
  /** What new connections are shown: where the next one could not be put in its place, the one before. */
  let certificate = tls?.cert ?? null
  const bind = (address: Address, name: 'gate' | 'console', port = address.port): Server<unknown> => {
    try {
      return Bun.serve({
        hostname: address.host,
        port,
        // Of connections with nothing under way: the gate takes it off a request that lasts, as the console does.
        idleTimeout: IDLE_S,
        development: false,
        // The gate counts for itself, and answers with a problem; the runtime's own 413 is bare.
        maxRequestBodySize: name === 'gate' ? Number.MAX_SAFE_INTEGER : limits.consoleBodyBytesMax,
        // With TLS a second listener takes over the port when certificates are read again.
        reusePort: tls !== null,
        ...(tls ? { tls } : {}),
        ...(name === 'gate' ? gateHandlers : { fetch: askConsole }),
        error: () => new Response(null, { status: 500 }),
      })
    } catch (error) {
      throw new AppError('invalid', `${name} ${bracketed(address.host)}:${port}: ${messageOf(error)}`)
    }
  }
  const scheme = tls ? 'https' : 'http'
  const url = (configured: string | null, address: Address, server: Server<unknown>) =>
    configured ??
    `${scheme}://${bracketed(address.host === '0.0.0.0' || address.host === '::' ? 'localhost' : address.host)}:${server.port}`
  let gate = bind(config.listen, 'gate')
  let consoleServer = bind(config.console, 'console')
  const ports = { gate: gate.port as number, console: consoleServer.port as number }
  /** Listeners with the certificate of before: nobody new gets to them, and who is there may stay. */
  let former: Server<unknown>[] = []
  const stopFormer = () => {
    for (const server of former) void server.stop()
    former = []
  }
  const replace = () => {
    // Those of the time before that: closing them ends what is idle on them.
    stopFormer()
    const newGate = bind(config.listen, 'gate', ports.gate)
    let newConsole: Server<unknown>
    try {
      newConsole = bind(config.console, 'console', ports.console)
    } catch (error) {
      void newGate.stop(true)
      throw error
    }
    former = [gate, consoleServer]
    gate = newGate
    consoleServer = newConsole
    const preferred = [preferSecond(ports.gate), preferSecond(ports.console)]
    if (preferred.includes(false)) stopFormer()
  }
  let handover: NodeJS.Timeout | undefined
  let next: (() => void) | null = null
  rmSync(socketPath, { force: true })
  const socket = Bun.serve({
    unix: socketPath,
    development: false,
    // The runtime's own is ten seconds, which a request without a body keeps whatever it is told below. It takes this; its
    // types don't.
    ...({ idleTimeout: IDLE_S } as object),
    async fetch(request, server) {
      // A backup may take longer than an idle connection usually lives.
      server.timeout(request, 0)
      return (await consoleHandlers.promise).socket(request)
    },
  })

  return {
    bound: {
      gate: { host: config.listen.host, port: ports.gate },
      console: { host: config.console.host, port: ports.console },
    },
    /** How the gate is reached from this machine: as it is bound, whatever its names lead to. */
    get reached() {
      // The runtime's own, and not in its types.
      const { address: bound } = gate as Server<unknown> & { address?: { address: string } | null }
      const address = bound?.address ?? config.listen.host
      const hosts = address === '0.0.0.0' ? ['127.0.0.1'] : address === '::' ? ['::1', '127.0.0.1'] : [address]
      return { hosts, port: ports.gate, tls: tls !== null }
    },
    gateUrl: url(config.publicUrl, config.listen, gate),
    consoleUrl: url(config.consoleUrl, config.console, consoleServer),
    /** When the certificate in force ends, in milliseconds since the epoch; null without TLS. */
    get certificateEndsAt() {
      return certificate === null ? null : Date.parse(new X509Certificate(certificate).validTo)
    },
    serveGate(given: GateHandlers) {
      gateHandlers = given
      gate.reload({ routes: given.routes, fetch: given.fetch })
    },
    serveConsole: consoleHandlers.resolve,
    /**
     * New connections get the new certificate; those that are open go on. While one is being replaced, the next waits
     * for its turn. `done` is told when it is in force, or why it could not be; then the old one stays.
     */
    reload(given: Config['tls'], done: (error: unknown) => void) {
      if (!given || !tls) return
      tls = given
      const attempt = () => {
        handover = setTimeout(() => {
          handover = undefined
          next?.()
        }, limits.tlsHandoverMs)
        next = null
        try {
          replace()
          certificate = given.cert
          done(null)
        } catch (error) {
          done(error)
        }
      }
      if (handover) next = attempt
      else attempt()
    },
    /** Takes no new connections, and gives those that run a while. */
    async drain(quiet: () => boolean, waitMs: number) {
      clearTimeout(handover)
      stopFormer()
      void gate.stop()
      void consoleServer.stop()
      const until = performance.now() + waitMs
      while (!quiet() && performance.now() < until) await Bun.sleep(20)
    },
    close() {
      void gate.stop(true)
      void consoleServer.stop(true)
      void socket.stop(true)
    },
  }
}
