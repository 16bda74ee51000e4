/** Just enough of HTTP/1.1 (RFC 9112) to see what really was on the wire, order and case of headers included. */

export type HeaderList = [name: string, value: string][]

export class Head {
  readonly startLine: string
  readonly headers: HeaderList

  /** Latin-1, so that no byte of a header is altered by decoding it. */
  constructor(readonly raw: string) {
    const [startLine = '', ...lines] = raw.split('\r\n').filter((line) => line !== '')
    this.startLine = startLine
    this.headers = lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).trim()]
    })
  }

  all(name: string): string[] {
    return this.headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
  }

  get(name: string): string | null {
    const values = this.all(name)
    return values.length === 0 ? null : values.join(', ')
  }

  names(): string[] {
    return this.headers.map(([name]) => name.toLowerCase())
  }
}

/** How a body ends: after so many bytes, after the last chunk, or with the connection. */
export type Framing = { kind: 'length'; length: number } | { kind: 'chunked' } | { kind: 'close' }

export const framingOf = (head: Head, withoutEither: Framing): Framing => {
  if (head.get('transfer-encoding')?.toLowerCase().includes('chunked')) return { kind: 'chunked' }
  const length = head.get('content-length')
  return length === null ? withoutEither : { kind: 'length', length: Number(length) }
}

/** Takes bytes as they come and gives the body's own; `complete` only when its framing says so. */
export class BodyReader {
  complete: boolean
  /** What came after the body's end: the next message. */
  rest: Buffer = Buffer.alloc(0)
  private pending: Buffer = Buffer.alloc(0)
  private chunkLeft = -1

  constructor(
    private readonly framing: Framing,
    private readonly onBytes: (bytes: Buffer) => void,
  ) {
    this.complete = framing.kind === 'length' && framing.length === 0
    this.left = framing.kind === 'length' ? framing.length : 0
  }
  private left: number

  push(bytes: Buffer): void {
    if (this.complete) this.rest = Buffer.concat([this.rest, bytes])
    else if (this.framing.kind === 'close') this.onBytes(bytes)
    else if (this.framing.kind === 'length') this.pushLength(bytes)
    else this.pushChunked(bytes)
  }

  private pushLength(bytes: Buffer): void {
    const own = bytes.subarray(0, this.left)
    this.left -= own.length
    if (own.length > 0) this.onBytes(own)
    if (this.left === 0) this.finish(bytes.subarray(own.length))
  }

  private pushChunked(bytes: Buffer): void {
    this.pending = this.pending.length === 0 ? bytes : Buffer.concat([this.pending, bytes])
    while (!this.complete) {
      if (this.chunkLeft > 0) {
        const own = this.pending.subarray(0, this.chunkLeft)
        if (own.length === 0) return
        this.chunkLeft -= own.length
        this.pending = this.pending.subarray(own.length)
        this.onBytes(own)
        continue
      }
      const end = this.pending.indexOf('\r\n')
      if (end === -1) return
      const line = this.pending.subarray(0, end).toString('latin1')
      if (this.chunkLeft === -1) {
        this.chunkLeft = Number.parseInt(line, 16)
        // 0 is the last chunk: what follows are trailers, then an empty line.
        if (this.chunkLeft === 0) this.chunkLeft = -2
      } else if (this.chunkLeft === 0) {
        this.chunkLeft = -1
      } else if (line === '') {
        this.finish(this.pending.subarray(end + 2))
        return
      }
      this.pending = this.pending.subarray(end + 2)
    }
  }

  private finish(rest: Buffer): void {
    this.complete = true
    this.rest = rest
    this.pending = Buffer.alloc(0)
  }
}
