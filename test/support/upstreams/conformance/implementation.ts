import {
  createRequestStateCodec,
  fromJsonSchema,
  McpServer,
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ProtocolErrorCode,
  type ServerNotifier,
} from '@modelcontextprotocol/server'
import { askingTools } from './asking.ts'
import { registerPrompts } from './prompts.ts'
import { registerResources } from './resources.ts'
import { TASKS_EXTENSION, Tasks, taskTools } from './tasks.ts'
import { says, TOOLS, type Tools } from './tools.ts'

export type Announcing = Pick<ServerNotifier, 'toolsChanged' | 'promptsChanged'>

/** What the conformance suites ask for, whatever carries it; `announcing` tells those who listen to a server. */
export const startImplementation = (announcing: (server: McpServer) => Announcing) => {
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
      ...changingTools(announcing(server)),
    })
    tasks.register(server)
    registerPrompts(server)
    registerResources(server)
    return server
  }
  return { newServer, stop: () => tasks.stop() }
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
const changingTools = (notify: Announcing): Tools => ({
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
