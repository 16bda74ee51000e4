import { afterAll, beforeAll, expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import { startNode, type TestNode } from '../support/node.ts'

/** One past each limit of the API, beside the largest that passes. */

let node: TestNode
let tokenId: string

beforeAll(async () => {
  node = await startNode()
  await node.addServer('up', 'http://127.0.0.1:9', { probe: false })
  tokenId = (await node.createToken('kept', ['up'])).id
}, 20_000)
afterAll(() => node.stop())

const x = (length: number) => 'x'.repeat(length)
const many = (length: number) => Array.from({ length }, (_, index) => `n${index}`)
const headers = (length: number) => Object.fromEntries(many(length).map((name) => [name, 'v']))
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
const tenYears = limits.expiryMsMax / 86_400_000

type Try = [status: number, body: unknown]
const token = (extra: object) => ({ name: Bun.randomUUIDv7(), servers: ['up'], ...extra })
const server = (extra: object) => ({ name: Bun.randomUUIDv7(), url: 'http://127.0.0.1:9', probe: false, ...extra })
const revocation = (extra: object) => ({ all: true, dryRun: true, reason: 'other', ...extra })

const cases: [what: string, path: string, fits: Try, over: Try][] = [
  ["a token's name", '/tokens', [201, token({ name: x(100) })], [400, token({ name: x(101) })]],
  ['a subject', '/tokens', [201, token({ subject: x(100) })], [400, token({ subject: x(101) })]],
  ['a group', '/tokens', [201, token({ group: x(100) })], [400, token({ group: x(101) })]],
  // The servers are not there: what is within the limit is looked up, and not found.
  ['servers of a token', '/tokens', [404, token({ servers: many(100) })], [400, token({ servers: many(101) })]],
  [
    'an expiry',
    '/tokens',
    [201, token({ expires: inDays(tenYears - 1) })],
    [400, token({ expires: inDays(tenYears + 1) })],
  ],
  ['a note', '/revocations', [200, revocation({ note: x(1_000) })], [400, revocation({ note: x(1_001) })]],
  [
    'tokens of a revocation',
    '/revocations',
    [404, revocation({ tokens: many(1_000) })],
    [400, revocation({ tokens: many(1_001) })],
  ],
  ['a wait', '/revocations?wait=60s', [200, revocation({})], [200, revocation({})]],
  ["a server's name", '/servers', [201, server({ name: x(63) })], [400, server({ name: x(64) })]],
  ["a server's headers", '/servers', [201, server({ headers: headers(32) })], [400, server({ headers: headers(33) })]],
  [
    "a header's value",
    '/servers',
    [201, server({ headers: { a: x(8_192) } })],
    [400, server({ headers: { a: x(8_193) } })],
  ],
  ["an API key's name", '/apikeys', [201, { name: x(100), role: 'auditor' }], [400, { name: x(101), role: 'auditor' }]],
  [
    "an operator's name",
    '/operators',
    [201, { name: x(100), role: 'auditor' }],
    [400, { name: x(101), role: 'auditor' }],
  ],
]

test.each(cases)('%s', async (_what, path, [fits, small], [over, large]) => {
  expect((await node.api('POST', path, small)).status).toBe(fits)
  const refused = await node.api('POST', path, large)
  expect(refused.status).toBe(over)
  if (over >= 400) expect((refused.json as { detail: string }).detail).toMatch(/\w/)
})

test('a wait over a minute', async () => {
  expect((await node.api('POST', '/revocations?wait=61s', revocation({}))).status).toBe(400)
})

test('a grace', async () => {
  const grace = limits.rotationGraceMsMax / 1_000
  expect((await node.api('POST', `/tokens/${tokenId}/rotations`, { graceSeconds: grace + 1 })).status).toBe(400)
  expect((await node.api('POST', `/tokens/${tokenId}/rotations`, { graceSeconds: grace })).status).toBe(201)
})

test.each(['0', '1001', '-1', '1.5', 'x'])('a page of %s', async (limit) => {
  expect((await node.api('GET', `/tokens?limit=${limit}`)).status).toBe(400)
  expect((await node.api('GET', '/tokens?limit=1000')).status).toBe(200)
})

test('an Idempotency-Key', async () => {
  const send = (key: string) => node.api('POST', '/revocations', revocation({}), { 'Idempotency-Key': key })
  expect((await send(x(255))).status).toBe(200)
  expect((await send(x(256))).status).toBe(400)
})

test('keys of the ring', async () => {
  for (let ring = 1; ring < limits.keysMax; ring++) expect((await node.api('POST', '/keys', {})).status).toBe(201)
  expect((await node.api('POST', '/keys', {})).status).toBe(409)
})

test('a body at the console', async () => {
  const { console: url } = node
  const { json } = await node.api<{ key: string }>('POST', '/apikeys', { name: 'limits', role: 'operator' })
  const send = (body: string) =>
    fetch(`${url}/api/v1/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${json.key}`, 'content-type': 'application/json' },
      body,
    })
  const padded = (length: number) => JSON.stringify(revocation({})).padEnd(length)
  expect((await send(padded(limits.consoleBodyBytesMax))).status).toBe(200)
  expect((await send(padded(limits.consoleBodyBytesMax + 1))).status).toBe(413)
})

test('servers', async () => {
  let { length } = (await node.api<{ items: unknown[] }>('GET', '/servers?limit=1000')).json.items
  for (; length < limits.serversMax; length++) expect((await node.api('POST', '/servers', server({}))).status).toBe(201)
  expect((await node.api('POST', '/servers', server({}))).status).toBe(400)
}, 60_000)
