import { bracketed } from '../address.ts'
import type { TestClient } from '../selftest-run.ts'

/** Where a listener is reached from this machine; the first address that takes a connection is it. */
export interface Reached {
  hosts: readonly string[]
  port: number
  tls: boolean
}

const HEAD_END = '\r\n\r\n'

/** The body of a chunked answer (RFC 9112 §7.1) so far, and whether it is whole. */
const dechunked = (text: string): { body: string; whole: boolean } => {
  let body = ''
  for (let at = 0; ;) {
    const line = text.indexOf('\r\n', at)
    if (line === -1) return { body, whole: false }
    const size = Number.parseInt(text.slice(at, line), 16)
    if (size === 0) return { body, whole: true }
    body += text.slice(line + 2, line + 2 + size)
    at = line + 2 + size + 2
    if (!(at <= text.length)) return { body, whole: false }
  }
}

/** What an answer may hold: a few events, or a problem. */
const ANSWER_BYTES_MAX = 64 * 1024

/**
 * One GET over a socket of its own. Not `fetch`, which would ask a proxy of the environment, use a connection again,
 * and tell of a stream's end when it likes.
 */
class Client implements TestClient {
  status: number | null = null
  headers = new Headers()
  body = ''
  ended: TestClient['ended'] = null
  #unsent = ''
  #received = ''
  #socket: Bun.Socket | null = null
  readonly #waiting = new Set<() => void>()

  async connect(hostname: string, port: number, tls: boolean, request: string): Promise<void> {
    this.#unsent = request
    this.#socket = await Bun.connect({
      hostname,
      port,
      // Whose certificate it is, is for `doctor`; whether it has ended stops no revocation.
      ...(tls ? { tls: { rejectUnauthorized: false } } : {}),
      socket: {
        data: (_socket, bytes) => this.#take(bytes),
        drain: (socket) => this.#send(socket),
        end: () => this.#end('broken'),
        close: () => this.#end('broken'),
        error: () => this.#end('broken'),
      },
    })
    this.#send(this.#socket)
  }

  /** Under TLS nothing is taken before the handshake. */
  #send(socket: Bun.Socket): void {
    this.#unsent = this.#unsent.slice(Math.max(0, socket.write(this.#unsent)))
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.ended === null && !condition()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }

  close(): void {
    this.#end('broken')
    this.#socket?.terminate()
  }

  #take(bytes: Uint8Array): void {
    if (this.ended) return
    this.#received += Buffer.from(bytes).toString('latin1')
    if (this.#received.length > ANSWER_BYTES_MAX) return this.close()
    const end = this.#received.indexOf(HEAD_END)
    if (end === -1) return
    if (this.status === null) this.#readHead(this.#received.slice(0, end))
    const rest = this.#received.slice(end + HEAD_END.length)
    const length = this.headers.get('content-length')
    const { body, whole } = length === null ? dechunked(rest) : { body: rest, whole: rest.length >= Number(length) }
    this.body = body
    if (whole) this.#end('whole')
    else this.#changed()
  }

  #readHead(head: string): void {
    const [start = '', ...lines] = head.split('\r\n')
    this.status = Number(start.split(' ')[1])
    for (const line of lines) {
      const colon = line.indexOf(':')
      this.headers.append(line.slice(0, colon), line.slice(colon + 1).trim())
    }
  }

  #end(how: 'whole' | 'broken'): void {
    this.ended ??= { how, at: performance.now() }
    this.#changed()
  }

  #changed(): void {
    for (const look of this.#waiting) look()
  }
}

/** Sends one GET with a token to the listener itself. Throws when no address takes the connection. */
export const connectTo = async ({ hosts, port, tls }: Reached, path: string, secret: string): Promise<TestClient> => {
  let refused: unknown
  for (const host of hosts) {
    const client = new Client()
    const request = `GET ${path} HTTP/1.1\r\nHost: ${bracketed(host)}:${port}\r\nAuthorization: Bearer ${secret}\r\n\r\n`
    try {
      await client.connect(host, port, tls, request)
      return client
    } catch (error) {
      refused = error
    }
  }
  throw refused
}
