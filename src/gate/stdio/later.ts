import type { JSONRPCMessage } from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'

/** Messages that no stream can take yet: the latest, within the limits of what is kept for a client. */
export class Later {
  #waiting: { message: JSONRPCMessage; bytes: number }[] = []
  #bytes = 0

  constructor(readonly limits: Limits) {}

  add(message: JSONRPCMessage): void {
    const bytes = JSON.stringify(message).length
    if (bytes > this.limits.stdioEventBytesMax) return
    this.#waiting.push({ message, bytes })
    this.#bytes += bytes
    while (this.#waiting.length > this.limits.stdioEventsMax || this.#bytes > this.limits.stdioEventBytesMax)
      this.#bytes -= this.#waiting.shift()?.bytes ?? 0
  }

  /** All of them, in their order; from now on they are the caller's. */
  take(): JSONRPCMessage[] {
    const messages = this.#waiting.map(({ message }) => message)
    this.#waiting = []
    this.#bytes = 0
    return messages
  }
}
