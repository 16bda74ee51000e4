import {
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  hostHeaderValidationResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  McpServer,
  MissingRequiredClientCapabilityError,
  originValidationResponse,
  ProtocolError,
  ProtocolErrorCode,
  type ServerNotifier,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { eventStore } from '../mcp.ts'
import { askingTools } from './asking.ts'
import { registerPrompts } from './prompts.ts'
import { registerResources } from './resources.ts'
import { TASKS_EXTENSION, Tasks, taskTools } from './tasks.ts'
import { says, TOOLS, type Tools } from './tools.ts'

/**
 * The upstream that the conformance suites ask for, by the official SDK: 2026-07-28 without sessions, and the
 * revisions up to 2025-11-25 with sessions and resumable streams, at one URL.
 */
export const startConformance = async () => {
  const state = createRequestStateCodec<string>({ key: crypto.getRandomValues(new Uint8Array(32)) })
  const tasks = new Tasks()
  const newServer = () => {
    const server = new McpServer(
      { name: 'conformance-upstream', version: '1.0.0' },
      {
        capabilities: { logging: {}, resources: { subscribe: true }, extensions: { [TASKS_EXTENSION]: {} } },
        requestState: { verify: state.verify },
      },
    )
    registerTools(server, {
      ...TOOLS,
      ...askingTools(state),
      ...taskTools(tasks),
      ...changingTools(modern.notify),
    })
    tasks.register(server)
    registerPrompts(server)
    registerResources(server)
    return server
  }
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
    })
    await newServer().connect(transport)
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
    stop: async () => {
      tasks.stop()
      await Promise.all([...sessions.values()].map((transport) => transport.close()))
      await modern.close()
      await server.stop(true)
    },
  }
}

/** The SDK lists the tools, and checks the headers against them; calls are dispatched here. */
const registerTools = (server: McpServer, tools: Tools): void => {
  for (const [name, { description, inputSchema, call }] of Object.entries(tools)) {
    const schema = fromJsonSchema<Record<string, unknown>>(inputSchema ?? { type: 'object', properties: {} })
    // None of them changes anything, so that a policy may ask for it.
    const annotations = { readOnlyHint: true }
    server.registerTool(name, { description, annotations, inputSchema: schema }, call)
  }
  server.server.setRequestHandler('tools/call', async ({ params }, context) => {
    const tool = tools[params.name]
    if (!tool) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `No tool ${params.name}`)
    try {
      return await tool.call(params.arguments ?? {}, context)
    } catch (error) {
      // The SDK's own dispatch would make a result of this one too, and the client could not tell what is missing.
      if (error instanceof MissingRequiredClientCapabilityError) throw error
      return { ...says(String(error)), isError: true }
    }
  })
}

/** Say that a list has changed, to whoever listens; it has not. */
const changingTools = (notify: ServerNotifier): Tools => ({
  test_trigger_tool_change: {
    description: 'Announces a change of the tools',
    call: () => {
      notify.toolsChanged()
      return says('Announced')
    },
  },
  test_trigger_prompt_change: {
    description: 'Announces a change of the prompts',
    call: () => {
      notify.promptsChanged()
      return says('Announced')
    },
  },
})
