import type { Limits } from '../limits.ts'
import { type Connection, type ConnectionKind, CUT_MESSAGES, type CutCause, type Registry } from '../registry.ts'
import type { Clock } from '../time.ts'
import { type Denial, denialOf, type Secret } from '../token.ts'
import type { UsageMeter } from '../usage.ts'
import type { Upstream } from '../upstream.ts'
import { BodyError, BodyReader } from './body.ts'
import { type Endpoints, rewriteEndpoint } from './endpoint.ts'
import { downwardHeaders, isEncoded, isEventStream, redirectTarget, upwardHeaders } from './headers.ts'
import type { Target } from './path.ts'
import { type Problem, problemOf, problemOfCut, problemResponse, problems } from './problem.ts'
import { cutError, type RpcId, rpcRequests, strikeAnswered } from './rpc.ts'
import type { Session, Sessions } from './session.ts'
import { BLANK_LINE, eventBytes, EventGate, KEEP_ALIVE } from './sse.ts'
import { callUpstream, upstreamUrl } from './upstream.ts'

/** What every exchange of a gate shares. */
export interface ExchangeDeps {
  registry: Registry
  sessions: Sessions
  endpoints: Endpoints
  usage: UsageMeter
  limits: Limits
  now: Clock
  /** The path before `/s/` as clients see it. */
  prefix: string
  /** Streams to be kept alive. */
  streams: Set<Exchange>
  onUpstreamError(server: Upstream, error: unknown): void
}

/** The runtime's sink of a direct stream: a write goes to the socket at once, or promises to. */
interface Sink {
  write(bytes: Uint8Array): number | Promise<number>
  flush(): unknown
  end(): unknown
  close(error?: Error): void
}

const CUT_OFF = new Error('cut')

const CAUSES: Partial<Record<Denial, CutCause>> = {
  token_revoked: 'token_revoked', secret_rotated: 'token_revoked', token_expired: 'token_expired',
}

/** One request on its way up and its answer on its way down. */
export class Exchange implements Connection {
  readonly id: string
  readonly startedAt: number
  readonly method: string
  readonly path: string
  kind: ConnectionKind = 'request'
  client: string | null
  bytesIn = 0
  bytesOut = 0
  /** JSON-RPC requests that this stream is to answer, and has not. */
  readonly waiting = new Set<RpcId>()
  session: Session | null = null
  /** The promise that the runtime waits for. */
  readonly response: Promise<Response>

  #settle: (response: Response) => void = () => undefined
  #settled = false
  #ended = false
  #left = false
  /** A JSON-RPC body too large to be read: whom an answer is for is not known. */
  #unread = false
  readonly #abort = new AbortController()
  #uploaded = false
  #body: BodyReader | null = null
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null
  #sink: Sink | null = null
  #finish: () => void = () => undefined
  /** Set while the socket does not take more: bytes of ours are still unsent. */
  #blocked = false
  #events: EventGate | null = null
  #firstEvent = false
  #announced: string | null = null
  #farewell: Uint8Array[] | 'reset' = []
  #wroteAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    readonly request: Request,
    readonly target: Target,
    readonly secret: Secret,
    readonly server: Upstream,
    readonly address: string,
    readonly requestId: string,
    readonly deps: ExchangeDeps,
  ) {
    this.id = deps.registry.nextId()
    this.startedAt = deps.now()
    this.method = request.method
    this.path = `/s/${server.name}${target.announced ? '/~' : ''}${target.rest}`
    this.client = request.headers.get('user-agent')?.slice(0, deps.limits.clientNameLengthMax) ?? null
    this.response = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  get mcp(): boolean {
    return this.server.kind !== 'http'
  }

  get #usage() {
    return this.deps.usage.of(this.secret.token.id)
  }

  #denial(): Denial | null {
    return denialOf(this.secret, this.server, this.deps.now())
  }

  // Upward

  /** Runs the exchange. Registered already, and asked for once. */
  start(): Promise<Response> {
    const { request, deps } = this
    request.signal.addEventListener('abort', () => this.#abandon())
    const length = request.headers.get('content-length')
    const hasBody = (length !== null && length !== '0') || request.headers.has('transfer-encoding')
    if (length !== null && Number(length) > deps.limits.requestBodyBytesMax) this.#refuse(problems.bodyTooLarge)
    else if (!hasBody || !request.body) this.#call(null)
    else if (request.method === 'GET' || request.method === 'HEAD') this.#refuse(problems.bodyUnexpected)
    else if (length !== null && Number(length) <= deps.limits.rpcBodyBytesMax) void this.#callWithWhole(request.body)
    else this.#call(this.#upload(request.body))
    return this.response
  }

  /** A small body of known length is read first: its requests' ids are needed for the cut. */
  async #callWithWhole(body: ReadableStream<Uint8Array>): Promise<void> {
    this.#body = new BodyReader(body, this.deps.limits)
    try {
      const bytes = await this.#body.whole()
      if (this.#ended) return
      this.#count(bytes.length)
      this.#readRpc(bytes)
      this.#call(bytes)
    } catch (error) {
      this.#fail(error)
    }
  }

  #count(bytes: number): void {
    this.bytesIn += bytes
    this.#usage.bytesIn += bytes
  }

  get #mayBeRpc(): boolean {
    return this.mcp && this.method === 'POST' && /json/i.test(this.request.headers.get('content-type') ?? '')
  }

  #readRpc(bytes: Uint8Array): void {
    if (!this.mcp || this.method !== 'POST') return
    const rpc = rpcRequests(bytes)
    if (!rpc) return
    if (rpc.client) this.client = rpc.client
    // Calls of HTTP+SSE are answered on the stream that announced their endpoint.
    const { pathname, search } = upstreamUrl(this.server, this.target.rest, this.target.query, this.target.announced)
    const stream = this.deps.endpoints.find(this.server, pathname + search)
    if (rpc.ids === null) this.#unread = true
    else for (const id of rpc.ids) (stream ?? this).waiting.add(id)
  }

  /** This exchange is of that session. */
  attach(session: Session): void {
    this.session = session
    session.live += 1
  }

  /** A large body flows through; a JSON-RPC one of unknown length is read on the way, up to the bound. */
  #upload(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = new BodyReader(body, this.deps.limits)
    this.#body = reader
    let kept: Uint8Array[] | null = this.request.headers.has('content-length') ? null : []
    this.#unread = kept === null && this.#mayBeRpc
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const chunk = await reader.read()
            if (this.#ended) return
            const denial = this.#denial()
            if (denial) return this.#cutSelf(denial)
            if (chunk === null) {
              this.#uploaded = true
              if (kept) this.#readRpc(Buffer.concat(kept))
              controller.close()
              return
            }
            this.#count(chunk.length)
            if (reader.bytes > this.deps.limits.rpcBodyBytesMax) {
              kept = null
              this.#unread = this.#mayBeRpc
            }
            kept?.push(chunk)
            controller.enqueue(chunk)
          } catch (error) {
            controller.error(error)
            this.#fail(error)
          }
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** Asks the predicate once more and starts the upstream request, in one run. */
  #call(body: Uint8Array | ReadableStream<Uint8Array> | null): void {
    const denial = this.#denial()
    if (denial) return this.#cutSelf(denial)
    const { request, server, target, deps } = this
    const url = upstreamUrl(server, target.rest, target.query, target.announced)
    const headers = upwardHeaders(request.headers, server)
    const length = request.headers.get('content-length')
    if (body instanceof ReadableStream && length !== null) headers.set('content-length', length)
    this.#uploaded = !(body instanceof ReadableStream)
    this.#timer = setTimeout(() => this.#refuse(problems.upstreamTimeout), deps.limits.upstreamHeadersMs)
    const { signal } = this.#abort
    callUpstream(url, { method: request.method, headers, body: body as BodyInit | null, signal }).then(
      (answer) => this.#answered(answer, url),
      (error: unknown) => this.#failedUpstream(error),
    )
  }

  #failedUpstream(error: unknown): void {
    if (this.#ended) return
    this.deps.onUpstreamError(this.server, error)
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const unreachable = /REFUSED|NOTFOUND|UNREACH|ConnectionRefused|FailedToOpenSocket|EAI_AGAIN|TIMEDOUT|CERT/i.test(code)
    this.#refuse(unreachable ? problems.upstreamRefused : problems.upstreamFailed)
  }

  #fail(error: unknown): void {
    if (this.#ended) return
    // A client that left in the middle of its body is told nothing.
    this.#refuse(error instanceof BodyError ? error.problem : problems.bodyTimeout)
  }

  // Downward

  #answered(answer: Response, url: URL): void {
    clearTimeout(this.#timer)
    if (this.#ended) return this.#drop(answer)
    const denial = this.#denial()
    if (denial) {
      this.#drop(answer)
      return this.#cutSelf(denial)
    }
    if (answer.status === 401) {
      this.#drop(answer)
      return this.#refuse(problems.upstreamUnauthorized)
    }
    const headers = downwardHeaders(answer.headers)
    const location = headers.get('location')
    if (location !== null) {
      const led = redirectTarget(location, url, this.server, this.target.rest)
      if (led === null && answer.status >= 300 && answer.status < 400) {
        this.#drop(answer)
        return this.#refuse(problems.upstreamRedirect)
      }
      if (led === null) headers.delete('location')
      else headers.set('location', led)
    }
    this.#followSession(answer, url)
    const bodiless = this.method === 'HEAD' || answer.status === 204 || answer.status === 304 || !answer.body
    if (bodiless) {
      this.#drop(answer)
      return this.#deliver(new Response(null, { status: answer.status, statusText: answer.statusText, headers }))
    }
    const length = headers.get('content-length')
    const whole = length !== null && Number(length) <= this.deps.limits.wholeBodyBytesMax && headers.has('content-type')
    if (whole && !isEventStream(headers)) void this.#deliverWhole(answer, headers)
    else this.#stream(answer, headers, url)
  }

  #drop(answer: Response): void {
    // The upstream may have ended already, and then there is nothing to cancel.
    answer.body?.cancel().catch(() => undefined)
  }

  /** Binds a session that this answer opens, and lets go of one that it ends. */
  #followSession(answer: Response, url: URL): void {
    if (!this.mcp) return
    const { sessions } = this.deps
    const asked = this.request.headers.get('mcp-session-id')
    const given = answer.headers.get('mcp-session-id')
    if (asked === null && given !== null && answer.ok) {
      const headers = upwardHeaders(this.request.headers, this.server)
      const { secret, server, address, client } = this
      const session = sessions.open(given, { secret, server, address, client, url, headers })
      if (session) this.attach(session)
    } else if (this.session && ((this.method === 'DELETE' && answer.ok) || answer.status === 404)) {
      sessions.close(this.session)
    }
  }

  async #deliverWhole(answer: Response, headers: Headers): Promise<void> {
    try {
      const bytes = await answer.bytes()
      if (this.#ended) return
      const denial = this.#denial()
      if (denial) return this.#cutSelf(denial)
      this.#sent(bytes.length)
      this.#deliver(new Response(bytes, { status: answer.status, statusText: answer.statusText, headers }))
    } catch (error) {
      this.#failedUpstream(error)
    }
  }

  #deliver(response: Response): void {
    this.#ended = true
    this.#leave()
    this.#answer(response)
  }

  #stream(answer: Response, headers: Headers, url: URL): void {
    const events = isEventStream(headers)
    this.kind = events ? 'sse' : 'stream'
    this.#reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    if (events && !isEncoded(headers)) {
      this.#events = new EventGate(this.deps.limits.eventTailBytesMax)
      this.#firstEvent = this.mcp && this.method === 'GET'
    }
    headers.delete('content-length')
    // `type: 'direct'` is the runtime's own: no queue of ours stands between a write and the socket.
    const source = {
      type: 'direct',
      pull: (sink: Sink) => this.#pump(sink, url),
      cancel: () => this.#abandon(),
    }
    const body = new ReadableStream(source as unknown as UnderlyingDefaultSource<Uint8Array>)
    this.#answer(new Response(body, { status: answer.status, statusText: answer.statusText, headers }))
  }

  #answer(response: Response): void {
    this.#settled = true
    this.#settle(response)
  }

  /** Moves chunks until the stream ends; resolves when nothing more is to be said. */
  #pump(sink: Sink, url: URL): Promise<void> {
    return new Promise((resolve) => {
      this.#finish = resolve
      this.#sink = sink
      if (this.#ended) return this.#sayFarewell()
      this.#wroteAt = this.deps.now()
      if (this.#events) {
        this.deps.streams.add(this)
        // The runtime holds back the header until the first byte: a silent stream must still open.
        setImmediate(() => this.#open())
      }
      this.#move(url).catch((error: unknown) => this.#broke(error))
    })
  }

  #open(): void {
    if (this.bytesOut === 0) this.keepAlive(this.deps.now())
  }

  async #move(url: URL): Promise<void> {
    const reader = this.#reader as ReadableStreamDefaultReader<Uint8Array>
    for (;;) {
      const { done, value } = await reader.read()
      if (this.#ended) return
      const denial = this.#denial()
      if (denial) return this.#cutSelf(denial)
      const bytes = done ? (this.#events?.rest() ?? null) : this.#passable(value, url)
      if (bytes && bytes.length > 0) {
        const written = this.#write(bytes)
        if (written instanceof Promise) {
          this.#blocked = true
          await written
          this.#blocked = false
          if (this.#ended) return
        }
      }
      if (done) break
    }
    this.#ended = true
    this.#leave()
    this.#sink?.end()
    this.#finish()
  }

  /** What of a chunk may go on now: of events, whole ones. */
  #passable(chunk: Uint8Array, url: URL): Uint8Array {
    if (!this.#events) return chunk
    const bytes = this.#events.push(chunk)
    if (bytes.length === 0) return bytes
    strikeAnswered(this.waiting, bytes)
    return this.#firstEvent ? this.#leadBack(bytes, url) : bytes
  }

  #leadBack(bytes: Uint8Array, url: URL): Uint8Array {
    this.#firstEvent = false
    const { server, target, deps } = this
    const endpoint = rewriteEndpoint(bytes, url, server, target, deps.prefix)
    if (endpoint.kind === 'foreign') throw new Error('the stream announced an endpoint of another origin')
    if (endpoint.kind === 'none') return bytes
    this.#announced = endpoint.upstream
    deps.endpoints.announce(server, endpoint.upstream, this)
    return endpoint.event
  }

  #write(bytes: Uint8Array): number | Promise<number> | undefined {
    const written = this.#sink?.write(bytes)
    this.#sink?.flush()
    this.#wroteAt = this.deps.now()
    this.#sent(bytes.length)
    return written
  }

  #sent(bytes: number): void {
    this.bytesOut += bytes
    this.#usage.bytesOut += bytes
  }

  /** Says something harmless on a stream that was silent for too long. */
  keepAlive(before: number): void {
    if (this.#ended || this.#blocked || !this.#sink || this.#wroteAt > before || !this.#events?.onBoundary) return
    const written = this.#write(KEEP_ALIVE)
    if (!(written instanceof Promise)) return
    this.#blocked = true
    written.then(() => (this.#blocked = false), () => this.#abandon())
  }

  /** The upstream died in the middle: the client must see that too, not a clean end. */
  #broke(error: unknown): void {
    if (this.#ended) return
    this.deps.onUpstreamError(this.server, error)
    this.#reset()
  }

  // Endings

  #cutSelf(denial: Denial): void {
    const cause = CAUSES[denial]
    if (cause) this.deps.registry.cut([this], cause)
    else if (denial === 'server_closed') this.deps.registry.cut([this], 'server_closed')
    else if (this.#settled) this.#reset()
    else this.#refuse(problemOf(denial))
  }

  /** The one cut. Before it returns, everything that will be said has been said. */
  end(cause: CutCause): void {
    if (this.#ended) return
    this.#ended = true
    this.#leave()
    // What is not uploaded or answered yet must not go on: the abort is not left for later.
    if (!this.#uploaded || !this.#settled) this.#abort.abort(CUT_OFF)
    this.#body?.cancel()
    if (!this.#settled) return this.#answer(problemResponse(problemOfCut(cause), this.requestId, true))
    this.#farewell = this.#lastWords(cause)
    if (this.#sink) this.#sayFarewell()
  }

  #lastWords(cause: CutCause): Uint8Array[] | 'reset' {
    const message = CUT_MESSAGES[cause]
    if (!this.#events || this.#blocked || this.#unread) return 'reset'
    const errors = [...this.waiting].map((id) => eventBytes(cutError(id, cause, message)))
    if (!this.#events.onBoundary) return errors.length > 0 ? [BLANK_LINE, ...errors] : 'reset'
    const disconnect = eventBytes({ error: { type: cause, message } }, 'disconnect')
    return this.method === 'POST' && errors.length > 0 ? errors : [...errors, disconnect]
  }

  #sayFarewell(): void {
    const sink = this.#sink as Sink
    if (this.#farewell === 'reset') {
      sink.close(CUT_OFF)
    } else {
      for (const bytes of this.#farewell) sink.write(bytes)
      sink.end()
    }
    this.#finish()
  }

  release(cause: CutCause): void {
    if (this.session && this.waiting.size > 0) this.session.cancel(this.waiting, CUT_MESSAGES[cause])
    this.#stopReading()
  }

  #stopReading(): void {
    // The upstream may have failed in the same moment.
    this.#reader?.cancel().catch(() => undefined)
  }

  /** The client went away. */
  #abandon(): void {
    if (this.#ended) return
    this.#ended = true
    this.#leave()
    if (!this.#settled) this.#answer(new Response(null, { status: 499 }))
    this.#abort.abort(CUT_OFF)
    this.#body?.cancel()
    this.#stopReading()
    this.#finish()
  }

  #reset(): void {
    this.#ended = true
    this.#leave()
    this.#abort.abort(CUT_OFF)
    this.#farewell = 'reset'
    if (this.#sink) this.#sayFarewell()
  }

  /** An answer of the gate's own, before the upstream's has begun. */
  #refuse(problem: Problem): void {
    if (this.#ended || this.#settled) return
    this.#ended = true
    this.#leave()
    this.#abort.abort(CUT_OFF)
    this.#body?.cancel()
    this.#answer(problemResponse(problem, this.requestId, true))
  }

  /** Out of every list, once. */
  #leave(): void {
    if (this.#left) return
    this.#left = true
    clearTimeout(this.#timer)
    this.deps.registry.remove(this)
    this.deps.streams.delete(this)
    if (this.session) this.session.live -= 1
    if (this.#announced !== null) this.deps.endpoints.forget(this.server, this.#announced)
    const usage = this.#usage
    if (this.client !== null) usage.client = this.client
  }
}
