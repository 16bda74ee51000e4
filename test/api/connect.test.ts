import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CLIENT_IDS, PLACEHOLDER } from '../../src/connect.ts'
import { SECRET_SHAPE } from '../../src/secret.ts'
import {
  Connect,
  type ConnectJson,
  type RevocationJson,
  type ServerJson,
  TokenIssued,
  type TokenIssuedJson,
} from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem, expectShape } from './shape.ts'

let node: TestNode
beforeAll(async () => {
  node = await startNode()
  await node.addServer('git.hub', 'http://127.0.0.1:1', { kind: 'mcp', path: '/mcp' })
  await node.addServer('old', 'http://127.0.0.1:1/deep/sse', { kind: 'mcp' })
  await node.addServer('older', 'http://127.0.0.1:1', { kind: 'mcp', path: '/sse' })
  await node.addServer('llm', 'http://127.0.0.1:1', { kind: 'http', path: '/v1' })
})
afterAll(() => node.stop())

const ALL = ['git.hub', 'old', 'older', 'llm']
const get = (id: string) => node.api<ConnectJson>('GET', `/tokens/${id}/connect`)
const withSecret = (connect: ConnectJson, secret: string): unknown =>
  JSON.parse(JSON.stringify(connect).replaceAll(PLACEHOLDER, secret))

test('a creation and a rotation answer with what to paste, and hold the secret; later it is a placeholder', async () => {
  const created = await node.createToken('pasted', ALL)
  const rotated = (await node.api<TokenIssuedJson>('POST', `/tokens/${created.id}/rotations`)).json
  const later = await get(created.id)
  expect(later.status).toBe(200)
  expectShape(Connect, later.json)
  expect(Object.keys(later.json)).toEqual([...CLIENT_IDS])
  expect(JSON.stringify(later.json)).not.toMatch(SECRET_SHAPE)
  expect(rotated.token).not.toBe(created.token)
  for (const issued of [created, rotated]) {
    expectShape(TokenIssued, issued)
    expect(issued.connect?.['cursor']?.text).toContain(`Bearer ${issued.token}`)
    expect(issued.connect as unknown).toEqual(withSecret(later.json, issued.token as string))
    for (const { links } of Object.values(issued.connect ?? {})) expect(JSON.stringify(links)).not.toMatch(SECRET_SHAPE)
  }
})

test('URLs are those shown to people, and clients that must be told of HTTP+SSE are', async () => {
  const { id, urls } = await node.createToken('urls', ALL)
  const { json } = await get(id)
  const claude = json['claude-code']?.text.split('\n') ?? []
  expect(claude.map((line) => /--transport (\w+) (\S+) (\S+)/.exec(line)?.slice(1))).toEqual([
    ['http', 'git-hub', urls['git.hub'] as string],
    ['sse', 'old', urls['old'] as string],
    ['sse', 'older', urls['older'] as string],
  ])
  expect(urls['older']).toBe(`${node.gate}/s/older/sse`)
  expect(json['codex']?.text).not.toContain('/s/old')
  expect(json['curl']?.text).toContain(`${node.gate}/s/llm/v1`)
  expect(json['curl']?.text).toContain('/s/git.hub')
})

test('HTTP+SSE is told of where it was seen, whatever the path', async () => {
  const everything = await startEverything('sse')
  const elsewhere = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url)
      const { method, headers, signal } = request
      const body = method === 'POST' ? await request.text() : undefined
      const path = pathname === '/stream' && method === 'GET' ? '/sse' : pathname
      return fetch(everything.url + path + search, { method, headers, body, signal, decompress: false })
    },
  })
  try {
    const url = `http://127.0.0.1:${elsewhere.port}`
    const added = await node.api<ServerJson>('POST', '/servers', { name: 'elsewhere', url, path: '/stream' })
    expect(added.json.health.mcp?.transport).toBe('sse')
    const { id } = await node.createToken('to elsewhere', ['elsewhere'])
    const { json } = await get(id)
    expect(json['claude-code']?.text).toContain(`--transport sse elsewhere ${node.gate}/s/elsewhere/stream `)
    expect(json['codex']).toBeUndefined()
  } finally {
    await elsewhere.stop(true)
    await everything.stop()
  }
})

test('a server that was removed is in it no more', async () => {
  await node.addServer('brief', 'http://127.0.0.1:1', { kind: 'http' })
  const { id } = await node.createToken('of two', ['brief', 'llm'])
  expect((await get(id)).json['curl']?.text).toContain('/s/brief')
  await node.api('DELETE', '/servers/brief')
  const { json } = await get(id)
  expect(json['curl']?.text).toContain('/s/llm/v1')
  expect(JSON.stringify(json)).not.toContain('brief')
})

test('whoever reads may see it, by id and by name; nobody else', async () => {
  const { id } = await node.createToken('read by all', ['llm'])
  const { key } = await makeKey(node, 'reader', 'auditor')
  for (const one of [id, 'read%20by%20all']) {
    const answer = await consoleApi(node, key)<ConnectJson>('GET', `/tokens/${one}/connect`)
    expect([answer.status, answer.json]).toEqual([200, (await get(id)).json])
  }
  expectProblem(await consoleApi(node)('GET', `/tokens/${id}/connect`), 401)
})

test('there is nothing to paste for a dead token', async () => {
  const { id } = await node.createToken('dead', ['llm'])
  const { json } = await node.api<RevocationJson>('POST', '/revocations', { tokens: [id], reason: 'other' })
  expect(json.tokens).toHaveLength(1)
  expect(expectProblem(await get(id), 409).detail).toContain('revoked')
  expectProblem(await get('nobody'), 404)
})

test('the secret is in no file and no log, though the answers are kept for an Idempotency-Key', async () => {
  const body = { name: 'kept', servers: ALL }
  const once = (key: string) => ({ 'Idempotency-Key': key })
  const first = await node.api<TokenIssuedJson>('POST', '/tokens', body, once('c1'))
  const again = await node.api<TokenIssuedJson>('POST', '/tokens', body, once('c1'))
  const rotations = `/tokens/${first.json.id}/rotations`
  const rotated = await node.api<TokenIssuedJson>('POST', rotations, {}, once('c2'))
  const rotatedAgain = await node.api<TokenIssuedJson>('POST', rotations, {}, once('c2'))
  for (const { json, status, headers } of [again, rotatedAgain]) {
    expect([status, headers.get('idempotency-replayed'), json.token, json.connect]).toEqual([201, 'true', null, null])
    expectShape(TokenIssued, json)
  }
  const secrets = [first.json.token ?? '', rotated.json.token ?? '']
  const files = readdirSync(node.data, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  expect(files.filter((file) => /portcullis\.db(-wal)?$/.test(file)).length).toBe(2)
  const written = Buffer.concat(files.map((file) => readFileSync(file)))
  // What was kept is really there to be searched.
  expect(written.includes(first.json.id)).toBe(true)
  for (const secret of secrets) {
    expect(secret).toMatch(SECRET_SHAPE)
    expect(written.includes(secret)).toBe(false)
    expect(written.includes(secret.slice(4))).toBe(false)
    expect(node.stdout() + node.stderr()).not.toContain(secret)
  }
})
