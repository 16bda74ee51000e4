/** Server-sent events as bytes: where an event ends (WHATWG HTML §9.2.5). */

const LF = 10
const CR = 13
/** CR LF after the end of a line, of which the last byte may be all that this chunk holds. */
const LOOK_BACK = 3
const NOTHING = new Uint8Array(0)

/**
 * Lets through whole events only, so that whatever is said last starts on a boundary. An unfinished event
 * is held back, up to `tailBytesMax`; a larger one flows on, and `onBoundary` is false until it ends.
 */
export class EventGate {
  #held: Uint8Array[] = []
  #heldBytes = 0
  /** The last bytes before the chunk at hand, the very last in the lowest bits: a blank line may be split over chunks. */
  #last = 0
  #flowing = false

  constructor(readonly tailBytesMax: number) {}

  /** Whether what was let through ends with an event's end. */
  get onBoundary(): boolean {
    return !this.#flowing
  }

  /** The bytes that may go on now; often the chunk itself, uncopied. */
  push(chunk: Uint8Array): Uint8Array {
    const end = this.#boundary(chunk)
    this.#remember(chunk)
    if (end === 0) return this.#hold(chunk)
    const whole = end === chunk.length ? chunk : chunk.subarray(0, end)
    const out = this.#heldBytes === 0 ? whole : this.#join(whole)
    this.#flowing = false
    if (end < chunk.length) this.#keep(chunk.subarray(end))
    return out
  }

  /** What is still held back when the stream ends by itself. */
  rest(): Uint8Array {
    return this.#join(NOTHING)
  }

  #hold(chunk: Uint8Array): Uint8Array {
    if (this.#flowing) return chunk
    if (this.#heldBytes + chunk.length <= this.tailBytesMax) {
      this.#keep(chunk)
      return NOTHING
    }
    this.#flowing = true
    return this.#join(chunk)
  }

  #keep(bytes: Uint8Array): void {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  #join(more: Uint8Array): Uint8Array {
    if (this.#heldBytes === 0) return more
    const joined = new Uint8Array(this.#heldBytes + more.length)
    let at = 0
    for (const part of this.#held) {
      joined.set(part, at)
      at += part.length
    }
    joined.set(more, at)
    this.#held = []
    this.#heldBytes = 0
    return joined
  }

  #remember(chunk: Uint8Array): void {
    const { length } = chunk
    for (let at = Math.max(length - LOOK_BACK, 0); at < length; at += 1)
      this.#last = (this.#last << 8) | (chunk[at] as number)
  }

  /** How many bytes of the chunk reach up to the end of its last whole event. */
  #boundary(chunk: Uint8Array): number {
    const last = this.#last
    const at = (index: number): number => (index >= 0 ? (chunk[index] as number) : (last >> (-8 * (index + 1))) & 0xff)
    for (let end = chunk.length; end > 0; end--) {
      const byte = at(end - 1)
      if (byte !== LF && byte !== CR) continue
      // A line's end is CR LF, LF or CR; two in a row are a blank line.
      const start = byte === LF && at(end - 2) === CR ? end - 2 : end - 1
      const before = at(start - 1)
      if (before !== LF && before !== CR) continue
      // LF CR at the very end may be the first half of LF CR LF.
      if (byte === CR && before === LF && end === chunk.length) continue
      return end
    }
    return 0
  }
}

const encoder = new TextEncoder()

export const KEEP_ALIVE = encoder.encode(':\n\n')
export const BLANK_LINE = encoder.encode('\n\n')

/** One event. The data is JSON, which holds no line feed. */
export const eventBytes = (data: unknown, name?: string): Uint8Array =>
  encoder.encode(`${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(data)}\n\n`)

/** An event's name and data, out of its lines. */
export interface ServerEvent {
  name: string
  data: string
}

const BLANK_LINES = /((?:\r\n|\n|\r(?!\n)){2,})/
const LINE_END = /\r\n|\n|\r/

/** The value of a line `field:value`, without one space at its beginning (WHATWG HTML §9.2.6). */
const valueOf = (line: string, colon: number): string =>
  colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)

const eventOf = (block: string): ServerEvent | null => {
  let data: string | null = null
  let name = 'message'
  for (const line of block.split(LINE_END)) {
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    if (field === 'data') data = (data === null ? '' : `${data}\n`) + valueOf(line, colon)
    // An empty type is the default one.
    else if (field === 'event') name = valueOf(line, colon) || 'message'
  }
  return data === null ? null : { name, data }
}

/** The events of a text that holds whole events. */
export const parseEvents = (text: string): ServerEvent[] => {
  const events: ServerEvent[] = []
  for (const block of (text.startsWith('\ufeff') ? text.slice(1) : text).split(BLANK_LINES)) {
    // What stands between the blocks is split off with them, and is no event.
    const event = eventOf(block)
    if (event) events.push(event)
  }
  return events
}

/** An event's block with other data, in one line, and all its other lines as they were. */
const withData = (block: string, data: string): string => {
  const lines = block.split(LINE_END)
  const at = lines.findIndex((line) => /^data(?::|$)/.test(line))
  return [...lines.slice(0, at), `data: ${data}`, ...lines.slice(at).filter((line) => !/^data(?::|$)/.test(line))].join(
    '\n',
  )
}

/** Whole events with some of their data changed; `change` gives null for what stays. What has no change is uncopied. */
export const changeEvents = (bytes: Uint8Array, change: (event: ServerEvent) => string | null): Uint8Array => {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  const mark = text.startsWith('\ufeff') ? '\ufeff' : ''
  const parts = text.slice(mark.length).split(BLANK_LINES)
  let changed = false
  for (const [index, block] of parts.entries()) {
    const event = index % 2 === 0 ? eventOf(block) : null
    const data = event && change(event)
    if (data === null) continue
    parts[index] = withData(block, data)
    changed = true
  }
  return changed ? encoder.encode(mark + parts.join('')) : bytes
}
