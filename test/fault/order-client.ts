import { KEEP_ALIVE } from '../../src/gate/sse.ts'

/** What the runtime is to the gate, in place of sockets: a client that reads, and a `fetch` that is answered by hand. */

/** The runtime's own kind of stream (`type: 'direct'`), whose sink the gate writes to. */
interface DirectSource {
  type?: string
  pull(sink: unknown): unknown
  cancel?(reason?: unknown): unknown
}

type Source = UnderlyingDefaultSource<Uint8Array>
const NativeStream = globalThis.ReadableStream as new (
  source?: Source,
  strategy?: QueuingStrategy,
) => ReadableStream<Uint8Array>
const sources = new WeakMap<object, DirectSource>()

/** Direct streams are kept from the runtime: whoever holds one asks `sourceOf` for what it does. */
class WatchedStream extends NativeStream {
  constructor(source?: Source | DirectSource, strategy?: QueuingStrategy) {
    const direct = (source as DirectSource | undefined)?.type === 'direct'
    if (direct) super()
    else super(source as Source, strategy)
    if (direct) sources.set(this, source as DirectSource)
  }
}

const sourceOf = (stream: object | null): DirectSource | null => (stream && sources.get(stream)) ?? null

export type Got = 'own' | 'comment' | 'last words'

/** What a stream's client may be told of what it got. */
export interface ClientOwner {
  /** Bytes were handed to the socket, in this run. Returns what they were. */
  got(bytes: Uint8Array): Got
  /** The stream ended, in good order or by a reset. */
  ended(how: 'end' | 'reset'): void
  /** Something that must never happen. */
  wrong(what: string): void
}

/** The client's side of one stream. A write is taken at once, or promised while the reader holds back. */
export class FakeClient {
  readonly #source: DirectSource
  #holding = false
  #taken: (() => void)[] = []
  #unsentOwn = false
  #ends = 0
  #gone = false
  pulled = false
  /** What was held back was taken in this turn: the gate is about to hear of it. */
  justTaken = false

  constructor(
    stream: ReadableStream,
    readonly owner: ClientOwner,
  ) {
    const source = sourceOf(stream)
    if (!source) throw new Error('an answer flows past the sink that is watched')
    this.#source = source
  }

  get unsent(): boolean {
    return this.#taken.length > 0
  }

  get over(): boolean {
    return this.#ends > 0 || this.#gone
  }

  /** The runtime begins to send. */
  pull(): void {
    if (this.pulled || this.#gone) return
    this.pulled = true
    this.#source.pull({
      write: (bytes: Uint8Array) => this.#write(bytes),
      flush: () => undefined,
      end: () => this.#end('end'),
      close: () => this.#end('reset'),
    })
  }

  hold(): void {
    this.#holding = true
  }

  /** Takes what was held back. */
  take(): void {
    this.#holding = false
    this.#unsentOwn = false
    const taken = this.#taken
    this.#taken = []
    this.justTaken ||= taken.length > 0
    for (const done of taken) done()
  }

  /** The socket closed; the runtime tells the stream so. */
  goAway(): void {
    this.#gone = true
    this.#source.cancel?.()
    this.take()
  }

  #write(bytes: Uint8Array): number | Promise<number> {
    if (this.#gone) return bytes.length
    if (this.#ends > 0) this.owner.wrong('bytes after the end')
    const over = this.#unsentOwn
    // The gate may use its buffer again.
    const got = this.owner.got(bytes.slice())
    // One comment may wait beside one chunk, and no more than that.
    if (over && got !== 'last words') this.owner.wrong('a write over bytes that the reader has not taken')
    if (!this.#holding || got === 'last words') return bytes.length
    this.#unsentOwn ||= got === 'own'
    return new Promise((resolve) => this.#taken.push(() => resolve(bytes.length)))
  }

  #end(how: 'end' | 'reset'): void {
    if (this.#gone) return
    this.#ends += 1
    if (this.#ends > 1) this.owner.wrong('a second end')
    else this.owner.ended(how)
  }
}

export const isComment = (bytes: Uint8Array): boolean => Buffer.from(bytes).equals(KEEP_ALIVE)

/** One request as the gate asked its `fetch` for it. */
export class FakeCall {
  readonly answer = Promise.withResolvers<Response>()
  /** What of the body got to the upstream. */
  readonly received: Uint8Array[] = []
  uploaded = false
  answered = false
  /** It said all that it had to say. */
  ended = false
  over = false
  #down: ReadableStreamDefaultController<Uint8Array> | null = null

  constructor(
    readonly url: URL,
    readonly init: RequestInit,
    readonly onBytes: (bytes: Uint8Array) => void,
  ) {
    this.signal?.addEventListener('abort', () => this.#aborted())
    const { body } = init
    if (body instanceof NativeStream) void this.#upload(body)
    else {
      if (body) this.#take(body as Uint8Array)
      this.uploaded = true
    }
  }

  get signal(): AbortSignal | null {
    return this.init.signal ?? null
  }

  /** As the runtime does it: piece by piece, and no more once the request was given up. */
  async #upload(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader()
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (this.signal?.aborted) return
        if (done) break
        this.#take(value)
      }
      this.uploaded = true
    } catch (error) {
      this.fail(error)
    }
  }

  #take(bytes: Uint8Array): void {
    this.received.push(bytes)
    this.onBytes(bytes)
  }

  #aborted(): void {
    this.over = true
    this.answer.reject(this.signal?.reason)
    this.#break(this.signal?.reason)
  }

  /** The head of the answer; what the body holds is said by `say`. */
  head(init: ResponseInit, body: 'stream' | string | null): void {
    if (this.answered || this.over) return
    this.answered = true
    if (body !== 'stream') {
      this.over = true
      return this.answer.resolve(new Response(body, init))
    }
    const stream = new NativeStream({
      start: (controller) => {
        this.#down = controller
      },
      cancel: () => {
        this.over = true
      },
    })
    this.answer.resolve(new Response(stream, init))
  }

  say(bytes: Uint8Array): void {
    if (!this.over) this.#down?.enqueue(bytes)
  }

  end(): void {
    if (this.over || !this.#down) return
    this.over = true
    this.ended = true
    this.#down.close()
  }

  fail(error: unknown): void {
    if (this.over) return
    this.over = true
    this.answer.reject(error)
    this.#break(error)
  }

  #break(error: unknown): void {
    // One that has closed already can't break: then this does nothing.
    this.#down?.error(error)
    this.#down = null
  }
}

/** Puts `fetch` and the streams in place of the runtime's. Returns what puts them back. */
export const watchRuntime = (onCall: (url: URL, init: RequestInit) => Promise<Response>): (() => void) => {
  const { fetch } = globalThis
  globalThis.ReadableStream = WatchedStream as unknown as typeof ReadableStream
  globalThis.fetch = ((url: URL, init: RequestInit) => onCall(url, init)) as typeof fetch
  return () => {
    globalThis.ReadableStream = NativeStream as unknown as typeof ReadableStream
    globalThis.fetch = fetch
  }
}
