import type { EmergencyEntry } from '../../src/emergency.ts'
import { AppError } from '../../src/error.ts'
import type { Exchange } from '../../src/gate/exchange.ts'
import type { Session } from '../../src/gate/session.ts'
import { SYSTEM } from '../../src/operator.ts'
import type { Connection, CutCause } from '../../src/registry.ts'
import type { RevocationRequest } from '../../src/revocation.ts'
import { statusOf } from '../../src/token.ts'
import { FakeCall } from './order-client.ts'
import type { Place } from './order-disk.ts'
import { type Domain, Ground, small, startDomain } from './order-domain.ts'
import { causeOf, type ModelServer, type ModelToken, refusalOf } from './order-model.ts'
import { ASKS, type AskName, OrderRequest, type RequestWorld } from './order-request.ts'
import { type FakeTime, settled } from './order-time.ts'

/** The second announces endpoints outside of its own path. */
const SERVERS = [
  { name: 'one', path: '', away: false },
  { name: 'two', path: '/base', away: true },
]
const NAMES = SERVERS.map(({ name }) => name)
const PEER = '203.0.113.9'

interface NewToken {
  servers: string[]
  subject: string | null
  group: string | null
  expiresInMs: number | null
  /** It has a policy, so its bodies are judged. */
  limited?: boolean
}

/** What there is when an interleaving begins. */
const TOKENS: NewToken[] = [
  { servers: NAMES, subject: 'ann', group: null, expiresInMs: null },
  { servers: NAMES, subject: 'ann', group: 'crew', expiresInMs: 40_000 },
  { servers: ['one'], subject: null, group: 'crew', expiresInMs: null, limited: true },
]

/** A node without sockets, what is asked of it, and what the contract says of that. */
export class World implements RequestWorld {
  readonly failures: string[] = []
  readonly tokens: ModelToken[]
  readonly servers: ModelServer[] = SERVERS.map(({ name, away }) => ({ name, away, closed: false, keptClosed: false }))
  readonly requests: OrderRequest[] = []
  readonly sessions: { id: string; token: ModelToken; server: ModelServer }[] = []
  readonly time: FakeTime
  /** What a revocation names, by its id: what waits is applied later. */
  readonly #revoked = new Map<string, ModelToken[]>()
  #revoking: ModelToken[] = []
  readonly #deadSince = new Map<OrderRequest, number>()
  domain: Domain

  constructor(readonly ground: Ground) {
    this.time = ground.time
    this.tokens = ground.tokens.map((token) => ({ ...token, secrets: token.secrets.map((secret) => ({ ...secret })) }))
    this.domain = this.#start()
  }

  get wallMs(): number {
    return this.time.wallMs
  }

  wrong(what: string): void {
    this.failures.push(what)
  }

  #start(): Domain {
    const domain = startDomain(
      this.ground,
      (entry, where) => this.#took(entry, where),
      () => this.#die(),
    )
    const { registry, emergency } = domain
    registry.onAdd = (connection) => {
      if (connection.kind === 'session') return this.#opened(connection as Session)
      const exchange = connection as Exchange
      domain.shared = exchange.deps
      const request = this.requests[Number(exchange.request.headers.get('x-number'))]
      if (request) request.connection = connection
    }
    registry.onRemove = (connection) => {
      const request = this.requests.find((one) => one.connection === connection)
      if (request && this.causeOf(request) === null) request.leftInOrder = true
    }
    emergency.flush()
    return domain
  }

  // What the model knows

  causeOf(request: OrderRequest): CutCause | null {
    if (request.cutFor) return request.cutFor
    return causeOf(request.token, request.secret, request.server, this.wallMs)
  }

  #took(entry: EmergencyEntry, where: Place): void {
    const kept = where !== 'memory'
    if (entry.op === 'revocation') {
      const dead = this.#revoked.get(entry.record.id) ?? this.#revoking
      this.#revoked.set(entry.record.id, dead)
      for (const token of dead) Object.assign(token, { dead: true, kept: token.kept || kept })
      return
    }
    const { action, servers } = entry.record
    for (const server of this.servers) {
      if (action === 'kill' || !servers.some(({ name }) => name === server.name)) continue
      if (action === 'close') {
        Object.assign(server, { closed: true, keptClosed: server.keptClosed || kept })
        for (const { request } of this.#connections(server)) request.cutFor ??= 'server_closed'
      } else if (kept) Object.assign(server, { closed: false, keptClosed: false })
    }
  }

  #opened(session: Session): void {
    const token = this.tokens.find(({ id }) => id === session.secret.token.id)
    const server = this.servers.find(({ name }) => name === session.server.name)
    if (token && server) this.sessions.push({ id: session.sessionId, token, server })
  }

  /** What is in the registry of a server, without sessions. */
  #connections(server: ModelServer): { connection: Connection; request: OrderRequest }[] {
    return [...this.domain.registry.all()].flatMap((connection) => {
      const request = this.requests.find((one) => one.connection === connection)
      return request?.server === server ? [{ connection, request }] : []
    })
  }

  #sessionLives(id: string, request: OrderRequest): boolean {
    return [...this.domain.registry.all()].some(
      (connection) =>
        connection.kind === 'session' &&
        (connection as Session).sessionId === id &&
        connection.server.name === request.server.name &&
        connection.secret.token.id === request.token.id,
    )
  }

  /** What the process held is gone, in the middle of whatever it did. */
  #die(): void {
    for (const request of this.requests) request.lost = true
  }

  // What is done

  issue({ servers, subject, group, expiresInMs, limited }: NewToken): void {
    const name = `token ${this.tokens.length}`
    const expiresAt = expiresInMs === null ? null : this.wallMs + expiresInMs
    const policy = limited ? { callsPerMinute: 1_000, concurrentStreams: 50 } : null
    const { token, secret } = this.domain.issuance.issue({ name, servers, subject, group, expiresAt, policy }, SYSTEM)
    const { id, createdAt } = token
    const secrets = [{ text: secret, diesAt: null }]
    this.tokens.push({ id, name, subject, group, servers, createdAt, expiresAt, secrets, dead: false, kept: false })
  }

  arrive(name: AskName, token: ModelToken, secretAt: number, server: ModelServer, pick: number): void {
    const secret = token.secrets.at(secretAt)
    if (!secret) return
    const streams = this.requests.filter(({ ask, client }) => ask.answer === 'announcing' && client !== null)
    const stream = name === 'message' ? streams[pick % streams.length] : undefined
    const session = name === 'inSession' ? this.sessions[pick % this.sessions.length]?.id : undefined
    if (name === 'message' && !stream) return
    const at = stream?.server ?? server
    const belongs = { stream, session }
    const request = new OrderRequest(this.requests.length, name, token, secret, at, this, belongs)
    this.requests.push(request)
    const expected = refusalOf(token, secret, at, this.wallMs)
    const answered = (response: Response) => this.#answered(request, response, expected)
    const answer = this.domain.gate.handle(request.toRequest(), PEER, null, { timeout: () => undefined })
    if (expected !== null && request.connection && this.domain.registry.get(request.connection.id)) {
      this.wrong(`${request.about} is in the registry, and should be refused with ${expected}`)
    }
    // Refused after it was registered: its answer waits for its body.
    if (request.connection && !this.domain.registry.get(request.connection.id)) request.connection = null
    if (answer instanceof Response) answered(answer)
    else answer.then(answered, (error: unknown) => this.wrong(`${request.about} failed: ${String(error)}`))
  }

  #answered(request: OrderRequest, response: Response, expected: number | null): void {
    request.answered(response)
    if (request.lost || request.gone) return
    const { status, headers } = response
    const of = `${request.about} was answered ${status}`
    if (expected !== null) return status === expected ? undefined : this.wrong(`${of} in place of ${expected}`)
    if (headers.has('x-up')) {
      if (!request.client && !request.leftInOrder) this.wrong(`${of} by its server after its death`)
      // The runtime asks for the body at once, or a moment later.
      const { client } = request
      if (client && request.number % 2 === 0) client.pull()
      else if (client) void Promise.resolve().then(() => client.pull())
      return
    }
    const cause = this.causeOf(request)
    const isRight =
      (status === 401 && (cause === 'token_revoked' || cause === 'token_expired')) ||
      (status === 503 && (cause === 'server_closed' || cause === 'connection_killed')) ||
      (status === 502 && request.failed) ||
      (status === 504 && request.call !== null) ||
      (status === 408 && !request.bodyOver) ||
      (status === 404 && request.name === 'inSession') ||
      (status === 404 && request.name === 'message') ||
      // A batch that is too long to be read is unreadable under a limit of calls.
      (status === 403 && request.ask.body === 'large' && request.ids.length > 1) ||
      status === 429
    if (!isRight) this.wrong(`${of} for no reason`)
  }

  /** The gate's own `fetch`. */
  called(url: URL, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers)
    const number = Number(headers.get('x-number'))
    const request = this.requests[number]
    const tidies = init.method === 'DELETE' || String(init.body).includes('notifications/cancelled')
    // What is told to a server after a cut holds nothing of the client's.
    if (tidies || !request || request.lost) return Promise.resolve(new Response(null, { status: 200 }))
    if (request.call) this.wrong(`${request.about} called its server twice`)
    if (this.causeOf(request) !== null) this.wrong(`${request.about} called its server after its death`)
    if (headers.has('authorization')) this.wrong(`${request.about} took its token along`)
    this.#mayCall(request)
    request.call = new FakeCall(url, init, () => {
      if (!request.lost && this.causeOf(request) !== null) request.wrong('bytes went up after its death')
    })
    if (request.ask.body === 'read') for (const id of request.ids) request.hearer.waiting.set(id, true)
    return request.call.answer.promise
  }

  #mayCall(request: OrderRequest): void {
    const { session, stream } = request.belongs
    if (session && !this.#sessionLives(session, request)) this.wrong(`${request.about} is in no session of its token`)
    if (stream && (request.toldOf ? stream.token !== request.token : request.server.away)) {
      this.wrong(`${request.about} went to an endpoint that is not its token's`)
    }
  }

  revoke(request: Omit<RevocationRequest, 'reason'>, matches: (token: ModelToken) => boolean): void {
    const { registry, revocations, disk } = this.domain
    this.#revoking = this.tokens.filter((token) => !token.dead && matches(token))
    const revoking = this.#revoking
    const keeps = !disk.broken && !this.domain.emergency.problem
    const acknowledged = revocations.revoke({ ...request, reason: 'other' }, SYSTEM, 0)
    if (disk.crashed) return
    this.#checkCut((request) => revoking.includes(request.token))
    for (const token of revoking) {
      if (!token.dead) this.wrong(`${token.name} was revoked, and no commit was tried`)
      if (!this.domain.tokens.get(token.id)?.revokedAt) this.wrong(`${token.name} was revoked, and lives`)
      if (registry.ofToken(token.id).size > 0) this.wrong(`connections of ${token.name} outlive its revocation`)
    }
    void acknowledged.then((receipt) => {
      if (disk.crashed) return
      const [got, due] = [receipt.tokens.map(({ id }) => id), revoking.map(({ id }) => id)].map((ids) =>
        ids.toSorted().join(),
      )
      if (got !== due) this.wrong(`a revocation killed ${got} in place of ${due}`)
      if (keeps && revoking.length > 0 && !receipt.durable) this.wrong('a revocation that was committed is not durable')
      if (receipt.durable && revoking.some(({ kept }) => !kept)) this.wrong('a durable revocation is in no database')
    })
  }

  /** What was to be cut has said its last in the same run. */
  #checkCut(of: (request: OrderRequest) => boolean): void {
    for (const request of this.requests) {
      if (of(request) && request.client?.pulled && !request.over)
        this.wrong(`${request.about} is not cut in the same run`)
    }
  }

  rotate(token: ModelToken, graceMs: number): void {
    const domain = this.domain.tokens.get(token.id)
    if (!domain || statusOf(domain, this.wallMs) !== 'active') return
    // Without a grace, or with its grace cut short, it is dead by any clock.
    for (const old of token.secrets) old.diesAt = old.diesAt === null && graceMs > 0 ? this.wallMs + graceMs : -Infinity
    token.secrets.push({ text: this.domain.issuance.rotate(domain, graceMs, SYSTEM), diesAt: null })
  }

  killOne(request: OrderRequest): void {
    if (!request.connection || !this.domain.registry.get(request.connection.id)) return
    request.cutFor = 'connection_killed'
    this.domain.control.killConnection(request.connection.id, SYSTEM)
  }

  killServer(server: ModelServer): void {
    for (const { request } of this.#connections(server)) request.cutFor = 'connection_killed'
    this.domain.control.kill(server.name, SYSTEM)
    if (!this.domain.disk.crashed) this.#checkCut((request) => request.server === server)
    const id = this.domain.servers.byName.get(server.name)?.id ?? ''
    if (this.domain.registry.ofServer(id).size > 0) this.wrong(`connections of ${server.name} outlive its kill`)
  }

  put(server: ModelServer, state: 'open' | 'closed'): void {
    try {
      this.domain.control.putGate(server.name, state, undefined, SYSTEM)
    } catch (error) {
      // What the database does not take stays closed.
      if (this.domain.disk.crashed) return
      if (state !== 'open' || !(error instanceof AppError) || error.kind !== 'storage') throw error
    }
    const id = this.domain.servers.byName.get(server.name)?.id ?? ''
    if (state === 'closed' && this.domain.registry.ofServer(id).size > 0 && !this.domain.disk.crashed) {
      this.wrong(`connections of ${server.name} outlive its closing`)
    }
  }

  stop(): void {
    const { gate, registry, emergency, disk } = this.domain
    gate.stop()
    registry.stop()
    emergency.stop()
    disk.journal.close()
  }

  /** The process ends, and another begins on the same files. */
  async restart(): Promise<void> {
    this.#die()
    this.domain.disk.crashed = true
    // What it had under way comes to nothing.
    await settled()
    this.stop()
    this.time.clear()
    this.sessions.length = 0
    for (const token of this.tokens) token.dead = token.kept
    for (const server of this.servers) server.closed = server.keptClosed
    this.domain = this.#start()
    this.checkTokens()
  }

  /** What is dead by the model, and nothing else, is dead in memory. */
  checkTokens(): void {
    for (const { id, name, dead } of this.tokens) {
      const revokedAt = this.domain.tokens.get(id)?.revokedAt ?? null
      if (dead !== (revokedAt !== null))
        this.wrong(`${name} ${dead ? 'was revoked, and lives' : 'is dead for no reason'}`)
    }
  }

  // What must hold whenever nothing is on its way

  /** All that is on its way arrives; `rounds`: what that promises for later, too. */
  async drain(rounds = 1): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      this.time.runImmediates()
      await settled()
    }
  }

  async settle(): Promise<void> {
    await this.drain(3)
    for (const { client } of this.requests) if (client) client.justTaken = false
    if (!this.domain.disk.crashed) this.#checkQuiet()
  }

  #checkQuiet(): void {
    const { registry } = this.domain
    this.checkTokens()
    const live = new Set(this.requests.filter(({ connection, over }) => connection !== null && !over))
    for (const request of live) {
      const { connection, call, client } = request
      if (connection && !registry.get(connection.id)) this.wrong(`${request.about} lives, and is not in the registry`)
      if (client?.pulled && call?.ended && !client.unsent) this.wrong(`${request.about} does not end with its server`)
      this.#checkExpiry(request)
    }
    for (const connection of registry.all()) {
      const token = this.tokens.find(({ id }) => id === connection.secret.token.id)
      if (token?.dead) this.wrong(`${connection.id} is in the registry under a dead token`)
      if (connection.kind === 'session') continue
      const request = this.requests.find((one) => one.connection === connection)
      if (!request || !live.has(request)) this.wrong(`${request?.about ?? connection.id} is over, and in the registry`)
    }
  }

  /** The clock's own deaths are enforced on live streams too, however the clock is set. */
  #checkExpiry(request: OrderRequest): void {
    if (this.causeOf(request) === null) {
      this.#deadSince.delete(request)
      return
    }
    const since = this.#deadSince.get(request) ?? this.time.monotonicMs
    this.#deadSince.set(request, since)
    if (this.time.monotonicMs - since > small.deadlineTimerMs) this.wrong(`${request.about} outlives its token`)
  }

  /** Ends everything that still runs, and looks for what is left. */
  async finish(): Promise<void> {
    if (this.domain.disk.crashed) await this.restart()
    Object.assign(this.domain.disk, { broken: false, journalBroken: false, crashAt: null })
    await this.settle()
    for (const request of this.requests) if (request.number % 2 === 0 && !request.over) request.goAway()
    for (const server of this.servers) this.killServer(server)
    for (const request of this.requests) if (!request.over) request.goAway()
    for (let round = 0; round < 3; round += 1) {
      await this.drain(3)
      await this.time.advance(1_500, () => this.drain())
    }
    await this.settle()
    this.#checkNothingLeft()
    await this.restart()
    for (const token of this.tokens) {
      const server = this.servers.find(({ name }) => token.servers.includes(name))
      if (server) for (const at of token.secrets.keys()) this.arrive('events', token, at, server, 0)
    }
    await this.settle()
    this.stop()
    for (const error of this.time.thrown) this.wrong(`a timer threw ${String(error)}`)
  }

  #checkNothingLeft(): void {
    const { registry, shared, usage, servers, emergency } = this.domain
    if (registry.size > 0) this.wrong(`${registry.size} connections are left in the registry`)
    if (emergency.problem) this.wrong(`the journal was not emptied: ${emergency.problem}`)
    if (this.time.waiting > 0) this.wrong(`${this.time.waiting} timers are left`)
    if (shared) {
      if (shared.running.size > 0) this.wrong(`${shared.running.size} exchanges are left that wait for the beat`)
      for (const server of servers.byId.values()) {
        const has = (found: unknown, what: string) => found && this.wrong(`${what} is left at ${server.name}`)
        for (const { id } of this.sessions) has(shared.sessions.get(server, id), `session ${id}`)
        for (const { endpoint } of this.requests) {
          const url = new URL(endpoint, server.url)
          has(shared.endpoints.find({ server, url }), `endpoint ${endpoint}`)
        }
      }
    }
    for (const { id, name } of this.tokens) {
      if (shared && !shared.guard.quotas.takeStream(id, 1)) this.wrong(`${name} still holds a stream's place`)
      shared?.guard.quotas.giveStream(id)
      const { requests, refusals, bytesIn, bytesOut } = usage.of(id)
      if (Math.min(requests, refusals, bytesIn, bytesOut) < 0) this.wrong(`the usage of ${name} is below nothing`)
    }
  }
}

export const ASK_NAMES = Object.keys(ASKS) as AskName[]

/** The ground of all interleavings, with its servers and tokens. */
export const prepareGround = (time: FakeTime): Ground => {
  const ground = new Ground(time)
  const world = new World(ground)
  const { control } = world.domain
  for (const { name, path } of SERVERS) control.add(control.draft({ name, url: `http://${name}.test${path}` }), SYSTEM)
  for (const token of TOKENS) world.issue(token)
  world.stop()
  ground.tokens = world.tokens
  return ground
}
