import type { Limits } from '../limits.ts'
import { type Problem, problems } from './problem.ts'

/** A request's body that could not be taken whole. */
export class BodyError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail)
  }
}

/** Reads chunks of a request's body; one that stops arriving, or is too large, is an error. */
export class BodyReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  bytes = 0

  constructor(
    body: ReadableStream<Uint8Array>,
    readonly limits: Limits,
    readonly bytesMax: number = limits.requestBodyBytesMax,
  ) {
    this.#reader = body.getReader()
  }

  /** The next chunk, or null at the end. Throws `BodyError`. */
  async read(): Promise<Uint8Array | null> {
    let timer: NodeJS.Timeout | undefined
    const idle = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new BodyError(problems.bodyTimeout)), this.limits.requestBodyIdleMs)
    })
    try {
      const { done, value } = await Promise.race([this.#reader.read(), idle])
      if (done) return null
      this.bytes += value.length
      if (this.bytes > this.bytesMax) throw new BodyError(problems.bodyTooLarge)
      return value
    } finally {
      clearTimeout(timer)
    }
  }

  cancel(): void {
    // A body that already failed rejects its own cancelling; there is nothing left to stop.
    this.#reader.cancel().catch(() => undefined)
  }

  async whole(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    for (let chunk = await this.read(); chunk !== null; chunk = await this.read()) chunks.push(chunk)
    return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
  }
}
