import { type RawUpstreamRequest, startRaw } from './raw.ts'

/** Streams on paths that end in `/sse` talk so often; those on `/silent` say hello and no more; all else is answered. */
export const startMixed = async (intervalMs: number) => {
  const talking = new Set<RawUpstreamRequest>()
  const upstream = await startRaw((request) => {
    const silent = request.target.endsWith('/silent')
    if (!silent && !request.target.endsWith('/sse')) {
      return request.answer('200 OK', ['Content-Type: application/json'], '{"jsonrpc":"2.0","id":1,"result":{}}')
    }
    request.begin('200 OK', ['Content-Type: text/event-stream'])
    request.chunk('data: hello\n\n')
    if (!silent) talking.add(request)
  })
  const timer = setInterval(() => {
    // What was asked is for tests that look at it; here it would only grow.
    upstream.requests.length = 0
    for (const stream of talking) {
      if (stream.closedAt === null) stream.chunk('data: alive\n\n')
      else talking.delete(stream)
    }
  }, intervalMs)
  return {
    url: upstream.url,
    talking: () => talking.size,
    stop: () => {
      clearInterval(timer)
      upstream.stop()
    },
  }
}
