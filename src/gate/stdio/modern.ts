import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  type InboundLadderRejection,
  type InboundModernRoute,
  type JSONRPCResponse,
  PROTOCOL_VERSION_META_KEY,
  SUPPORTED_PROTOCOL_VERSIONS,
  UnsupportedProtocolVersionError,
} from '@modelcontextprotocol/server'
import packageJson from '../../../package.json' with { type: 'json' }
import type { Limits } from '../../limits.ts'
import type { StdioSpec } from '../../stdio.ts'
import { ProblemError, problems } from '../problem.ts'
import { isId, isRecord } from '../rpc.ts'
import type { Caller } from '../upstream.ts'
import { exitProblem, rpcRefusal } from './answer.ts'
import { Kept } from './kept.ts'
import type { StdioServer } from './launch.ts'
import { ModernExchange } from './modern-exchange.ts'
import { headersProblem } from './modern-headers.ts'
import { ModernProcess } from './modern-process.ts'
import type { Room } from './room.ts'
import type { Supervisor } from './supervisor.ts'

const REVISION = '2026-07-28'
const UNSUPPORTED_VERSION_CODE = -32022

/** What is known of a command. */
interface Verdict {
  /** Revisions without sessions that it speaks; none: only those with. */
  revisions: readonly string[]
  /** Of `performance.now()`: it is believed until then. */
  until: number
}

export interface ModernDeps {
  supervisor: Supervisor
  limits: Limits
  /** For what clients have not read yet. */
  unread: Room
}

/**
 * MCP 2026-07-28 without sessions: all stateless requests of a token go to one process of its own, or to the server's
 * shared one. A command that speaks only 2025 is treated as an HTTP server would be that does: clients of both then
 * begin a session.
 */
export class Modern {
  readonly #verdicts = new WeakMap<StdioSpec, Verdict>()
  readonly #processes = new Kept<ModernProcess>()

  constructor(readonly deps: ModernDeps) {}

  /** `outcome` is what the SDK says of the request, whose body is read. Throws `ProblemError`. */
  async fetch(
    server: StdioServer,
    request: Request,
    body: { json: unknown; bytes: number },
    outcome: InboundModernRoute | InboundLadderRejection,
    caller: Caller | null,
  ): Promise<Response> {
    if (outcome.kind === 'reject') return refusalOf(outcome.httpStatus, outcome, body.json)
    const verdict = this.#verdicts.get(server.stdio)
    if (verdict?.revisions.length === 0 && verdict.until > performance.now()) return refusal(outcome)
    if (outcome.messageKind === 'request') {
      const problem = headersProblem(request.headers, outcome.message)
      if (problem) throw new ProblemError(problem)
    }
    const process = await this.#find(server, caller)
    if (!process) return refusal(outcome)
    const supported = this.#verdicts.get(server.stdio)?.revisions ?? []
    const requested = outcome.classification.revision ?? REVISION
    if (!supported.includes(requested)) {
      const { code, message, data } = new UnsupportedProtocolVersionError({ supported: [...supported], requested })
      return refusalOf(400, { code, message, data }, body.json)
    }
    if (outcome.messageKind === 'request') {
      const problem = process.paramHeaders.problem(request.headers, outcome.message)
      if (problem) throw new ProblemError(problem)
    }
    if (caller) process.lease.touch(caller)
    return answer(process, outcome, request, body.bytes)
  }

  /** Null: the command speaks only 2025. */
  async #find(server: StdioServer, caller: Caller | null): Promise<ModernProcess | null> {
    const { shared } = server.stdio
    const key = shared ? server.id : `${server.id} ${caller?.secret.token.id ?? ''}`
    try {
      return await this.#processes.find(key, server, () => this.#start(server, shared ? null : caller))
    } catch (error) {
      if (error instanceof SpeaksOnly2025) return null
      throw error
    }
  }

  async #start(server: StdioServer, caller: Caller | null): Promise<ModernProcess> {
    const { supervisor, limits, unread } = this.deps
    const lease = await supervisor.start(server, caller, `/s/${server.name}`)
    const done = lease.use()
    try {
      const process = new ModernProcess(lease, server.stdio.shared, limits, unread)
      await process.mux.transport.start()
      if (!this.#verdicts.get(server.stdio)?.revisions.length) await this.#try(server.stdio, process)
      return process
    } catch (error) {
      lease.stop()
      throw error
    } finally {
      done()
    }
  }

  /** Its first message is one that a command of 2025 may not know, ignore, or even die of. */
  async #try(spec: StdioSpec, process: ModernProcess): Promise<void> {
    const { lease } = process
    lease.trial = true
    const revisions = await this.#discover(process)
    const { end } = lease.process
    if (!end) lease.trial = false
    // Cut, or told to end: nothing was learnt.
    if (lease.ending && !end?.crashed) throw new ProblemError(problems.serverExited)
    const forMs = revisions ? Infinity : this.deps.limits.stdioDiscoverAgainMs
    this.#verdicts.set(spec, { revisions: revisions ?? [], until: performance.now() + forMs })
    if (!revisions?.length) throw new SpeaksOnly2025()
  }

  /** Null: it did not say. */
  async #discover({ mux }: ModernProcess): Promise<string[] | null> {
    const params = {
      _meta: {
        [PROTOCOL_VERSION_META_KEY]: REVISION,
        [CLIENT_INFO_META_KEY]: { name: 'portcullis', version: packageJson.version },
        [CLIENT_CAPABILITIES_META_KEY]: {},
      },
    }
    try {
      return revisionsIn(
        await mux.ask('server/discover', params, AbortSignal.timeout(this.deps.limits.stdioDiscoverMs)),
      )
    } catch {
      // It ended, or said nothing in time: both are what commands of 2025 do.
      return null
    }
  }
}

/** Throws `ProblemError` when the process ends before an answer has begun, and where too much waits already. */
const answer = async (
  process: ModernProcess,
  route: InboundModernRoute,
  request: Request,
  bytes: number,
): Promise<Response> => {
  if (route.messageKind === 'request') return new ModernExchange(process, route, route.message, bytes).run(request)
  // The gate has cut it while a process was looked for; the SDK asks the same of a request.
  request.signal.throwIfAborted()
  const port = process.mux.open()
  try {
    await port.send(route.message)
  } catch {
    throw new ProblemError(exitProblem(process.howEnded))
  } finally {
    void port.close()
  }
  return new Response(null, { status: 202 })
}

class SpeaksOnly2025 extends Error {}

const revisionsIn = (answer: JSONRPCResponse): string[] => {
  const refused = 'error' in answer
  const said = refused ? isRecord(answer.error.data) && answer.error.data.supported : answer.result['supportedVersions']
  if (!Array.isArray(said) || (refused && answer.error.code !== UNSUPPORTED_VERSION_CODE)) return []
  return said.filter((revision) => typeof revision === 'string' && revision >= REVISION)
}

const refusalOf = (
  status: number,
  { code, message, data }: { code: number; message: string; data?: unknown },
  body: unknown,
): Response => {
  const id = isRecord(body) && isId(body.id) ? body.id : null
  return Response.json(
    { jsonrpc: '2.0', error: { code, message, ...(data !== undefined && { data }) }, id },
    { status },
  )
}

/** In the words of HTTP servers that speak only 2025: clients of both eras then begin a session. */
const refusal = ({ classification }: InboundModernRoute): Response =>
  rpcRefusal(
    400,
    -32000,
    `Bad Request: Unsupported protocol version: ${classification.revision ?? REVISION} (supported versions: ${SUPPORTED_PROTOCOL_VERSIONS.join(', ')})`,
  )
