import {
  type InitializeResult,
  type JSONRPCMessage,
  type JSONRPCNotification,
  type JSONRPCRequest,
  LATEST_PROTOCOL_VERSION,
  type RequestId,
  SUPPORTED_PROTOCOL_VERSIONS,
  type Transport,
} from '@modelcontextprotocol/server'
import packageJson from '../../../package.json' with { type: 'json' }
import type { Limits } from '../../limits.ts'
import { ProblemError, problems } from '../problem.ts'
import { exitProblem } from './answer.ts'
import { Kept } from './kept.ts'
import type { StdioServer } from './launch.ts'
import type { Link } from './link.ts'
import { Mux, type Port } from './mux.ts'
import type { ProcessEnd } from './process.ts'
import type { Lease, Supervisor } from './supervisor.ts'

/** RFC 5424, as MCP's logging counts: what is said at a level is said at those after it too. */
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/** Longer ones fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** What every client of a process may hear, since it says nothing of any of them. */
const FOR_ALL = new Set(['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`))

/** What the gate has said itself, or has no use for: its own client declares no capabilities. */
const SWALLOWED = new Set(['notifications/initialized', 'notifications/roots/list_changed'])

export interface SharedDeps {
  supervisor: Supervisor
  limits: Limits
}

/** Servers that keep nothing by client: one process for all sessions of each. */
export class SharedProcesses {
  readonly #processes = new Kept<SharedProcess>()

  constructor(readonly deps: SharedDeps) {}

  /** A new session's place. Throws `ProblemError`. */
  async open(server: StdioServer): Promise<Link> {
    const process = await this.#processes.find(server.id, server, () => SharedProcess.start(server, this.deps))
    return process.open()
  }
}

/** Why a process that was started can't be used. */
const failure = (error: unknown, { process }: Lease): unknown => {
  if (process.end) return new ProblemError(exitProblem(process.end.detail))
  if (error instanceof Error && error.name === 'TimeoutError') return new ProblemError(problems.serverStartTimeout)
  return error
}

/** One process that was initialized once, and its sessions. */
class SharedProcess {
  readonly links = new Set<SharedLink>()
  readonly mux: Mux
  #initialized: InitializeResult | null = null
  /** The level that the process was told. */
  #level: number | null = null

  constructor(
    readonly lease: Lease,
    readonly server: StdioServer,
    readonly limits: Limits,
  ) {
    this.mux = new Mux(lease.process, (message) => this.#route(message))
  }

  static async start(server: StdioServer, { supervisor, limits }: SharedDeps): Promise<SharedProcess> {
    const lease = await supervisor.start(server, null, `/s/${server.name}`)
    const done = lease.use()
    const process = new SharedProcess(lease, server, limits)
    try {
      await process.#initialize()
      return process
    } catch (error) {
      lease.stop()
      throw failure(error, lease)
    } finally {
      done()
    }
  }

  async #initialize(): Promise<void> {
    await this.mux.transport.start()
    const clientInfo = { name: 'portcullis', version: packageJson.version }
    // No capabilities: it must not ask a client for anything, since it could not say which one.
    const params = { protocolVersion: LATEST_PROTOCOL_VERSION, capabilities: {}, clientInfo }
    const answer = await this.mux.ask('initialize', params, AbortSignal.timeout(this.limits.stdioStartMs))
    if ('error' in answer) {
      const detail = `The server refused to be initialized: ${answer.error.message}`
      throw new ProblemError({ ...problems.upstreamFailed, detail })
    }
    this.#initialized = answer.result as InitializeResult
    await this.mux.transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' })
  }

  open(): SharedLink {
    const link = new SharedLink(this, this.mux.open())
    this.links.add(link)
    return link
  }

  /** What a client is told that asks for a revision: the process speaks one, which is no newer than what it says here. */
  initializedFor(revision: unknown): InitializeResult {
    const result = this.#initialized as InitializeResult
    const older = SUPPORTED_PROTOCOL_VERSIONS.includes(String(revision)) && String(revision) < result.protocolVersion
    return older ? { ...result, protocolVersion: String(revision) } : result
  }

  subscribed(uri: string): boolean {
    return [...this.links].some((link) => link.subscriptions.has(uri))
  }

  /** The process says as much as the most curious of its clients wants to hear. */
  adjustLevel(): void {
    const levels = [...this.links].flatMap(({ level }) => level ?? [])
    if (levels.length === 0) return
    const least = Math.min(...levels)
    if (this.#level === least) return
    this.#level = least
    this.tell('logging/setLevel', { level: LEVELS[least] })
  }

  /** Asks for what nobody waits for. */
  tell(method: string, params: Record<string, unknown>): void {
    // A process that takes nothing more has nothing to be told.
    this.mux.ask(method, params, AbortSignal.timeout(this.limits.stdioStartMs)).catch(() => undefined)
  }

  left(link: SharedLink): void {
    if (!this.links.delete(link) || this.lease.ending) return
    for (const uri of link.subscriptions) if (!this.subscribed(uri)) this.tell('resources/unsubscribe', { uri })
    this.adjustLevel()
  }

  #route(message: JSONRPCNotification): void {
    if (FOR_ALL.has(message.method)) {
      for (const link of this.links) link.give(message)
    } else if (message.method === 'notifications/resources/updated') {
      const uri = String(message.params?.['uri'])
      for (const link of this.links) if (link.hears(uri)) link.give(message)
    } else if (message.method === 'notifications/message') {
      // What is logged while several wait may be about any of them, and is heard by none.
      const [first, second] = this.links
      const { onlyWaiting } = this.mux
      const link = second ? [...this.links].find(({ port }) => port === onlyWaiting) : first
      if (link?.wants(message.params?.['level'])) link.give(message)
    }
  }
}

/** One session's place at a shared process. */
class SharedLink implements Link {
  onmessage?: Transport['onmessage']
  onclose?: Transport['onclose']
  onerror?: Transport['onerror']
  readonly subscriptions = new Set<string>()
  /** An index of LEVELS; null: the client did not say. */
  level: number | null = null
  readonly #ended = Promise.withResolvers<ProcessEnd>()
  readonly #subscribing = new Map<RequestId, string>()
  #uses = 0
  #idle: NodeJS.Timeout | undefined
  #behind = false
  #behindBytes = 0

  constructor(
    readonly process: SharedProcess,
    readonly port: Port,
  ) {
    port.onmessage = (message) => this.#received(message)
    port.onclose = () => this.#closed()
    void process.lease.process.ended.then(this.#ended.resolve)
    this.#watch()
  }

  get ended(): Promise<ProcessEnd> {
    return this.#ended.promise
  }

  async start(): Promise<void> {}

  async send(message: JSONRPCMessage): Promise<void> {
    if ('method' in message && 'id' in message) return this.#ask(message)
    if ('method' in message && SWALLOWED.has(message.method)) return
    return this.port.send(message)
  }

  async #ask(message: JSONRPCRequest): Promise<void> {
    const { id, method } = message
    const params = message.params ?? {}
    const uri = String(params['uri'])
    if (method === 'initialize') return this.#answer(id, this.process.initializedFor(params['protocolVersion']))
    if (method === 'resources/subscribe') {
      this.subscriptions.add(uri)
      this.#subscribing.set(id, uri)
    } else if (method === 'resources/unsubscribe') {
      this.subscriptions.delete(uri)
      // Others still want to hear of it.
      if (this.process.subscribed(uri)) return this.#answer(id, {})
    } else if (method === 'logging/setLevel' && LEVELS.includes(String(params['level']))) {
      this.level = LEVELS.indexOf(String(params['level']))
      this.process.adjustLevel()
      return this.#answer(id, {})
    }
    return this.port.send(message)
  }

  /** In the gate's own words; later, as an answer comes. */
  #answer(id: RequestId, result: Record<string, unknown>): void {
    queueMicrotask(() => this.give({ jsonrpc: '2.0', id, result }))
  }

  #received(message: JSONRPCMessage): void {
    if (!('method' in message) && message.id !== undefined) {
      const uri = this.#subscribing.get(message.id)
      this.#subscribing.delete(message.id)
      if (uri !== undefined && 'error' in message) this.subscriptions.delete(uri)
    }
    this.give(message)
  }

  /** Whether it has subscribed to a resource, or to what that is a part of. */
  hears(uri: string): boolean {
    return [...this.subscriptions].some((own) => uri === own || uri.startsWith(`${own.replace(/\/$/, '')}/`))
  }

  wants(level: unknown): boolean {
    return this.level === null || LEVELS.indexOf(String(level)) >= this.level
  }

  give(message: JSONRPCMessage): void {
    if (this.#behind) {
      this.#behindBytes += JSON.stringify(message).length
      if (this.#behindBytes > this.process.limits.stdioBehindBytesMax)
        return this.#end('the session was ended, since its client reads too slowly')
    }
    this.onmessage?.(message)
  }

  /** The others are not held up: it may fall behind a little more. */
  pause(): void {
    this.#behind = true
    this.#behindBytes = 0
  }

  resume(): void {
    this.#behind = false
  }

  use(): () => void {
    const release = this.process.lease.use()
    let held = true
    this.#uses += 1
    clearTimeout(this.#idle)
    return () => {
      if (!held) return
      held = false
      this.#uses -= 1
      release()
      this.#watch()
    }
  }

  /** A session that nobody uses ends, though its process may go on. */
  #watch(): void {
    if (this.#uses > 0) return
    const { idleMs } = this.process.server.stdio
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => this.#end('nobody used the session'), Math.min(idleMs, TIMER_MS_MAX))
  }

  touch(): void {
    // The process is nobody's.
  }

  stop(): void {
    this.#end('the session is over')
  }

  close(): Promise<void> {
    this.stop()
    return Promise.resolve()
  }

  #end(detail: string): void {
    this.#ended.resolve({ code: null, signal: null, crashed: false, detail })
    void this.port.close()
  }

  #closed(): void {
    clearTimeout(this.#idle)
    this.process.left(this)
    this.onclose?.()
  }
}
