import {
  INTERNAL_ERROR,
  type InboundModernRoute,
  isJSONRPCErrorResponse,
  isJSONRPCResultResponse,
  type JSONRPCMessage,
  type JSONRPCRequest,
  PerRequestHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { messageOf } from '../../error.ts'
import { isEventStream } from '../headers.ts'
import { ProblemError } from '../problem.ts'
import type { RpcId } from '../rpc.ts'
import { exitError, exitProblem, undeliveredError } from './answer.ts'
import { Behind } from './behind.ts'
import type { ModernProcess } from './modern-process.ts'
import type { Port } from './mux.ts'
import { Outbox, Unread } from './outbox.ts'

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

/** One request on its way to a process, and its answer. */
export class ModernExchange {
  readonly #port: Port
  readonly #transport: PerRequestHTTPServerTransport
  readonly #unread: Unread
  readonly #release: () => void
  /** What is answered in place of what the transport says. */
  readonly #instead = Promise.withResolvers<Response>()
  /** Something was said on its stream. */
  #begun = false
  readonly #behind: Behind

  constructor(
    readonly process: ModernProcess,
    readonly route: InboundModernRoute,
    readonly message: JSONRPCRequest,
    readonly bytes: number,
  ) {
    this.#port = process.open(message, bytes)
    this.#release = process.lease.use()
    this.#behind = new Behind(process.limits)
    // A process that is one token's waits for it; one that is not gives it up.
    this.#unread = new Unread(process.shared ? this.#behind : process, process.limits, process.unread)
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
    if (this.message.method === 'tools/list' && isJSONRPCResultResponse(message))
      this.process.paramHeaders.learn(message.result)
    const status = !this.#begun && isJSONRPCErrorResponse(message) ? STATUSES[message.error.code] : undefined
    if (status !== undefined) {
      this.#instead.resolve(Response.json(message, { status }))
      void this.#transport.close()
    } else if (this.#behind.tooMuch(message)) {
      this.#say(slowError(this.message.id))
    } else {
      this.#say(message)
    }
  }

  #say(message: JSONRPCMessage): void {
    this.#begun = true
    void this.#transport.send(message, { relatedRequestId: this.message.id })
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
    this.process.left(this.#port, this.bytes)
    void this.#port.close()
    this.#release()
  }
}
