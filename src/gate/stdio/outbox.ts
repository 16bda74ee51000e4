import type { Limits } from '../../limits.ts'

/** What one session's clients were given and have not read yet: above the limit its server is not read either. */
export class Unread {
  #bytes = 0
  #paused = false

  constructor(
    readonly source: { pause(): void; resume(): void },
    readonly limits: Limits,
  ) {}

  handed(bytes: number): void {
    this.#bytes += bytes
    if (this.#paused || this.#bytes <= this.limits.stdioUnreadBytesMax) return
    this.#paused = true
    this.source.pause()
  }

  taken(bytes: number): void {
    this.#bytes -= bytes
    if (!this.#paused || this.#bytes > this.limits.stdioUnreadBytesMax / 2) return
    this.#paused = false
    this.source.resume()
  }
}

/** An answer's body on its way to a client, counted until it is read. */
export class Outbox {
  readonly body: ReadableStream<Uint8Array>
  /** Whether its client has read any of it. */
  read = false
  readonly #queue: Uint8Array[] = []
  #ended = false
  #left = false
  #wake: () => void = () => undefined
  #source: ReadableStreamDefaultReader<Uint8Array> | null = null

  constructor(
    readonly unread: Unread,
    /** Its client has read all of it, or went away: once. */
    readonly onDone: () => void,
  ) {
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => this.#give(controller)
    // Nothing is taken before somebody asks: what is taken counts as read.
    this.body = new ReadableStream({ pull, cancel: () => this.#leave() }, { highWaterMark: 0 })
  }

  push(bytes: Uint8Array): void {
    if (this.#ended) return
    this.#queue.push(bytes)
    this.unread.handed(bytes.length)
    this.#wake()
  }

  /** What was pushed can still be read. */
  end(): void {
    this.#ended = true
    this.#wake()
  }

  /** Takes all that a stream says, at once: left in there it would be counted by nobody. */
  async follow(stream: ReadableStream<Uint8Array>): Promise<void> {
    this.#source = stream.getReader()
    for (;;) {
      const { done, value } = await this.#source.read()
      if (done) return this.end()
      this.push(value)
    }
  }

  async #give(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#queue.length === 0 && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve))
    if (this.#left) return
    const bytes = this.#queue.shift()
    if (bytes) {
      this.read = true
      this.unread.taken(bytes.length)
      controller.enqueue(bytes)
    } else {
      controller.close()
      this.onDone()
    }
  }

  async #leave(): Promise<void> {
    this.#left = true
    this.end()
    for (const bytes of this.#queue.splice(0)) this.unread.taken(bytes.length)
    this.onDone()
    await this.#source?.cancel()
  }
}
