import type { Server } from 'bun'
import { clientAddress, type Cidr } from '../address.ts'
import type { Activity } from '../activity.ts'
import type { Fold } from '../audit.ts'
import { AppError } from '../error.ts'
import { hostCheck } from '../host.ts'
import type { KeyRing } from '../key.ts'
import type { Limits } from '../limits.ts'
import { Quotas } from '../quota.ts'
import type { Placement } from '../placement.ts'
import type { Registry } from '../registry.ts'
import { Roster } from '../roster.ts'
import { holdsSecret, isSecret } from '../secret.ts'
import type { Standing } from '../standing.ts'
import type { Clock } from '../time.ts'
import { type Denial, denialOf, type Secret } from '../token.ts'
import type { TokenIndex } from '../token-index.ts'
import { announcesBody, takeUnread } from '../unread.ts'
import type { Upstream, UpstreamIndex } from '../upstream.ts'
import type { Evidence, UsageMeter } from '../usage.ts'
import { Endpoints } from './endpoint.ts'
import { Exchange, type ExchangeDeps, type Listener } from './exchange.ts'
import { introduce } from './introduce.ts'
import { parsePath, routeDepths, splitUrl, type Target } from './path.ts'
import { type Problem, problemOf, problemResponse, problems, serverElsewhere } from './problem.ts'
import { Sessions } from './session.ts'
import { ToolHints } from './tool-hints.ts'
import type { Call } from './upstream.ts'

export interface GateOptions {
  tokens: TokenIndex
  servers: UpstreamIndex
  registry: Registry
  keys: KeyRing
  usage: UsageMeter
  evidence: Evidence
  activity: Activity
  fold: Fold
  limits: Limits
  now: Clock
  standing: Standing
  /** Names that `Host` may hold, besides localhost and IP literals. */
  hosts: readonly string[]
  /** Origins of pages that may call, besides the gate's own. */
  origins: readonly string[]
  trustedProxies: readonly Cidr[]
  publicUrl: URL
  /** How servers are called. */
  call: Call
  placement: Pick<Placement, 'elsewhere'>
  onUpstreamError(server: Upstream, error: unknown): void
  /** That a server answered, or failed to: for its error rate. */
  onAnswered(server: Upstream, failed: boolean): void
}

/** A refusal on its way out of `#admit`. */
class Refused {
  constructor(readonly problem: Problem) {}
}

/** Counted since the start, for metrics. */
export interface GateCounts {
  requests: number
  refusals: Map<string, number>
  /** Tries with tokens that are dead. */
  deadTries: number
}

/** The data plane: what AI clients connect to. */
export class Gate {
  readonly counts: GateCounts = { requests: 0, refusals: new Map(), deadTries: 0 }
  readonly #isOurs: (host: string | null) => boolean
  readonly #origins: ReadonlySet<string>
  readonly #exchange: ExchangeDeps
  readonly #beat: NodeJS.Timeout
  #nextRequest = 0
  #hidden: { path: string; gate: Gate } | null = null
  readonly #run = Bun.randomUUIDv7('base64url').slice(0, 10)

  constructor(readonly options: GateOptions) {
    const { registry, usage, activity, limits, now, standing, publicUrl, call, onUpstreamError, onAnswered } = options
    this.#isOurs = hostCheck([publicUrl.hostname, ...options.hosts])
    this.#origins = new Set([publicUrl.origin, ...options.origins])
    this.#exchange = {
      registry,
      usage,
      activity,
      guard: {
        quotas: new Quotas(() => performance.now()),
        hints: new ToolHints(
          async (server, url) =>
            (await introduce(server, url, server.stdio ? limits.stdioStartMs : limits.probeMs, call)).tools,
          limits,
          () => performance.now(),
        ),
        limits,
      },
      limits,
      now,
      standing,
      onUpstreamError,
      onAnswered,
      onPolicy: ({ secret, address }) => this.#count('gate.policy', secret, address),
      onRefused: (problem) => this.#refused(problem),
      sessions: new Sessions(registry, limits, now, call),
      endpoints: new Endpoints(),
      call,
      prefix: publicUrl.pathname.replace(/\/$/, ''),
      running: new Roster(),
    }
    const beatMs = Math.min(limits.beatMs, limits.keepAliveMs, limits.upstreamHeadersMs, limits.requestBodyIdleMs)
    this.#beat = setInterval(() => {
      // Of a list of its own: some end over it.
      const running = [...this.#exchange.running]
      for (const exchange of running) exchange.beat(beatMs)
    }, beatMs)
  }

  stop(): void {
    clearInterval(this.#beat)
  }

  /**
   * Requests whose URL holds this path go to another gate: for the node's test of itself, which takes the same way on,
   * and must be in none of this one's counts. The path is one that nobody can guess.
   */
  hide(path: string, gate: Gate): void {
    this.#hidden = { path, gate }
  }

  unhide(): void {
    this.#hidden = null
  }

  /** A session that its server ended by itself: it is nobody's any more. */
  forgetSession(server: Upstream, sessionId: string): void {
    const session = this.#exchange.sessions.get(server, sessionId)
    if (session) this.#exchange.sessions.close(session)
  }

  /** The routes and handlers of `Bun.serve`: see `routeDepths` for why there are so many. */
  get handlers() {
    const routes = Object.fromEntries(
      routeDepths().map(({ pattern, depth }) => [
        pattern,
        (request: Request, server: Server<unknown>) =>
          this.handle(request, server.requestIP(request)?.address ?? '', depth, server),
      ]),
    )
    return {
      routes,
      fetch: (request: Request, server: Server<unknown>) =>
        this.handle(request, server.requestIP(request)?.address ?? '', null, server),
    }
  }

  /** Answers one request; `depth` is how many segments its raw path had, null where that is not known. */
  handle(request: Request, peer: string, depth: number | null, listener: Listener): Response | Promise<Response> {
    if (this.#hidden !== null && request.url.includes(this.#hidden.path)) {
      return this.#hidden.gate.handle(request, peer, depth, listener)
    }
    this.counts.requests += 1
    this.#nextRequest += 1
    const requestId = `${this.#run}-${this.#nextRequest.toString(36)}`
    const { headers } = request
    const origin = headers.get('origin')
    const answer = this.#admit(request, peer, depth, requestId, origin)
    if (answer instanceof Exchange) {
      const response = answer.start(listener)
      return origin === null ? response : response.then((begun) => this.#withCors(begun, origin))
    }
    const { unreadBodyBytesMax, unreadBodyMs } = this.options.limits
    const respond = (closing: boolean): Response => {
      if (answer instanceof Refused) return this.#withCors(problemResponse(answer.problem, requestId, closing), origin)
      if (closing) answer.headers.set('connection', 'close')
      return answer
    }
    if (answer instanceof Refused) this.#refused(answer.problem)
    if (!announcesBody(headers)) return respond(false)
    return takeUnread(request, unreadBodyBytesMax, unreadBodyMs).then((whole) => respond(!whole))
  }

  /** Asked in the contract's order: host, path, origin, token, server, scope, state. */
  #admit(
    request: Request,
    peer: string,
    depth: number | null,
    requestId: string,
    origin: string | null,
  ): Exchange | Refused | Response {
    const { headers } = request
    if (!this.#isOurs(headers.get('host'))) return new Refused(problems.host)
    const { path, query } = splitUrl(request.url)
    if (query !== '' && holdsSecret(query)) return new Refused(problems.secretInQuery)
    const target = parsePath(path, query, depth)
    if (target === 'bad') return new Refused(problems.path)
    if (target !== null && holdsSecret(target.rest)) return new Refused(problems.secretInPath)
    if (path === '/healthz') return Response.json({ status: 'ok' })
    if (target === null) return new Refused(problems.notFound)
    if (origin !== null && !this.#mayCall(origin, headers)) return new Refused(problems.origin)
    if (request.method === 'OPTIONS' && origin !== null) return this.#preflight(request, origin)
    const address = clientAddress(peer, headers, this.options.trustedProxies)
    const secret = this.#authenticate(headers, target, address)
    if (secret instanceof Refused) return secret
    return this.#enter(request, target, secret, address, requestId)
  }

  #mayCall(origin: string, headers: Headers): boolean {
    if (this.#origins.has(origin)) return true
    const scheme = this.options.publicUrl.protocol
    return origin === `${scheme}//${headers.get('host')}`
  }

  /** The secret that a request shows, or why it is refused. Spends no look-up on what can't be one. */
  #authenticate(headers: Headers, target: Target, address: string): Secret | Refused {
    const { tokens, keys, fold, now, standing } = this.options
    const authorization = headers.get('authorization')
    const bearer = authorization && /^bearer +(.*)$/i.exec(authorization)?.[1]?.trim()
    const key = headers.get('x-api-key')?.trim()
    const shown =
      [bearer, key, target.secret].find((text) => text?.startsWith('pcl_')) ?? target.secret ?? bearer ?? key
    if (!shown) return new Refused(problems.missing)
    const secret = isSecret('pcl_', shown) ? tokens.findSecret(shown, keys) : null
    if (secret) return secret
    // It may have been issued elsewhere, and a client that hears 401 throws it away.
    if (standing.unfit !== null && isSecret('pcl_', shown)) return new Refused(problemOf(standing.unfit))
    fold.add('gate.unknown-token', address, null, now())
    return new Refused(problems.unknown)
  }

  /** Registers, then checks: no revocation can fall between the two unseen. */
  #enter(request: Request, target: Target, secret: Secret, address: string, requestId: string): Exchange | Refused {
    const { servers, registry, usage, now, standing } = this.options
    const server = servers.byName.get(target.server)
    // Asked before anything is made: some clients hammer a 401 without pause.
    const refusal = denialOf(secret, server, now(), standing.unfit)
    if (refusal || !server) return this.#deny(refusal ?? 'server_unknown', secret, address)
    const elsewhere = this.options.placement.elsewhere(server)
    if (elsewhere) return new Refused(serverElsewhere(elsewhere.name))
    const exchange = new Exchange(request, target, secret, server, address, requestId, this.#exchange)
    try {
      registry.add(exchange)
      this.#exchange.running.add(exchange)
    } catch (error) {
      const denial = denialOf(secret, server, now(), standing.unfit)
      return denial ? this.#deny(denial, secret, address) : new Refused(overLimit(error))
    }
    const denial = denialOf(secret, server, now(), standing.unfit)
    const refused = denial
      ? this.#deny(denial, secret, address)
      : (this.#ownSession(exchange) ?? this.#underPolicy(exchange))
    if (refused) {
      exchange.withdraw()
      return refused
    }
    const use = usage.of(secret.token.id)
    use.requests += 1
    use.lastUsedAt = now()
    return exchange
  }

  #deny(denial: Denial, secret: Secret, address: string): Refused {
    const isDead = denial === 'token_revoked' || denial === 'token_expired' || denial === 'secret_rotated'
    if (isDead) {
      this.counts.deadTries += 1
      this.options.evidence.add(secret.token.id, address, this.options.now())
    }
    this.#count(isDead ? 'gate.dead-token' : 'gate.refuse', secret, address)
    return new Refused(problemOf(denial))
  }

  #underPolicy(exchange: Exchange): Refused | null {
    const problem = exchange.guard?.refusal()
    if (!problem) return null
    exchange.calls.refused(exchange.method, '')
    this.#count('gate.policy', exchange.secret, exchange.address)
    return new Refused(problem)
  }

  #refused({ slug }: Problem): void {
    this.counts.refusals.set(slug, (this.counts.refusals.get(slug) ?? 0) + 1)
  }

  /** A refusal, in the token's usage and in the folded audit. */
  #count(action: string, { token }: Secret, address: string): void {
    const { usage, fold, now } = this.options
    usage.of(token.id).refusals += 1
    fold.add(action, address, token, now())
  }

  /** A session, or an announced endpoint, serves the token that opened it alone. */
  #ownSession(exchange: Exchange): Refused | null {
    const { server, target, secret, request } = exchange
    if (!exchange.mcp) return target.announced ? new Refused(problems.endpoint) : null
    const stream = this.#exchange.endpoints.find(exchange)
    if (target.announced && !stream) return new Refused(problems.endpoint)
    if (stream && stream.secret.token !== secret.token) return new Refused(problems.endpoint)
    if (stream?.client) exchange.client = stream.client
    const sessionId = request.headers.get('mcp-session-id')
    if (sessionId === null) return null
    const session = this.#exchange.sessions.get(server, sessionId)
    if (!session || session.secret.token !== secret.token) return new Refused(problems.session)
    session.touch(secret)
    exchange.attach(session)
    if (session.client) exchange.client = session.client
    return null
  }

  #preflight(request: Request, origin: string): Response {
    const headers = new Headers({
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers':
        request.headers.get('access-control-request-headers') ?? 'Authorization, X-Api-Key, Content-Type',
      'access-control-max-age': '600',
    })
    return this.#withCors(new Response(null, { status: 204, headers }), origin)
  }

  /** Lets a page of an allowed origin read the answer; the upstream never saw the origin. */
  #withCors(response: Response, origin: string | null): Response {
    if (origin === null || !this.#origins.has(origin)) return response
    response.headers.set('access-control-allow-origin', origin)
    response.headers.append('vary', 'Origin')
    response.headers.set('access-control-expose-headers', 'Mcp-Session-Id, WWW-Authenticate, Retry-After')
    return response
  }
}

const overLimit = (error: unknown): Problem => {
  if (!(error instanceof AppError)) throw error
  const status = error.kind === 'too_many' ? 429 : 503
  return { status, slug: error.slug, title: 'Too many connections', detail: error.message, retryAfterS: 5 }
}
