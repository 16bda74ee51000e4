import { HttpConnection } from './connection.ts'
import { HOST } from './program.ts'

/** Enough for every connection to have one in flight under an id of its own, though one may wait while others go round. */
const IDS = 8_192
const SESSIONS = '2025-11-25'
const STATELESS = '2026-07-28'
const INFO = { name: 'bench', version: '1.0.0' }

/** Where an MCP endpoint is, and what opens its door. */
export interface Endpoint {
  port: number
  path: string
  token: string | null
}

const post = ({ path, token }: Endpoint, headers: Record<string, string>, message: object): string => {
  const body = JSON.stringify({ jsonrpc: '2.0', ...message })
  const all = {
    Host: HOST,
    Accept: 'application/json, text/event-stream',
    'Content-Type': 'application/json',
    ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
    ...headers,
    'Content-Length': String(body.length),
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
  return `POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`
}

/** A session's first message, and a call in it, whatever carries them. */
export const INITIALIZE = {
  method: 'initialize',
  params: { protocolVersion: SESSIONS, capabilities: {}, clientInfo: INFO },
}
export const INITIALIZED = { method: 'notifications/initialized' }
export const CALL = { method: 'tools/call', params: { name: 'echo', arguments: { text: 'hello' } } }
const ids = Array.from({ length: IDS }, (_, at) => at + 1)

/** Opens one session: how long until the first answer, and what its other requests carry. */
export const openSession = async (endpoint: Endpoint) => {
  const connection = await HttpConnection.to(HOST, endpoint.port)
  const before = performance.now()
  const opened = await connection.ask(post(endpoint, {}, { id: 0, ...INITIALIZE }))
  const tookMs = performance.now() - before
  const session = opened.head.get('mcp-session-id')
  if (!session) throw new Error(`no session: ${opened.status} ${opened.text}`)
  const headers = { 'Mcp-Session-Id': session, 'Mcp-Protocol-Version': SESSIONS }
  const ready = await connection.ask(post(endpoint, headers, INITIALIZED))
  if (ready.status !== '202') throw new Error(`not initialized: ${ready.status} ${ready.text}`)
  connection.close()
  return { headers, tookMs }
}

/** Opens one session, and answers with calls of a tool in it. */
export const sessionCalls = async (endpoint: Endpoint): Promise<string[]> => {
  const { headers } = await openSession(endpoint)
  return ids.map((id) => post(endpoint, headers, { id, ...CALL }))
}

/** Ends a session, and is answered. */
export const endSession = async (endpoint: Endpoint, headers: Record<string, string>): Promise<void> => {
  const { port, path, token } = endpoint
  const bearer: Record<string, string> = token === null ? {} : { Authorization: `Bearer ${token}` }
  await fetch(`http://${HOST}:${port}${path}`, { method: 'DELETE', headers: { ...bearer, ...headers } })
}

export const statelessCalls = async (endpoint: Endpoint): Promise<string[]> => {
  const headers = { 'Mcp-Protocol-Version': STATELESS, 'Mcp-Method': CALL.method, 'Mcp-Name': CALL.params.name }
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': STATELESS,
    'io.modelcontextprotocol/clientInfo': INFO,
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const call = { ...CALL, params: { ...CALL.params, _meta } }
  return ids.map((id) => post(endpoint, headers, { id, ...call }))
}
