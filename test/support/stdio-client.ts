import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import type { TestNode } from './node.ts'
import { bearer } from './secret.ts'

/** The command of `upstreams/stdio/recorder.sh`. */
export const recorder = (file: string, mode = ''): string[] => [
  '/bin/sh',
  join(import.meta.dir, 'upstreams/stdio/recorder.sh'),
  file,
  mode,
]

/** What recorders wrote to a file. */
export const recorded = (file: string): { pid: number; line: string }[] =>
  (existsSync(file) ? readFileSync(file, 'utf8') : '')
    .split('\n')
    .slice(0, -1)
    .map((text) => {
      const space = text.indexOf(' ')
      return { pid: Number(text.slice(0, space)), line: text.slice(space + 1) }
    })

/** The processes of recorders that were started. */
export const startedIn = (file: string): number[] =>
  recorded(file).flatMap(({ pid, line }) => (line === 'start' ? [pid] : []))

export const addCommand = async (node: TestNode, name: string, stdio: Record<string, unknown>): Promise<ServerJson> => {
  const { status, json } = await node.api<ServerJson>('POST', '/servers', { name, stdio, probe: false })
  if (status !== 201) throw new Error(JSON.stringify(json))
  return json
}

const ACCEPT = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
const JSON_RPC = { jsonrpc: '2.0' as const }

export const initializing = (id = 1, protocolVersion = '2025-11-25') => ({
  ...JSON_RPC,
  id,
  method: 'initialize',
  params: { protocolVersion, capabilities: {}, clientInfo: { name: 'test', version: '1' } },
})

export const calling = (id: number, name: string, meta?: Record<string, unknown>) => ({
  ...JSON_RPC,
  id,
  method: 'tools/call',
  params: { name, arguments: {}, ...(meta && { _meta: meta }) },
})

const MODERN = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
}

export type Posted = { status: number; session: string | null; text: string }

/** One token's way to one server, byte for byte what clients send; nothing is retried. */
export const stdioClient = (node: TestNode, server: string, secret: string) => {
  const url = `${node.gate}/s/${server}`
  const ask = (method: string, path: string, headers: Record<string, string>, body?: unknown, signal?: AbortSignal) =>
    fetch(url + path, {
      method,
      headers: { ...bearer(secret), ...ACCEPT, ...headers },
      keepalive: false,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    })
  const ofSession = (session: string | null): Record<string, string> =>
    session === null ? {} : { 'mcp-session-id': session }

  return {
    url,
    /** The whole answer. */
    async post(message: unknown, session: string | null = null, signal?: AbortSignal): Promise<Posted> {
      const answer = await ask('POST', '', ofSession(session), message, signal)
      return { status: answer.status, session: answer.headers.get('mcp-session-id'), text: await answer.text() }
    },
    /** The answer as it begins. */
    begin: (message: unknown, session: string | null = null, signal?: AbortSignal): Promise<Response> =>
      ask('POST', '', ofSession(session), message, signal),
    /** Its session's id. */
    async open(): Promise<string> {
      const { status, session, text } = await this.post(initializing())
      if (status !== 200 || session === null) throw new Error(`initialize answered ${status}: ${text}`)
      await this.post({ ...JSON_RPC, method: 'notifications/initialized' }, session)
      return session
    },
    listen: (session: string, signal?: AbortSignal) => ask('GET', '', ofSession(session), undefined, signal),
    async delete(session: string): Promise<number> {
      const answer = await ask('DELETE', '', ofSession(session))
      await answer.text()
      return answer.status
    },
    /** A stream of HTTP+SSE. */
    openOld: (signal: AbortSignal) => ask('GET', '/sse', { accept: 'text/event-stream' }, undefined, signal),
    /** A request of 2026-07-28. */
    modern: (message: ReturnType<typeof calling>, signal?: AbortSignal): Promise<Response> =>
      ask(
        'POST',
        '',
        { 'mcp-protocol-version': '2026-07-28', 'mcp-method': message.method, 'mcp-name': message.params.name },
        { ...message, params: { ...message.params, _meta: { ...message.params._meta, ...MODERN } } },
        signal,
      ),
  }
}
