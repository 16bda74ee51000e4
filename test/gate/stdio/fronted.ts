import { join } from 'node:path'
import { Client, type ClientOptions, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { ProblemError, problemResponse } from '../../../src/gate/problem.ts'
import { StdioBridge } from '../../../src/gate/stdio/bridge.ts'
import type { Caller } from '../../../src/gate/upstream.ts'
import type { Limits } from '../../../src/limits.ts'
import type { StdioRequest } from '../../../src/stdio.ts'
import { startSupervisor } from './supervised.ts'

const MCP = join(import.meta.dir, '../../support/upstreams/stdio/mcp.ts')

/** The official SDK's server as a command: see its top. */
export const mcp = (...words: string[]): string[] => [process.execPath, MCP, ...words]

export const textOf = (result: { content?: unknown }): string =>
  (result.content as { text?: string }[] | undefined)?.[0]?.text ?? ''

/** The real bridge over real processes behind a bare HTTP server, which takes everybody for who they say they are. */
export const startFront = (small: Partial<Limits> = {}) => {
  const supervised = startSupervisor({ stdioEvictIdleMs: 5_000, ...small })
  const { supervisor } = supervised
  const ended: string[] = []
  const { limits } = supervisor.deps
  const bridge = new StdioBridge({ supervisor, limits, onSessionEnded: (_, id) => void ended.push(id) })
  const callers = new Map<string, ReturnType<typeof supervised.caller>>()
  const callerOf = (name: string): Caller => {
    const caller = callers.get(name) ?? supervised.caller(name)
    callers.set(name, caller)
    return caller
  }
  const front = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url)
      const [, name = '', ...rest] = pathname.split('/')
      const server = supervisor.deps.find(`srv_${name}`)
      if (!server) return new Response(null, { status: 404 })
      const inner = new Request(`http://stdio.invalid/${rest.join('/')}${search}`, request)
      try {
        return await bridge.fetch(server, inner, callerOf(request.headers.get('x-client') ?? 'one'))
      } catch (error) {
        if (error instanceof ProblemError) return problemResponse(error.problem, 'test', false)
        if (request.signal.aborted) return new Response(null, { status: 499 })
        throw error
      }
    },
  })
  const clients: Client[] = []
  const urlOf = (name: string) => `http://127.0.0.1:${front.port}/${name}/mcp`
  return {
    ...supervised,
    supervisor,
    ended,
    callerOf,
    urlOf,
    add: (name: string, command: string[], request: Partial<StdioRequest> & { exactIdleMs?: number } = {}) =>
      supervised.add(name, command, request),
    /** A client of the SDK, of any generation, under a token of its own where `as` says so. */
    async connect(name: string, options: ClientOptions & { as?: string } = {}): Promise<Client> {
      const { as = 'one', ...rest } = options
      const client = new Client({ name: 'test', version: '1' }, rest)
      clients.push(client)
      const requestInit = { headers: { 'x-client': as } }
      await client.connect(new StreamableHTTPClientTransport(new URL(urlOf(name)), { requestInit }))
      return client
    },
    /** A bare POST. */
    post(name: string, message: object, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
      return fetch(urlOf(name), {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...headers,
        },
        body: JSON.stringify({ jsonrpc: '2.0', ...message }),
        ...(signal && { signal }),
      })
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.allSettled(clients.map((client) => client.close()))
      await front.stop(true)
      await supervised[Symbol.asyncDispose]()
    },
  }
}

/** What a request of 2026-07-28 says of itself. */
export const stateless = (
  method: string,
  params: Record<string, unknown> = {},
  meta: Record<string, unknown> = {},
) => ({
  message: {
    id: 1,
    method,
    params: {
      ...params,
      _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
        ...meta,
      },
    },
  },
  headers: {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(typeof params['name'] === 'string' && { 'mcp-name': params['name'] }),
  },
})
