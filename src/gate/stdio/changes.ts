import type { JSONRPCNotification } from '@modelcontextprotocol/server'

interface Held {
  timer: NodeJS.Timeout
  /** What came since; it says the same, and is newer. */
  last: JSONRPCNotification | null
}

/** Tells that something changed: at once, and while it changes on and on, every `everyMs`. */
export class Changes {
  readonly #held = new Map<string, Held>()

  constructor(
    readonly everyMs: number,
    readonly tell: (message: JSONRPCNotification) => void,
  ) {}

  /** `key`: what changed. */
  add(key: string, message: JSONRPCNotification): void {
    const held = this.#held.get(key)
    if (held) {
      held.last = message
      return
    }
    this.#held.set(key, { last: null, timer: setTimeout(() => this.#release(key), this.everyMs) })
    this.tell(message)
  }

  stop(): void {
    for (const { timer } of this.#held.values()) clearTimeout(timer)
    this.#held.clear()
  }

  #release(key: string): void {
    const last = this.#held.get(key)?.last
    this.#held.delete(key)
    if (last) this.add(key, last)
  }
}
