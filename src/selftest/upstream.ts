import type { TestUpstream } from '../selftest-run.ts'

const encode = (data: string) => new TextEncoder().encode(`data: ${data}\n\n`)

/** A server on a free port of the loopback, which says one event on every stream and then waits. */
export const startTestUpstream = (first: string): TestUpstream => {
  // Whoever else finds the port gets nothing.
  const path = `/${Bun.randomUUIDv7('base64url')}`
  const gone = Promise.withResolvers<void>()
  let open: ReadableStreamDefaultController<Uint8Array> | null = null
  const leave = () => {
    open = null
    gone.resolve()
  }
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    development: false,
    fetch(request) {
      if (!new URL(request.url).pathname.startsWith(`${path}/`)) return new Response(null, { status: 404 })
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          open = controller
          controller.enqueue(encode(first))
        },
        cancel: leave,
      })
      request.signal.addEventListener('abort', leave)
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}${path}`,
    say: (data) => open?.enqueue(encode(data)),
    gone: gone.promise,
    stop: () => void server.stop(true),
  }
}
