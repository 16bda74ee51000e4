import {
  type JSONRPCMessage,
  type JSONRPCNotification,
  type JSONRPCRequest,
  type JSONRPCResponse,
  METHOD_NOT_FOUND,
  type RequestId,
  SUBSCRIPTION_ID_META_KEY,
  type Transport,
} from '@modelcontextprotocol/server'
import { isRecord } from '../rpc.ts'

/** A request that a port waits to have answered, under the id that it has in the process. */
interface Pending {
  port: Port
  id: RequestId
  /** As the client named it; in the process it is named as the request. */
  progressToken: unknown
  /** A stream of notifications: nothing else that the process says is about it. */
  listens: boolean
}

const isResponse = (message: JSONRPCMessage): message is JSONRPCResponse => !('method' in message)
const isRequest = (message: JSONRPCMessage): message is JSONRPCRequest => 'method' in message && 'id' in message

const paramsOf = (message: { params?: unknown }): Record<string, unknown> =>
  isRecord(message.params) ? message.params : {}

const metaOf = (params: Record<string, unknown>): Record<string, unknown> =>
  isRecord(params._meta) ? params._meta : {}

/** The same with other entries in its `_meta`. */
const withMeta = <T extends Record<string, unknown>>(params: T, entries: Record<string, unknown>): T => ({
  ...params,
  _meta: { ...metaOf(params), ...entries },
})

/**
 * One process, spoken to by many. Ids of requests, their progress tokens and subscriptions are unique in the process,
 * and each port gets its own back. What belongs to no request of a port is told to `unrouted`. Nobody is asked
 * anything by the process: whom it means could not be known.
 */
export class Mux {
  readonly #pending = new Map<number, Pending>()
  readonly #ports = new Set<Port>()
  /** How many requests of a port wait for an answer, listening aside. */
  readonly #waiting = new Map<Port, number>()
  #lastId = 0

  constructor(
    readonly transport: Transport,
    readonly unrouted: (message: JSONRPCNotification) => void = () => undefined,
  ) {
    transport.onmessage = (message) => this.#received(message)
    transport.onclose = () => this.#closed()
  }

  /** What is kept of requests and ports. */
  get size(): number {
    return this.#pending.size + this.#ports.size + this.#waiting.size
  }

  /** The only one that waits for an answer; null when there are more, or none. */
  get onlyWaiting(): Port | null {
    const [port, another] = this.#waiting.keys()
    return port && !another ? port : null
  }

  open(): Port {
    const port = new Port(this)
    this.#ports.add(port)
    return port
  }

  /** Asks on the gate's own behalf. Rejects when the process ends before it answers, or `signal` says so. */
  ask(method: string, params: Record<string, unknown>, signal: AbortSignal): Promise<JSONRPCResponse> {
    const port = this.open()
    const answer = new Promise<JSONRPCResponse>((resolve, reject) => {
      port.onmessage = (message) => isResponse(message) && resolve(message)
      port.onclose = () => reject(new Error('the process ended'))
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      port.send({ jsonrpc: '2.0', id: 0, method, params }).catch(reject)
    })
    return answer.finally(() => port.close())
  }

  // To the process

  /** For ports. Rejects what the process does not take. */
  async send(port: Port, message: JSONRPCMessage): Promise<void> {
    // The process asked nothing, so nothing is an answer to it.
    if (isResponse(message)) return
    if (isRequest(message)) return this.#sendRequest(port, message)
    if (message.method === 'notifications/progress') return
    if (message.method !== 'notifications/cancelled') return this.transport.send(message)
    const id = this.#idIn(port, paramsOf(message).requestId)
    if (id === null) return
    this.#forget(id)
    return this.transport.send({ ...message, params: { ...message.params, requestId: id } })
  }

  async #sendRequest(port: Port, message: JSONRPCRequest): Promise<void> {
    this.#lastId += 1
    const id = this.#lastId
    const { progressToken } = metaOf(paramsOf(message))
    const listens = message.method === 'subscriptions/listen'
    this.#pending.set(id, { port, id: message.id, progressToken, listens })
    port.requests.add(id)
    if (!listens) this.#waiting.set(port, (this.#waiting.get(port) ?? 0) + 1)
    const params = progressToken === undefined ? message.params : withMeta(paramsOf(message), { progressToken: id })
    try {
      await this.transport.send({ ...message, id, ...(params && { params }) })
    } catch (error) {
      this.#forget(id)
      throw error
    }
  }

  #idIn(port: Port, requestId: unknown): number | null {
    // The newest, should a client have used one id twice.
    for (const id of [...port.requests].toReversed()) if (this.#pending.get(id)?.id === requestId) return id
    return null
  }

  #forget(id: number): void {
    const pending = this.#pending.get(id)
    if (!pending) return
    const { port, listens } = pending
    this.#pending.delete(id)
    port.requests.delete(id)
    if (listens) return
    const left = (this.#waiting.get(port) ?? 1) - 1
    if (left > 0) this.#waiting.set(port, left)
    else this.#waiting.delete(port)
  }

  /** For ports: one goes, and what it asked for is given up. */
  leave(port: Port): void {
    if (!this.#ports.delete(port)) return
    for (const requestId of port.requests) {
      this.#forget(requestId)
      const params = { requestId, reason: 'The client is gone' }
      // A process that takes nothing more has nothing to give up.
      this.transport.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params }).catch(() => undefined)
    }
  }

  // From the process

  #received(message: JSONRPCMessage): void {
    if (isResponse(message)) this.#answered(message)
    else if (isRequest(message)) this.#refuse(message)
    else this.#notified(message)
  }

  #answered(message: JSONRPCResponse): void {
    const pending = this.#find(message.id)
    // Of a port that is gone, given up, or made up.
    if (!pending) return
    this.#forget(message.id as number)
    const { port, id } = pending
    if ('error' in message) return port.deliver({ ...message, id })
    const { result } = message
    const named = metaOf(result)[SUBSCRIPTION_ID_META_KEY] === message.id
    port.deliver({ ...message, id, result: named ? withMeta(result, { [SUBSCRIPTION_ID_META_KEY]: id }) : result })
  }

  #refuse({ id, method }: JSONRPCRequest): void {
    const error = { code: METHOD_NOT_FOUND, message: 'This client answers no requests' }
    const answer: JSONRPCMessage =
      method === 'ping' ? { jsonrpc: '2.0', id, result: {} } : { jsonrpc: '2.0', id, error }
    // A process that takes nothing more waits for nothing more.
    this.transport.send(answer).catch(() => undefined)
  }

  #notified(message: JSONRPCNotification): void {
    const params = paramsOf(message)
    const subscription = metaOf(params)[SUBSCRIPTION_ID_META_KEY]
    if (message.method === 'notifications/progress') {
      const pending = this.#find(params.progressToken)
      if (pending?.progressToken === undefined) return
      pending.port.deliver({ ...message, params: { ...params, progressToken: pending.progressToken } })
    } else if (message.method === 'notifications/cancelled') {
      const pending = this.#find(params.requestId)
      pending?.port.deliver({ ...message, params: { ...params, requestId: pending.id } })
    } else if (subscription !== undefined) {
      const pending = this.#find(subscription)
      pending?.port.deliver({ ...message, params: withMeta(params, { [SUBSCRIPTION_ID_META_KEY]: pending.id }) })
    } else {
      this.unrouted(message)
    }
  }

  #find(id: unknown): Pending | undefined {
    return typeof id === 'number' ? this.#pending.get(id) : undefined
  }

  #closed(): void {
    const ports = [...this.#ports]
    for (const map of [this.#pending, this.#ports, this.#waiting]) map.clear()
    for (const port of ports) port.closed()
  }
}

/** The end of a mux that one session, or one request, speaks to. */
export class Port implements Transport {
  onmessage?: Transport['onmessage']
  onclose?: Transport['onclose']
  onerror?: Transport['onerror']
  /** For the mux: its requests in flight, by their ids in the process. */
  readonly requests = new Set<number>()
  #open = true

  constructor(readonly mux: Mux) {}

  async start(): Promise<void> {}

  send(message: JSONRPCMessage): Promise<void> {
    if (!this.#open) return Promise.reject(new Error('the port is closed'))
    return this.mux.send(this, message)
  }

  /** For the mux. */
  deliver(message: JSONRPCMessage): void {
    if (this.#open) this.onmessage?.(message)
  }

  close(): Promise<void> {
    this.mux.leave(this)
    this.closed()
    return Promise.resolve()
  }

  /** For the mux: nothing comes any more. */
  closed(): void {
    if (!this.#open) return
    this.#open = false
    this.requests.clear()
    this.onclose?.()
  }
}
