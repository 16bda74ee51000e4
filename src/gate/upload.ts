import type { BodyReader } from './body.ts'

/** What a body that flows up asks, and tells, its exchange. */
export interface UploadOwner {
  /** Whether the next chunk may go on; a no has ended the exchange already. */
  mayGoUp(chunk: Uint8Array | null): boolean
  /** So many bytes arrived; `readable`: the body may still be read at its end. */
  received(bytes: number, readable: boolean): void
  /** The body has ended; null: it was too large to be kept. */
  uploaded(body: Uint8Array | null): void
  /** The client broke off, was too slow or sent too much. */
  failedBody(error: unknown): void
}

/** A body that flows up chunk by chunk. As much as may be read, `readBytesMax`, is kept until its end. */
export const flow = (reader: BodyReader, readBytesMax: number, owner: UploadOwner): ReadableStream<Uint8Array> => {
  const kept: Uint8Array[] = []
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    let chunk: Uint8Array | null
    try {
      chunk = await reader.read()
    } catch (error) {
      controller.error(error)
      return owner.failedBody(error)
    }
    if (!owner.mayGoUp(chunk)) return
    const readable = reader.bytes <= readBytesMax
    // An upstream that broke off has cancelled this stream: what throws here is told by the call itself.
    if (chunk === null) {
      owner.uploaded(readable ? Buffer.concat(kept) : null)
      return controller.close()
    }
    owner.received(chunk.length, readable)
    if (readable) kept.push(chunk)
    else kept.length = 0
    controller.enqueue(chunk)
  }
  return new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 })
}
