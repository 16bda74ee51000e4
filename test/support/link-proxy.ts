import { connect, createServer, type Server, type Socket } from 'node:net'

/** What happens to bytes between two nodes, each way. */
export interface Wire {
  delayMs: number
  /** Links are closed, and new ones too. */
  cut: boolean
  /** Bytes of the one who dialled, or of the other, are held back for as long as this is so: nothing is closed. */
  deaf: { dialler: boolean; dialled: boolean }
  /** What becomes of bytes on their way; null: nothing. Each link has a number of its own. */
  tap: ((chunk: Buffer, of: 'dialler' | 'dialled', link: number) => Buffer) | null
}

const wire = (): Wire => ({ delayMs: 0, cut: false, deaf: { dialler: false, dialled: false }, tap: null })

/** Passes what one end says to the other after a delay, in order; held back while it is deaf. */
class Pipe {
  readonly #waiting: { at: number; chunk: Buffer }[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(
    readonly to: Socket,
    readonly delayMs: () => number,
    readonly isDeaf: () => boolean,
  ) {}

  push(chunk: Buffer): void {
    if (this.#waiting.length === 0 && this.delayMs() === 0 && !this.isDeaf()) this.to.write(chunk)
    else {
      this.#waiting.push({ at: performance.now() + this.delayMs(), chunk })
      this.flush()
    }
  }

  flush(): void {
    clearTimeout(this.#timer ?? undefined)
    this.#timer = null
    while (!this.isDeaf()) {
      const [first] = this.#waiting
      if (!first) return
      const waitMs = first.at - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.flush(), waitMs)
        return
      }
      this.to.write(first.chunk)
      this.#waiting.shift()
    }
  }

  end(): void {
    clearTimeout(this.#timer ?? undefined)
    this.to.destroy()
  }
}

interface Link {
  from: string
  ends: Socket[]
  pipes: Pipe[]
}

/**
 * Stands before one node's cluster port, as the address that it advertises. Who dials is read from the request line, so
 * that each pair has a wire of its own.
 */
export class LinkProxy {
  readonly #server: Server
  readonly #links = new Set<Link>()
  readonly #wires = new Map<string, Wire>()
  #made = 0
  /** For whoever has no wire of its own: those that join. */
  readonly rest = wire()

  private constructor(readonly target: { host: string; port: number }) {
    this.#server = createServer((socket) => this.#accept(socket))
  }

  static async start(target: { host: string; port: number }, port = 0): Promise<LinkProxy> {
    const proxy = new LinkProxy(target)
    await new Promise<void>((resolve) => proxy.#server.listen(port, '127.0.0.1', resolve))
    return proxy
  }

  get port(): number {
    const at = this.#server.address()
    return at && typeof at === 'object' ? at.port : 0
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  /** The wire from that node to this one's port. */
  wireFrom(node: string): Wire {
    let own = this.#wires.get(node)
    if (!own) this.#wires.set(node, (own = wire()))
    return own
  }

  /** After a wire was changed: links of what is cut end, what is no longer deaf flows. */
  apply(): void {
    for (const link of this.#links) {
      if (this.#wireOf(link.from).cut) this.#end(link)
      else for (const pipe of link.pipes) pipe.flush()
    }
  }

  stop(): void {
    this.#server.close()
    for (const link of this.#links) this.#end(link)
  }

  #wireOf(from: string): Wire {
    return this.#wires.get(from) ?? this.rest
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy())
    socket.setNoDelay(true)
    socket.once('data', (first: Buffer) => {
      const from = /^GET [^\s?]*\?(?:[^\s]*&)?from=([^\s&]+)/.exec(first.toString('latin1'))?.[1] ?? ''
      if (this.#wireOf(from).cut) return socket.destroy()
      const upstream = connect({ ...this.target, noDelay: true })
      const up = new Pipe(
        upstream,
        () => this.#wireOf(from).delayMs,
        () => this.#wireOf(from).deaf.dialler,
      )
      const down = new Pipe(
        socket,
        () => this.#wireOf(from).delayMs,
        () => this.#wireOf(from).deaf.dialled,
      )
      const link = { from, ends: [socket, upstream], pipes: [up, down] }
      const number = (this.#made += 1)
      const tapped = (chunk: Buffer, of: 'dialler' | 'dialled') => this.#wireOf(from).tap?.(chunk, of, number) ?? chunk
      this.#links.add(link)
      for (const end of link.ends) {
        end.on('error', () => this.#end(link))
        end.on('close', () => this.#end(link))
      }
      up.push(tapped(first, 'dialler'))
      socket.on('data', (chunk: Buffer) => up.push(tapped(chunk, 'dialler')))
      upstream.on('data', (chunk: Buffer) => down.push(tapped(chunk, 'dialled')))
    })
  }

  #end(link: Link): void {
    if (!this.#links.delete(link)) return
    for (const pipe of link.pipes) pipe.end()
  }
}
