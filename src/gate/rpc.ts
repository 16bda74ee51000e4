import { limits } from '../limits.ts'
import { parseEvents } from './sse.ts'

/** JSON-RPC 2.0 as far as a gate must read it: which requests wait for an answer. */

export type RpcId = string | number

export interface RpcRequests {
  /** Ids of requests; notifications have none. Null: more than are remembered. */
  ids: Set<RpcId> | null
  /** The client's own name, where it is told. */
  client: string | null
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

const isId = (value: unknown): value is RpcId => typeof value === 'string' || typeof value === 'number'

const text = (value: unknown): string => (typeof value === 'string' ? value.trim() : '')

/** MCP says who calls in `initialize` (to 2025-11-25), or in each request's `_meta` (2026-07-28). */
const clientName = (message: Record<string, unknown>): string | null => {
  const params = isRecord(message.params) ? message.params : {}
  const envelope = isRecord(params._meta) ? params._meta : {}
  const info = params.clientInfo ?? envelope['io.modelcontextprotocol/clientInfo']
  if (!isRecord(info)) return null
  return `${text(info.name)} ${text(info.version)}`.trim().slice(0, limits.clientNameLengthMax) || null
}

const parse = (bytes: Uint8Array | string): unknown => {
  try {
    return JSON.parse(typeof bytes === 'string' ? bytes : new TextDecoder().decode(bytes))
  } catch {
    // Not JSON: then it is not JSON-RPC either, and passes unread.
    return null
  }
}

/** The requests in a POST's body, or null when it is not JSON-RPC. */
export const rpcRequests = (body: Uint8Array): RpcRequests | null => {
  if (!Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes('"jsonrpc"')) return null
  const parsed = parse(body)
  const messages = (Array.isArray(parsed) ? parsed : [parsed]).filter(isRecord)
  if (!messages.some((message) => message.jsonrpc === '2.0')) return null
  const requests = messages.filter((message) => typeof message.method === 'string' && isId(message.id))
  return {
    ids: requests.length > limits.rpcIdsMax ? null : new Set(requests.map((message) => message.id as RpcId)),
    client: messages.map(clientName).find((name) => name !== null) ?? null,
  }
}

/** Takes out of `waiting` what the events in these bytes answer. */
export const strikeAnswered = (waiting: Set<RpcId>, bytes: Uint8Array): void => {
  if (waiting.size === 0) return
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!buffer.includes('"result"') && !buffer.includes('"error"')) return
  for (const { data } of parseEvents(new TextDecoder().decode(bytes))) {
    const parsed = parse(data)
    for (const message of (Array.isArray(parsed) ? parsed : [parsed]).filter(isRecord)) {
      if (isId(message.id) && message.method === undefined && ('result' in message || 'error' in message))
        waiting.delete(message.id)
    }
  }
}

/** -32001 is taken: SDK 1 uses it for its own timeout. */
const CUT_CODE = -32080

export const cutError = (id: RpcId, type: string, message: string) => ({
  jsonrpc: '2.0',
  id,
  error: { code: CUT_CODE, message, data: { type } },
})

export const cancelled = (requestId: RpcId, reason: string) => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId, reason },
})
