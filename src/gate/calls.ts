import type { Activity, Call } from '../activity.ts'
import type { Clock } from '../time.ts'
import type { Secret } from '../token.ts'
import type { Upstream } from '../upstream.ts'
import { answersInEvents, failuresInBody, readRpc, type RpcAnswer, type RpcId } from './rpc.ts'

/** Whose calls they are. */
export interface Caller {
  readonly secret: Secret
  readonly server: Upstream
  readonly address: string
  readonly method: string
  client: string | null
}

/** Methods whose `name` is one that the server gave out, and not something said. */
const NAMED: ReadonlySet<string> = new Set(['tools/call', 'prompts/get'])

/** What one exchange asks for, and how it is answered: for the last words of a cut, and for the token's activity. */
export class Calls {
  /** Requests that are to be answered here, and have not been. */
  readonly #waiting = new Map<RpcId, Call>()
  readonly #asked: RpcId[] = []
  /** Who hears the answers: this exchange, or the stream of HTTP+SSE that announced its endpoint. */
  private hearer: Calls = this
  #noted = false
  #failed = false
  #heard: Uint8Array[] = []
  #heardBytes = 0
  /** The body was JSON-RPC. */
  isRpc = false
  /** The body was too large to be read: whom an answer is for is not known. */
  unread = false
  /** It asks for the long stream of 2026-07-28. */
  subscribes = false

  constructor(
    readonly caller: Caller,
    readonly activity: Activity,
    readonly now: Clock,
    readonly heardBytesMax: number,
  ) {}

  get waiting(): Iterable<RpcId> {
    return this.#waiting.keys()
  }

  get anyWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** Notes what a body asks for. `announcer`: the stream that will answer, where it is not this exchange. */
  read(body: Uint8Array, announcer: Calls | null): void {
    const rpc = readRpc(body)
    if (!rpc) return
    if (rpc.client) {
      this.caller.client = rpc.client
      // Only the first call of HTTP+SSE tells the name; its stream remembers it for the others.
      if (announcer) announcer.caller.client = rpc.client
    }
    if (rpc.requests === null) {
      this.unread = true
      return
    }
    this.isRpc = true
    this.#noted = true
    this.hearer = announcer ?? this
    for (const { id, method, name, argumentBytes } of rpc.requests) {
      const call = this.#callOf(method, name)
      this.activity.called(call, argumentBytes, this.now())
      this.#asked.push(id)
      this.hearer.#waiting.set(id, call)
      this.subscribes ||= method === 'subscriptions/listen'
    }
  }

  /** Notes what is no JSON-RPC, or was not read: by its HTTP method, once. */
  notePlain(): void {
    if (this.#noted) return
    this.#noted = true
    this.activity.called(this.#callOf(this.caller.method, ''), 0, this.now())
  }

  refused(method: string, name: string): void {
    this.activity.refused(this.#callOf(method, name), this.now())
  }

  /** Strikes what these bytes of whole events answer. */
  answeredInEvents(bytes: Uint8Array): void {
    if (this.anyWaiting) for (const answer of answersInEvents(bytes)) this.#settle(answer)
  }

  /** A part of a JSON answer that passes by: kept while it may still be read, for the errors in it. */
  overhear(chunk: Uint8Array): void {
    this.#heardBytes += chunk.length
    if (this.#heardBytes <= this.heardBytesMax) this.#heard.push(chunk)
    else this.#heard = []
  }

  /** The answer has passed. */
  heard(): void {
    if (this.#heard.length > 0) this.answeredInBody(Buffer.concat(this.#heard))
  }

  answeredInBody(body: Uint8Array): void {
    if (this.anyWaiting) for (const failure of failuresInBody(body)) this.#settle(failure)
  }

  /** All that was asked for, or was to be answered here, failed together. */
  failed(): void {
    for (const id of this.#asked) this.hearer.#settle({ id, failed: true })
    for (const id of this.#waiting.keys()) this.#settle({ id, failed: true })
    if (this.isRpc || this.#failed) return
    this.#failed = true
    this.notePlain()
    this.activity.failed(this.#callOf(this.caller.method, ''), this.now())
  }

  #settle({ id, failed }: RpcAnswer): void {
    const call = this.#waiting.get(id)
    if (!call) return
    this.#waiting.delete(id)
    if (failed) this.activity.failed(call, this.now())
  }

  #callOf(method: string, name: string): Call {
    const { secret, server, address, client } = this.caller
    const named = NAMED.has(method) ? name : ''
    return { tokenId: secret.token.id, serverId: server.id, method, name: named, address, client: client ?? '' }
  }
}
