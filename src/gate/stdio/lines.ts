const NEWLINE = 10
const RETURN = 13

/**
 * Bytes as they come, asked for line by line: who asks may stop in the middle of a chunk. A line of more than
 * `bytesMax` bytes, its end not counted, is cut there; the rest of it is dropped, and `onCut` told once.
 */
export class Lines {
  /** What has arrived and was not asked for. */
  readonly #chunks: Uint8Array[] = []
  /** The beginning of a line whose end has not arrived. */
  #held: Uint8Array[] = []
  #heldLength = 0
  #cut = false

  constructor(
    readonly bytesMax: number,
    readonly onCut: () => void = () => {},
  ) {}

  push(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#chunks.push(chunk)
  }

  /** The next whole line, or null. */
  next(): string | null {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (!chunk) return null
      const end = chunk.indexOf(NEWLINE)
      this.#hold(end === -1 ? chunk : chunk.subarray(0, end))
      if (end === -1) continue
      if (end + 1 < chunk.length) this.#chunks.unshift(chunk.subarray(end + 1))
      return this.rest()
    }
  }

  /** What was held of a line that will have no end. */
  rest(): string {
    const bytes = Buffer.concat(this.#held, this.#heldLength)
    this.#held = []
    this.#heldLength = 0
    this.#cut = false
    return bytes.toString('utf8', 0, bytes.at(-1) === RETURN ? bytes.length - 1 : bytes.length)
  }

  #hold(piece: Uint8Array): void {
    const room = this.bytesMax - this.#heldLength
    if (piece.length > 0 && room > 0) {
      this.#held.push(piece.subarray(0, room))
      this.#heldLength += Math.min(piece.length, room)
    }
    if (piece.length <= room || this.#cut) return
    this.#cut = true
    this.onCut()
  }
}
