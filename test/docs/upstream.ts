import { demoMcp } from '../../src/demo/mcp.ts'

/** What stands behind the gate in the documents: an MCP server at /mcp, a stream at /sse, plain text elsewhere. */

const TICK_MS = 100
const port = Number(process.argv[2])
const mcp = demoMcp()
const encoder = new TextEncoder()

const ticks = (): Response => {
  let timer: NodeJS.Timeout | undefined
  let n = 0
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const tick = () => controller.enqueue(encoder.encode(`event: tick\ndata: ${n++}\n\n`))
      tick()
      timer = setInterval(tick, TICK_MS)
    },
    cancel: () => clearInterval(timer),
  })
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
}

Bun.serve({
  hostname: '127.0.0.1',
  port,
  idleTimeout: 0,
  fetch(request) {
    const { pathname } = new URL(request.url)
    if (pathname === '/mcp') return mcp.fetch(request)
    return pathname === '/sse' ? ticks() : new Response(`${request.headers.get('authorization') ?? 'no credential'}\n`)
  },
})
console.log(`serving on ${port}`)
