import { answerCalls } from './child.ts'

/** The runtime's floor: what any proxy on `Bun.serve` and `fetch` pays, before it asks or watches anything. */
const start = (originPort: number): number => {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    fetch: async ({ url, method, headers, body }) => {
      const upstream = `http://127.0.0.1:${originPort}${new URL(url).pathname}`
      const answer = await fetch(upstream, { method, headers, body, redirect: 'manual', decompress: false })
      return new Response(answer.body, answer)
    },
  })
  return Number(server.port)
}

answerCalls({ start })
