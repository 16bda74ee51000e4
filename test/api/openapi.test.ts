import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type TestNode, startNode } from '../support/node.ts'
import { consoleApi, makeKey } from './console.ts'

type Operation = {
  responses?: Record<string, { content?: Record<string, { schema?: unknown }> }>
  requestBody?: unknown
}
type OpenApi = {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
  components: { securitySchemes: Record<string, { type: string; scheme: string }> }
  security: unknown[]
}

let node: TestNode
let document: OpenApi
beforeAll(async () => {
  node = await startNode()
  document = (await node.api<OpenApi>('GET', '/openapi.json')).json
})
afterAll(() => node.stop())

test('it names every route of the contract, and no page', () => {
  const found = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  const contract = [
    'POST /servers',
    'GET /servers',
    'GET /servers/{name}',
    'PATCH /servers/{name}',
    'DELETE /servers/{name}',
    'PUT /servers/{name}/gate',
    'PUT /gate',
    'DELETE /servers/{name}/connections',
    'POST /tokens',
    'GET /tokens',
    'GET /tokens/{id}',
    'POST /tokens/{id}/rotations',
    'POST /revocations',
    'GET /revocations',
    'GET /revocations/{id}',
    'GET /connections',
    'DELETE /connections/{id}',
    'GET /audit',
    'GET /audit/verification',
    'GET /audit/checkpoint',
    'GET /cluster',
    'POST /cluster/tickets',
    'DELETE /cluster/members/{node}',
  ]
  for (const route of contract) expect(found).toContain(route.replace(' /', ' /api/v1/'))
  for (const route of found) expect(route).toMatch(/^[A-Z]+ \/api\/v1\//)
})

test('what it says of an answer has a schema', () => {
  expect(document.openapi).toStartWith('3.')
  expect(document.info.title).toBe('Portcullis')
  expect(Object.values(document.components.securitySchemes)).toMatchObject([{ type: 'http', scheme: 'bearer' }])
  expect(document.security).not.toBeEmpty()
  const created = document.paths['/api/v1/tokens']?.['post']
  expect(created?.requestBody).toBeDefined()
  const schema = JSON.stringify(created?.responses?.['201']?.content?.['application/json']?.schema)
  for (const field of ['token', 'urls', 'expiresAt', 'subject']) expect(schema).toContain(`"${field}"`)
  const without = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method, { responses }]) => method === 'get' && !responses?.['200'])
      .map(() => path),
  )
  // What is not JSON has none.
  expect(without.filter((path) => !/backup|openapi/.test(path))).toEqual([])
})

test('an API key reads the same', async () => {
  const { key } = await makeKey(node, 'reader', 'auditor')
  expect((await consoleApi(node, key)<OpenApi>('GET', '/openapi.json')).json).toEqual(document)
})
