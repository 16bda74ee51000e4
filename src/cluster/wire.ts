import { createHash, randomBytes } from 'node:crypto'
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { endpointOf } from '../address.ts'
import { limits } from '../limits.ts'
import type { Refusal } from './transport.ts'

/** A WebSocket (RFC 6455) of either side, as far as links need it. */
export interface Wire {
  /** Hands it to the kernel in this run of the loop, as far as that takes it. */
  send(data: string | Uint8Array): void
  /** Bytes that the kernel has not taken. */
  readonly buffered: number
  /** Sends what waits, then ends. */
  close(): void
  /** At once. */
  terminate(): void
}

export interface WireEvents {
  opened(): void
  received(data: string | Buffer): void
  /** Told once, whoever ended it. */
  closed(refusal: Refusal | null): void
}

const HEAD_BYTES_MAX = 8 * 1024
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10] as const

/**
 * The side that dials, over `ws://` or `wss://`. The runtime's own takes messages of any size: whoever answers in a member's
 * place could fill the memory. Throws nothing: what fails is told by `closed`, in a later turn.
 */
export const dialWire = (url: URL, events: WireEvents): Wire => new DialledWire(url, events)

class DialledWire implements Wire {
  #socket: Socket
  #key = randomBytes(16).toString('base64')
  #open = false
  #over = false
  #chunks: Buffer[] = []
  #have = 0
  /** Bytes without which there is nothing to read yet. */
  #need = 0
  /** A message in parts. */
  #parts: Buffer[] = []
  #partsOf = 0
  #partsBytes = 0

  constructor(
    url: URL,
    readonly events: WireEvents,
  ) {
    const { host, port, tls } = endpointOf(url)
    const to = { host, port, noDelay: true }
    // A name is asked for (RFC 6066), an address is not; the certificate must hold for either.
    this.#socket = tls ? connectTls(isIP(host) ? to : { ...to, servername: host }) : connect(to)
    this.#socket.on(tls ? 'secureConnect' : 'connect', () =>
      this.#socket.write(
        `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${this.#key}\r\n\r\n`,
      ),
    )
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk))
    // Which error it was helps nobody: it is dialled again.
    this.#socket.on('error', () => this.#end(null))
    this.#socket.on('close', () => this.#end(null))
  }

  get buffered(): number {
    return this.#socket.writableLength
  }

  send(data: string | Uint8Array): void {
    if (this.#open && !this.#over) this.#write(typeof data === 'string' ? TEXT : BINARY, Buffer.from(data))
  }

  close(): void {
    if (this.#over) return
    if (this.#open) this.#write(CLOSE, Buffer.from([0x03, 0xe8]))
    this.#socket.end()
  }

  terminate(): void {
    this.#end(null)
  }

  #end(refusal: Refusal | null): void {
    if (this.#over) return
    this.#over = true
    this.#chunks = []
    this.#parts = []
    this.#socket.destroy()
    queueMicrotask(() => this.events.closed(refusal))
  }

  #take(chunk: Buffer): void {
    if (this.#over) return
    this.#chunks.push(chunk)
    this.#have += chunk.length
    if (this.#have < this.#need) return
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    this.#need = 0
    if (!this.#open) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0 && bytes.length > HEAD_BYTES_MAX) return this.#end('malformed')
      const head = end < 0 ? null : bytes.subarray(0, end).toString('latin1')
      // Any other status: somebody is busy, or not up yet, and will be dialled again.
      if (head !== null && /^HTTP\/1\.1 (?!101 )\d{3} /.test(head)) return this.#end(null)
      if (head !== null && !this.#accepted(head)) return this.#end('malformed')
      if (end >= 0) {
        this.#open = true
        bytes = bytes.subarray(end + 4)
        this.events.opened()
      }
    }
    while (this.#open && !this.#over && this.#need === 0) {
      const rest = this.#frame(bytes)
      if (rest) bytes = rest
    }
    this.#chunks = this.#over ? [] : [bytes]
    this.#have = bytes.length
  }

  /** RFC 6455, 4.1. */
  #accepted(head: string): boolean {
    const [status = '', ...lines] = head.split('\r\n')
    const expected = createHash('sha1').update(`${this.#key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    return (
      /^HTTP\/1\.1 101(?: |$)/.test(status) &&
      lines.some(
        (line) => /^sec-websocket-accept:/i.test(line) && line.slice(line.indexOf(':') + 1).trim() === expected,
      )
    )
  }

  /** Reads one frame (RFC 6455, 5.2), and gives back what follows it; null: it is not whole yet, or the wire is over. */
  #frame(bytes: Buffer): Buffer | null {
    const wait = (need: number): null => {
      this.#need = need
      return null
    }
    if (bytes.length < 2) return wait(2)
    const [first, second] = [bytes[0] as number, bytes[1] as number]
    const opcode = first & 0x0f
    // Nothing was agreed on that reserved bits could mean, and what answers is never masked.
    if ((first & 0x70) !== 0 || second >= 0x80) return this.#refuse('malformed')
    const head = second === 127 ? 10 : second === 126 ? 4 : 2
    if (bytes.length < head) return wait(head)
    const length = head === 10 ? Number(bytes.readBigUInt64BE(2)) : head === 4 ? bytes.readUInt16BE(2) : second
    if (this.#partsBytes + length > limits.clusterFrameBytesMax) return this.#refuse('too_large')
    if (bytes.length < head + length) return wait(head + length)
    const content = bytes.subarray(head, head + length)
    if (opcode >= CLOSE) this.#control(opcode, content)
    else this.#part(opcode, content, first >= 0x80)
    return bytes.subarray(head + length)
  }

  #refuse(refusal: Refusal): null {
    this.#end(refusal)
    return null
  }

  #control(opcode: number, content: Buffer): void {
    if (opcode === CLOSE) this.#end(null)
    else if (opcode === PING) this.#write(PONG, content)
    else if (opcode !== PONG) this.#end('malformed')
  }

  #part(opcode: number, content: Buffer, last: boolean): void {
    const begins = opcode === TEXT || opcode === BINARY
    if (begins === this.#partsOf > 0 || (!begins && opcode !== CONTINUATION)) return this.#end('malformed')
    if (begins) this.#partsOf = opcode
    this.#parts.push(content)
    this.#partsBytes += content.length
    if (!last) return
    const whole = this.#parts.length === 1 ? content : Buffer.concat(this.#parts)
    const text = this.#partsOf === TEXT
    this.#parts = []
    this.#partsOf = this.#partsBytes = 0
    this.events.received(text ? whole.toString() : whole)
  }

  #write(opcode: number, content: Buffer): void {
    const { length } = content
    const head = Buffer.alloc((length < 126 ? 2 : length < 65_536 ? 4 : 10) + 4)
    head[0] = 0x80 | opcode
    head[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127)
    if (head.length === 8) head.writeUInt16BE(length, 2)
    if (head.length === 14) head.writeBigUInt64BE(BigInt(length), 2)
    // The mask keeps chosen bytes off the wire (RFC 6455, 10.3). These are keys and ciphertext, which nobody chose: zeros do.
    this.#socket.write(Buffer.concat([head, content]))
  }
}
