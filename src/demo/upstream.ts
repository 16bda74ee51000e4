import { hostHeaderValidationResponse, localhostAllowedHostnames } from '@modelcontextprotocol/server'
import { demoMcp } from './mcp.ts'
import { tickStream } from './ticks.ts'

export interface DemoUpstream {
  url: string
  stop(): void
}

/**
 * The built-in server of `portcullis demo`, on a free port of the loopback: `/sse` ticks once a second,
 * `/mcp` is an MCP server. Bun's idle timeout is off, since both keep streams open for minutes.
 */
export const startDemoUpstream = (): DemoUpstream => {
  const mcp = demoMcp()
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      // A page in a browser must not reach this port by a name that was re-bound to the loopback.
      const refused = hostHeaderValidationResponse(request, localhostAllowedHostnames())
      if (refused) return refused
      const { pathname } = new URL(request.url)
      if (pathname === '/mcp') return mcp.fetch(request)
      if (pathname !== '/sse') return Response.json({ error: 'not found', try: ['/sse', '/mcp'] }, { status: 404 })
      if (request.method === 'GET') return tickStream(request)
      return Response.json({ error: 'method not allowed' }, { status: 405, headers: { allow: 'GET' } })
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    stop: () => {
      void mcp.close()
      void server.stop(true)
    },
  }
}
