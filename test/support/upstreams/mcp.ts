import { Server as SessionServer } from '@modelcontextprotocol/sdk/server/index.js'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import { CallToolRequestSchema, type JSONRPCMessage, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { InMemoryServerEventBus, Server as StatelessServer, createMcpHandler } from '@modelcontextprotocol/server'
import { type Noted, type Seen, TOOLS, callTool } from './mcp-tools.ts'

const CAPABILITIES = { tools: { listChanged: true } }
const NO_SESSION = { code: -32001, message: 'Session not found' }
const INFO = { name: 'test-upstream', version: '1.0.0' }

const serve = (fetch: (request: Request) => Promise<Response>) => {
  const requests: Seen[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    fetch: (request) => {
      const { method, headers } = request
      const sessionId = headers.get('mcp-session-id')
      const seen: Seen = { at: performance.now(), method, sessionId, closedAt: null, headers }
      requests.push(seen)
      // Fires when the other side lets go of an unfinished answer, not when one is whole.
      request.signal.addEventListener('abort', () => {
        seen.closedAt = performance.now()
      })
      return fetch(request)
    },
  })
  return { url: `http://127.0.0.1:${server.port}`, requests, stopServing: () => server.stop(true) }
}

const notedFrom = (messages: JSONRPCMessage[], method: string): Noted[] => {
  const at = performance.now()
  return messages
    .filter((message) => 'method' in message && message.method === method)
    .map((message) => ({ at, what: JSON.stringify(message) }))
}

export const eventStore = () => {
  const events: { stream: string; message: JSONRPCMessage }[] = []
  return {
    storeEvent: async (stream: string, message: JSONRPCMessage) => String(events.push({ stream, message })),
    replayEventsAfter: async (
      lastId: string,
      { send }: { send: (id: string, message: JSONRPCMessage) => Promise<void> },
    ) => {
      const stream = events[Number(lastId) - 1]?.stream ?? ''
      for (const [index, event] of events.entries()) {
        if (index >= Number(lastId) && event.stream === stream) await send(String(index + 1), event.message)
      }
      return stream
    },
  }
}

/** Streamable HTTP of 2025-11-25 with sessions, by the official SDK 1. `resumable` gives its events ids. */
export const startSessionMcp = async ({ resumable = false } = {}) => {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()
  const cancelled: Noted[] = []
  const deleted: Noted[] = []
  const aborted: Noted[] = []

  const openSession = async () => {
    const server = new SessionServer(INFO, { capabilities: CAPABILITIES })
    server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: TOOLS }))
    server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => {
      const progressToken = params._meta?.progressToken
      extra.signal.addEventListener('abort', () => aborted.push({ at: performance.now(), what: params.name }))
      return callTool({
        name: params.name,
        args: params.arguments ?? {},
        signal: extra.signal,
        progress: async (progress, total) => {
          if (progressToken === undefined || extra.signal.aborted) return
          await extra.sendNotification({
            method: 'notifications/progress',
            params: { progressToken, progress, total },
          })
        },
      })
    })
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => {
        deleted.push({ at: performance.now(), what: id })
        sessions.delete(id)
      },
      eventStore: resumable ? eventStore() : undefined,
    })
    await server.connect(transport)
    return transport
  }

  const { stopServing, ...observed } = serve(async (request) => {
    const sessionId = request.headers.get('mcp-session-id')
    const transport = sessionId ? sessions.get(sessionId) : await openSession()
    if (!transport) return Response.json({ jsonrpc: '2.0', error: NO_SESSION }, { status: 404 })
    if (request.method !== 'POST') return transport.handleRequest(request)
    const body = (await request.json()) as JSONRPCMessage | JSONRPCMessage[]
    cancelled.push(...notedFrom([body].flat(), 'notifications/cancelled'))
    return transport.handleRequest(request, { parsedBody: body })
  })
  return {
    ...observed,
    sessions: () => [...sessions.keys()],
    /** `notifications/cancelled` that arrived. */
    cancelled,
    /** Sessions that were ended by DELETE, by id. */
    deleted,
    /** Calls whose handler was told to stop, by tool. */
    aborted,
    stop: async () => {
      await Promise.all([...sessions.values()].map((transport) => transport.close()))
      await stopServing()
    },
  }
}

/** The stateless revision 2026-07-28 alone, by the official SDK 2. */
export const startStatelessMcp = async () => {
  const aborted: Noted[] = []
  const bus = new InMemoryServerEventBus()
  const handler = createMcpHandler(
    () => {
      const server = new StatelessServer(INFO, { capabilities: CAPABILITIES })
      server.setRequestHandler('tools/list', () => ({ tools: TOOLS }))
      server.setRequestHandler('tools/call', ({ params }, { mcpReq }) => {
        const progressToken = mcpReq._meta?.progressToken
        mcpReq.signal.addEventListener('abort', () => aborted.push({ at: performance.now(), what: params.name }))
        return callTool({
          name: params.name,
          args: params.arguments ?? {},
          signal: mcpReq.signal,
          progress: async (progress, total) => {
            if (progressToken === undefined || mcpReq.signal.aborted) return
            await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total } })
          },
        })
      })
      return server
    },
    { legacy: 'reject', bus },
  )
  const { stopServing, ...observed } = serve((request) => handler.fetch(request))
  return {
    ...observed,
    aborted,
    /** How many `subscriptions/listen` streams are open. */
    listening: () => bus.listenerCount,
    toolsChanged: () => handler.notify.toolsChanged(),
    stop: async () => {
      await handler.close()
      await stopServing()
    },
  }
}
