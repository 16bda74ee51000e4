import { limits } from '../limits.ts'
import { clientNameOf } from './client-name.ts'
import { parseEvents } from './sse.ts'

/** JSON-RPC 2.0 as far as a gate must read it: which requests wait for an answer, and how they were answered. */

export type RpcId = string | number

/** One request: what is asked for, never what is said. */
export interface RpcRequest {
  id: RpcId
  method: string
  /** Of the tool or prompt; empty where there is none. */
  name: string
  argumentBytes: number
}

export interface RpcBody {
  /** Notifications and answers are left out. Null: more than are remembered. */
  requests: RpcRequest[] | null
  /** The client's own name, where it is told. */
  client: string | null
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isId = (value: unknown): value is RpcId => typeof value === 'string' || typeof value === 'number'

const text = (value: unknown): string => (typeof value === 'string' ? value.trim() : '')

/** MCP says who calls in `initialize` (to 2025-11-25), or in each request's `_meta` (2026-07-28). */
export const clientName = (message: Record<string, unknown>): string | null => {
  const params = isRecord(message.params) ? message.params : {}
  const envelope = isRecord(params._meta) ? params._meta : {}
  const info = params.clientInfo ?? envelope['io.modelcontextprotocol/clientInfo']
  if (!isRecord(info)) return null
  return clientNameOf(`${text(info.name)} ${text(info.version)}`.trim())
}

const decoder = new TextDecoder()

const parse = (bytes: Uint8Array | string): unknown => {
  try {
    return JSON.parse(typeof bytes === 'string' ? bytes : decoder.decode(bytes))
  } catch {
    // Not JSON: then it is not JSON-RPC either, and passes unread.
    return null
  }
}

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Whether JSON may be nested deeper than `rpcDepthMax`: writing such a value anew would hold up the loop for a second. */
const mayBeDeep = (json: Uint8Array): boolean => {
  let depth = 0
  for (let at = 0; at < json.length && depth <= limits.rpcDepthMax; at += 1) {
    // The bit between [ and {, and between ] and }, is the same: ASCII was made so.
    const byte = (json[at] as number) | 0x20
    if (byte === 0x7b) depth += 1
    else if (byte === 0x7d) depth -= 1
  }
  return depth > limits.rpcDepthMax
}

/** `sizeMax`: the size that arguments are given which are too deep to be measured. */
const requestOf = (message: Record<string, unknown>, sizeMax: number | null): RpcRequest => {
  const params = isRecord(message.params) ? message.params : {}
  const args = params.arguments
  return {
    id: message.id as RpcId,
    method: message.method as string,
    name: typeof params.name === 'string' ? params.name : '',
    argumentBytes: args === undefined ? 0 : (sizeMax ?? Buffer.byteLength(JSON.stringify(args))),
  }
}

/** What a POST's body asks for, or null when it is not JSON-RPC. */
export const readRpc = (body: Uint8Array): RpcBody | null => {
  if (!bufferOf(body).includes('"jsonrpc"')) return null
  const parsed = parse(body)
  const messages = (Array.isArray(parsed) ? parsed : [parsed]).filter(isRecord)
  if (!messages.some((message) => message.jsonrpc === '2.0')) return null
  const requests = messages.filter((message) => typeof message.method === 'string' && isId(message.id))
  const sizeMax = mayBeDeep(body) ? body.length : null
  return {
    requests: requests.length > limits.rpcIdsMax ? null : requests.map((message) => requestOf(message, sizeMax)),
    client: messages.map(clientName).find((name) => name !== null) ?? null,
  }
}

/** That a request was answered; `failed`: by an error, of JSON-RPC or of the tool. */
export interface RpcAnswer {
  id: RpcId
  failed: boolean
}

const answersIn = (parsed: unknown): RpcAnswer[] =>
  (Array.isArray(parsed) ? parsed : [parsed]).filter(isRecord).flatMap((message) => {
    const { id, result } = message
    if (!isId(id) || message.method !== undefined || !('result' in message || 'error' in message)) return []
    return [{ id, failed: 'error' in message || (isRecord(result) && result.isError === true) }]
  })

/** The answers in these bytes of whole events. */
export const answersInEvents = (bytes: Uint8Array): RpcAnswer[] => {
  const buffer = bufferOf(bytes)
  if (!buffer.includes('"result"') && !buffer.includes('"error"')) return []
  return parseEvents(decoder.decode(bytes)).flatMap(({ data }) => answersIn(parse(data)))
}

/** Those of the answers in a JSON body that failed: success needs no parsing. */
export const failuresInBody = (body: Uint8Array): RpcAnswer[] => {
  const buffer = bufferOf(body)
  if (!buffer.includes('"error"') && !buffer.includes('"isError"')) return []
  return answersIn(parse(body)).filter(({ failed }) => failed)
}

/** -32001 is taken: SDK 1 uses it for its own timeout. */
const CUT_CODE = -32080
const POLICY_CODE = -32081
/** MCP 2026-07-28, Server Validation. */
const HEADER_MISMATCH_CODE = -32020

export interface RpcError {
  jsonrpc: '2.0'
  /** Null: of a message that has none. */
  id: RpcId | null
  error: { code: number; message: string; data?: { type: string } }
}

const rpcError = (id: RpcId | null, code: number, message: string, type: string): RpcError => ({
  jsonrpc: '2.0',
  id,
  error: { code, message, data: { type } },
})

export const cutError = (id: RpcId, type: string, message: string) => rpcError(id, CUT_CODE, message, type)

export const policyError = (id: RpcId, type: string, message: string) => rpcError(id, POLICY_CODE, message, type)

export const mismatchError = (id: RpcId | null, message: string) =>
  rpcError(id, HEADER_MISMATCH_CODE, message, 'header_mismatch')

export const cancelled = (requestId: RpcId, reason: string) => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId, reason },
})
