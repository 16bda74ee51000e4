import { createServer } from 'node:http'
import { toNodeHandler } from '@modelcontextprotocol/node'
import {
  createMcpHandler,
  isInitializeRequest,
  Server,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio'

/**
 * The upstream of all MCP figures, by the official SDK, on Node or on Bun: `http PORT` serves `/session` (2025-11-25)
 * and `/stateless` (2026-07-28), `stdio` speaks on its own streams. One tool, which does nothing.
 */
const toolServer = (): Server => {
  const server = new Server({ name: 'bench', version: '1.0.0' }, { capabilities: { tools: {} } })
  server.setRequestHandler('tools/list', () => ({ tools: [{ name: 'echo', inputSchema: { type: 'object' } }] }))
  server.setRequestHandler('tools/call', ({ params }) => ({
    content: [{ type: 'text', text: `echo: ${String(params.arguments?.['text'])}` }],
  }))
  return server
}

const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()
const stateless = createMcpHandler(toolServer, { legacy: 'reject' })

const openSession = async () => {
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: () => crypto.randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, transport),
  })
  await toolServer().connect(transport)
  return transport
}

const answer = async (request: Request): Promise<Response> => {
  if (new URL(request.url).pathname === '/stateless') return stateless.fetch(request)
  const body: unknown = await request.json()
  const known = sessions.get(request.headers.get('mcp-session-id') ?? '')
  const transport = known ?? (isInitializeRequest(body) ? await openSession() : null)
  return transport?.handleRequest(request, { parsedBody: body }) ?? new Response(null, { status: 404 })
}

const serve = (port: number): void => {
  if ('Bun' in globalThis) Bun.serve({ hostname: '127.0.0.1', port, idleTimeout: 0, fetch: answer })
  else createServer(toNodeHandler({ fetch: answer })).listen(port, '127.0.0.1')
}

const [mode, port] = process.argv.slice(2)
if (mode === 'stdio') await toolServer().connect(new StdioServerTransport())
else serve(Number(port))
