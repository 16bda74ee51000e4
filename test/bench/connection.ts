import { BodyReader, framingOf, Head } from '../support/http1.ts'

export interface HttpAnswer {
  status: string
  head: Head
  text: string
}

/** One kept connection: a request, its whole answer, then the next. */
export class HttpConnection {
  #socket: Bun.Socket | null = null
  #head: Head | null = null
  #body: BodyReader | null = null
  #parts: Buffer[] = []
  #pending: Buffer = Buffer.alloc(0)
  #waiting: PromiseWithResolvers<HttpAnswer> | null = null

  static async to(hostname: string, port: number): Promise<HttpConnection> {
    const connection = new HttpConnection()
    const gone = () => connection.#waiting?.reject(new Error('the connection was closed'))
    connection.#socket = await Bun.connect({
      hostname,
      port,
      socket: { data: (_socket, bytes) => connection.#take(bytes), end: gone, close: gone, error: gone },
    })
    return connection
  }

  ask(bytes: string): Promise<HttpAnswer> {
    this.#head = null
    this.#body = null
    this.#parts = []
    this.#pending = Buffer.alloc(0)
    this.#waiting = Promise.withResolvers()
    this.#socket?.write(bytes)
    return this.#waiting.promise
  }

  close(): void {
    this.#socket?.terminate()
  }

  #take(bytes: Buffer): void {
    if (!this.#body) {
      this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes])
      const end = this.#pending.indexOf('\r\n\r\n')
      if (end === -1) return
      this.#head = new Head(this.#pending.subarray(0, end).toString('latin1'))
      this.#body = new BodyReader(framingOf(this.#head, { kind: 'close' }), (part) => this.#parts.push(part))
      bytes = this.#pending.subarray(end + 4)
    }
    this.#body.push(bytes)
    if (!this.#body.complete || !this.#head) return
    const text = Buffer.concat(this.#parts).toString()
    this.#waiting?.resolve({ status: this.#head.startLine.slice(9, 12), head: this.#head, text })
  }
}
