import { join } from 'node:path'
import { ProblemError } from '../../../src/gate/problem.ts'
import { StdioBridge } from '../../../src/gate/stdio/bridge.ts'
import { parseEvents } from '../../../src/gate/sse.ts'
import type { Caller } from '../../../src/gate/upstream.ts'
import { type Limits, limits } from '../../../src/limits.ts'
import type { Upstream } from '../../../src/upstream.ts'
import { startSupervisor } from './supervised.ts'

/** A good MCP server as a command: see its top. */
export const mcp = (...words: string[]): string[] => [
  process.execPath,
  join(import.meta.dir, '../../support/upstreams/stdio/mcp.ts'),
  '2025',
  ...words,
]

export type Message = { id?: unknown; method?: string; params?: any; result?: any; error?: any }

export const initialize = (revision = '2025-11-25') => ({
  jsonrpc: '2.0',
  id: 'init',
  method: 'initialize',
  params: { protocolVersion: revision, capabilities: {}, clientInfo: { name: 'test', version: '1' } },
})

export const toolCall = (id: unknown, name: string, args: Record<string, unknown> = {}, progressToken?: unknown) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args, ...(progressToken === undefined ? {} : { _meta: { progressToken } }) },
})

/** Reads an event stream; what it said so far is in `messages`, and `ended` resolves with its end. */
export const reading = (response: Response) => {
  const messages: Message[] = []
  const events: { name: string; data: string }[] = []
  const ids: string[] = []
  if (!response.body) throw new Error(`no stream: ${response.status}`)
  const reader = response.body.getReader()
  const ended = (async () => {
    const decoder = new TextDecoder()
    let rest = ''
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return messages
      rest += decoder.decode(value, { stream: true })
      const whole = rest.lastIndexOf('\n\n') + 2
      const text = rest.slice(0, whole)
      rest = rest.slice(whole)
      ids.push(...[...text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id ?? ''))
      for (const event of parseEvents(text)) {
        events.push(event)
        if (event.name === 'message' && event.data !== '') messages.push(JSON.parse(event.data))
      }
    }
  })()
  return { messages, events, ids, ended, leave: () => reader.cancel() }
}

/** The real bridge over the real supervisor, without a gate. */
export const startBridge = (small: Partial<Limits> = {}) => {
  const all = startSupervisor(small)
  const over: string[] = []
  const bridge = new StdioBridge({
    supervisor: all.supervisor,
    limits: { ...limits, ...small },
    onSessionEnded: (_, id) => void over.push(id),
  })
  const send = (
    server: Upstream,
    by: Caller | null,
    method: string,
    { path = '/mcp', headers = {}, body, signal }: Sending = {},
  ) =>
    bridge.fetch(
      server,
      new Request(`http://stdio.invalid${path}`, {
        method,
        headers: {
          accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
        signal,
      }),
      by,
    )
  return {
    ...all,
    send,
    /** The ids of sessions that the bridge said are over. */
    over,
    /** A session that has begun. */
    open: async (server: Upstream, by: Caller | null = null) => {
      const response = await send(server, by, 'POST', { body: initialize() })
      const id = response.headers.get('mcp-session-id') ?? ''
      const begun = await reading(response).ended
      const headers = { 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' }
      const inSession = (method: string, sending: Sending = {}) =>
        send(server, by, method, { ...sending, headers: { ...headers, ...sending.headers } })
      await inSession('POST', { body: { jsonrpc: '2.0', method: 'notifications/initialized' } })
      let calls = 0
      const call = async (name: string, args: Record<string, unknown> = {}): Promise<string> => {
        const id = `call ${(calls += 1)}`
        const messages = await reading(await inSession('POST', { body: toolCall(id, name, args) })).ended
        return messages.find((message) => message.id === id)?.result?.content[0].text
      }
      return { id, begun, send: inSession, call, pid: async () => Number(await call('pid')) }
    },
  }
}

type Sending = { path?: string; headers?: Record<string, string>; body?: unknown; signal?: AbortSignal }

/** What a request was refused with in the gate's own words. */
export const problemOf = async (answer: Promise<Response>) => {
  const error = await answer.then(
    ({ status }) => new Error(`it was answered with ${status}`),
    (reason: unknown) => reason,
  )
  if (error instanceof ProblemError) return error.problem
  throw error
}
