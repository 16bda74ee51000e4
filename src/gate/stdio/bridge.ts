import {
  classifyInboundRequest,
  isInitializeRequest,
  isJsonContentType,
  readRequestBody,
} from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'
import type { Upstream } from '../../upstream.ts'
import { ProblemError, problems } from '../problem.ts'
import { isRecord } from '../rpc.ts'
import type { Bridge, Caller } from '../upstream.ts'
import { methodNotAllowed, rpcRefusal, sessionNotFound } from './answer.ts'
import { hasMoreValues, isDeeper } from './depth.ts'
import type { StdioServer } from './launch.ts'
import { type Link, ownLink } from './link.ts'
import { Modern } from './modern.ts'
import { OldSseSession } from './old-sse.ts'
import { type Rooms, roomsOf } from './room.ts'
import { StreamableSession } from './session.ts'
import { SharedProcesses } from './shared.ts'
import type { Supervisor } from './supervisor.ts'

export interface BridgeDeps {
  supervisor: Supervisor
  limits: Limits
  /** A session is over, whoever ended it. */
  onSessionEnded(server: Upstream, sessionId: string): void
}

/** A session, and whose it is. */
interface Owned<T> {
  session: T
  serverId: string
  /** Null: the gate's own, which has a look. */
  tokenId: string | null
}

/** Servers that are commands, as MCP servers over HTTP of every generation would answer. */
export class StdioBridge implements Bridge {
  readonly #shared: SharedProcesses
  readonly #modern: Modern
  readonly #rooms: Rooms
  readonly #sessions = new Map<string, Owned<StreamableSession>>()
  readonly #oldSse = new Map<string, Owned<OldSseSession>>()

  constructor(readonly deps: BridgeDeps) {
    const { supervisor, limits } = deps
    this.#shared = new SharedProcesses({ supervisor, limits })
    this.#rooms = roomsOf(limits)
    this.#modern = new Modern({ supervisor, limits, unread: this.#rooms.unread })
  }

  async fetch(server: Upstream, request: Request, caller: Caller | null): Promise<Response> {
    if (!isCommand(server)) throw new Error(`${server.name} is no command`)
    const { pathname, searchParams } = new URL(request.url)
    const { method, headers } = request
    switch (pathname.replace(/(?<=.)\/$/, '')) {
      case '/':
      case '/mcp':
        if (headers.has('mcp-session-id')) return this.#ofSession(server, request, caller)
        if (method === 'POST') return this.#begin(server, request, caller)
        if (method === 'GET' && !headers.has('last-event-id')) return this.#openOldSse(server, request, caller)
        return method === 'GET' || method === 'DELETE' ? sessionRequired() : methodNotAllowed('GET, POST, DELETE')
      case '/sse':
        return method === 'GET' ? this.#openOldSse(server, request, caller) : methodNotAllowed('GET')
      case '/messages':
        if (method !== 'POST') return methodNotAllowed('POST')
        return this.#postOldSse(server, request, caller, searchParams.get('sessionId') ?? '')
      default:
        return rpcRefusal(404, -32601, 'Not found: MCP is at /mcp')
    }
  }

  async #ofSession(server: StdioServer, request: Request, caller: Caller | null): Promise<Response> {
    const session = find(this.#sessions, request.headers.get('mcp-session-id') ?? '', server, caller)
    if (!session) return sessionNotFound()
    if (caller) session.link.touch(caller)
    if (request.method !== 'POST') return session.handle(request)
    const body = await this.#json(request)
    return body instanceof Response ? body : session.handle(request, body.json)
  }

  /** A POST without a session: it opens one, or is of the revision that has none. */
  async #begin(server: StdioServer, request: Request, caller: Caller | null): Promise<Response> {
    const body = await this.#json(request)
    if (body instanceof Response) return body
    const { json } = body
    const outcome = classifyInboundRequest({
      httpMethod: request.method,
      body: json,
      protocolVersionHeader: request.headers.get('mcp-protocol-version') ?? undefined,
      mcpMethodHeader: request.headers.get('mcp-method') ?? undefined,
      mcpNameHeader: request.headers.get('mcp-name') ?? undefined,
    })
    if (outcome.kind !== 'legacy') return this.#modern.fetch(server, request, body, outcome, caller)
    if (![json].flat().some((message) => isInitializeRequest(message))) return sessionRequired()
    // The SDK says so too, but by then a process runs.
    const accept = request.headers.get('accept') ?? ''
    if (!accept.includes('application/json') || !accept.includes('text/event-stream'))
      return notAcceptable('both application/json and text/event-stream')
    const link = await this.#link(server, request, caller)
    const session = new StreamableSession(link, this.deps.limits, this.#rooms, () =>
      this.#forget(this.#sessions, session, server),
    )
    this.#sessions.set(session.id, { session, ...whose(server, caller) })
    return session.initialize(request, json)
  }

  async #openOldSse(server: StdioServer, request: Request, caller: Caller | null): Promise<Response> {
    // Whoever only looks in with a browser starts no process.
    if (request.headers.get('accept')?.includes('text/event-stream') !== true) return notAcceptable('text/event-stream')
    const link = await this.#link(server, request, caller)
    const session = new OldSseSession(link, this.deps.limits, this.#rooms, () =>
      this.#forget(this.#oldSse, session, server),
    )
    this.#oldSse.set(session.id, { session, ...whose(server, caller) })
    return session.open()
  }

  async #postOldSse(
    server: StdioServer,
    request: Request,
    caller: Caller | null,
    sessionId: string,
  ): Promise<Response> {
    const body = await this.#json(request)
    if (body instanceof Response) return body
    const session = find(this.#oldSse, sessionId, server, caller)
    if (!session) return sessionNotFound()
    // Cut while its body was read: not a byte of it goes on.
    request.signal.throwIfAborted()
    if (caller) session.link.touch(caller)
    return session.post(body.json)
  }

  /** What a new session speaks to. Throws `ProblemError`, and what ended the request while it was started. */
  async #link(server: StdioServer, request: Request, caller: Caller | null): Promise<Link> {
    const { pathname } = new URL(request.url)
    const link = server.stdio.shared
      ? await this.#shared.open(server)
      : ownLink(await this.deps.supervisor.start(server, caller, pathname))
    if (request.signal.aborted) link.stop()
    request.signal.throwIfAborted()
    return link
  }

  /** The body of a POST, or why it is none. Throws `ProblemError` past the size that is taken. */
  async #json(request: Request): Promise<{ json: unknown; bytes: number } | Response> {
    if (!isJsonContentType(request.headers.get('content-type')))
      return rpcRefusal(415, -32000, 'Unsupported Media Type: Content-Type must be application/json')
    const { stdioBodyBytesMax, stdioValuesMax, rpcDepthMax } = this.deps.limits
    const body = await readRequestBody(request, stdioBodyBytesMax)
    if (body.tooLarge) throw new ProblemError(problems.bodyTooLarge)
    if (isDeeper(body.text, rpcDepthMax))
      return rpcRefusal(400, -32600, `Invalid Request: nested deeper than ${rpcDepthMax} levels`)
    if (hasMoreValues(body.text, stdioValuesMax))
      return rpcRefusal(400, -32600, `Invalid Request: more than ${stdioValuesMax} values`)
    const bytes = body.text.length
    let json: unknown
    try {
      json = JSON.parse(body.text)
    } catch {
      return rpcRefusal(400, -32700, 'Parse error: Invalid JSON')
    }
    const { rpcIdLengthMax } = this.deps.limits
    if ([json].flat().some((message) => remembered(message).some((id) => id.length > rpcIdLengthMax)))
      return rpcRefusal(400, -32600, `Invalid Request: an id is longer than ${rpcIdLengthMax} characters`)
    // JSON-RPC 2.0, 6: an empty batch is no request. The SDK would accept it.
    return Array.isArray(json) && json.length === 0
      ? rpcRefusal(400, -32600, 'Invalid Request: empty batch')
      : { json, bytes }
  }

  #forget(sessions: Map<string, unknown>, { id }: { id: string }, server: Upstream): void {
    sessions.delete(id)
    this.deps.onSessionEnded(server, id)
  }
}

const isCommand = (server: Upstream): server is StdioServer => server.stdio !== null

/** What is kept of a message until it is answered. */
const remembered = (message: unknown): string[] => {
  if (!isRecord(message)) return []
  const _meta = isRecord(message.params) ? message.params._meta : null
  return [message.id, isRecord(_meta) && _meta.progressToken].filter((id) => typeof id === 'string')
}

const notAcceptable = (what: string): Response => rpcRefusal(406, -32000, `Not Acceptable: Client must accept ${what}`)

const sessionRequired = (): Response => rpcRefusal(400, -32000, 'Bad Request: Mcp-Session-Id header is required')

const whose = ({ id }: Upstream, caller: Caller | null) => ({
  serverId: id,
  tokenId: caller?.secret.token.id ?? null,
})

/** A session serves whoever opened it alone. */
const find = <T>(sessions: Map<string, Owned<T>>, id: string, server: Upstream, caller: Caller | null): T | null => {
  const owned = sessions.get(id)
  const { serverId, tokenId } = whose(server, caller)
  return owned?.serverId === serverId && owned.tokenId === tokenId ? owned.session : null
}
