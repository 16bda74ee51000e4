import { createMcpHandler, fromJsonSchema, type McpHttpHandler, McpServer } from '@modelcontextprotocol/server'

const SECONDS_MAX = 600

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] })

/** Resolves after a second, or at once when the call was cut or cancelled. */
const second = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, 1_000)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })

const demoServer = (): McpServer => {
  const server = new McpServer({ name: 'portcullis-demo', version: '1.0.0' })

  server.registerTool(
    'echo',
    {
      description: 'Answers with the text it was given.',
      inputSchema: fromJsonSchema<{ text: string }>({
        type: 'object',
        properties: { text: { type: 'string' } },
        required: ['text'],
      }),
    },
    (args) => text(args.text),
  )

  server.registerTool(
    'add',
    {
      description: 'Adds two numbers.',
      inputSchema: fromJsonSchema<{ a: number; b: number }>({
        type: 'object',
        properties: { a: { type: 'number' }, b: { type: 'number' } },
        required: ['a', 'b'],
      }),
    },
    (args) => text(String(args.a + args.b)),
  )

  server.registerTool(
    'countdown',
    {
      description: 'Counts down, with a progress notification every second: revoke its token and watch the call end.',
      inputSchema: fromJsonSchema<{ seconds: number }>({
        type: 'object',
        properties: { seconds: { type: 'integer', minimum: 1, maximum: SECONDS_MAX } },
        required: ['seconds'],
      }),
    },
    async ({ seconds }, context) => {
      const { signal, notify, _meta } = context.mcpReq
      const progressToken = _meta?.progressToken
      for (let progress = 1; progress <= seconds; progress += 1) {
        await second(signal)
        if (signal.aborted) break
        // Only a client that asked for progress, by sending a token for it, may be sent any.
        if (progressToken === undefined) continue
        const message = `${seconds - progress} s left`
        await notify({
          method: 'notifications/progress',
          params: { progressToken, progress, total: seconds, message },
        })
      }
      return text('Lift-off.')
    },
  )

  return server
}

/** MCP over HTTP: revision 2026-07-28, and those of 2025 without sessions, from one set of tools. */
export const demoMcp = (): McpHttpHandler => createMcpHandler(demoServer)
