import type { Limits } from '../limits.ts'
import { asksForHint, hasToolRules, type Policy, toolDenial, type ToolDenial } from '../policy.ts'
import type { Quotas } from '../quota.ts'
import type { Secret } from '../token.ts'
import type { Upstream } from '../upstream.ts'
import { isEncoded, isEventStream, isJson } from './headers.ts'
import { headerMismatch, type Problem, policyUnreadable, problems, rateLimited } from './problem.ts'
import { clientName, isId, isRecord, policyError, type RpcError } from './rpc.ts'
import { type Message, readStrict, rewriteJson, type StrictBody } from './strict.ts'
import { ToolFilter } from './tool-filter.ts'
import type { ToolHints } from './tool-hints.ts'

/** What every guard of a gate shares. */
export interface GuardDeps {
  quotas: Quotas
  hints: ToolHints
  limits: Limits
}

/** What a guard must know of its exchange. */
export interface Guarded {
  secret: Secret
  server: Upstream
  request: Request
  /** It belongs to an MCP session, or to the announced endpoint of HTTP+SSE. */
  inSession: boolean
  /** It goes where MCP answers, and not to what else a server may offer. */
  atEndpoint: boolean
}

/** A call that was refused: its answer, unless it was a notification. */
export interface DeniedCall {
  method: string
  name: string
  answer: RpcError | null
}

export interface Verdict {
  /** Why nothing of it may go up, in HTTP's words. */
  problem: Problem | null
  /** What goes up, or null: nothing is left of it. */
  up: Uint8Array | null
  denied: DeniedCall[]
  /** The client's own name, where it is told. */
  client: string | null
}

const DENIALS: Record<ToolDenial, string> = {
  tool_denied: "The connection token's policy does not allow this tool",
  tool_not_read_only: "The connection token's policy allows only tools that their server marks as read-only",
}

const JSON_TYPE = /^application\/json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i
const IS_JSON = /[/+]json\b/i
/** What some parser skips, byte order marks and the zeros of UTF-16 too, and then an array, or nothing yet. */
// oxlint-disable-next-line no-control-regex
const MAY_BEGIN_BATCH = /^[\s\ufeff\ufffd\0]*(?:\[|$)/
/** A method of the tools, in any spelling that a lenient server might take for one. */
const OF_TOOLS = /(?<![a-z])tools(?![a-z])/i

/** MCP 2026-07-28 encodes what no header may hold: `=?base64?…?=`. */
const decodeHeader = (value: string): string => {
  const encoded = /^=\?base64\?([A-Za-z0-9+/=]*)\?=$/i.exec(value)?.[1]
  return encoded === undefined ? value : Buffer.from(encoded, 'base64').toString()
}

/** Keeps one exchange within its token's policy. Exchanges of tokens without a policy have none. */
export class Guard {
  /** What is answered may list tools. */
  listsTools = false
  readonly filter: ToolFilter
  readonly #rules: boolean
  #holdsStream = false
  /** The body was read, and is JSON-RPC to every reader. */
  #isRpc = false
  /** Answers to what was refused: they go beside those of the upstream. */
  #refusals: RpcError[] = []
  #batch = false

  constructor(
    readonly policy: Policy,
    readonly of: Guarded,
    readonly deps: GuardDeps,
  ) {
    this.#rules = hasToolRules(policy)
    this.filter = new ToolFilter(policy)
  }

  get #asksForEvents(): boolean {
    const { method, headers } = this.of.request
    return method === 'GET' && /text\/event-stream/i.test(headers.get('accept') ?? '')
  }

  /** Whether the body must be read before it goes up. */
  get judges(): boolean {
    const { server, request } = this.of
    const { method, headers } = request
    if (server.kind === 'http' || method === 'GET' || method === 'HEAD') return false
    if (this.#rules) return method === 'POST'
    const length = headers.get('content-length')
    const readable = length === null || Number(length) <= this.deps.limits.rpcBodyBytesMax
    const limited = this.policy.callsPerMinute !== null || this.policy.concurrentStreams !== null
    return limited && readable && isJson(headers)
  }

  /** Why the request may not go on, as far as its head tells. */
  refusal(): Problem | null {
    const { request, inSession } = this.of
    const refusal = this.#rules ? this.#unreadable() : null
    if (refusal) return refusal
    if (this.#asksForEvents) {
      this.listsTools = this.#rules
      const full = this.takeStream()
      if (full) return full
    }
    // A POST that is read is counted by what it asks for; MCP's own GET and DELETE are no calls.
    const { kind } = this.of.server
    const isMcp = inSession || kind === 'mcp' || kind === 'stdio'
    const isNoCall = isMcp && (request.method === 'GET' || request.method === 'DELETE')
    return this.judges || isNoCall ? null : this.takeCalls(1)
  }

  /** Under rules about tools only what MCP knows may pass: what else a server offers at HTTP can't be judged. */
  #unreadable(): Problem | null {
    const { server, request, inSession, atEndpoint } = this.of
    const { method, headers } = request
    if (server.kind === 'http') return policyUnreadable('the server is no MCP server')
    if (!atEndpoint) return policyUnreadable("it is not at the server's MCP endpoint, which --path of the server names")
    if (method === 'GET') return this.#asksForEvents ? null : policyUnreadable('a GET must accept text/event-stream')
    if (method === 'DELETE') {
      const bare = !headers.has('transfer-encoding') && Number(headers.get('content-length') ?? 0) === 0
      return inSession && bare ? null : policyUnreadable('a DELETE must end a session, and hold no body')
    }
    if (method !== 'POST') return policyUnreadable(`MCP has no ${method}`)
    if (!JSON_TYPE.test(headers.get('content-type') ?? ''))
      return policyUnreadable('the body must be application/json in UTF-8')
    return isEncoded(headers) ? policyUnreadable('the body must not be compressed') : null
  }

  /** Takes a place for an event stream, once; why there is none, or null. */
  takeStream(): Problem | null {
    const { concurrentStreams } = this.policy
    if (concurrentStreams === null || this.#holdsStream) return null
    this.#holdsStream = this.deps.quotas.takeStream(this.of.secret.token.id, concurrentStreams)
    return this.#holdsStream ? null : problems.tooManyStreams
  }

  takeCalls(count: number): Problem | null {
    const { callsPerMinute } = this.policy
    if (callsPerMinute === null || count === 0) return null
    const retryAfterS = this.deps.quotas.takeCalls(this.of.secret.token.id, count, callsPerMinute)
    return retryAfterS === null ? null : rateLimited(callsPerMinute, retryAfterS)
  }

  /** Gives back what the exchange held. */
  release(): void {
    if (this.#holdsStream) this.deps.quotas.giveStream(this.of.secret.token.id)
    this.#holdsStream = false
  }

  /** Whether a body that is not read may begin so: a batch, in any encoding, could hold any number of calls. */
  mayFlow(first: Uint8Array): boolean {
    const { server, request } = this.of
    if (this.policy.callsPerMinute === null || server.kind === 'http' || first.length === 0) return true
    return !isEncoded(request.headers) && !MAY_BEGIN_BATCH.test(new TextDecoder().decode(first))
  }

  /** Judges a whole body. `url`: where the tools of its endpoint are listed. */
  async judge(body: Uint8Array, url: URL): Promise<Verdict> {
    const strict = readStrict(body)
    if (!strict) return this.#judgeUnread(body)
    const { batch, messages } = strict
    this.#isRpc = true
    const mismatched = this.#rules ? messages.find((message) => this.#headersDiffer(message)) : undefined
    if (mismatched) {
      const problem = headerMismatch(isId(mismatched.id) ? mismatched.id : null)
      return { problem, up: null, denied: [], client: null }
    }
    const denials = await Promise.all(messages.map((message) => this.#denialOf(message, url)))
    const denied = denials.filter((denial) => denial !== null)
    const kept = messages.filter((_, index) => denials[index] === null)
    // A server may take a POST for one that resumes a stream, of whatever was asked for before.
    const resumes = this.of.request.headers.has('last-event-id')
    this.listsTools = this.#rules && (resumes || kept.some(({ method }) => method === 'tools/list'))
    const calls = kept.filter(({ method }) => method === 'tools/call')
    const problem = this.takeCalls(calls.length)
    const client = messages.map(clientName).find((name) => name !== null) ?? null
    if (problem) {
      const limited = calls.map((message) => ({ method: 'tools/call', name: nameIn(message), answer: null }))
      return { problem, up: null, denied: [...denied, ...limited], client }
    }
    const up = kept.length === 0 ? null : denied.length === 0 ? body : without(body, denials)
    this.#refusals = denied.flatMap(({ answer }) => answer ?? [])
    this.#batch = batch
    return { problem, up, denied, client }
  }

  #judgeUnread(body: Uint8Array): Verdict {
    const unread = { up: body, denied: [], client: null }
    if (this.#rules || !this.mayFlow(body)) {
      return { ...unread, problem: policyUnreadable('the body is no JSON-RPC, or could be read in two ways') }
    }
    return { ...unread, problem: this.takeCalls(1) }
  }

  async #denialOf(message: Message, url: URL): Promise<DeniedCall | null> {
    const { method } = message
    if (!this.#rules || typeof method !== 'string') return null
    const name = nameIn(message)
    const id = isId(message.id) ? message.id : null
    const isCall = method === 'tools/call'
    // Another method of the tools, or one that a lenient server takes for theirs, can't be judged by a tool's name.
    if (!isCall && (method === 'tools/list' || !OF_TOOLS.test(method))) return null
    const reason = isCall && name !== '' ? await this.#denialOfTool(name, url) : 'tool_denied'
    return reason && { method, name, answer: id === null ? null : policyError(id, reason, DENIALS[reason]) }
  }

  async #denialOfTool(name: string, url: URL): Promise<ToolDenial | null> {
    const readOnly = asksForHint(this.policy, name) && (await this.deps.hints.isReadOnly(this.of.server, url, name))
    return toolDenial(this.policy, name, readOnly)
  }

  /** The headers of 2026-07-28 may be what a server goes by: they must name what is judged. */
  #headersDiffer({ method, params }: Message): boolean {
    const { headers } = this.of.request
    const saidMethod = headers.get('mcp-method')
    if (saidMethod !== null && decodeHeader(saidMethod) !== method) return true
    const saidName = headers.get('mcp-name')
    return method === 'tools/call' && saidName !== null && decodeHeader(saidName) !== (isRecord(params) && params.name)
  }

  // Answers

  /** Why an answer can't be let through, or null. */
  answerRefusal(status: number, headers: Headers): Problem | null {
    // The answer to a call of MCP may be an event stream, but is not one that is held open.
    const full = isEventStream(headers) && !this.#isRpc ? this.takeStream() : null
    if (full) return full
    if (this.#refusals.length > 0 && isEncoded(headers)) return problems.policyAnswer
    if (!this.listsTools) return null
    const type = headers.get('content-type') ?? ''
    const readable = isEventStream(headers) || (this.of.request.method === 'POST' && IS_JSON.test(type))
    if (readable) return isEncoded(headers) ? problems.policyAnswer : null
    if (status < 300 && status !== 202 && status !== 204) return problems.policyAnswer
    // Errors list no tools, and neither does an answer without a body: they pass unread.
    this.listsTools = false
    return null
  }

  /** What was refused, once: for whoever says it. */
  takeRefusals(): RpcError[] {
    const refusals = this.#refusals
    this.#refusals = []
    return refusals
  }

  /** The answer to a request of which nothing is left to go up. */
  refusalsAlone(): Response {
    const refusals = this.takeRefusals()
    if (refusals.length === 0) return new Response(null, { status: 202 })
    return Response.json(this.#batch ? refusals : refusals[0], { headers: { 'cache-control': 'no-store' } })
  }

  /** Whether an answer that is no event stream must be read: to take tools out, or to put refusals in. */
  changesBody({ ok, headers }: Response): boolean {
    return (this.listsTools && IS_JSON.test(headers.get('content-type') ?? '')) || (ok && this.#refusals.length > 0)
  }

  /** That answer with its changes. Throws when it can't be read. */
  changeBody(body: Uint8Array | null, { ok, status, headers }: Response, to: Headers): Response {
    // What is accepted has no answer, whatever some servers write there.
    const said = status === 202 ? null : body
    const kept = said && this.listsTools ? this.filter.body(said) : said
    const refusals = ok ? this.takeRefusals() : []
    to.delete('content-length')
    if (refusals.length === 0) return new Response(kept as BodyInit | null, { status, headers: to })
    if (!IS_JSON.test(headers.get('content-type') ?? '')) to.set('content-type', 'application/json')
    return new Response(withAnswers(kept, refusals), { status: 200, headers: to })
  }
}

const nameIn = ({ params }: Message): string => (isRecord(params) && typeof params.name === 'string' ? params.name : '')

/** A JSON answer, or none, with more answers beside it, as a batch has them. */
const withAnswers = (body: Uint8Array | null, answers: RpcError[]): string =>
  body === null || body.length === 0
    ? JSON.stringify(answers)
    : rewriteJson(new TextDecoder().decode(body), (parsed) => [parsed, answers].flat())

/** A batch without the messages that were denied. */
const without = (body: Uint8Array, denials: readonly (DeniedCall | null)[]): Uint8Array =>
  new TextEncoder().encode(
    rewriteJson(new TextDecoder().decode(body), (parsed) =>
      (parsed as StrictBody['messages']).filter((_, index) => denials[index] === null),
    ),
  )
