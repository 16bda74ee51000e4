import type { JSONRPCRequest } from '@modelcontextprotocol/server'
import { decodeHeader } from '../guard.ts'
import { headerMismatch, type Problem } from '../problem.ts'

/** What `Mcp-Name` repeats of a request's parameters (MCP 2026-07-28, Standard Request Headers). */
const NAMED_BY: Record<string, string> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

/** Why the headers of a request can't be accepted, or null; what they say of its version was looked at already. */
export const headersProblem = (headers: Headers, { id, method, params }: JSONRPCRequest): Problem | null => {
  const said = headers.get('mcp-method')
  const field = Object.hasOwn(NAMED_BY, method) ? NAMED_BY[method] : undefined
  const name = field === undefined ? undefined : params?.[field]
  const saidName = headers.get('mcp-name')
  const named = typeof name !== 'string' || (saidName !== null && decodeHeader(saidName.trim()) === name)
  const fits = headers.has('mcp-protocol-version') && said !== null && decodeHeader(said.trim()) === method && named
  return fits ? null : headerMismatch(id)
}
