import {
  isInitializeRequest,
  isJSONRPCRequest,
  type JSONRPCMessage,
  parseJSONRPCMessage,
} from '@modelcontextprotocol/server'
import { messageOf } from '../../error.ts'
import type { Limits } from '../../limits.ts'
import { ProblemError, problems } from '../problem.ts'
import { isId, type RpcId } from '../rpc.ts'
import { exitError, isOver, rpcRefusal, sessionNotFound, tooManyCalls, undeliveredError } from './answer.ts'
import type { Link } from './link.ts'
import { Outbox, Unread } from './outbox.ts'
import { paramsOf } from './relations.ts'
import type { Rooms } from './room.ts'
import { newSessionId } from './session.ts'

const encoder = new TextEncoder()

/** A session of HTTP+SSE (2024-11-05): one stream for all that the server says; it lasts as long as that. */
export class OldSseSession {
  readonly id = newSessionId()
  readonly #outbox: Outbox
  readonly #waiting = new Set<RpcId>()
  readonly #done: () => void
  #start: NodeJS.Timeout | undefined
  #initializeId: RpcId | null = null
  #closed = false

  constructor(
    readonly link: Link,
    readonly limits: Limits,
    rooms: Rooms,
    readonly onClosed: () => void,
  ) {
    this.#done = link.use()
    this.#outbox = new Outbox(new Unread(link, limits, rooms.unread), () => this.close())
    link.onmessage = (message) => this.#fromServer(message)
    void link.ended.then(({ detail }) => this.#died(detail))
  }

  /** The answer to the GET: its first event says where the client's messages go. */
  async open(): Promise<Response> {
    this.#outbox.push(encoder.encode(`event: endpoint\ndata: /messages?sessionId=${this.id}\n\n`))
    await this.link.start()
    return new Response(this.#outbox.body, {
      headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' },
    })
  }

  /** One message of the client's. Throws `ProblemError`. */
  post(body: unknown): Response {
    if (this.#closed) return sessionNotFound()
    let message: JSONRPCMessage
    try {
      message = parseJSONRPCMessage(body)
    } catch {
      return rpcRefusal(400, -32700, 'Parse error: Invalid JSON-RPC message')
    }
    const { requestId } = paramsOf(message)
    if (isJSONRPCRequest(message)) this.#await(message)
    else if ('method' in message && message.method === 'notifications/cancelled' && isId(requestId))
      this.#waiting.delete(requestId)
    this.link.send(message).catch((error: unknown) => this.#undelivered(message, error))
    return new Response('Accepted', { status: 202 })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#start)
    this.#outbox.end()
    this.#done()
    this.link.stop()
    this.onClosed()
  }

  #await(request: JSONRPCMessage & { id: RpcId }): void {
    const { rpcIdsMax } = this.limits
    if (this.#waiting.size >= rpcIdsMax) throw new ProblemError(tooManyCalls(rpcIdsMax))
    this.#waiting.add(request.id)
    if (!isInitializeRequest(request) || this.#start) return
    this.#initializeId = request.id
    this.#start = setTimeout(() => this.#died(problems.serverStartTimeout.detail), this.limits.stdioStartMs)
  }

  #undelivered(message: JSONRPCMessage, error: unknown): void {
    if (!isJSONRPCRequest(message) || isOver(error)) return
    this.#fromServer(undeliveredError(message.id, messageOf(error)))
  }

  #fromServer(message: JSONRPCMessage): void {
    if (!('method' in message) && message.id !== undefined) {
      this.#waiting.delete(message.id)
      if (message.id === this.#initializeId) clearTimeout(this.#start)
    }
    this.#outbox.push(encoder.encode(`event: message\ndata: ${JSON.stringify(message)}\n\n`))
  }

  #died(detail: string): void {
    if (this.#closed) return
    for (const id of this.#waiting) this.#fromServer(exitError(id, detail))
    this.close()
  }
}
