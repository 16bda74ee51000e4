import type { Limits } from '../limits.ts'
import { type Connection, connectionId, type CutCause, type Registry } from '../registry.ts'
import { Roster } from '../roster.ts'
import type { Clock } from '../time.ts'
import type { Secret } from '../token.ts'
import type { Upstream } from '../upstream.ts'
import { cancelled, type RpcId } from './rpc.ts'
import type { Call } from './upstream.ts'

/** What is known of the request that opened or used a session. */
export interface SessionUse {
  secret: Secret
  server: Upstream
  address: string
  client: string | null
  /** The MCP endpoint at the upstream. */
  url: URL
  /** As the upstream got them: credentials, `Mcp-Session-Id`, `MCP-Protocol-Version`. */
  headers: Headers
}

/** An MCP session (2025-03-26 to 2025-11-25): it belongs to the token that opened it. */
export class Session implements Connection {
  readonly kind = 'session'
  readonly method = 'MCP'
  readonly path: string
  readonly server: Upstream
  readonly address: string
  readonly startedAt: number
  secret: Secret
  client: string | null
  bytesIn = 0
  bytesOut = 0
  /** `performance.now()`: which session was used least recently, however the clock is set. */
  usedAt = performance.now()
  /** What of it is in flight. */
  readonly parts = new Roster<Connection>()
  #cancels: Promise<unknown>[] = []

  constructor(
    readonly number: number,
    readonly sessionId: string,
    readonly use: SessionUse,
    readonly sessions: Sessions,
    now: number,
  ) {
    this.secret = use.secret
    this.server = use.server
    this.address = use.address
    this.client = use.client
    this.path = use.url.pathname
    this.startedAt = now
  }

  get id(): string {
    return connectionId(this.number)
  }

  /** The same token with its newer secret: the session goes on when the old one dies. */
  touch(secret: Secret): void {
    this.secret = secret
    this.usedAt = performance.now()
  }

  /** Tells the upstream that these calls are given up: a lost connection does not (2025-11-25). */
  cancel(ids: Iterable<RpcId>, reason: string): void {
    for (const id of ids) this.#cancels.push(this.#send('POST', cancelled(id, reason)))
  }

  end(): void {
    this.sessions.forget(this)
  }

  release(_cause: CutCause): void {
    // In a later turn, so that the calls' own releases have been asked for; then in their order.
    setImmediate(() => void Promise.allSettled(this.#cancels).then(() => this.#send('DELETE')))
  }

  async #send(method: string, message?: unknown): Promise<void> {
    const headers = new Headers(this.use.headers)
    headers.set('mcp-session-id', this.sessionId)
    if (message) {
      headers.set('content-type', 'application/json')
      headers.set('accept', 'application/json, text/event-stream')
    } else {
      headers.delete('content-type')
    }
    const signal = AbortSignal.timeout(this.sessions.limits.upstreamCloseMs)
    try {
      const body = message ? { body: JSON.stringify(message) } : {}
      const { call } = this.sessions
      const answer = await call(this.server, this.use.url.href, { method, headers, signal, ...body }, this)
      await answer.body?.cancel()
    } catch {
      // The client is cut whatever the upstream says; a dead upstream has nothing left to tidy.
    }
  }
}

/** Sessions by server and id, bounded: the least recently used without a request makes room. */
export class Sessions {
  readonly #byKey = new Map<string, Session>()

  constructor(
    readonly registry: Registry,
    readonly limits: Limits,
    readonly now: Clock,
    readonly call: Call,
  ) {}

  get(server: Upstream, sessionId: string): Session | null {
    return this.#byKey.get(`${server.id} ${sessionId}`) ?? null
  }

  open(sessionId: string, use: SessionUse): Session | null {
    if (sessionId === '' || sessionId.length > this.limits.sessionIdBytesMax) return null
    this.#makeRoom(use.secret.token.id)
    const session = new Session(this.registry.nextNumber(), sessionId, use, this, this.now())
    this.#byKey.set(`${use.server.id} ${sessionId}`, session)
    this.registry.add(session)
    return session
  }

  /** A session that the client or the upstream ended. */
  close(session: Session): void {
    this.forget(session)
    this.registry.remove(session)
  }

  forget(session: Session): void {
    const key = `${session.server.id} ${session.sessionId}`
    if (this.#byKey.get(key) === session) this.#byKey.delete(key)
  }

  #makeRoom(tokenId: string): void {
    const own = [...this.registry.ofToken(tokenId)].filter((connection) => connection instanceof Session)
    if (own.length >= this.limits.sessionsPerTokenMax) this.#evict(own)
    else if (this.#byKey.size >= this.limits.sessionsMax) this.#evict([...this.#byKey.values()])
  }

  #evict(candidates: Session[]): void {
    let oldest = candidates[0]
    for (const session of candidates) {
      const [live, least] = [session.parts.size, oldest?.parts.size ?? 0]
      if (oldest === undefined || live < least || (live === least && session.usedAt < oldest.usedAt)) oldest = session
    }
    if (oldest) this.registry.cut([oldest, ...oldest.parts], 'connection_killed')
  }
}
