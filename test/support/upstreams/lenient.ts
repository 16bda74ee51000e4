import { type RawUpstreamRequest, startRaw } from './raw.ts'

export type Answering = (request: RawUpstreamRequest) => void

export const jsonAnswer =
  (body: unknown, status = '200 OK'): Answering =>
  (request) =>
    request.answer(status, ['Content-Type: application/json'], typeof body === 'string' ? body : JSON.stringify(body))

/** A whole event stream, in these chunks. */
export const eventsAnswer =
  (chunks: readonly (string | Uint8Array)[], headers: string[] = []): Answering =>
  (request) => {
    request.begin('200 OK', ['Content-Type: text/event-stream', ...headers])
    for (const chunk of chunks) request.chunk(chunk)
    request.lastChunk()
  }

/**
 * A server that would take anything for a call: it reads nothing, so that a test sees exactly what got through to
 * where some parser might find a tool in it. `answering` says what every request is answered with.
 */
export const startLenient = async () => {
  const lenient = { answering: jsonAnswer({ jsonrpc: '2.0', id: 1, result: {} }) }
  const upstream = await startRaw((request) => {
    // A request that breaks off in the middle is answered by nobody.
    request.body().then(
      () => lenient.answering(request),
      () => undefined,
    )
  })
  return Object.assign(lenient, upstream, {
    /** The bodies that arrived since this was asked last. */
    arrived: () => upstream.requests.splice(0).map(({ bodyText }) => bodyText),
  })
}
