import { BodyReader, Head, framingOf } from './http1.ts'
import { eventually } from './poll.ts'

/** 'fin': the other side ended in good order; 'reset': it broke off; 'open': neither yet. */
export type Ended = 'open' | 'fin' | 'reset'
export type RawRequest = {
  method?: string
  /** Sent exactly like this: nothing is normalised. */
  target: string
  headers?: Record<string, string> | [string, string][]
  body?: string | Uint8Array
  /** HTTP/1.1 unless told; `host: null` sends none. */
  version?: '1.0' | '1.1'
  host?: string | null
}

/** One connection and one answer, byte by byte. */
export class RawClient {
  /** What arrived and when (performance.now()); `bytes` as on the wire. */
  readonly arrivals: { at: number; bytes: Buffer }[] = []
  head: Head | null = null
  ended: Ended = 'open'
  endedAt: number | null = null
  bodyBytes = 0
  private readonly bodyParts: Buffer[] = []
  private body: BodyReader | null = null
  private headPending: Buffer = Buffer.alloc(0)
  private unsent: Buffer[] = []
  private socket!: Bun.Socket

  constructor(private readonly method: string) {}

  async connect(url: string): Promise<this> {
    const { hostname, port, protocol } = new URL(url)
    const secure = protocol === 'https:'
    this.socket = await Bun.connect({
      hostname,
      port: Number(port || (secure ? 443 : 80)),
      // Whose certificate it is, is no business of who looks at bytes.
      ...(secure ? { tls: { rejectUnauthorized: false, serverName: hostname } } : {}),
      socket: {
        data: (_socket, bytes) => this.take(Buffer.from(bytes)),
        drain: () => this.flush(),
        end: () => this.finish('fin'),
        close: (_socket, error) => this.finish(error ? 'reset' : 'fin'),
        error: () => this.finish('reset'),
      },
    })
    return this
  }

  /** Text is sent as Latin-1, so that every byte can be written down. */
  send(data: string | Uint8Array): void {
    this.unsent.push(typeof data === 'string' ? Buffer.from(data, 'latin1') : Buffer.from(data))
    if (this.unsent.length === 1) this.flush()
  }

  get status(): number {
    return this.head ? Number(this.head.startLine.split(' ')[1]) : 0
  }
  /** The body so far, without its chunking. */
  get bytes(): Buffer {
    return Buffer.concat(this.bodyParts)
  }
  get text(): string {
    return this.bytes.toString('utf8')
  }
  get json(): unknown {
    return JSON.parse(this.text)
  }
  /** Whether the answer ended as its own framing says. */
  get complete(): boolean {
    return this.body?.complete ?? false
  }
  get received(): string {
    return Buffer.concat(this.arrivals.map(({ bytes }) => bytes)).toString('latin1')
  }
  get lastArrivalAt(): number {
    return this.arrivals.at(-1)?.at ?? 0
  }

  async until(predicate: (client: this) => boolean, timeoutMs = 5_000): Promise<this> {
    try {
      await eventually(() => predicate(this), { timeoutMs, what: predicate.toString() })
    } catch (error) {
      const seen = `status ${this.status}, ${this.ended}, ${this.bodyBytes} bytes: ${this.received.slice(-500)}`
      throw new Error(`${String(error)}\n${seen}`, { cause: error })
    }
    return this
  }
  /** Until the answer is whole, or no more can come. */
  done(timeoutMs?: number): Promise<this> {
    return this.until((it) => it.complete || it.ended !== 'open', timeoutMs)
  }

  pause(): void {
    this.socket.pause()
  }
  resume(): void {
    this.socket.resume()
  }
  close(): void {
    this.socket.end()
  }
  [Symbol.dispose](): void {
    this.socket.terminate()
  }

  private flush(): void {
    for (let first = this.unsent[0]; first; first = this.unsent[0]) {
      const written = this.socket.write(first)
      if (written < 0) return void (this.unsent = [])
      if (written < first.length) return void (this.unsent[0] = first.subarray(written))
      this.unsent.shift()
    }
  }

  private finish(how: 'fin' | 'reset'): void {
    if (this.ended !== 'open') return
    this.ended = how
    this.endedAt = performance.now()
  }

  private take(bytes: Buffer): void {
    this.arrivals.push({ at: performance.now(), bytes })
    if (this.body) return this.body.push(bytes)
    this.headPending = Buffer.concat([this.headPending, bytes])
    const end = this.headPending.indexOf('\r\n\r\n')
    if (end === -1) return
    const head = new Head(this.headPending.subarray(0, end).toString('latin1'))
    const rest = this.headPending.subarray(end + 4)
    const status = Number(head.startLine.split(' ')[1])
    if (status >= 100 && status < 200 && status !== 101) {
      this.headPending = Buffer.alloc(0)
      return rest.length > 0 ? this.take(rest) : undefined
    }
    const bodiless = this.method === 'HEAD' || status === 204 || status === 304
    const framing = bodiless ? ({ kind: 'length', length: 0 } as const) : framingOf(head, { kind: 'close' })
    this.head = head
    this.body = new BodyReader(framing, (part) => {
      this.bodyBytes += part.length
      this.bodyParts.push(part)
    })
    if (rest.length > 0) this.body.push(rest)
  }
}

/** A connection on which nothing is sent yet. */
export const connectRaw = (url: string, method = 'GET'): Promise<RawClient> => new RawClient(method).connect(url)

export const formatRequest = (url: string, request: RawRequest): Buffer => {
  const { method = 'GET', target, headers = {}, body, version = '1.1', host = new URL(url).host } = request
  const given = Array.isArray(headers) ? headers : Object.entries(headers)
  const bytes = Buffer.from(body ?? '')
  const framed = body !== undefined && !given.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name))
  const lines = [
    `${method} ${target} HTTP/${version}`,
    ...(host === null ? [] : [`Host: ${host}`]),
    ...given.map(([name, value]) => `${name}: ${value}`),
    ...(framed ? [`Content-Length: ${bytes.length}`] : []),
  ]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes])
}

/** Sends one request and returns at once; the caller awaits `until` or `done`. */
export const open = async (url: string, request: RawRequest): Promise<RawClient> => {
  const client = await connectRaw(url, request.method)
  client.send(formatRequest(url, request))
  return client
}

/** Sends one request and waits for the whole answer. */
export const ask = async (url: string, request: RawRequest): Promise<RawClient> => {
  const client = await open(url, request)
  await client.done(10_000)
  if (client.complete) client.close()
  return client
}
