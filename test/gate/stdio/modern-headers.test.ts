import { expect, test } from 'bun:test'
import type { JSONRPCRequest } from '@modelcontextprotocol/server'
import fc from 'fast-check'
import { headersProblem, ParamHeaders } from '../../../src/gate/stdio/modern-headers.ts'
import { limits } from '../../../src/limits.ts'

const encoded = (text: string) => `=?base64?${Buffer.from(text).toString('base64')}?=`

const request = (method: string, params?: Record<string, unknown>): JSONRPCRequest => ({
  jsonrpc: '2.0',
  id: 1,
  method,
  ...(params && { params }),
})

const STANDARD = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'add' }

test.each<[string, Record<string, string>, JSONRPCRequest, boolean]>([
  ['all said', STANDARD, request('tools/call', { name: 'add' }), true],
  ['encoded', { ...STANDARD, 'mcp-name': encoded('Zürich') }, request('tools/call', { name: 'Zürich' }), true],
  ['badly encoded', { ...STANDARD, 'mcp-name': '=?base64?YWRk=?=' }, request('tools/call', { name: 'add' }), false],
  ['no text', { ...STANDARD, 'mcp-name': '=?base64?/w==?=' }, request('tools/call', { name: '\ufffd' }), false],
  ['another name', { ...STANDARD, 'mcp-name': 'ad' }, request('tools/call', { name: 'add' }), false],
  ['another method', STANDARD, request('tools/list'), false],
  [
    'a resource',
    { ...STANDARD, 'mcp-method': 'resources/read', 'mcp-name': 'a://b' },
    request('resources/read', { uri: 'a://b' }),
    true,
  ],
  ['no name to repeat', { ...STANDARD, 'mcp-method': 'tools/list' }, request('tools/list'), true],
  ['a method of the prototype', { ...STANDARD, 'mcp-method': 'constructor' }, request('constructor'), true],
])('%s', (_, headers, message, fits) => {
  expect(headersProblem(new Headers(headers), message)?.rpc?.error.code).toBe(fits ? undefined : -32020)
  for (const name of ['mcp-protocol-version', 'mcp-method']) {
    const less = new Headers(headers)
    less.delete(name)
    expect(headersProblem(less, message)?.rpc?.error.code).toBe(-32020)
  }
})

const TOOLS = {
  tools: [
    {
      name: 'query',
      inputSchema: {
        type: 'object',
        properties: {
          region: { type: 'string', 'x-mcp-header': 'Region' },
          count: { type: 'integer', 'x-mcp-header': 'Count' },
          fast: { type: 'boolean', 'x-mcp-header': 'Fast' },
          deep: { type: 'object', properties: { er: { type: 'string', 'x-mcp-header': 'Deeper' } } },
          bad: { type: 'string', 'x-mcp-header': 'no header\r\n' },
          other: { type: 'string' },
        },
      },
    },
    { name: 'plain', inputSchema: { type: 'object' } },
    'none',
  ],
}

const call = (args: unknown) => request('tools/call', { name: 'query', arguments: args })

test.each<[string, unknown, Record<string, string>, boolean]>([
  ['nothing is repeated that is not there', { other: 'x', bad: 'y' }, {}, true],
  ['as it is', { region: 'eu' }, { 'Mcp-Param-Region': 'eu' }, true],
  ['encoded', { region: 'Zürich' }, { 'Mcp-Param-Region': encoded('Zürich') }, true],
  ['missing', { region: 'eu' }, {}, false],
  ['another', { region: 'eu' }, { 'Mcp-Param-Region': 'us' }, false],
  ['badly encoded', { region: 'Hello' }, { 'Mcp-Param-Region': '=?base64?SGVsbG8?=' }, false],
  [
    'with characters that it may not have',
    { region: 'Hello' },
    { 'Mcp-Param-Region': '=?base64?SGVs!!!bG8=?=' },
    false,
  ],
  ['null', { region: null }, {}, true],
  ['a number in other words', { count: 7 }, { 'Mcp-Param-Count': '7.0' }, true],
  ['another number', { count: 7 }, { 'Mcp-Param-Count': '8' }, false],
  ['no number', { count: 0 }, { 'Mcp-Param-Count': '' }, false],
  ['a truth', { fast: true }, { 'Mcp-Param-Fast': 'true' }, true],
  ['deeper', { deep: { er: 'x' } }, { 'Mcp-Param-Deeper': 'x' }, true],
  ['deeper, missing', { deep: { er: 'x' } }, {}, false],
  ['of the prototype', {}, {}, true],
])('an argument in a header: %s', (_, args, headers, fits) => {
  const known = new ParamHeaders(limits)
  expect(known.problem(new Headers(headers), call(args))).toBeNull()
  known.learn(TOOLS)
  expect(known.problem(new Headers(headers), call(args))?.rpc?.error.code).toBe(fits ? undefined : -32020)
  expect(known.problem(new Headers(headers), request('tools/call', { name: 'plain', arguments: args }))).toBeNull()
  // A later list says that none is.
  known.learn({ tools: [{ name: 'query', inputSchema: {} }] })
  expect(known.problem(new Headers(headers), call(args))).toBeNull()
})

test('whatever a server lists, and a client sends, is an answer and no failure', () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (schema, args) => {
      const known = new ParamHeaders(limits)
      known.learn({ tools: [{ name: 'query', inputSchema: schema }] })
      known.learn({ tools: schema })
      const problem = known.problem(new Headers(), call(args))
      expect(problem === null || problem.status === 400).toBe(true)
    }),
  )
})

test('so many tools are remembered, and no more', () => {
  const known = new ParamHeaders({ ...limits, toolsMax: 2 })
  const inputSchema = { properties: { region: { 'x-mcp-header': 'Region' } } }
  known.learn({ tools: ['a', 'b', 'c'].map((name) => ({ name, inputSchema })) })
  const refused = ['a', 'b', 'c'].filter((name) =>
    known.problem(new Headers(), request('tools/call', { name, arguments: { region: 'eu' } })),
  )
  expect(refused).toEqual(['a', 'b'])
})
