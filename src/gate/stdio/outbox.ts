import type { Limits } from '../../limits.ts'
import type { Held, Room } from './room.ts'

interface Chunk extends Held {
  readonly data: Uint8Array
}

/** What one session's clients were given and have not read yet: above the limit its server is not read either. */
export class Unread {
  #bytes = 0
  #paused = false

  constructor(
    readonly source: { pause(): void; resume(): void },
    readonly limits: Limits,
    readonly room: Room,
  ) {}

  handed(chunk: Held): void {
    this.#bytes += chunk.bytes
    this.room.add(chunk)
    if (this.#paused || this.#bytes <= this.limits.stdioUnreadBytesMax) return
    this.#paused = true
    this.source.pause()
  }

  taken(chunk: Held): void {
    this.#bytes -= chunk.bytes
    this.room.remove(chunk)
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
  readonly #queue: Chunk[] = []
  #ended = false
  #left = false
  #tooSlow = false
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

  push(data: Uint8Array): void {
    if (this.#ended) return
    const chunk = { data, bytes: data.length, drop: () => this.#giveUp() }
    this.#queue.push(chunk)
    this.unread.handed(chunk)
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
    if (this.#tooSlow) throw new Error('its client reads too slowly')
    const chunk = this.#queue.shift()
    if (chunk) {
      this.read = true
      this.unread.taken(chunk)
      controller.enqueue(chunk.data)
    } else {
      controller.close()
      this.onDone()
    }
  }

  async #leave(): Promise<void> {
    this.#left = true
    await this.#forget()
  }

  /** All clients together have too much unread, and this one waits for longest: its stream breaks off. */
  #giveUp(): void {
    this.#tooSlow = true
    // A source that fails over it was ended already.
    this.#forget().catch(() => undefined)
  }

  async #forget(): Promise<void> {
    this.end()
    for (const chunk of this.#queue.splice(0)) this.unread.taken(chunk)
    this.onDone()
    await this.#source?.cancel()
  }
}
