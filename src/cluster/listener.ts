import type { Server, ServerWebSocket } from 'bun'
import { invalid, messageOf } from '../error.ts'
import { limits } from '../limits.ts'
import type { Refusal } from './transport.ts'
import type { Wire } from './wire.ts'

/** Who came in: what it says, and that it is gone. */
export interface Visitor {
  received(data: string | Buffer): void
  closed(): void
}

/** What stands behind a path. It calls `proven` once it knows who is there; else the visitor is sent away in time. */
export type Door = (wire: Wire, proven: () => void) => Visitor

interface Guest {
  door: Door
  address: string
  visitor: Visitor | null
  proven: () => void
}
type GuestSocket = ServerWebSocket<Guest>

const problem = (status: number, title: string) =>
  Response.json(
    { type: 'about:blank', title, status },
    { status, headers: { 'content-type': 'application/problem+json' } },
  )

/** The cluster's port: WebSockets for links and joiners, and nothing else. Few at once may have proved nothing yet. */
export class ClusterListener {
  #doors = new Map<string, Door>()
  #server: Server<Guest> | null = null
  /** By address, how many have proved nothing yet. */
  #unproven = new Map<string, number>()
  #unprovenCount = 0

  constructor(
    readonly address: { host: string; port: number },
    readonly refused: (reason: Refusal) => void,
    readonly most = {
      handshakes: limits.clusterHandshakesMax,
      perAddress: limits.clusterHandshakesPerAddressMax,
      handshakeMs: limits.clusterHandshakeMs,
    },
  ) {}

  open(path: string, door: Door): void {
    this.#doors.set(path, door)
  }

  get port(): number {
    return this.#server?.port ?? this.address.port
  }

  /** Throws `invalid` when the address can't be bound. */
  start(): void {
    const { host, port } = this.address
    try {
      this.#server = Bun.serve<Guest>({
        hostname: host,
        port,
        // Who connects and says nothing.
        idleTimeout: Math.ceil(this.most.handshakeMs / 1_000),
        maxRequestBodySize: limits.clusterHelloBytesMax,
        fetch: (request, server) => this.#answer(request, server),
        websocket: {
          maxPayloadLength: limits.clusterFrameBytesMax,
          // One frame above what a link's owner looks at.
          backpressureLimit: limits.clusterBufferBytesMax + limits.clusterFrameBytesMax,
          perMessageDeflate: false,
          // Links know by themselves who is silent.
          idleTimeout: 0,
          sendPings: false,
          open: (socket) => this.#opened(socket),
          message: (socket, data) => socket.data.visitor?.received(data),
          close: (socket, _code, reason) => this.#closed(socket, reason),
        },
      })
    } catch (error) {
      const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
      throw invalid(`--cluster-listen ${host}:${port}: ${taken ? 'is in use already' : messageOf(error)}`)
    }
  }

  stop(): void {
    void this.#server?.stop(true)
    this.#server = null
  }

  #answer(request: Request, server: Server<Guest>): Response | undefined {
    const door = this.#doors.get(new URL(request.url).pathname)
    if (!door) return problem(404, 'this port is for the nodes of a cluster')
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return problem(426, 'nodes speak WebSocket here')
    const address = server.requestIP(request)?.address ?? ''
    const fromHere = this.#unproven.get(address) ?? 0
    if (this.#unprovenCount >= this.most.handshakes || fromHere >= this.most.perAddress) {
      this.refused('too_many')
      return problem(503, 'too many at once have not said who they are')
    }
    if (server.upgrade(request, { data: { door, address, visitor: null, proven: () => {} } })) return undefined
    this.refused('malformed')
    return problem(400, 'that is no WebSocket')
  }

  #opened(socket: GuestSocket): void {
    const { door, address } = socket.data
    this.#unprovenCount++
    this.#unproven.set(address, (this.#unproven.get(address) ?? 0) + 1)
    const late = setTimeout(() => socket.terminate(), this.most.handshakeMs)
    let counted = true
    socket.data.proven = () => {
      if (!counted) return
      counted = false
      clearTimeout(late)
      this.#unprovenCount--
      const left = (this.#unproven.get(address) ?? 1) - 1
      if (left > 0) this.#unproven.set(address, left)
      else this.#unproven.delete(address)
    }
    socket.data.visitor = door(wireOf(socket), socket.data.proven)
  }

  #closed(socket: GuestSocket, reason: string): void {
    socket.data.proven()
    if (/too big/i.test(reason)) this.refused('too_large')
    else if (/invalid|protocol/i.test(reason)) this.refused('malformed')
    socket.data.visitor?.closed()
  }
}

const wireOf = (socket: GuestSocket): Wire => ({
  send(data) {
    socket.send(data)
  },
  get buffered() {
    return socket.getBufferedAmount()
  },
  close() {
    socket.close(1000)
  },
  terminate() {
    socket.terminate()
  },
})
