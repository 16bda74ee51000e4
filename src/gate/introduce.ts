import type { Client, FetchLike, StandardSchemaV1, Transport } from '@modelcontextprotocol/client'
import packageJson from '../../package.json' with { type: 'json' }
import { AppError } from '../error.ts'
import { limits } from '../limits.ts'
import { plain } from '../text.ts'
import type { Upstream } from '../upstream.ts'
import { isEventStream, upwardHeaders } from './headers.ts'
import { ProblemError } from './problem.ts'
import { isRecord } from './rpc.ts'
import type { Call } from './upstream.ts'

/** A tool as far as a policy asks. */
export interface ToolHint {
  name: string
  /** The server says that it changes nothing (`annotations.readOnlyHint`). */
  readOnly: boolean
}

/** What an MCP server says of itself. */
export interface Introduced {
  name: string | null
  version: string | null
  revision: string
  transport: 'http' | 'sse'
  /** Null: it has none, or would not list them all. */
  tools: ToolHint[] | null
}

/**
 * The three generations of MCP over HTTP, newest first: `server/discover`, `initialize`, HTTP+SSE. Not the SDK's
 * own `auto` mode: it gives up a server that fails at what it does not know, or never answers it.
 */
const WAYS = ['stateless', 'session', 'sse'] as const
type Way = (typeof WAYS)[number]
/**
 * A command is started anew for each way, and may have to be fetched first: all the time is for the one that nearly all
 * understand, since one that is silent for long may only be on its way.
 */
const WAYS_OF_COMMANDS: readonly Way[] = ['session', 'stateless']
const STATELESS_REVISION = '2026-07-28'

const unavailable = (slug: string, message: string, cause?: unknown) =>
  new AppError('unavailable', message, slug, { cause })

const late = () => unavailable('upstream-timeout', 'nothing answered in time')
const noMcp = () => unavailable('no-mcp', 'what answers is no MCP server')

/** What is thrown when a server can't be reached: the runtime's own code says whether it is the certificate. */
export const noAnswer = (error: unknown): AppError => {
  if (error instanceof AppError) return error
  if (error instanceof ProblemError) return unavailable(error.problem.slug, error.problem.detail, error)
  const code = error instanceof Error && 'code' in error ? `: ${String(error.code)}` : ''
  return unavailable('upstream-unreachable', `connecting failed${code}`, error)
}

const short = (text: string | undefined): string | null =>
  plain(text?.trim() ?? '').slice(0, limits.nameLengthMax) || null

interface ToolPage {
  tools: ToolHint[]
  next: string | undefined
}

/** Reads of a list only what is asked for: one tool that is not quite by the book hides none of the others. */
const TOOL_PAGE: StandardSchemaV1<unknown, ToolPage> = {
  '~standard': {
    version: 1,
    vendor: 'portcullis',
    validate: (result) => {
      if (!isRecord(result) || !Array.isArray(result.tools)) return { issues: [{ message: 'no list of tools' }] }
      const tools = result.tools.filter(isRecord).flatMap(({ name, annotations }) =>
        // Longer names are none (MCP 2025-11-25), and would only fill the memory.
        typeof name === 'string' && name.length <= limits.toolNameLengthMax
          ? [{ name, readOnly: isRecord(annotations) && annotations.readOnlyHint === true }]
          : [],
      )
      return { value: { tools, next: typeof result.nextCursor === 'string' ? result.nextCursor : undefined } }
    },
  },
}

/** One visit: everything that was opened for it ends with it. */
class Visit {
  readonly server: Upstream
  readonly #stop = new AbortController()
  readonly #stopped: Promise<never>
  readonly #timer: NodeJS.Timeout
  #endpointTimer: NodeJS.Timeout | undefined
  readonly #transports: Transport[] = []
  readonly #sessions = new Set<string>()
  #bytes = 0
  #answered = false

  constructor(
    server: Upstream,
    readonly url: URL,
    readonly timeoutMs: number,
    readonly call: Call,
  ) {
    // Credentials that are changed meanwhile must not go where the old ones belonged.
    this.server = { ...server }
    this.#stopped = new Promise((_, reject) => {
      this.#stop.signal.addEventListener('abort', () => reject(this.#stop.signal.reason as Error))
    })
    // Heard of through a race; also when nobody races any more.
    this.#stopped.catch(() => undefined)
    this.#timer = setTimeout(() => this.#stop.abort(this.#answered ? noMcp() : late()), timeoutMs)
  }

  async introduce(): Promise<Introduced> {
    const sdk = await import('@modelcontextprotocol/client')
    for (const way of this.server.stdio ? WAYS_OF_COMMANDS : WAYS) {
      // `follow` leaves redirects to our `fetch`, which follows none.
      const options = { fetch: this.#fetch, redirectPolicy: 'follow' as const }
      const transport =
        way === 'sse'
          ? new sdk.SSEClientTransport(this.url, { ...options, fetch: this.#fetchStream })
          : new sdk.StreamableHTTPClientTransport(this.url, options)
      this.#transports.push(transport)
      const client = await this.#join(sdk.Client, transport, way)
      if (!client) continue
      const { name, version } = client.getServerVersion() ?? {}
      return {
        name: short(name),
        version: short(version),
        revision: client.getNegotiatedProtocolVersion() ?? '',
        transport: way === 'sse' ? 'sse' : 'http',
        tools: await this.#tools(client),
      }
    }
    throw noMcp()
  }

  /** Null when the server is not to be joined in this way. */
  async #join(Joining: typeof Client, transport: Transport, way: Way): Promise<Client | null> {
    const client = new Joining(
      { name: 'portcullis', version: packageJson.version },
      {
        versionNegotiation: way === 'stateless' ? { mode: { pin: STATELESS_REVISION } } : {},
        // No tool is called, so no answer is checked against a schema; building a validator takes longer than the look.
        jsonSchemaValidator: { getValidator: () => () => ({ valid: false, data: undefined, errorMessage: 'unused' }) },
      },
    )
    try {
      const timeout = this.server.stdio ? this.timeoutMs : this.timeoutMs / 2
      await Promise.race([client.connect(transport, { timeout }), this.#stopped])
      return client
    } catch {
      // What ended the whole visit says why; anything else is a server that speaks otherwise, or is none.
      this.#stop.signal.throwIfAborted()
      return null
    }
  }

  async #tools(client: Client): Promise<ToolHint[] | null> {
    if (!client.getServerCapabilities()?.tools) return null
    const tools: ToolHint[] = []
    try {
      let cursor: string | undefined
      for (let page = 0; page < limits.toolPagesMax && tools.length <= limits.toolsMax; page++) {
        const params = cursor === undefined ? {} : { cursor }
        const asked = client.request({ method: 'tools/list', params }, TOOL_PAGE, { timeout: this.timeoutMs })
        const answer: ToolPage = await Promise.race([asked, this.#stopped])
        tools.push(...answer.tools)
        cursor = answer.next
        if (cursor === undefined) return tools.length <= limits.toolsMax ? tools : null
      }
    } catch (error) {
      if (error instanceof AppError && error.slug === 'upstream-unauthorized') throw error
    }
    // A part of a list must not be taken for all of it.
    return null
  }

  /** The SDK's way out: the gate's own rules for upstreams hold here too, and all that is read is counted. */
  readonly #fetch: FetchLike = async (to, init) => {
    const url = new URL(to)
    // The server's credentials are for one place.
    if (url.origin !== this.url.origin) throw new Error('it leads to another origin')
    const { signal } = this.#stop
    const headers = upwardHeaders(new Headers(init?.headers), this.server)
    let answer: Response
    try {
      const both = init?.signal ? AbortSignal.any([init.signal, signal]) : signal
      const { method = 'GET', body = null } = init ?? {}
      answer = await this.call(this.server, url.href, { method, headers, body, signal: both }, null)
    } catch (error) {
      // A server that can't be reached is not asked in yet another way.
      if (!init?.signal?.aborted) this.#stop.abort(noAnswer(error))
      throw error
    }
    this.#answered = true
    const session = answer.headers.get('mcp-session-id')
    if (session !== null && answer.ok && session.length <= limits.sessionIdBytesMax) this.#sessions.add(session)
    if (answer.status === 401)
      this.#stop.abort(unavailable('upstream-unauthorized', 'it answers 401: its credentials are missing or wrong'))
    const { status, statusText } = answer
    const counted = answer.body?.pipeThrough(new TransformStream({ transform: this.#count })) ?? null
    return new Response(counted, { status, statusText, headers: answer.headers })
  }

  /** Any event stream opens; the one of HTTP+SSE says at once where to call. */
  readonly #fetchStream: FetchLike = async (to, init) => {
    if (init?.method === 'POST') clearTimeout(this.#endpointTimer)
    const answer = await this.#fetch(to, init)
    if (answer.ok && isEventStream(answer.headers)) {
      const other = unavailable('no-mcp-stream', 'an event stream answers, but no MCP server')
      this.#endpointTimer ??= setTimeout(() => this.#stop.abort(other), limits.endpointMs)
    }
    return answer
  }

  readonly #count = (chunk: Uint8Array, controller: TransformStreamDefaultController<Uint8Array>): void => {
    this.#bytes += chunk.length
    if (this.#bytes <= limits.introductionBytesMax) controller.enqueue(chunk)
    else this.#stop.abort(unavailable('upstream-too-much', 'it says more than is read of an MCP server'))
  }

  /** Lets go of every stream and closes the sessions (MCP 2025-11-25, Session Management). */
  async leave(revision: string | undefined): Promise<void> {
    for (const timer of [this.#timer, this.#endpointTimer]) clearTimeout(timer)
    this.#stop.abort(unavailable('upstream-left', 'the visit is over'))
    await Promise.allSettled(this.#transports.map((transport) => transport.close()))
    await Promise.all([...this.#sessions].map((session) => this.#closeSession(session, revision)))
  }

  async #closeSession(session: string, revision: string | undefined): Promise<void> {
    const headers = upwardHeaders(new Headers({ 'mcp-session-id': session }), this.server)
    if (revision !== undefined) headers.set('mcp-protocol-version', revision)
    const signal = AbortSignal.timeout(limits.upstreamCloseMs)
    try {
      const answer = await this.call(this.server, this.url.href, { method: 'DELETE', headers, signal }, null)
      await answer.body?.cancel()
    } catch {
      // A server that is gone, or hangs, ends its sessions by itself; nothing was learnt that this could change.
    }
  }
}

/**
 * Joins an MCP server as a client of our own, asks who it is and which tools it has, and leaves. `url` is at the
 * upstream. Throws an `AppError` whose slug says why when what answers is no MCP, or nothing does.
 */
export const introduce = async (server: Upstream, url: URL, timeoutMs: number, call: Call): Promise<Introduced> => {
  const visit = new Visit(server, url, timeoutMs, call)
  let introduced: Introduced | undefined
  try {
    introduced = await visit.introduce()
    return introduced
  } finally {
    // Not waited for: a server that hangs must not hold up the answer about it.
    void visit.leave(introduced?.revision)
  }
}
