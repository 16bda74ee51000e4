import { limits } from '../limits.ts'
import { fold } from '../text.ts'
import { isRecord } from './rpc.ts'

/**
 * JSON-RPC that every parser reads alike. A policy is worth nothing when the gate reads `method` in one
 * place and the server behind it in another: so members given twice, and names that only a lenient
 * parser takes for the real ones (Go's ignores case), are no JSON-RPC here.
 */

export type Message = Record<string, unknown> & { jsonrpc: '2.0' }

export interface StrictBody {
  /** An array, as MCP 2025-03-26 allows. */
  batch: boolean
  messages: Message[]
}

const MESSAGE_MEMBERS = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error'])
const PARAMS_MEMBERS = new Set(['name', 'arguments', '_meta'])
/** Those of MCP are; of a stranger it can't be told what a lenient server makes of it. */
const METHOD = /^[\x21-\x7e]+$/

/** How many members the objects of a valid JSON text have: every string followed by a colon is one's name. */
const membersInText = (json: string): number => {
  let count = 0
  for (let at = json.indexOf('"'); at >= 0; at = json.indexOf('"', at)) {
    at += 1
    while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1
    at += 1
    let next = at
    while (' \t\r\n'.includes(json[next] ?? '-')) next += 1
    if (json[next] === ':') count += 1
  }
  return count
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** How many members the parsed objects have, fewer than their text when one was given twice; null: too deep. */
const membersInValue = (value: unknown): number | null => {
  let count = 0
  let level = [value].filter(isObject)
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > limits.rpcDepthMax) return null
    const inner: object[] = []
    for (const one of level) {
      const values = Object.values(one)
      if (!Array.isArray(one)) count += values.length
      for (const next of values) if (isObject(next)) inner.push(next)
    }
    level = inner
  }
  return count
}

/** No other spelling of a name, and nothing that a parser may leave out of one or end it at. */
const plainlyNamed = (params: Record<string, unknown>): boolean =>
  Object.keys(params).every((key) => PARAMS_MEMBERS.has(key) || (!PARAMS_MEMBERS.has(fold(key)) && !/\p{C}/u.test(key)))

const isMessage = (value: unknown): value is Message => {
  if (!isRecord(value) || value.jsonrpc !== '2.0') return false
  // More members than JSON-RPC has are a call to something else: an API beside MCP reads them at its own path.
  if (!Object.keys(value).every((key) => MESSAGE_MEMBERS.has(key))) return false
  const { id, method, params } = value
  // A number that does not fit a double would be another one in a refusal.
  if ('id' in value && !(typeof id === 'string' || Number.isSafeInteger(id))) return false
  const isAnswer = 'result' in value || 'error' in value
  if (!('method' in value)) return isAnswer && 'id' in value
  if (typeof method !== 'string' || !METHOD.test(method) || isAnswer) return false
  return params === undefined || (isRecord(params) && plainlyNamed(params))
}

/** The messages of a body, or null when it is no JSON-RPC or could be read in two ways. */
export const readStrict = (body: Uint8Array): StrictBody | null => {
  let json: string
  let parsed: unknown
  try {
    // With the byte order mark left in, which JSON must not begin with (RFC 8259 §8.1).
    json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
    parsed = JSON.parse(json)
  } catch {
    // Neither the decoder's nor the parser's reason helps whoever sent it: it is no JSON in UTF-8.
    return null
  }
  const messages: unknown[] = Array.isArray(parsed) ? parsed : [parsed]
  const countOk = messages.length > 0 && messages.length <= limits.rpcIdsMax
  if (!countOk || !messages.every(isMessage)) return null
  if (membersInText(json) !== membersInValue(parsed)) return null
  return { batch: Array.isArray(parsed), messages }
}

// The runtime has both of "JSON.parse source text access" (ECMAScript proposal); its types have not.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }
type Reviver = (key: string, value: unknown, context: { source: string }) => unknown
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => unknown

/** JSON text with some changes, in which every number that stays is spelt as it was: 64 bits don't fit a double. */
export const rewriteJson = (json: string, change: (parsed: unknown) => unknown): string => {
  const exact: Reviver = (_, value, { source }) => (typeof value === 'number' ? rawJSON(source) : value)
  return JSON.stringify(change(parseWithSource(json, exact)))
}
