import type { JSONRPCRequest } from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'
import { headerMismatch, type Problem } from '../problem.ts'
import { isRecord } from '../rpc.ts'

/** What `Mcp-Name` repeats of a request's parameters (MCP 2026-07-28, Standard Request Headers). */
const NAMED_BY: Record<string, string> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

const ENCODED = /^=\?base64\?(.*)\?=$/
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const UTF_8 = new TextDecoder('utf-8', { fatal: true })

/** What a header stands for, which as it is no header could hold; null: it is encoded badly, or there is none. */
const valueOf = (headers: Headers, name: string): string | null => {
  const value = headers.get(name)?.trim()
  const base64 = value === undefined ? undefined : ENCODED.exec(value)?.[1]
  if (value === undefined || base64 === undefined) return value ?? null
  try {
    return BASE64.test(base64) ? UTF_8.decode(Buffer.from(base64, 'base64')) : null
  } catch {
    // Bytes that are no text.
    return null
  }
}

/** Why the headers of a request can't be accepted, or null; what they say of its version was looked at already. */
export const headersProblem = (headers: Headers, { id, method, params }: JSONRPCRequest): Problem | null => {
  const field = Object.hasOwn(NAMED_BY, method) ? NAMED_BY[method] : undefined
  const name = field === undefined ? undefined : params?.[field]
  const named = typeof name !== 'string' || valueOf(headers, 'mcp-name') === name
  return headers.has('mcp-protocol-version') && valueOf(headers, 'mcp-method') === method && named
    ? null
    : headerMismatch(id)
}

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** An argument that a header repeats, so that what stands between can go by it. */
interface Declaration {
  path: readonly string[]
  header: string
}

/** Those of a tool (`x-mcp-header` in its schema), at any depth of properties. */
const declarationsIn = (schema: unknown, path: readonly string[] = []): Declaration[] => {
  if (!isRecord(schema)) return []
  const said = schema['x-mcp-header']
  const own = typeof said === 'string' && HEADER_NAME.test(said) ? [{ path, header: `Mcp-Param-${said}` }] : []
  const properties = isRecord(schema.properties) ? Object.entries(schema.properties) : []
  return [...own, ...properties.flatMap(([name, inner]) => declarationsIn(inner, [...path, name]))]
}

const at = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((inner, key) => (isRecord(inner) && Object.hasOwn(inner, key) ? inner[key] : undefined), value)

const repeats = (header: string | null, argument: unknown): boolean => {
  if (header === null) return false
  const isDecimal = typeof argument === 'number' && /^-?\d+(?:\.\d+)?$/.test(header)
  return isDecimal ? Number(header) === argument : header === String(argument)
}

/** Which arguments of a server's tools are repeated in headers, as its own lists of them say. */
export class ParamHeaders {
  readonly #ofTools = new Map<string, Declaration[]>()

  constructor(readonly limits: Limits) {}

  /** `result` is an answer to `tools/list`. */
  learn(result: Record<string, unknown>): void {
    for (const tool of Array.isArray(result.tools) ? result.tools.filter(isRecord) : []) {
      const { name, inputSchema } = tool
      if (typeof name !== 'string') continue
      const declarations = declarationsIn(inputSchema)
      this.#ofTools.delete(name)
      if (declarations.length > 0 && this.#ofTools.size < this.limits.toolsMax) this.#ofTools.set(name, declarations)
    }
  }

  /** Why a call can't be accepted, or null. */
  problem(headers: Headers, { id, method, params }: JSONRPCRequest): Problem | null {
    if (method !== 'tools/call') return null
    for (const { path, header } of this.#ofTools.get(String(params?.['name'])) ?? []) {
      const argument = at(params?.['arguments'], path)
      const isPlain = ['string', 'number', 'boolean'].includes(typeof argument)
      if (isPlain && !repeats(valueOf(headers, header), argument))
        return headerMismatch(id, `${header} is missing, or says another thing than the argument ${path.join('.')}.`)
    }
    return null
  }
}
