import type { JSONRPCMessage } from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'

/** A client of a shared process that has much unread: the process does not wait for it, so it may fall behind a little. */
export class Behind {
  #is = false
  #bytes = 0

  constructor(readonly limits: Limits) {}

  /** It has as much unread as a process of its own would wait for. */
  pause(): void {
    this.#is = true
    this.#bytes = 0
  }

  resume(): void {
    this.#is = false
  }

  /** Whether it is to be ended rather than given this too. */
  tooMuch(message: JSONRPCMessage): boolean {
    if (!this.#is) return false
    this.#bytes += JSON.stringify(message).length
    return this.#bytes > this.limits.stdioBehindBytesMax
  }
}
