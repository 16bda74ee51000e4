import type { Activity } from '../activity.ts'
import type { Limits } from '../limits.ts'
import {
  type Connection,
  connectionId,
  type ConnectionKind,
  CUT_MESSAGES,
  type CutCause,
  type Registry,
} from '../registry.ts'
import type { Roster } from '../roster.ts'
import type { Standing } from '../standing.ts'
import type { Clock } from '../time.ts'
import { type Denial, denialOf, type Secret } from '../token.ts'
import type { UsageMeter } from '../usage.ts'
import type { Upstream } from '../upstream.ts'
import { BodyError, BodyReader } from './body.ts'
import { Calls } from './calls.ts'
import { clientNameOf } from './client-name.ts'
import { Downstream, type DownstreamOwner, type Farewell, RESET } from './downstream.ts'
import { type Announcer, type Endpoints, rewriteEndpoint } from './endpoint.ts'
import { Guard, type GuardDeps } from './guard.ts'
import { downwardHeaders, isEncoded, isJson, isEventStream, redirectTarget, upwardHeaders } from './headers.ts'
import type { Target } from './path.ts'
import {
  policyUnreadable,
  type Problem,
  ProblemError,
  problemOf,
  problemOfCut,
  problemResponse,
  problems,
} from './problem.ts'
import { PATHS } from './probe.ts'
import { cutError, type RpcError } from './rpc.ts'
import type { Session, Sessions } from './session.ts'
import { BLANK_LINE, eventBytes, EventGate } from './sse.ts'
import { flow, type UploadOwner } from './upload.ts'
import { type Call, upstreamHref } from './upstream.ts'

/** What every exchange of a gate shares. */
export interface ExchangeDeps {
  registry: Registry
  sessions: Sessions
  endpoints: Endpoints
  call: Call
  usage: UsageMeter
  activity: Activity
  guard: GuardDeps
  limits: Limits
  now: Clock
  standing: Standing
  /** The path before `/s/` as clients see it. */
  prefix: string
  /** What is under way: it is told of each beat. */
  running: Roster<Exchange>
  onUpstreamError(server: Upstream, error: unknown): void
  /** That a server answered, or failed to. */
  onAnswered(server: Upstream, failed: boolean): void
  /** That a token's policy refused a call, or a request. */
  onPolicy(exchange: Exchange): void
  /** That the gate answered in place of the server. */
  onRefused(problem: Problem): void
}

/** What a request came in by. */
export interface Listener {
  /** Closes the request's connection when nothing passes for so many seconds; 0: never. */
  timeout(request: Request, seconds: number): void
}

const CAUSES: Partial<Record<Denial, CutCause>> = {
  token_revoked: 'token_revoked',
  secret_rotated: 'token_revoked',
  token_expired: 'token_expired',
  server_closed: 'server_closed',
  node_stale: 'node_stale',
  not_synced: 'node_stale',
}

/** One request on its way up and its answer on its way down. */
export class Exchange implements Connection, Announcer, UploadOwner, DownstreamOwner {
  readonly number: number
  readonly startedAt: number
  readonly method: string
  readonly path: string
  /** The URL at the upstream, as `fetch` takes it. */
  readonly href: string
  kind: ConnectionKind = 'request'
  client: string | null
  bytesIn = 0
  bytesOut = 0
  readonly calls: Calls
  /** Keeps it within its token's policy, where there is one. */
  readonly guard: Guard | null
  session: Session | null = null

  /** The promise that the runtime waits for. */
  readonly #response: Promise<Response>
  #settle: (response: Response) => void = () => undefined
  #settled = false
  #ended = false
  readonly #abort = new AbortController()
  /** How long the body, or the answer, may still take. */
  #waitsMs = Infinity
  #body: BodyReader | null = null
  #uploaded = false
  /** The request to the upstream was started. */
  #began = false
  #down: Downstream | null = null
  #listener: Listener | null = null
  /** Its connection may be silent for as long as it likes. */
  #held = false
  #saysJson = false
  /** The first event of this stream may announce an endpoint (HTTP+SSE). */
  #mayAnnounce = false
  #announced: string | null = null

  constructor(
    readonly request: Request,
    readonly target: Target,
    readonly secret: Secret,
    readonly server: Upstream,
    readonly address: string,
    readonly requestId: string,
    readonly deps: ExchangeDeps,
  ) {
    this.number = deps.registry.nextNumber()
    this.startedAt = deps.now()
    this.method = request.method
    this.path = `/s/${server.name}${target.announced ? '/~' : ''}${target.rest}`
    this.href = upstreamHref(server, target.rest, target.query, target.announced)
    this.client = clientNameOf(request.headers.get('user-agent'))
    const { policy } = secret.token
    this.guard = policy && new Guard(policy, this, deps.guard)
    this.calls = new Calls(this, deps.activity, deps.now, deps.limits.wholeBodyBytesMax)
    this.#response = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  get id(): string {
    return connectionId(this.number)
  }

  /** Whether what passes may be MCP, and is looked at as such. */
  get mcp(): boolean {
    return this.server.kind !== 'http'
  }

  /** The URL at the upstream. */
  get url(): URL {
    return new URL(this.href)
  }

  get #usage() {
    return this.deps.usage.of(this.secret.token.id)
  }

  /** It belongs to an MCP session, or to the announced endpoint of HTTP+SSE. */
  get inSession(): boolean {
    return this.session !== null || this.target.announced
  }

  /** It is where MCP answers: at a usual place, the server's own, or an endpoint that a stream announced. */
  get atEndpoint(): boolean {
    const rest = this.target.rest.replace(/\/$/, '')
    return this.#announcer !== null || rest === this.server.path || PATHS.includes(rest)
  }

  #denial(): Denial | null {
    return denialOf(this.secret, this.server, this.deps.now(), this.deps.standing.unfit)
  }

  /** This exchange is of that session. */
  attach(session: Session): void {
    this.session = session
    session.parts.add(this)
  }

  // Upward

  /** Runs the exchange, which is registered already. */
  start(listener: Listener): Promise<Response> {
    const { request, deps } = this
    this.#listener = listener
    request.signal.addEventListener('abort', () => this.abandoned())
    const length = request.headers.get('content-length')
    const hasBody = (length !== null && length !== '0') || request.headers.has('transfer-encoding')
    if (length !== null && Number(length) > deps.limits.requestBodyBytesMax) this.#refuse(problems.bodyTooLarge)
    else if (hasBody && (request.method === 'GET' || request.method === 'HEAD')) this.#refuse(problems.bodyUnexpected)
    else if (this.guard?.judges) this.#watch(this.#callJudged(hasBody, this.guard))
    else if (!hasBody) this.#call(null)
    else if (this.#isJson && length !== null && Number(length) <= deps.limits.rpcBodyBytesMax)
      this.#watch(this.#callWithWhole())
    else this.#call(request.body && this.#upload(request.body, length !== null))
    return this.#response
  }

  /** A defect in one step must end its request: nobody else would. */
  #watch(step: Promise<void>): void {
    step.catch((error: unknown) => {
      this.deps.onUpstreamError(this.server, error)
      this.#refuse(problems.upstreamFailed)
    })
  }

  /** Under a policy a body is read and judged before any of it goes up. */
  async #callJudged(hasBody: boolean, guard: Guard): Promise<void> {
    const bytes = hasBody ? await this.#whole() : new Uint8Array(0)
    if (bytes === null) return
    const stream = this.#announcer
    const verdict = await guard.judge(bytes, (stream ?? this).url)
    if (this.#ended) return
    if (verdict.client) this.client = verdict.client
    for (const { method, name } of verdict.denied) this.calls.refused(method, name)
    if (verdict.problem) return this.#refuseByPolicy(verdict.problem)
    for (const _ of verdict.denied) this.deps.onPolicy(this)
    // The answers to calls of HTTP+SSE go where its other answers go.
    if (stream && !stream.tell(guard.takeRefusals())) return this.#refuse(problems.streamBehind)
    if (verdict.up === null) return this.#deliver(guard.refusalsAlone())
    this.#readRpc(verdict.up)
    this.#call(verdict.up)
  }

  /** Says answers of the gate's own on an event stream; false when it can't take them now. */
  tell(answers: RpcError[]): boolean {
    return answers.length === 0 || this.#down?.say(eventsBytes(answers)) === true
  }

  /** A small JSON body of known length is read first: its requests' ids are needed for the cut. */
  async #callWithWhole(): Promise<void> {
    const bytes = await this.#whole()
    if (bytes === null) return
    this.#readRpc(bytes)
    this.#call(bytes)
  }

  /** A whole JSON body, or null when the exchange ended over it. */
  async #whole(): Promise<Uint8Array | null> {
    let bytes: Uint8Array
    try {
      bytes = await this.#bytes()
      this.#waitsMs = Infinity
    } catch (error) {
      this.failedBody(error)
      return null
    }
    if (this.#ended) return null
    this.received(bytes.length, true)
    return bytes
  }

  #bytes(): Promise<Uint8Array> {
    const { request, deps } = this
    const { limits } = deps
    const length = request.headers.get('content-length')
    if (length !== null && Number(length) <= limits.wholeBodyBytesMax) {
      // The runtime has most such bodies already: to ask it for chunks would cost as much as the whole rest.
      this.#waitsMs = limits.requestBodyIdleMs
      return request.bytes()
    }
    if (!request.body) return Promise.resolve(new Uint8Array(0))
    this.#body = new BodyReader(request.body, limits, limits.rpcBodyBytesMax)
    return this.#body.whole()
  }

  /** A large body flows through; of one of unknown length, as much as may be JSON-RPC is read on the way. */
  #upload(body: ReadableStream<Uint8Array>, lengthKnown: boolean): ReadableStream<Uint8Array> {
    const { limits } = this.deps
    this.#body = new BodyReader(body, limits)
    this.calls.unread = lengthKnown && this.#looksLikeRpc
    return flow(this.#body, lengthKnown ? 0 : limits.rpcBodyBytesMax, this)
  }

  mayGoUp(chunk: Uint8Array | null): boolean {
    if (this.#ended || !this.mayPass()) return false
    if (chunk === null || this.bytesIn > 0 || this.guard?.mayFlow(chunk) !== false) return true
    this.#refuseByPolicy(policyUnreadable('a batch must come with its length, and be short enough to be read'))
    return false
  }

  received(bytes: number, readable: boolean): void {
    this.bytesIn += bytes
    this.#usage.bytesIn += bytes
    this.calls.unread = !readable && this.#looksLikeRpc
  }

  uploaded(body: Uint8Array | null): void {
    this.#uploaded = true
    if (body) this.#readRpc(body)
    this.calls.notePlain()
  }

  get #isJson(): boolean {
    return isJson(this.request.headers)
  }

  get #looksLikeRpc(): boolean {
    return this.mcp && this.method === 'POST' && this.#isJson
  }

  /** The stream of HTTP+SSE that announced the endpoint at which this arrived: answers go there. */
  get #announcer(): Announcer | null {
    return this.deps.endpoints.find(this)
  }

  #readRpc(bytes: Uint8Array): void {
    if (this.mcp && this.method === 'POST') this.calls.read(bytes, this.#announcer?.calls ?? null)
  }

  /** Asks the predicate once more and starts the upstream request, in one run. */
  #call(body: Uint8Array | ReadableStream<Uint8Array> | null): void {
    // Killed, or left by its client, since its body was whole: no predicate knows that.
    if (this.#ended || !this.mayPass()) return
    this.#began = true
    const full = this.calls.subscribes ? this.guard?.takeStream() : null
    if (full) return this.#refuseByPolicy(full)
    // What a body that flows asks for is known at its end.
    if (!(body instanceof ReadableStream)) this.calls.notePlain()
    const { request, server, deps, href } = this
    const headers = upwardHeaders(request.headers, server)
    const length = request.headers.get('content-length')
    if (body instanceof ReadableStream && length !== null) headers.set('content-length', length)
    this.#uploaded = !(body instanceof ReadableStream)
    if (this.client !== null) this.#usage.client = this.client
    this.#waitsMs = deps.limits.upstreamHeadersMs
    const { signal } = this.#abort
    // An answer that can't be passed on, such as one with the status 700, ends its request too.
    this.#watch(
      deps.call(server, href, { method: request.method, headers, body: body as BodyInit | null, signal }, this).then(
        (answer) => this.#answered(answer),
        (error: unknown) => this.#failedUpstream(error),
      ),
    )
  }

  #failedUpstream(error: unknown): void {
    if (this.#ended) return
    if (error instanceof ProblemError) return this.#failed(error.problem)
    this.deps.onUpstreamError(this.server, error)
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const unreachable = /REFUSED|NOTFOUND|UNREACH|FailedToOpenSocket|EAI_AGAIN|TIMEDOUT|CERT/i.test(code)
    this.#failed(unreachable ? problems.upstreamRefused : problems.upstreamFailed)
  }

  #failed(problem: Problem): void {
    this.deps.onAnswered(this.server, true)
    this.calls.failed()
    this.#refuse(problem)
  }

  failedBody(error: unknown): void {
    this.#refuse(error instanceof BodyError ? error.problem : problems.bodyTimeout)
  }

  // Downward

  #answered(answer: Response): void {
    this.#waitsMs = Infinity
    if (this.#ended || !this.mayPass()) return drop(answer)
    const { status, statusText } = answer
    const headers = downwardHeaders(answer.headers)
    // A proxy may leave out what it has not sent yet of the body: the next request would be taken for the rest.
    if (!this.#uploaded) headers.set('connection', 'close')
    // With 401 it refuses the gate's own credentials: nothing works there until they are put right.
    this.deps.onAnswered(this.server, status >= 500 || status === 401)
    if (status >= 400) this.calls.failed()
    const refusal = status === 401 ? problems.upstreamUnauthorized : this.#leadRedirect(status, headers)
    if (refusal) {
      drop(answer)
      return this.#refuse(refusal)
    }
    const unfit = this.guard?.answerRefusal(status, headers)
    if (unfit) {
      drop(answer)
      return this.#refuseByPolicy(unfit)
    }
    this.#followSession(answer)
    const init = { status, statusText, headers }
    const length = headers.get('content-length')
    const small = length !== null && Number(length) <= this.deps.limits.wholeBodyBytesMax && headers.has('content-type')
    if (!isEventStream(headers) && this.guard?.changesBody(answer)) {
      this.#watch(this.#deliverChanged(answer, headers, this.guard))
    } else if (this.method === 'HEAD' || status === 204 || status === 304 || !answer.body) {
      drop(answer)
      this.#deliver(new Response(null, init))
    } else if (small && !isEventStream(headers)) {
      this.#watch(this.#deliverWhole(answer, init))
    } else {
      headers.delete('content-length')
      this.#answer(new Response(this.#stream(answer.body, headers), init))
    }
  }

  async #deliverChanged(answer: Response, headers: Headers, guard: Guard): Promise<void> {
    const { limits } = this.deps
    let response: Response
    try {
      const body = answer.body && new BodyReader(answer.body, limits, limits.policyAnswerBytesMax)
      response = guard.changeBody(body && (await body.whole()), answer, headers)
    } catch (error) {
      this.deps.onUpstreamError(this.server, error)
      return this.#refuseByPolicy(problems.policyAnswer)
    }
    if (!this.#ended && this.mayPass()) await this.#deliverWhole(response, response)
  }

  /** Turns a `Location` into one that leads through the gate; one that leads elsewhere is refused or dropped. */
  #leadRedirect(status: number, headers: Headers): Problem | null {
    const location = headers.get('location')
    if (location === null) return null
    const led = redirectTarget(location, this.url, this.server, this.path)
    if (led !== null) headers.set('location', led)
    else if (status >= 300 && status < 400) return problems.upstreamRedirect
    else headers.delete('location')
    return null
  }

  /** Binds a session that this answer opens, and lets go of one that it ends. */
  #followSession(answer: Response): void {
    if (!this.mcp) return
    const { sessions } = this.deps
    const given = answer.headers.get('mcp-session-id')
    if (given !== null && answer.ok && !this.request.headers.has('mcp-session-id')) {
      const { secret, server, address, client, url } = this
      const headers = upwardHeaders(this.request.headers, this.server)
      const session = sessions.open(given, { secret, server, address, client, url, headers })
      if (session) this.attach(session)
    } else if (this.session && ((this.method === 'DELETE' && answer.ok) || answer.status === 404)) {
      sessions.close(this.session)
    }
  }

  async #deliverWhole(answer: Response, init: ResponseInit): Promise<void> {
    try {
      const bytes = await answer.bytes()
      if (this.#ended || !this.mayPass()) return
      this.calls.answeredInBody(bytes)
      this.sent(bytes.length)
      this.#deliver(new Response(bytes, init))
    } catch (error) {
      this.#failedUpstream(error)
    }
  }

  #deliver(response: Response): void {
    this.#leave()
    this.#stopUpload()
    this.#answer(response)
  }

  #stream(body: ReadableStream<Uint8Array>, headers: Headers): ReadableStream<Uint8Array> {
    const events = isEventStream(headers)
    const plain = !isEncoded(headers)
    this.deps.registry.become(this, events ? 'sse' : 'stream')
    this.#saysJson = isJson(headers) && plain
    const readable = events && plain
    this.#mayAnnounce = readable && this.mcp && this.method === 'GET'
    const { limits } = this.deps
    const tailBytesMax = this.guard?.listsTools ? limits.policyAnswerBytesMax : limits.eventTailBytesMax
    const refusals = this.guard?.takeRefusals() ?? []
    const opening = refusals.length > 0 ? eventsBytes(refusals) : null
    const gate = readable ? new EventGate(tailBytesMax) : null
    this.#down = new Downstream(body, gate, this, limits, opening)
    return this.#down.body
  }

  #answer(response: Response): void {
    this.#settled = true
    this.#settle(response)
  }

  // What a stream asks and tells

  mayPass(): boolean {
    const denial = this.#denial()
    if (denial) this.#cutSelf(denial)
    return denial === null
  }

  passing(chunk: Uint8Array): Uint8Array {
    const bytes = this.guard?.listsTools ? this.#filtered(chunk, this.guard) : chunk
    if (this.#down?.events) this.calls.answeredInEvents(bytes)
    else if (this.#saysJson && this.calls.anyWaiting) this.calls.overhear(bytes)
    if (!this.#mayAnnounce) return bytes
    this.#mayAnnounce = false
    const { server, target, deps, url } = this
    const endpoint = rewriteEndpoint(bytes, url, server, target, deps.prefix)
    if (endpoint.kind === 'foreign') throw new Error('the stream announced an endpoint of another origin')
    if (endpoint.kind === 'none') return bytes
    this.#announced = endpoint.upstream
    deps.endpoints.announce(server, endpoint.upstream, this)
    return endpoint.event
  }

  #filtered(chunk: Uint8Array, guard: Guard): Uint8Array {
    if (this.#down?.events?.onBoundary !== true) throw new Error('an event is larger than a policy can read')
    return guard.filter.events(chunk)
  }

  sent(bytes: number): void {
    this.bytesOut += bytes
    this.#usage.bytesOut += bytes
  }

  finished(): void {
    this.calls.heard()
    this.#leave()
    this.#stopUpload()
  }

  /** The upstream died in the middle: the client must see that too, not a clean end. */
  broke(error: unknown): void {
    this.deps.onUpstreamError(this.server, error)
    this.calls.failed()
    // A token that has expired meanwhile is told so.
    if (this.mayPass()) this.#reset()
  }

  abandoned(): void {
    if (this.#ended) return
    this.#leave()
    if (!this.#settled) this.#answer(new Response(null, { status: 499 }))
    this.#stopUpstream()
    this.#down?.cancel()
  }

  /** So much time has passed. One timer for all costs less than one each, and no setting of the clock moves it. */
  beat(ms: number): void {
    if (!this.#held) {
      this.#held = true
      this.#listener?.timeout(this.request, 0)
    }
    this.#down?.beat(ms)
    this.#waitsMs -= ms
    // Some of the first beat was over when the waiting began.
    if (this.#ended || this.#waitsMs >= 0) return
    if (this.#began) this.#failed(problems.upstreamTimeout)
    else this.failedBody(new BodyError(problems.bodyTimeout))
  }

  // Endings

  #cutSelf(denial: Denial): void {
    const cause = CAUSES[denial]
    if (cause) this.deps.registry.cut([this], cause)
    else if (this.#settled) this.#reset()
    else this.#refuse(problemOf(denial))
  }

  /** The one cut. Before it returns, everything that will be said has been said. */
  end(cause: CutCause): void {
    if (this.#ended) return
    this.#leave()
    // What is not uploaded or answered yet must not go on: its abort is not left for later.
    if (!this.#uploaded || !this.#settled) this.#stopUpstream()
    if (this.#settled) this.#down?.end(this.#lastWords(cause))
    else this.#answer(problemResponse(problemOfCut(cause), this.requestId, true))
  }

  #lastWords(cause: CutCause): Farewell {
    const down = this.#down
    if (!down?.events || down.blocked || this.calls.unread) return 'reset'
    const message = CUT_MESSAGES[cause]
    const errors = [...this.calls.waiting].map((id) => eventBytes(cutError(id, cause, message)))
    if (!down.onBoundary) return errors.length > 0 ? [BLANK_LINE, ...errors] : 'reset'
    if (this.calls.isRpc) return errors
    return [...errors, eventBytes({ error: { type: cause, message } }, 'disconnect')]
  }

  release(cause: CutCause): void {
    if (this.session && this.calls.anyWaiting) this.session.cancel(this.calls.waiting, CUT_MESSAGES[cause])
    this.#down?.cancel()
  }

  #reset(): void {
    if (this.#ended) return
    this.#leave()
    this.#stopUpstream()
    this.#down?.end('reset')
  }

  #refuseByPolicy(problem: Problem): void {
    this.deps.onPolicy(this)
    this.#refuse(problem)
  }

  /** An answer of the gate's own, before the upstream's has begun. */
  #refuse(problem: Problem): void {
    if (this.#ended || this.#settled) return
    this.deps.onRefused(problem)
    this.#leave()
    this.#stopUpstream()
    this.#answer(problemResponse(problem, this.requestId, true))
  }

  #stopUpstream(): void {
    this.#abort.abort(RESET)
    this.#body?.cancel()
  }

  /** What is answered in full takes no more of a body that is still on its way: nobody would end it. */
  #stopUpload(): void {
    if (!this.#uploaded) this.#stopUpstream()
  }

  /** Refused before it began. */
  withdraw(): void {
    this.#leave()
  }

  /** Ends the exchange, and takes it out of every list, once. */
  #leave(): void {
    if (this.#ended) return
    this.#ended = true
    this.deps.registry.remove(this)
    this.deps.running.remove(this)
    if (this.#held) this.#listener?.timeout(this.request, this.deps.limits.idleConnectionMs / 1_000)
    this.guard?.release()
    // A body that flowed may have been answered, or given up, before its end.
    if (this.#began) this.calls.notePlain()
    this.session?.parts.remove(this)
    if (this.#announced !== null) this.deps.endpoints.forget(this.server, this.#announced)
  }
}

/** Lets go of an answer that is not passed on; the upstream may have ended it already. */
const drop = (answer: Response): void => {
  answer.body?.cancel().catch(() => undefined)
}

const eventsBytes = (messages: readonly unknown[]): Uint8Array =>
  Buffer.concat(messages.map((message) => eventBytes(message)))
