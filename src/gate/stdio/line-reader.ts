import { Lines } from './lines.ts'
import { OutputPipe } from './pipe.ts'

/** How long somebody waits who says too much. */
const PACE_MS = 1_000

export interface LineReaderDeps {
  fd: number
  /** Of one line; what is longer is cut, and `onCut` told. */
  lineBytesMax: number
  linesPerTurn: number
  onLine: (line: string) => void
  onCut?: () => void
  /** Bytes have come, whatever becomes of them. */
  onBytes?: (length: number) => void
  /** All was read, and the other end is closed. */
  onDone: () => void
}

/** Reads a standard stream of a process line by line, and not faster than they are taken. Nothing before `resume`. */
export class LineReader {
  readonly #pipe: OutputPipe
  readonly #lines: Lines
  #paused = true
  #paced = false
  #dropping = false
  #reading = false
  /** The rest is taken in a later turn of the loop, since somebody may be waiting to cut. */
  #later = false
  #timer: NodeJS.Timeout | undefined

  constructor(readonly deps: LineReaderDeps) {
    this.#lines = new Lines(deps.lineBytesMax, deps.onCut)
    this.#pipe = new OutputPipe(
      deps.fd,
      (bytes) => {
        if (this.#dropping) return
        deps.onBytes?.(bytes.length)
        this.#lines.push(bytes)
        this.#read()
      },
      () => this.#done(),
    )
  }

  get done(): boolean {
    return this.#pipe.closed && !this.#later
  }

  pause(): void {
    this.#paused = true
    this.#flow()
  }

  resume(): void {
    this.#paused = false
    this.#read()
  }

  /** Too much was said: it waits for a second. */
  pace(): void {
    if (this.#paced || this.#timer) return
    this.#paced = true
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#paced = false
      this.#read()
    }, PACE_MS)
    this.#flow()
  }

  /** From now on all is read, and nothing is told. */
  drop(): void {
    this.#dropping = true
    this.#flow()
  }

  /** Nothing new will come: all that is left is told, whoever has paused. */
  drain(): void {
    clearTimeout(this.#timer)
    // No pause lasts from here on.
    this.#timer = undefined
    this.#paused = false
    this.#paced = false
    this.#read()
  }

  /** What was held of a line that has no end. */
  rest(): string {
    return this.#lines.rest()
  }

  close(): void {
    this.#pipe.close()
  }

  #read(): void {
    // Who takes a line may pause and resume.
    if (this.#reading || this.#later) return
    this.#reading = true
    try {
      this.#take()
    } finally {
      this.#reading = false
    }
    this.#flow()
  }

  #take(): void {
    for (let taken = 0; !this.#dropping && !this.#paused; taken += 1) {
      if (taken === this.deps.linesPerTurn) return this.#yield()
      const line = this.#lines.next()
      if (line === null) return
      if (!this.#dropping) this.deps.onLine(line)
    }
  }

  #yield(): void {
    this.#later = true
    setImmediate(() => {
      this.#later = false
      this.#read()
      this.#done()
    })
  }

  #flow(): void {
    if (this.#dropping || !(this.#paused || this.#paced || this.#later)) this.#pipe.resume()
    else this.#pipe.pause()
  }

  #done(): void {
    if (this.done) this.deps.onDone()
  }
}
