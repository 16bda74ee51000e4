import { AppError } from './error.ts'
import type { Limits } from './limits.ts'
import { Roster } from './roster.ts'
import type { Clock } from './time.ts'
import { deadlineOf, denialOf, type Secret, type Token } from './token.ts'
import type { Upstream } from './upstream.ts'

/** What a client is told when it is cut. */
export type CutCause = 'token_revoked' | 'token_expired' | 'connection_killed' | 'server_closed' | 'node_stale'

export const CUT_MESSAGES: Record<CutCause, string> = {
  token_revoked: 'Connection token revoked',
  token_expired: 'Connection token expired',
  connection_killed: 'Connection killed by an operator',
  server_closed: 'Server closed by an operator',
  node_stale: 'This node lost touch with its cluster',
}

export type ConnectionKind = 'sse' | 'stream' | 'request' | 'session' | 'process'

/** Anything in flight under a token. */
export interface Connection {
  /** Its place in the order of arrival, from `nextNumber`. */
  readonly number: number
  /** The same as people see it: `connectionId(number)`. */
  readonly id: string
  readonly secret: Secret
  readonly server: Upstream
  readonly startedAt: number
  readonly address: string
  readonly method: string
  readonly path: string
  kind: ConnectionKind
  client: string | null
  bytesIn: number
  bytesOut: number
  /** What ends with it: a session's requests and streams. */
  readonly parts?: Iterable<Connection>
  /** Ends the client's side, and hands nothing more upstream, before it returns. */
  end(cause: CutCause): void
  /** Tidies up at the upstream; called later, in slices. */
  release(cause: CutCause): void
}

export interface CutResult {
  cut: number
  /** What was cut, in its order. */
  connections: Connection[]
  /** `performance.now()` after the first connection's last write; null where nothing was cut. */
  firstCutAt: number | null
  /** The same for the last one, measured in a later turn of the loop, when all writes are done. */
  lastCutAt: Promise<number | null>
  /** The same for the last request to a server that was cancelled. */
  releasedAt: Promise<number | null>
}

/** The id of a connection that has this number. */
export const connectionId = (number: number): string => `c${number.toString(36)}`

type Connections = Roster<Connection>

const EMPTY: Connections = new Roster()

const put = (map: Map<string, Connections>, key: string, connection: Connection) => {
  let roster = map.get(key)
  if (!roster) map.set(key, (roster = new Roster()))
  roster.add(connection)
}

const take = (map: Map<string, Connections>, key: string, connection: Connection) => {
  const roster = map.get(key)
  if (roster?.remove(connection) && roster.size === 0) map.delete(key)
}

/** Live connections by token and by server, and the one way in which they are cut. */
export class Registry {
  readonly #all: Connections = new Roster()
  /** Of a hidden server: cut like any other, and in nobody's list, count or limit. */
  readonly #hidden: Connections = new Roster()
  readonly #byToken = new Map<string, Connections>()
  readonly #byServer = new Map<string, Connections>()
  readonly #deadlines = new Map<Secret, NodeJS.Timeout>()
  #releases: (() => void)[] = []
  #lastNumber = 0
  /** Live connections by kind. */
  readonly live: Record<ConnectionKind, number> = { sse: 0, stream: 0, request: 0, session: 0, process: 0 }
  /** Connections cut since the start, by cause. */
  readonly cuts: Record<CutCause, number> = {
    token_revoked: 0,
    token_expired: 0,
    connection_killed: 0,
    server_closed: 0,
    node_stale: 0,
  }

  constructor(
    readonly limits: Limits,
    readonly now: Clock,
    /** How many connections at once: `connectionsMax`, or what open files allow. */
    readonly connectionsMax: number = limits.connectionsMax,
  ) {}

  /** Every connection, sessions included. */
  get size(): number {
    return this.#all.size
  }

  nextNumber(): number {
    this.#lastNumber += 1
    return this.#lastNumber
  }

  /** What was asked for tells only with its answer what it is. */
  become(connection: Connection, kind: ConnectionKind): void {
    if (this.#all.has(connection)) {
      this.live[connection.kind] -= 1
      this.live[kind] += 1
    }
    connection.kind = kind
  }

  /** Requests to servers that are to be cancelled after a cut. */
  get releasing(): number {
    return this.#releases.length
  }

  get(id: string): Connection | undefined {
    const found = this.#all.get(Number.parseInt(id.slice(1), 36))
    return found?.id === id ? found : undefined
  }

  all(): Connections {
    return this.#all
  }

  ofToken(id: string): Connections {
    return this.#byToken.get(id) ?? EMPTY
  }

  ofServer(id: string): Connections {
    return this.#byServer.get(id) ?? EMPTY
  }

  ofTokens(tokens: readonly Token[]): Connection[] {
    const found: Connection[] = []
    if (tokens.length > this.#byToken.size) {
      // A million tokens have no more connections than there are.
      const wanted = new Set(tokens)
      for (const own of this.#byToken.values())
        for (const connection of own) if (wanted.has(connection.secret.token)) found.push(connection)
      return found
    }
    for (const token of tokens) found.push(...this.ofToken(token.id))
    return found
  }

  /** Registers before the caller asks the predicate. Throws `too_many` one past a limit. */
  add(connection: Connection): void {
    const tokenId = connection.secret.token.id
    if (connection.server.hidden) {
      this.#hidden.add(connection)
    } else {
      // Sessions and processes are bounded where they are kept.
      if (connection.kind !== 'session' && connection.kind !== 'process') this.#checkRoom(tokenId)
      this.#all.add(connection)
      this.live[connection.kind] += 1
    }
    put(this.#byToken, tokenId, connection)
    put(this.#byServer, connection.server.id, connection)
    if (!this.#deadlines.has(connection.secret)) this.#watch(connection.secret)
  }

  #checkRoom(tokenId: string): void {
    if (this.size - this.live.session >= this.connectionsMax) {
      throw new AppError(
        'unavailable',
        `this gate holds all the ${this.connectionsMax} connections it may`,
        'too-many-connections',
      )
    }
    if (this.ofToken(tokenId).size >= this.limits.connectionsPerTokenMax) {
      throw new AppError(
        'too_many',
        `the token holds all the ${this.limits.connectionsPerTokenMax} connections it may`,
        'too-many-connections',
      )
    }
  }

  /** A connection that ended by itself. Returns whether it was live. */
  remove(connection: Connection): boolean {
    if (this.#all.remove(connection)) this.live[connection.kind] -= 1
    else if (!this.#hidden.remove(connection)) return false
    const tokenId = connection.secret.token.id
    take(this.#byToken, tokenId, connection)
    take(this.#byServer, connection.server.id, connection)
    if (!this.#byToken.has(tokenId)) for (const secret of connection.secret.token.secrets) this.#unwatch(secret)
    return true
  }

  /**
   * Cuts, synchronously: when it returns, no connection of the list hands on another byte.
   * What is to be tidied at the upstreams follows in slices.
   */
  cut(connections: Iterable<Connection>, cause: CutCause): CutResult {
    let cut = 0
    let firstCutAt: number | null = null
    const ended = [...connections]
    for (const connection of ended) {
      if (!this.remove(connection)) continue
      connection.end(cause)
      firstCutAt ??= performance.now()
      if (!connection.server.hidden) this.cuts[cause] += 1
      ended[cut] = connection
      cut += 1
    }
    ended.length = cut
    if (cut === 0) {
      const nothing = Promise.resolve(null)
      return { cut, connections: ended, firstCutAt, lastCutAt: nothing, releasedAt: nothing }
    }
    const lastCut = Promise.withResolvers<number>()
    const released = Promise.withResolvers<number>()
    setImmediate(() => {
      // Measured first: what is tidied up at the upstreams is none of the cut. Told last: what was tidied up in
      // the first slice is known then.
      const at = performance.now()
      this.#release(ended, cause, () => released.resolve(performance.now()))
      lastCut.resolve(at)
    })
    return { cut, connections: ended, firstCutAt, lastCutAt: lastCut.promise, releasedAt: released.promise }
  }

  /** Asks again for deadlines of a token, after a rotation has set one. */
  rearm(token: Token): void {
    if (this.#byToken.has(token.id)) for (const secret of token.secrets) this.#watch(secret)
  }

  /** Forgets timers, so that a process can end. */
  stop(): void {
    for (const secret of [...this.#deadlines.keys()]) this.#unwatch(secret)
  }

  #release(connections: Connection[], cause: CutCause, done: () => void): void {
    // The calls of a session are cancelled upstream before the session is ended there, and that before its process.
    const {
      session = [],
      process = [],
      call = [],
    } = Object.groupBy(connections, ({ kind }) => (kind === 'session' || kind === 'process' ? kind : 'call'))
    for (const group of [call, session, process])
      for (const connection of group) this.#releases.push(() => connection.release(cause))
    this.#releases.push(done)
    this.#releaseSlice()
  }

  #releaseSlice(): void {
    for (const release of this.#releases.splice(0, this.limits.cancelSlice)) release()
    if (this.#releases.length > 0) setImmediate(() => this.#releaseSlice())
  }

  #unwatch(secret: Secret): void {
    clearTimeout(this.#deadlines.get(secret))
    this.#deadlines.delete(secret)
  }

  /** One timer a secret; it looks at the clock again and again, since the clock may have been set. */
  #watch(secret: Secret): void {
    this.#unwatch(secret)
    const deadline = deadlineOf(secret)
    if (deadline === null) return
    const waitMs = Math.min(Math.max(deadline - this.now(), 0), this.limits.deadlineTimerMs)
    this.#deadlines.set(
      secret,
      setTimeout(() => this.#expire(secret), waitMs),
    )
  }

  #expire(secret: Secret): void {
    this.#deadlines.delete(secret)
    const own = [...this.ofToken(secret.token.id)].filter((connection) => connection.secret === secret)
    if (own.length === 0) return
    const denial = denialOf(secret, own[0]?.server, this.now(), null)
    if (denial === 'token_expired' || denial === 'token_revoked') this.cut(own, denial)
    else if (denial === 'secret_rotated') this.cut(own, 'token_revoked')
    else this.#watch(secret)
  }
}
