import { createHash } from 'node:crypto'
import net from 'node:net'
import { BodyReader, Head, framingOf } from '../http1.ts'
import { eventually } from '../poll.ts'

const KEPT_BODY_BYTES_MAX = 1024 * 1024

/** A request as it stood on the wire, and the socket to answer it on. */
export class RawUpstreamRequest {
  readonly at = performance.now()
  readonly method: string
  readonly target: string
  /** When the other side let go of it, and how; a finished answer on a kept connection stays null. */
  closedAt: number | null = null
  bodyBytes = 0
  bodyComplete = false
  answered = false
  private readonly kept: Buffer[] = []
  private readonly hash = createHash('sha256')

  constructor(
    readonly head: Head,
    readonly socket: net.Socket,
  ) {
    const [method = '', target = ''] = head.startLine.split(' ')
    this.method = method
    this.target = target
  }

  get bodyText(): string {
    return Buffer.concat(this.kept).toString('utf8')
  }
  bodySha256(): string {
    return this.hash.copy().digest('hex')
  }
  body(): Promise<string> {
    return eventually(() => this.bodyComplete, { what: 'the request body is whole' }).then(() => this.bodyText)
  }
  /** Writes bytes exactly; text as UTF-8. */
  write(data: string | Uint8Array): boolean {
    return this.socket.writable && this.socket.write(data)
  }
  /** A whole answer with its length. */
  answer(status: string, headers: string[], body: string | Uint8Array = ''): void {
    const bytes = Buffer.from(body)
    const lines = [`HTTP/1.1 ${status}`, ...headers, `Content-Length: ${bytes.length}`]
    this.answered = true
    this.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]))
  }
  /** The head of a chunked answer; `chunk` and `lastChunk` follow. */
  begin(status: string, headers: string[]): void {
    const lines = [`HTTP/1.1 ${status}`, ...headers, 'Transfer-Encoding: chunked']
    this.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'))
  }
  chunk(data: string | Uint8Array): boolean {
    const bytes = Buffer.from(data)
    return this.write(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]))
  }
  lastChunk(): void {
    this.answered = true
    this.write('0\r\n\r\n')
  }
  reset(): void {
    this.socket.resetAndDestroy()
  }

  take(bytes: Buffer): void {
    this.hash.update(bytes)
    if (this.bodyBytes < KEPT_BODY_BYTES_MAX) this.kept.push(bytes)
    this.bodyBytes += bytes.length
  }
}

type Exchange = { request: RawUpstreamRequest; body: BodyReader }
export type RawHandler = (request: RawUpstreamRequest) => void

/** A server that parses nothing but where a request ends, and says nothing that the handler doesn't. */
export const startRaw = async (handler: RawHandler) => {
  const requests: RawUpstreamRequest[] = []
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    let pending: Buffer = Buffer.alloc(0)
    let current: Exchange | null = null
    const closed = () => {
      sockets.delete(socket)
      if (current && !current.request.answered) current.request.closedAt ??= performance.now()
    }
    const begin = (head: string) => {
      const request = new RawUpstreamRequest(new Head(head), socket)
      const body = new BodyReader(framingOf(request.head, { kind: 'length', length: 0 }), (part) => request.take(part))
      request.bodyComplete = body.complete
      requests.push(request)
      current = { request, body }
      handler(request)
    }
    const take = (bytes: Buffer): void => {
      pending = Buffer.concat([pending, bytes])
      while (pending.length > 0) {
        if (current && !current.body.complete) {
          current.body.push(pending)
          current.request.bodyComplete = current.body.complete
          pending = current.body.rest
          continue
        }
        const end = pending.indexOf('\r\n\r\n')
        if (end === -1) return
        const head = pending.subarray(0, end).toString('latin1')
        pending = pending.subarray(end + 4)
        begin(head)
      }
    }
    // An aborted request is what these tests are about; it is recorded by 'end' and 'close'.
    socket.on('error', closed).on('end', closed).on('close', closed).on('data', take)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    last: () => requests.at(-1) ?? null,
    sockets: () => sockets.size,
    stop: () => {
      sockets.forEach((socket) => socket.destroy())
      server.close()
    },
  }
}
