import { FAREWELL, LAST_CHUNK } from './words.ts'

/** Enough for the farewell, its chunk's frame and the last chunk. */
const TAIL = 256

export type Ending = 'terminator' | 'fin' | 'reset'

/** One stream, and the moment at which its client could know that it had ended. */
export class Watch {
  status = ''
  endedAt: number | null = null
  ending: Ending | null = null
  /** Something came after the end. */
  trailing = false
  socket: Bun.Socket<Watch> | null = null
  #tail = ''

  constructor(
    readonly onLive: () => void,
    readonly onEnded: () => void,
  ) {}

  take(bytes: Buffer): void {
    const at = performance.now()
    if (this.ending) {
      this.trailing = true
      return
    }
    const first = this.status === ''
    const text = bytes.toString('latin1')
    if (first) this.status = text.slice(9, 12)
    this.#tail = (this.#tail + text).slice(-TAIL)
    if (this.#tail.endsWith(LAST_CHUNK)) this.end('terminator', at)
    // A stream is live when its first event came, which may be after its head.
    else if (text.includes('data: ')) this.onLive()
  }

  end(ending: Ending, at = performance.now()): void {
    if (this.ending) return
    this.ending = ending
    this.endedAt = at
    this.onEnded()
  }

  get farewell(): boolean {
    return this.#tail.includes(FAREWELL)
  }
}
