import {
  createMcpHandler,
  hostHeaderValidationResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  type McpServerFactory,
  originValidationResponse,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { eventStore } from './mcp.ts'

/**
 * An MCP server over HTTP, by the official SDK: 2026-07-28 without sessions, and the revisions up to 2025-11-25 with
 * sessions and resumable streams, at one URL.
 */
export const startBothEras = (newServer: McpServerFactory) => {
  const modern = createMcpHandler(newServer, { legacy: 'reject' })
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()
  const openSession = async () => {
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
      eventStore: eventStore(),
      // The suites reconnect by themselves; they only look whether it is said.
      retryInterval: 500,
      // The runtime sends a stream's head with its first byte.
      keepAliveMs: 250,
    })
    const server = await newServer({ era: 'legacy' })
    await server.connect(transport)
    return transport
  }
  const legacy = async (request: Request) => {
    const id = request.headers.get('mcp-session-id')
    const transport = id === null ? await openSession() : sessions.get(id)
    return transport ? transport.handleRequest(request) : Response.json({ error: 'no such session' }, { status: 404 })
  }

  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    fetch: async (request) =>
      hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
      originValidationResponse(request, localhostAllowedOrigins()) ??
      ((await isLegacyRequest(request)) ? legacy(request) : modern.fetch(request)),
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    /** Tells clients of 2026-07-28, whose servers live no longer than a request. */
    notify: modern.notify,
    stop: async () => {
      await Promise.all([...sessions.values()].map((transport) => transport.close()))
      await modern.close()
      await server.stop(true)
    },
  }
}
