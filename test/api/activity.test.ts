import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { ActivityRow } from '../../src/activity.ts'
import { Activity, type ActivityJson } from '../../src/server/api/schemas.ts'
import { ActivityStore } from '../../src/store/activity.ts'
import { openStore } from '../../src/store/open.ts'
import { rowAt } from '../support/activity-row.ts'
import { readCsvRows } from '../support/csv.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem, expectShape } from './shape.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const NOW = Date.now()

let data: string
let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
let old: { id: string; token: string }

const rowOf = (at: number, extra: Partial<ActivityRow> = {}): ActivityRow =>
  rowAt(at, { tokenId: old.id, serverId: 'srv_gone', ...extra })

beforeAll(async () => {
  data = tempFolder()
  echo = await startEcho()
  const first = await startNode({ data })
  await first.addServer('echo', echo.url)
  old = await first.createToken('old', ['echo'])
  await first.stop()
  // What happened long ago can only be written down.
  const keyFile = join(data, 'portcullis.key')
  const store = openStore({ folder: data, keyFile, version: '0.0.1', now: () => NOW })
  const activity = new ActivityStore(store)
  const formula = { name: '=HYPERLINK("http://x","y")', client: '+1, "quoted"', errors: 1, argumentBytes: 5 }
  for (const row of [
    rowOf(NOW - 5 * MINUTE_MS),
    rowOf(NOW - 2 * HOUR_MS, formula),
    rowOf(NOW - 3 * DAY_MS, { calls: 4, refused: 2 }),
    rowOf(NOW - 29 * DAY_MS, { method: 'GET', name: '', client: '', address: '192.0.2.2' }),
    rowOf(NOW - 31 * DAY_MS, { address: '192.0.2.31' }),
  ]) {
    activity.addActivity(row.lastAt - (row.lastAt % MINUTE_MS), [row])
  }
  store.close()
  node = await startNode({ data })
}, 20_000)
afterAll(async () => {
  await node?.stop()
  echo?.stop()
  removeFolder(data)
})

const get = async (query = '', id = old.id) => {
  const { status, json } = await node.api<ActivityJson>('GET', `/tokens/${id}/activity${query}`)
  expect(status).toBe(200)
  expectShape(Activity, json)
  return json
}
const csvOf = async (query: string, headers: Record<string, string> = {}, id = old.id) => {
  const unix = join(data, 'control.sock')
  const response = await fetch(`http://localhost/api/v1/tokens/${id}/activity${query}`, { unix, headers })
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/csv; charset=utf-8'])
  expect(response.headers.get('cache-control')).toBe('no-store')
  return readCsvRows(await response.text())
}
const call = (secret: string, body: object) =>
  ask(node.gate, {
    method: 'POST',
    target: '/s/echo/mcp',
    headers: { ...bearer(secret), 'Content-Type': 'application/json', 'User-Agent': 'raw/1' },
    body: JSON.stringify(body),
  })
const toolCall = (name: string, args: object = {}) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: args },
})

test('the shape, and everything in it', async () => {
  const { id, token } = await node.createToken('fresh', ['echo'], { subject: 'dev@example.com' })
  const before = Date.now()
  for (let times = 0; times < 2; times++) await call(token, toolCall('echo', { text: 'x' }))
  const json = await get('', id)
  const counts = { calls: 2, errors: 0, refused: 0, argumentBytes: 24 }
  const called = { ...counts, firstAt: expect.any(String), lastAt: expect.any(String) }
  expect(structuredClone(json)).toEqual({
    token: { id, name: 'fresh', subject: 'dev@example.com', status: 'active' },
    since: expect.any(String),
    until: expect.any(String),
    ...counts,
    tools: [{ server: 'echo', name: 'echo', ...called }],
    methods: [{ server: 'echo', method: 'tools/call', ...called }],
    addresses: [{ address: '127.0.0.1', ...called }],
    clients: [{ client: 'raw/1', ...called }],
    truncated: false,
  })
  expect(Date.parse(json.until) - Date.parse(json.since)).toBeWithin(30 * DAY_MS, 30 * DAY_MS + 1_000)
  const { firstAt, lastAt } = json.tools[0] ?? { firstAt: '', lastAt: '' }
  expect(Date.parse(firstAt)).toBeWithin(before, Date.parse(lastAt) + 1)
})

test('a token that did nothing, also by its name', async () => {
  await node.createToken('idle', ['echo'])
  const json = await get('', 'idle')
  expect(json).toMatchObject({ calls: 0, tools: [], methods: [], addresses: [], clients: [], truncated: false })
  expect(await csvOf('', { Accept: 'text/csv' }, 'idle')).toEqual([])
})

test('the dead still show what they did, and a removed server by its id', async () => {
  const { id, token } = await node.createToken('dies', ['echo'])
  await call(token, toolCall('echo'))
  await node.revoke({ tokens: [id] })
  expect(await get('', id)).toMatchObject({ token: { status: 'revoked' }, calls: 1, tools: [{ name: 'echo' }] })
  expect((await get()).tools).toMatchObject([{ server: 'srv_gone' }, { server: 'srv_gone' }])
})

describe('since', () => {
  const iso = (ageMs: number) => encodeURIComponent(new Date(NOW - ageMs).toISOString())
  const day = (ageMs: number) => new Date(NOW - ageMs).toISOString().slice(0, 10)
  test.each([
    ['', 7],
    ['?since=1m', 0],
    ['?since=6m', 1],
    ['?since=119m', 1],
    ['?since=3h', 2],
    ['?since=2d', 2],
    ['?since=4d', 6],
    ['?since=30d', 7],
    // Nothing older is told, though it may not be pruned yet.
    ['?since=90d', 7],
    ['?since=999999999d', 7],
    ['?since=1970-01-01', 7],
    ['?since=0001-01-01', 7],
    [`?since=${iso(0)}`, 0],
    [`?since=${iso(5 * MINUTE_MS)}`, 1],
    [`?since=${iso(5 * MINUTE_MS - 1)}`, 0],
    [`?since=${iso(3 * DAY_MS)}`, 6],
    // A date is its beginning: all of that day is in.
    [`?since=${day(3 * DAY_MS)}`, 6],
    [`?since=${day(29 * DAY_MS)}`, 7],
  ])('%s: %d calls', async (query, calls) => {
    expect((await get(query)).calls).toBe(calls)
    const rows = await csvOf(`${query || '?'}&format=csv`)
    expect(rows.reduce((sum, row) => sum + Number(row['calls']), 0)).toBe(calls)
  })

  test('says since when', async () => {
    const { since, until } = await get('?since=6m')
    expect(Date.parse(until) - Date.parse(since)).toBeWithin(6 * MINUTE_MS, 6 * MINUTE_MS + 1_000)
    const all = await get('?since=999999999d')
    expect(Date.parse(all.until) - Date.parse(all.since)).toBeWithin(30 * DAY_MS, 30 * DAY_MS + 1_000)
  })

  test.each([
    '',
    'yesterday',
    '24',
    '-1h',
    '1.5h',
    '2026-02-30',
    '2026-13-01',
    '2999-01-01',
    '2999-01-01T00:00:00Z',
    '5w',
  ])('%j is refused', async (since) => {
    const answer = await node.api('GET', `/tokens/${old.id}/activity?since=${since}`)
    expect(expectProblem(answer, 400).detail).toStartWith('since: ')
  })
})

describe('csv', () => {
  test('adds up to the totals of the JSON', async () => {
    const { token } = await node.createToken('more', ['echo'])
    await call(token, toolCall('a, "b"\r\nc'))
    for (const id of [old.id, 'more']) {
      const json = await get('', id)
      const rows = await csvOf('?format=csv', {}, id)
      for (const key of ['calls', 'errors', 'refused', 'argumentBytes'] as const) {
        const sum = (of: typeof rows) => of.reduce((total, row) => total + Number(row[key]), 0)
        expect(sum(rows)).toBe(json[key])
        for (const { address, ...counted } of json.addresses) {
          expect(sum(rows.filter((row) => row['address'] === address))).toBe(counted[key])
        }
        for (const { method, ...counted } of json.methods) {
          expect(sum(rows.filter((row) => row['method'] === method))).toBe(counted[key])
        }
      }
    }
  })

  test('columns, the oldest first, and no formula', async () => {
    const rows = await csvOf('?since=3h&format=csv')
    expect(rows).toEqual([
      {
        server: 'srv_gone',
        method: 'tools/call',
        name: `'=HYPERLINK("http://x","y")`,
        address: '192.0.2.1',
        client: `'+1, "quoted"`,
        calls: '1',
        errors: '1',
        refused: '0',
        argumentBytes: '5',
        firstAt: new Date(NOW - 2 * HOUR_MS).toISOString(),
        lastAt: new Date(NOW - 2 * HOUR_MS).toISOString(),
      },
      expect.objectContaining({ name: 'echo', client: 'test 1' }),
    ])
    expect(await csvOf('?since=3h', { Accept: 'text/csv' })).toEqual(rows)
    // What is asked for by name wins.
    const { json } = await node.api('GET', `/tokens/${old.id}/activity?format=json`, undefined, { Accept: 'text/csv' })
    expectShape(Activity, json)
  })

  test('another format is refused', async () => {
    expect(expectProblem(await node.api('GET', `/tokens/${old.id}/activity?format=xml`), 400).detail).toContain(
      'format',
    )
  })
})

describe('who may ask', () => {
  test('auditors and operators, and nobody without a key', async () => {
    const path = `/tokens/${old.id}/activity`
    for (const role of ['auditor', 'operator'] as const) {
      const { key } = await makeKey(node, role, role)
      expect((await consoleApi(node, key)('GET', path)).status).toBe(200)
    }
    expectProblem(await consoleApi(node)('GET', path), 401)
    expectProblem(await consoleApi(node, old.token)('GET', path), 401)
    expectProblem(await consoleApi(node)('GET', `${path}?format=csv`), 401)
  })

  test('an unknown token is 404, in either format', async () => {
    for (const query of ['', '?format=csv']) {
      expectProblem(await node.api('GET', `/tokens/tok_nothing/activity${query}`), 404, 'not-found')
    }
  })
})
