import type { Limits } from '../../limits.ts'

export interface KeptEvent {
  readonly bytes: number
  /** Its session forgets it, and says so by `remove`. */
  drop(): void
}

/**
 * What all sessions together keep for clients that resume: many sessions may stand on one process, so that no limit of
 * processes bounds them. The oldest goes first, whosever it is.
 */
export class EventRoom {
  readonly #events = new Set<KeptEvent>()
  #bytes = 0

  constructor(readonly limits: Limits) {}

  get bytes(): number {
    return this.#bytes
  }

  add(event: KeptEvent): void {
    this.#events.add(event)
    this.#bytes += event.bytes
    for (const oldest of this.#events) {
      if (this.#bytes <= this.limits.stdioEventBytesInAllMax) return
      oldest.drop()
    }
  }

  remove(event: KeptEvent): void {
    if (this.#events.delete(event)) this.#bytes -= event.bytes
  }
}
