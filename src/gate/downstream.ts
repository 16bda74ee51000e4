import type { Limits } from '../limits.ts'
import { EventGate, KEEP_ALIVE } from './sse.ts'

/** The runtime's sink of a direct stream: a write goes to the socket at once, or promises to. */
interface Sink {
  write(bytes: Uint8Array): number | Promise<number>
  flush(): unknown
  end(): unknown
  close(error?: Error): void
}

/** What a stream tells, and asks, its exchange. */
export interface DownstreamOwner {
  /** Whether the next chunk may pass; a no has ended the stream already. */
  mayPass(): boolean
  /** The bytes to send for whole events or a chunk; throws to break the stream. */
  passing(bytes: Uint8Array): Uint8Array
  /** So many bytes were handed to the socket. */
  sent(bytes: number): void
  /** The upstream ended it. */
  finished(): void
  /** The upstream died in the middle. */
  broke(error: unknown): void
  /** The client went away. */
  abandoned(): void
}

/** What is said last: bytes and a proper end, or a reset that says nothing. */
export type Farewell = Uint8Array[] | 'reset'

export const RESET: Error = new Error('cut')

/**
 * An answer's body on its way to the client, chunk by chunk, held back by a slow reader. A write goes to
 * the socket in the same run, so that a cut knows what was said: no queue of ours stands in between.
 */
export class Downstream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  #sink: Sink | null = null
  #finish: () => void = () => undefined
  /** Writes that the socket has not taken yet: bytes of ours are still unsent. */
  #unsent = 0
  #farewell: Farewell | null = null
  #ended = false
  #silent = true
  /** Since the last word, in whole beats. */
  #silentMs = 0

  constructor(
    body: ReadableStream<Uint8Array>,
    /** For event streams that can be read: lets through whole events only. */
    readonly events: EventGate | null,
    readonly owner: DownstreamOwner,
    readonly limits: Limits,
    /** What is said before anything of the upstream's. */
    readonly opening: Uint8Array | null = null,
  ) {
    this.#reader = body.getReader()
  }

  /** The body for the runtime. `type: 'direct'` is the runtime's own, and not in the types. */
  get body(): ReadableStream<Uint8Array> {
    const source = { type: 'direct', pull: (sink: Sink) => this.#pull(sink), cancel: () => this.owner.abandoned() }
    return new ReadableStream(source as unknown as UnderlyingDefaultSource<Uint8Array>)
  }

  /** Whether a last word can be said on a boundary: all was sent, and no event is unfinished. */
  get onBoundary(): boolean {
    return !this.blocked && this.events !== null && this.events.onBoundary
  }

  get blocked(): boolean {
    return this.#unsent > 0
  }

  /** Ends the client's side, in this run; what the upstream still says is not passed on. */
  end(farewell: Farewell): void {
    this.#ended = true
    this.#farewell = farewell
    if (this.#sink) this.#sayFarewell(this.#sink)
  }

  /** Says something of ours between two events; false when it can't be said now. */
  say(bytes: Uint8Array): boolean {
    if (this.#ended || !this.#sink || !this.onBoundary || !this.owner.mayPass()) return false
    const written = this.#write(bytes)
    // A socket that fails here tells its stream so by `cancel` too.
    if (written instanceof Promise) this.#drained(written).catch(() => this.owner.abandoned())
    return true
  }

  /** Frees the upstream. */
  cancel(): void {
    this.#ended = true
    // The upstream may have failed in the same moment; then there is nothing left to cancel.
    this.#reader.cancel().catch(() => undefined)
    this.#finish()
  }

  /** So much time has passed: an event stream that was silent for long says something harmless. */
  beat(ms: number): void {
    this.#silentMs += ms
    if (this.#silentMs > this.limits.keepAliveMs) this.say(KEEP_ALIVE)
  }

  /** Called by the runtime when the header may go out; resolves when nothing more is to be said. */
  #pull(sink: Sink): Promise<void> {
    return new Promise((resolve) => {
      this.#finish = resolve
      this.#sink = sink
      if (this.#farewell) return this.#sayFarewell(sink)
      if (this.opening) this.say(this.opening)
      // The runtime holds the header back until the first byte: a silent event stream must still open.
      if (this.events) setTimeout(() => this.#silent && this.say(KEEP_ALIVE), this.limits.streamOpenMs)
      this.#move().catch((error: unknown) => {
        if (!this.#ended) this.owner.broke(error)
      })
    })
  }

  async #move(): Promise<void> {
    for (;;) {
      const { done, value } = await this.#reader.read()
      if (this.#ended || !this.owner.mayPass()) return
      const bytes = done ? this.#rest() : this.#passable(value)
      if (bytes.length > 0) {
        const written = this.#write(bytes)
        if (written instanceof Promise && !(await this.#drained(written))) return
      }
      if (done) break
    }
    this.#ended = true
    this.owner.finished()
    this.#sink?.end()
    this.#finish()
  }

  #passable(chunk: Uint8Array): Uint8Array {
    const bytes = this.events ? this.events.push(chunk) : chunk
    return bytes.length === 0 ? bytes : this.owner.passing(bytes)
  }

  /** An event that the upstream left unfinished: clients drop it, but it must not slip past its owner. */
  #rest(): Uint8Array {
    const rest = this.events?.rest() ?? new Uint8Array(0)
    return rest.length === 0 ? rest : this.owner.passing(rest)
  }

  /** Waits for a slow reader. Returns whether the stream still lives. */
  async #drained(written: Promise<number>): Promise<boolean> {
    this.#unsent += 1
    await written
    this.#unsent -= 1
    return !this.#ended
  }

  #write(bytes: Uint8Array): number | Promise<number> | undefined {
    const written = this.#sink?.write(bytes)
    this.#sink?.flush()
    this.#silent = false
    this.#silentMs = 0
    this.owner.sent(bytes.length)
    return written
  }

  #sayFarewell(sink: Sink): void {
    if (this.#farewell === 'reset') {
      sink.close(RESET)
    } else {
      for (const bytes of this.#farewell ?? []) sink.write(bytes)
      sink.end()
    }
    this.#finish()
  }
}
