import { type JSONRPCNotification, type JSONRPCRequest, LOG_LEVEL_META_KEY } from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'
import { ProblemError } from '../problem.ts'
import { isRecord } from '../rpc.ts'
import { tooManyCalls } from './answer.ts'
import { ParamHeaders } from './modern-headers.ts'
import { Mux, type Port } from './mux.ts'
import type { Room } from './room.ts'
import type { Lease } from './supervisor.ts'

const asksForLogs = ({ params }: JSONRPCRequest): boolean =>
  isRecord(params?._meta) && params._meta[LOG_LEVEL_META_KEY] !== undefined

/** A process that speaks 2026-07-28, and the requests that it answers. */
export class ModernProcess {
  readonly mux: Mux
  readonly paramHeaders: ParamHeaders
  /** Which asked for log messages, the newest last. */
  readonly #loggers = new Set<Port>()
  /** Calls that wait for their answers, and what they asked, which is kept until then. */
  #waiting = 0
  #waitingBytes = 0
  /** How many answers are not read fast enough. */
  #slow = 0

  constructor(
    readonly lease: Lease,
    /** It answers more than one token. */
    readonly shared: boolean,
    readonly limits: Limits,
    readonly unread: Room,
  ) {
    this.paramHeaders = new ParamHeaders(limits)
    this.mux = new Mux(lease.process, (message) => this.#route(message))
  }

  get howEnded(): string {
    return this.lease.process.end?.detail ?? 'it was ended'
  }

  /** Throws `ProblemError` where too much waits already. */
  open(request: JSONRPCRequest, bytes: number): Port {
    const { rpcIdsMax, stdioWaitingBytesMax } = this.limits
    if (this.#waiting >= rpcIdsMax || this.#waitingBytes + bytes > stdioWaitingBytesMax)
      throw new ProblemError(tooManyCalls(this.#waiting))
    this.#waiting += 1
    this.#waitingBytes += bytes
    const port = this.mux.open()
    if (asksForLogs(request)) this.#loggers.add(port)
    return port
  }

  left(port: Port, bytes: number): void {
    this.#waiting -= 1
    this.#waitingBytes -= bytes
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
