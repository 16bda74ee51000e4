import {
  INTERNAL_ERROR,
  type InboundModernRoute,
  isJSONRPCErrorResponse,
  type JSONRPCMessage,
  type JSONRPCNotification,
  type JSONRPCRequest,
  LOG_LEVEL_META_KEY,
  PerRequestHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { messageOf } from '../../error.ts'
import type { Limits } from '../../limits.ts'
import { isEventStream } from '../headers.ts'
import { ProblemError } from '../problem.ts'
import { isRecord, type RpcId } from '../rpc.ts'
import { exitError, exitProblem, undeliveredError } from './answer.ts'
import { Mux, type Port } from './mux.ts'
import { Outbox, Unread } from './outbox.ts'
import type { Lease } from './supervisor.ts'

/** Errors that are about the request rather than of what it called (MCP 2026-07-28, Streamable HTTP). */
const STATUSES: Record<number, number> = {
  [-32700]: 400,
  [-32600]: 400,
  [-32601]: 404,
  [-32020]: 400,
  [-32021]: 400,
  [-32022]: 400,
}

const slowError = (id: RpcId) => ({
  jsonrpc: '2.0' as const,
  id,
  error: { code: INTERNAL_ERROR, message: 'The answer was ended: its client reads too slowly' },
})

const asksForLogs = ({ params }: JSONRPCRequest): boolean =>
  isRecord(params?._meta) && params._meta[LOG_LEVEL_META_KEY] !== undefined

/** A process that speaks 2026-07-28, and the requests that it answers. */
export class ModernProcess {
  readonly mux: Mux
  /** Which asked for log messages, the newest last. */
  readonly #loggers = new Set<Port>()
  /** How many answers are not read fast enough. */
  #slow = 0

  constructor(
    readonly lease: Lease,
    /** It answers more than one token. */
    readonly shared: boolean,
    readonly limits: Limits,
  ) {
    this.mux = new Mux(lease.process, (message) => this.#route(message))
  }

  /** Throws `ProblemError` when the process ends before an answer has begun. */
  async answer(route: InboundModernRoute, request: Request): Promise<Response> {
    if (route.messageKind === 'request') return new Exchange(this, route, route.message).run(request)
    const port = this.mux.open()
    try {
      await port.send(route.message)
    } catch {
      throw new ProblemError(exitProblem(this.howEnded))
    } finally {
      void port.close()
    }
    return new Response(null, { status: 202 })
  }

  get howEnded(): string {
    return this.lease.process.end?.detail ?? 'it was ended'
  }

  open(request: JSONRPCRequest): Port {
    const port = this.mux.open()
    if (asksForLogs(request)) this.#loggers.add(port)
    return port
  }

  left(port: Port): void {
    this.#loggers.delete(port)
  }

  /** An answer of a process that is one token's holds up only that token. */
  pause(): void {
    this.#slow += 1
    this.lease.process.pause()
  }

  resume(): void {
    this.#slow -= 1
    if (this.#slow === 0) this.lease.process.resume()
  }

  /** What is logged belongs to a request that asked for it; where that may be another token's, to none. */
  #route(message: JSONRPCNotification): void {
    if (message.method !== 'notifications/message') return
    const port = [...this.#loggers].at(-1)
    if (port && (!this.shared || port === this.mux.onlyWaiting)) port.deliver(message)
  }
}

/** One request on its way to a process, and its answer. */
class Exchange {
  readonly #port: Port
  readonly #transport: PerRequestHTTPServerTransport
  readonly #unread: Unread
  readonly #release: () => void
  /** What is answered in place of what the transport says. */
  readonly #instead = Promise.withResolvers<Response>()
  /** Something was said on its stream. */
  #begun = false
  #behind = false
  #behindBytes = 0

  constructor(
    readonly process: ModernProcess,
    readonly route: InboundModernRoute,
    readonly message: JSONRPCRequest,
  ) {
    this.#release = process.lease.use()
    this.#port = process.open(message)
    this.#unread = new Unread(this, process.limits)
    this.#transport = new PerRequestHTTPServerTransport({ classification: route.classification, keepAliveMs: 0 })
    this.#port.onmessage = (answer) => this.#give(answer)
    this.#port.onclose = () => this.#exited()
    this.#transport.onmessage = (request) => {
      this.#port.send(request).catch((error: unknown) => this.#undelivered(error))
    }
    this.#transport.onclose = () => this.#over()
  }

  async run(request: Request): Promise<Response> {
    await this.#transport.start()
    const said = this.#transport.handleMessage(this.message, { request })
    const answer = await Promise.race([said, this.#instead.promise])
    if (!isEventStream(answer.headers) || !answer.body) return answer
    const outbox = new Outbox(this.#unread, () => undefined)
    void outbox.follow(answer.body)
    return new Response(outbox.body, answer)
  }

  #give(message: JSONRPCMessage): void {
    const status = !this.#begun && isJSONRPCErrorResponse(message) ? STATUSES[message.error.code] : undefined
    if (status !== undefined) {
      this.#instead.resolve(Response.json(message, { status }))
      void this.#transport.close()
    } else if (this.#behind && this.#fellBehind(message)) {
      this.#say(slowError(this.message.id))
    } else {
      this.#say(message)
    }
  }

  #say(message: JSONRPCMessage): void {
    this.#begun = true
    void this.#transport.send(message, { relatedRequestId: this.message.id })
  }

  // Of a client that reads too slowly

  pause(): void {
    if (!this.process.shared) return this.process.pause()
    this.#behind = true
    this.#behindBytes = 0
  }

  resume(): void {
    if (!this.process.shared) return this.process.resume()
    this.#behind = false
  }

  #fellBehind(message: JSONRPCMessage): boolean {
    this.#behindBytes += JSON.stringify(message).length
    return this.#behindBytes > this.process.limits.stdioBehindBytesMax
  }

  // Endings

  #undelivered(error: unknown): void {
    const { lease } = this.process
    if (lease.ending || lease.process.end) return this.#exited()
    if (this.#begun || !(error instanceof ProblemError))
      return this.#say(undeliveredError(this.message.id, messageOf(error)))
    this.#instead.reject(error)
    void this.#transport.close()
  }

  /** The process ended, or takes nothing more; or all was said, and this is heard by nobody. */
  #exited(): void {
    const { howEnded } = this.process
    if (this.#begun) this.#say(exitError(this.message.id, howEnded))
    else this.#instead.reject(new ProblemError(exitProblem(howEnded)))
    void this.#transport.close()
  }

  /** All was said, or the client is gone: then the process is told so. */
  #over(): void {
    this.process.left(this.#port)
    void this.#port.close()
    this.#release()
  }
}
