import {
  Client as SecondClient,
  type StandardSchemaV1,
  StreamableHTTPClientTransport as SecondTransport,
} from '@modelcontextprotocol/client'
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport as FirstTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ResultSchema } from '@modelcontextprotocol/sdk/types.js'

/** An MCP endpoint, and what opens its door. */
export interface Door {
  url: string
  headers: Record<string, string>
}
export type Params = Record<string, unknown>
export type Message = { method: string; params: Params }
type Answering = (params: Params, signal: AbortSignal) => Params | Promise<Params>
type Options = { onprogress?: (progress: Params) => void; signal?: AbortSignal; timeout?: number } & Resuming
type Resuming = { resumptionToken?: string; onresumptiontoken?: (token: string) => void }

/** A real client of whichever generation, as these checks see it. */
export interface Talker {
  request(method: string, params?: Params, options?: Options): Promise<Params>
  /** Calls a tool. */
  call(name: string, args?: Params, options?: Options): Promise<Params>
  notify(method: string, params?: Params): Promise<void>
  /** What came by itself, but progress: the newest last. */
  readonly heard: Message[]
  /** How requests of the server are answered. */
  readonly answers: Map<string, Answering>
  readonly opened: Params
  /** Of 2026-07-28: opens a subscription. */
  listen?(wanted: { toolsListChanged?: boolean; resourceSubscriptions?: string[] }): Promise<{ close(): Promise<void> }>
  readonly sessionId: string | null
  end(): Promise<void>
  close(): Promise<void>
}

const INFO = { name: 'parity', version: '1.0.0' }
const CAPABILITIES = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } }

/** Takes any result: what is compared must not have passed through anybody's idea of it. */
const ANY: StandardSchemaV1<unknown, Params> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as Params }) },
}

const begin = () => ({ heard: [] as Message[], answers: new Map<string, Answering>() })

const answering =
  (answers: Map<string, Answering>) =>
  async ({ method, params }: { method: string; params?: Params }, signal: AbortSignal): Promise<Params> => {
    const answer = answers.get(method)
    if (!answer) throw Object.assign(new Error(`nothing answers ${method}`), { code: -32_601 })
    return answer(params ?? {}, signal)
  }

const textOf = (params: Params | undefined): Params => (params ? { arguments: params } : {})

const first = async (transport: FirstTransport | SSEClientTransport): Promise<Talker> => {
  const { heard, answers } = begin()
  const client = new FirstClient(INFO, { capabilities: CAPABILITIES })
  const answer = answering(answers)
  client.fallbackRequestHandler = (request, { signal }) => answer(request as Message, signal)
  client.fallbackNotificationHandler = async ({ method, params }) => void heard.push({ method, params: params ?? {} })
  await client.connect(transport)
  const request: Talker['request'] = (method, params, options) =>
    client.request({ method, ...(params && { params }) }, ResultSchema, options as never)
  return {
    request,
    call: (name, args, options) => request('tools/call', { name, ...textOf(args) }, options),
    notify: (method, params) => client.notification({ method, ...(params && { params }) } as never),
    heard,
    answers,
    opened: {
      capabilities: client.getServerCapabilities(),
      serverInfo: client.getServerVersion(),
      instructions: client.getInstructions(),
    },
    sessionId: 'sessionId' in transport ? (transport.sessionId ?? null) : null,
    end: async () => {
      if ('terminateSession' in transport) await transport.terminateSession()
    },
    close: () => client.close(),
  }
}

const second = async ({ url, headers }: Door, mode: 'legacy' | '2026-07-28'): Promise<Talker> => {
  const { heard, answers } = begin()
  const versionNegotiation = { mode: mode === 'legacy' ? mode : { pin: mode } }
  const client = new SecondClient(INFO, { capabilities: CAPABILITIES, versionNegotiation })
  const answer = answering(answers)
  for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list'] as const)
    client.setRequestHandler(method, (request, { mcpReq }) => answer(request as Message, mcpReq.signal) as never)
  const hear = async ({ method, params }: { method: string; params?: Params }) =>
    void heard.push({ method, params: params ?? {} })
  client.fallbackNotificationHandler = hear
  const transport = new SecondTransport(new URL(url), { requestInit: { headers } })
  await client.connect(transport)
  const request: Talker['request'] = (method, params, options) =>
    client.request({ method, ...(params && { params }) }, ANY, options as never)
  return {
    request,
    call: (name, args, options) => request('tools/call', { name, ...textOf(args) }, options),
    notify: (method, params) => client.notification({ method, ...(params && { params }) }),
    heard,
    answers,
    opened: {
      capabilities: client.getServerCapabilities(),
      serverInfo: client.getServerVersion(),
      instructions: client.getInstructions(),
    },
    sessionId: transport.sessionId ?? null,
    listen: (wanted) => client.listen(wanted),
    end: () => transport.terminateSession(),
    close: () => client.close(),
  }
}

/** The official clients of both majors, over the transports that each has. */
export const TALKERS = {
  'SDK 1': ({ url, headers }: Door) => first(new FirstTransport(new URL(url), { requestInit: { headers } })),
  'SDK 2': (door: Door) => second(door, 'legacy'),
  'SDK 1 over HTTP+SSE': ({ url, headers }: Door) =>
    first(new SSEClientTransport(new URL(url), { requestInit: { headers } })),
  'SDK 2, 2026-07-28': (door: Door) => second(door, '2026-07-28'),
} as const
export type TalkerName = keyof typeof TALKERS
