import {
  type InitializeResult,
  type JSONRPCNotification,
  LATEST_PROTOCOL_VERSION,
  SUPPORTED_PROTOCOL_VERSIONS,
} from '@modelcontextprotocol/server'
import packageJson from '../../../package.json' with { type: 'json' }
import type { Limits } from '../../limits.ts'
import { ProblemError, problems } from '../problem.ts'
import { exitProblem } from './answer.ts'
import { Changes } from './changes.ts'
import { Kept } from './kept.ts'
import type { StdioServer } from './launch.ts'
import { LEVELS } from './levels.ts'
import type { Link } from './link.ts'
import { Mux, type Port } from './mux.ts'
import { SharedLink, type SharedSide } from './shared-link.ts'
import type { Lease, Supervisor } from './supervisor.ts'

/** What every client of a process may hear, since it says nothing of any of them. */
const FOR_ALL = new Set(['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`))

const UPDATED = 'notifications/resources/updated'

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

/** Tasks outlive a request, and are listed to whoever asks: at a shared process there are none. */
const withoutTasks = ({ capabilities, ...result }: InitializeResult): InitializeResult => {
  const { tasks: _, ...rest } = capabilities
  return { ...result, capabilities: rest }
}

/** One process that was initialized once, and its sessions. */
export class SharedProcess implements SharedSide {
  readonly links = new Map<Port, SharedLink>()
  readonly mux: Mux
  #initialized: InitializeResult | null = null
  /** The level that the process was told. */
  #level: number | null = null
  readonly #changes: Changes

  constructor(
    readonly lease: Lease,
    readonly server: StdioServer,
    readonly limits: Limits,
  ) {
    this.mux = new Mux(lease.process, (message) => this.#route(message))
    this.#changes = new Changes(limits.stdioChangeMs, (message) => this.#tellAll(message))
    void lease.process.ended.then(() => this.#changes.stop())
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
    this.#initialized = withoutTasks(answer.result as InitializeResult)
    await this.mux.transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' })
  }

  get initialized(): InitializeResult {
    if (!this.#initialized) throw new Error('the process is not initialized')
    return this.#initialized
  }

  open(): SharedLink {
    const link = new SharedLink(this, this.mux.open())
    this.links.set(link.port, link)
    return link
  }

  /** What a client is told that asks for a revision: the process speaks one, which is no newer than what it says here. */
  initializedFor(revision: unknown): InitializeResult {
    const result = this.initialized
    const older = SUPPORTED_PROTOCOL_VERSIONS.includes(String(revision)) && String(revision) < result.protocolVersion
    return older ? { ...result, protocolVersion: String(revision) } : result
  }

  subscribed(uri: string): boolean {
    return [...this.links.values()].some((link) => link.subscriptions.has(uri))
  }

  /** The process says as much as the most curious of its clients wants to hear. */
  adjustLevel(): void {
    const levels = [...this.links.values()].flatMap(({ level }) => level ?? [])
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
    if (!this.links.delete(link.port) || this.lease.ending) return
    for (const uri of link.subscriptions) if (!this.subscribed(uri)) this.tell('resources/unsubscribe', { uri })
    this.adjustLevel()
  }

  #route(message: JSONRPCNotification): void {
    const { method, params } = message
    if (FOR_ALL.has(method)) {
      this.#changes.add(method, message)
    } else if (method === UPDATED) {
      this.#changes.add(`${method} ${String(params?.['uri'])}`, message)
    } else if (method === 'notifications/message') {
      // What is logged while several wait may be about any of them, and is heard by none.
      const [first, second] = this.links.values()
      const { onlyWaiting } = this.mux
      const link = second ? onlyWaiting && this.links.get(onlyWaiting) : first
      if (link?.wants(params?.['level'])) link.give(message)
    }
  }

  #tellAll(message: JSONRPCNotification): void {
    const uris = message.method === UPDATED ? withParents(String(message.params?.['uri'])) : null
    for (const link of this.links.values())
      if (uris === null || uris.some((uri) => link.subscriptions.has(uri))) link.give(message)
  }
}

/** Who subscribed to a resource hears of its parts too. */
const withParents = (uri: string): string[] => {
  const uris = [uri]
  for (let end = uri.lastIndexOf('/'); end > 0; end = uri.lastIndexOf('/', end - 1))
    uris.push(uri.slice(0, end), uri.slice(0, end + 1))
  return uris
}
