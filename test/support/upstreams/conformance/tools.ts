import type { CallToolResult, ContentBlock, InputRequiredResult, ServerContext } from '@modelcontextprotocol/server'
import { PNG, RESOURCE, TEXT, WAV } from './samples.ts'

/** The arguments have been validated against `properties` by the SDK. */
export type Tool = {
  description: string
  /** JSON Schema of the arguments, an object's; without it there are none. */
  inputSchema?: Record<string, unknown>
  call: (
    args: Record<string, unknown>,
    context: ServerContext,
  ) => CallToolResult | InputRequiredResult | Promise<CallToolResult | InputRequiredResult>
}
export type Tools = Record<string, Tool>

export const says = (text: string): CallToolResult => ({ content: [{ type: 'text', text }] })

/** A tool without arguments whose answer never changes. */
const constant = (description: string, ...content: ContentBlock[]): Tool => ({ description, call: () => ({ content }) })

/** As long as the suites ask for between two notifications, so that they arrive one by one. */
const STEP_MS = 50

const withLogging: Tool = {
  description: 'Sends three log messages while it runs',
  call: async (_args, { mcpReq }) => {
    await mcpReq.log('info', 'Tool execution started')
    await Bun.sleep(STEP_MS)
    await mcpReq.log('info', 'Tool processing data')
    await Bun.sleep(STEP_MS)
    await mcpReq.log('info', 'Tool execution completed')
    return says('Three messages were logged')
  },
}

const withProgress: Tool = {
  description: 'Reports progress three times, to who gave a token for it',
  call: async (_args, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken
    for (const progress of [0, 50, 100]) {
      if (progress > 0) await Bun.sleep(STEP_MS)
      if (progressToken === undefined) continue
      await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } })
    }
    return says('Done')
  },
}

/** SEP-1699: the client has to come back with Last-Event-ID for the result. */
const reconnection: Tool = {
  description: 'Closes its event stream before it answers',
  call: async (_args, { http }) => {
    await Bun.sleep(STEP_MS)
    http?.closeSSE?.()
    await Bun.sleep(STEP_MS)
    return says('Answered after the stream was closed')
  },
}

/** SEP-1613 and SEP-2106: every keyword has to arrive as it was written. */
const JSON_SCHEMA_2020_12 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  // oxlint-disable-next-line unicorn/no-thenable -- The keyword of JSON Schema.
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
}

/** What the suites call by name and that asks nothing of the client. The first one must do without arguments. */
export const TOOLS: Tools = {
  test_simple_text: constant('Answers with text', TEXT),
  test_image_content: constant('Answers with an image', PNG),
  test_audio_content: constant('Answers with audio', WAV),
  test_embedded_resource: constant('Answers with a resource', RESOURCE),
  test_multiple_content_types: constant('Answers with text, an image and a resource', TEXT, PNG, RESOURCE),
  test_error_handling: {
    description: 'Fails, always',
    call: () => {
      throw new Error('This tool intentionally returns an error for testing')
    },
  },
  test_tool_with_logging: withLogging,
  // The same by the name that server-stateless gives it.
  test_logging_tool: withLogging,
  test_tool_with_progress: withProgress,
  test_reconnection: reconnection,
  json_schema_2020_12_tool: {
    description: 'Has a schema with the keywords of JSON Schema 2020-12',
    inputSchema: JSON_SCHEMA_2020_12,
    call: () => says('Valid'),
  },
  test_custom_header: {
    description: 'Has an argument that is repeated in the header Mcp-Param-Region (SEP-2243)',
    inputSchema: {
      type: 'object',
      properties: { region: { type: 'string', 'x-mcp-header': 'Region' } },
      required: ['region'],
    },
    call: ({ region }) => says(`Region: ${String(region)}`),
  },
}
