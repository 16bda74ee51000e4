import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import type { TokenIssuedJson, TokenJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem } from './shape.ts'

let node: TestNode
beforeAll(async () => {
  node = await startNode()
  await node.addServer('a', 'http://127.0.0.1:1')
})
afterAll(() => node.stop())

const once = (key: string) => ({ 'Idempotency-Key': key })
const named = async (name: string) =>
  (await node.api<{ items: TokenJson[] }>('GET', '/tokens')).json.items.filter((token) => token.name === name)

test('a token is made once, and its secret shown once', async () => {
  const body = { name: 'once', servers: ['a'] }
  const first = await node.api<TokenIssuedJson>('POST', '/tokens', body, once('k1'))
  const second = await node.api<TokenIssuedJson>('POST', '/tokens', body, once('k1'))
  expect([first.status, second.status]).toEqual([201, 201])
  expect(first.json.token).toStartWith('pcl_')
  expect(first.json.connect).not.toBeEmpty()
  expect(second.json).toEqual({ ...first.json, token: null, connect: null })
  expect(second.headers.get('location')).toBe(first.headers.get('location') ?? '')
  expect(await named('once')).toHaveLength(1)
})

test('with another body, path or order of meaning it is refused', async () => {
  await node.api('POST', '/tokens', { name: 'first', servers: ['a'] }, once('k2'))
  expectProblem(await node.api('POST', '/tokens', { name: 'second', servers: ['a'] }, once('k2')), 422)
  expectProblem(await node.api('POST', '/operators', { name: 'first', role: 'auditor' }, once('k2')), 422)
  expect(await named('second')).toEqual([])
})

test('another actor has keys of its own', async () => {
  const { key } = await makeKey(node, 'ci', 'operator')
  const body = { name: 'by two', servers: ['a'] }
  const mine = await node.api<TokenIssuedJson>('POST', '/tokens', body, once('k3'))
  const theirs = await consoleApi(node, key)('POST', '/tokens', body, once('k3'))
  expect(mine.status).toBe(201)
  expectProblem(theirs, 409)
})

test('a refusal is not kept', async () => {
  const body = { name: 'later', servers: ['b'] }
  expectProblem(await node.api('POST', '/tokens', body, once('k4')), 404)
  await node.addServer('b', 'http://127.0.0.1:1')
  expect((await node.api('POST', '/tokens', body, once('k4'))).status).toBe(201)
})

test('two at once: one is made', async () => {
  const body = { name: 'at once', servers: ['a'] }
  const both = await Promise.all([1, 2].map(() => node.api<TokenIssuedJson>('POST', '/tokens', body, once('k5'))))
  expect(both.filter(({ json }) => typeof json.token === 'string')).toHaveLength(1)
  for (const { status } of both) expect([201, 409]).toContain(status)
  expect(await named('at once')).toHaveLength(1)
})

test('a revocation, a rotation and a key of the API likewise', async () => {
  const [{ id }] = (await named('once')) as [TokenJson]
  const rotations = [
    await node.api<TokenIssuedJson>('POST', `/tokens/${id}/rotations`, {}, once('k6')),
    await node.api<TokenIssuedJson>('POST', `/tokens/${id}/rotations`, {}, once('k6')),
  ]
  expect(rotations.map(({ json }) => typeof json.token)).toEqual(['string', 'object'])
  const keys = [
    await node.api<{ key: string | null }>('POST', '/apikeys', { name: 'twice', role: 'auditor' }, once('k7')),
    await node.api<{ key: string | null }>('POST', '/apikeys', { name: 'twice', role: 'auditor' }, once('k7')),
  ]
  expect(keys.map(({ status }) => status)).toEqual([201, 201])
  expect(keys[1]?.json.key).toBeNull()
  const revocations = [
    await node.api<{ id: string }>('POST', '/revocations', { tokens: [id], reason: 'other' }, once('k8')),
    await node.api<{ id: string }>('POST', '/revocations', { tokens: [id], reason: 'other' }, once('k8')),
  ]
  expect(revocations[1]?.json).toEqual(revocations[0]?.json as { id: string })
  expect(revocations[1]?.status).toBe(201)
})

test('other methods ignore it', async () => {
  for (const state of ['closed', 'open', 'closed', 'open']) {
    const { json } = await node.api<{ state: string }>('PUT', '/servers/a/gate', { state }, once('k9'))
    expect(json.state).toBe(state)
  }
  const { json } = await node.api<{ ready: boolean }>('GET', '/node', undefined, once('k1'))
  expect(json.ready).toBeTrue()
})

test('a key too long, or none', async () => {
  const body = { name: 'never', servers: ['a'] }
  expectProblem(await node.api('POST', '/tokens', body, once('x'.repeat(256))), 400)
  expect((await node.api('POST', '/tokens', { ...body, name: 'longest' }, once('x'.repeat(255)))).status).toBe(201)
  expect(await named('never')).toEqual([])
})

test('one-time links are not given twice, and nothing secret is kept on disk', async () => {
  await node.api('POST', '/operators', { name: 'Ada', role: 'operator' }, once('k10'))
  const again = await node.api<{ link: unknown }>('POST', '/operators', { name: 'Ada', role: 'operator' }, once('k10'))
  expect([again.status, again.json.link]).toEqual([201, null])
  const codes: string[] = []
  for (const path of ['/setup-links', '/operators/Ada/links']) {
    const seen: (string | undefined)[] = []
    for (let time = 0; time < 2; time += 1) {
      const { json } = await node.api<{ url: string | null }>('POST', path, {}, once(`link ${path}`))
      seen.push(/code=(.+)/.exec(json.url ?? '')?.[1])
    }
    expect(seen[0]).toBeString()
    expect(seen[1]).not.toBe(seen[0] as string)
    codes.push(seen[0] as string)
  }
  const database = new Database(join(node.data, 'portcullis.db'), { readonly: true })
  const kept = JSON.stringify(database.query('SELECT * FROM idempotency').all())
  database.close()
  expect(kept).toContain('once')
  expect(kept).not.toMatch(/pcl_|pca_/)
  for (const code of codes) expect(kept).not.toContain(code)
})

test('kept over a restart', async () => {
  const first = await startNode()
  await first.addServer('a', 'http://127.0.0.1:1')
  const body = { name: 'kept', servers: ['a'] }
  const issued = await first.api<TokenIssuedJson>('POST', '/tokens', body, once('k'))
  first.kill('SIGKILL')
  await first.exited
  const second = await startNode({ data: first.data })
  const again = await second.api<TokenIssuedJson>('POST', '/tokens', body, once('k'))
  expect([again.status, again.json.id, again.json.token]).toEqual([201, issued.json.id, null])
  await second.stop()
  await first.stop()
})
