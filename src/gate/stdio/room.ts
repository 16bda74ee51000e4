import type { Limits } from '../../limits.ts'

export interface Held {
  readonly bytes: number
  /** Its owner forgets it, and says so by `remove`. */
  drop(): void
}

/**
 * What all sessions hold together: many may stand on one process, so that no limit of processes bounds them. The oldest
 * goes first, whosever it is.
 */
export class Room {
  readonly #held = new Set<Held>()
  #bytes = 0

  constructor(readonly bytesMax: number) {}

  get bytes(): number {
    return this.#bytes
  }

  add(held: Held): void {
    this.#held.add(held)
    this.#bytes += held.bytes
    for (const oldest of this.#held) {
      if (this.#bytes <= this.bytesMax) return
      oldest.drop()
    }
  }

  remove(held: Held): void {
    if (this.#held.delete(held)) this.#bytes -= held.bytes
  }
}

export interface Rooms {
  /** For clients that resume. */
  readonly events: Room
  /** By clients that are slower than their servers. */
  readonly unread: Room
}

export const roomsOf = ({ stdioEventBytesInAllMax, stdioUnreadBytesInAllMax }: Limits): Rooms => ({
  events: new Room(stdioEventBytesInAllMax),
  unread: new Room(stdioUnreadBytesInAllMax),
})
