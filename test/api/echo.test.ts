import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { type TestNode, startNode } from '../support/node.ts'
import { unknownSecret } from '../support/secret.ts'
import { consoleApi, makeKey } from './console.ts'

let node: TestNode
let key: string
beforeAll(async () => {
  node = await startNode()
  await node.addServer('a', 'http://127.0.0.1:1')
  await node.createToken('t', ['a'])
  key = (await makeKey(node, 'k', 'operator')).key
})
afterAll(() => node.stop())

const OURS = unknownSecret()
const API_KEY = OURS.replace('pcl_', 'pca_')
const FOREIGN = 'sk-live-Hunter2-4711'

/** Right bodies; each text in them is replaced in turn, and one with an unknown field is tried, too. */
const BODIES: [path: string, body: Record<string, unknown>][] = [
  [
    '/servers',
    { name: 'n', url: 'http://127.0.0.1:1', kind: 'auto', path: '/mcp', headers: { 'X-Key': 'v' }, probe: false },
  ],
  ['/tokens', { name: 'n', servers: ['a'], subject: 's', group: 'g', expires: '30d' }],
  ['/tokens', { name: 'n', servers: ['a'], expiresAt: '2027-01-01' }],
  ['/tokens/t/rotations', { graceSeconds: 1 }],
  [
    '/revocations',
    {
      tokens: ['t'],
      subject: 's',
      group: 'g',
      server: 'a',
      issuedBefore: '2020-01-01',
      all: true,
      reason: 'other',
      note: 'n',
    },
  ],
  ['/apikeys', { name: 'n', role: 'auditor', expires: '30d' }],
  ['/operators', { name: 'n', role: 'operator' }],
  [
    '/audit/verification',
    { database: 'd', node: 'n', sequence: 1, hash: 'h', at: 'a', keyId: 'k', publicKey: 'p', signature: 's' },
  ],
]
const withEach = (body: Record<string, unknown>, value: string): Record<string, unknown>[] => [
  ...Object.keys(body).map((field) => ({ ...body, [field]: value })),
  ...Object.entries(body).flatMap(([field, old]) => (Array.isArray(old) ? [{ ...body, [field]: [value] }] : [])),
  ...('headers' in body ? [{ [value]: 'v' }, { 'X-Key': `${value}☃` }].map((headers) => ({ ...body, headers })) : []),
  // A foreign secret as a field's name is nothing that a person would do.
  ...(value === FOREIGN ? [] : [{ ...body, [value]: 'unknown field' }]),
  { ...body, unknown: value },
]

describe.each([
  ["a token's secret", OURS],
  ['an API key', API_KEY],
  ['a foreign secret', FOREIGN],
])('%s', (what, secret) => {
  // A foreign secret can't be told from a name: where it is taken for one, it is answered as one.
  const mayEcho = (status: number) => what === 'a foreign secret' && status < 300
  const expectNoEcho = (
    where: string,
    {
      status,
      headers,
      json,
    }: {
      status: number
      headers: Headers
      json: unknown
    },
  ) => {
    if (mayEcho(status)) return
    const text = JSON.stringify([json, [...headers]])
    expect([where, text.includes(secret), text.toLowerCase().includes(secret.toLowerCase())]).toEqual([
      where,
      false,
      false,
    ])
  }

  test.each(BODIES)('in the body of POST %s', async (path, body) => {
    for (const changed of withEach(body, secret)) {
      expectNoEcho(`${path} ${JSON.stringify(changed)}`, await node.api('POST', path, changed))
    }
  })

  test('in a change', async () => {
    for (const changed of withEach(
      {
        url: 'http://127.0.0.1:1',
        kind: 'auto',
        path: '/x',
        headers: { 'X-Key': 'v' },
      },
      secret,
    )) {
      expectNoEcho('PATCH', await node.api('PATCH', '/servers/a', changed))
    }
    for (const path of ['/gate', '/servers/a/gate']) {
      for (const changed of withEach(
        {
          state: 'open',
          reason: 'r',
        },
        secret,
      ))
        expectNoEcho(`PUT ${path}`, await node.api('PUT', path, changed))
    }
  })

  test('in a path, a query or a header', async () => {
    const asConsole = consoleApi(node, key)
    for (const api of [node.api, asConsole]) {
      for (const noun of ['servers', 'tokens', 'revocations', 'connections', 'apikeys', 'operators', 'keys']) {
        const path = `/${noun}/`
        for (const method of ['GET', 'DELETE']) expectNoEcho(`${method} ${path}`, await api(method, path + secret))
      }
      for (const query of [`limit=${secret}`, `after=${secret}`, `order=${secret}`, `actor=${secret}`]) {
        expectNoEcho(query, await api('GET', `/audit?${query}`))
      }
      expectNoEcho(
        'wait',
        await api('POST', `/revocations?wait=${secret}`, { tokens: ['t'], reason: 'other', dryRun: true }),
      )
      expectNoEcho('header', await api('POST', '/tokens', { name: 'x', servers: [] }, { 'Idempotency-Key': secret }))
    }
    expectNoEcho('bearer', await consoleApi(node, secret)('GET', '/tokens'))
  })

  test('cut short JSON', async () => {
    const response = await fetch('http://localhost/api/v1/tokens', {
      unix: join(node.data, 'control.sock'),
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: `{"name":"${secret}`,
    })
    expect(response.status).toBe(400)
    expect(await response.text()).not.toContain(secret)
  })
})

test('none of ours was stored or logged', async () => {
  const database = new Database(join(node.data, 'portcullis.db'), { readonly: true })
  const tables = database.query("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]
  const everything = JSON.stringify(tables.map(({ name }) => database.query(`SELECT * FROM "${name}"`).all()))
  database.close()
  for (const secret of [OURS, API_KEY, key]) {
    expect([everything.includes(secret), (node.stderr() + node.stdout()).includes(secret)]).toEqual([false, false])
  }
})
