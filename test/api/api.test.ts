import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { TSchema } from '@sinclair/typebox'
import * as schemas from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { expectProblem, expectShape } from './shape.ts'

let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
let stream: RawClient
beforeAll(async () => {
  events = await startEvents({ intervalMs: 50 })
  node = await startNode()
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

type Page = { items: Record<string, unknown>[]; next: string | null }
const get = async (path: string, schema: TSchema) => {
  const { status, headers, json } = await node.api<Page & Record<string, unknown>>('GET', path)
  expect(status).toBe(200)
  expect(headers.get('content-type')).toStartWith('application/json')
  expectShape(schema, json)
  return json
}
/** 201, the shape, and a Location that answers with the same thing where it can be read again. */
const create = async (path: string, body: unknown, schema: TSchema, location: RegExp) => {
  const { status, headers, json } = await node.api<Record<string, unknown>>('POST', path, body)
  if (status !== 201) throw new Error(`POST ${path} answered ${status}: ${JSON.stringify(json)}`)
  expectShape(schema, json)
  expect(headers.get('location')).toMatch(location)
  return { json, location: headers.get('location')?.replace('/api/v1', '') ?? '' }
}

describe('every route answers in its shape', () => {
  test('servers', async () => {
    const body = { name: 'events', url: `${events.url}/v1/`, kind: 'http', path: '/sse', headers: { 'X-Key': 'k' } }
    const { json, location } = await create('/servers', body, schemas.ServerCreated, /^\/api\/v1\/servers\/events$/)
    expect(json).toMatchObject({
      name: 'events',
      kind: 'http',
      path: '/sse',
      state: 'open',
      headers: { 'X-Key': '***' },
    })
    expect(json['publicUrl']).toBe(`${node.gate}/s/events/sse`)
    const read = await get(location, schemas.Server)
    const { probe: _, ...same } = json
    expect<unknown>(read).toEqual(same)
    expect((await get('/servers', schemas.ServerPage)).items).toEqual([read])
    const patched = await node.api('PATCH', '/servers/events', { url: events.url, path: '' })
    expectShape(schemas.Server, patched.json)
    expect(patched.json).toMatchObject({ url: `${events.url}/`, path: '', headers: { 'X-Key': '***' } })
    const probed = await node.api('POST', '/servers/events/probes')
    expectShape(schemas.Probe, probed.json)
  })

  test('tokens', async () => {
    const body = { name: 'Cursor IDE', servers: ['events'], subject: 'dev@example.com', expires: '30d' }
    const { json, location } = await create('/tokens', body, schemas.TokenIssued, /^\/api\/v1\/tokens\/tok_\w+$/)
    expect(json).toMatchObject({
      name: 'Cursor IDE',
      servers: ['events'],
      subject: 'dev@example.com',
      group: null,
      status: 'active',
      createdBy: 'local:0',
      urls: { events: `${node.gate}/s/events` },
      token: expect.stringMatching(/^pcl_[0-9A-Za-z]{36}$/),
    })
    const { token, connect: _connect, ...same } = json
    const read = await get(location, schemas.Token)
    expect<unknown>(read).toEqual(same)
    expect((await get('/tokens', schemas.TokenPage)).items).toEqual([read])
    const lifeMs = Date.parse(String(json['expiresAt'])) - Date.parse(String(json['createdAt']))
    // The clock is read twice.
    expect(Math.abs(lifeMs - 30 * 86_400_000)).toBeLessThan(1_000)
    const rotated = await create(
      `${location}/rotations`,
      { graceSeconds: 60 },
      schemas.TokenIssued,
      /^\/api\/v1\/tokens\/tok_\w+$/,
    )
    expect(rotated.json['token']).not.toBe(token)
    expect(rotated.json['oldSecretDiesAt']).toBeString()
    const bare = await node.api<{ token: string }>('POST', `${location}/rotations`)
    expect(bare.status).toBe(201)
    stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(bare.json.token) })
    await stream.until(({ text }) => text.includes('data:'))
  })

  test('connections', async () => {
    const { items } = await get('/connections', schemas.ConnectionPage)
    expect(items).toMatchObject([
      { kind: 'sse', server: 'events', address: '127.0.0.1', method: 'GET', token: { name: 'Cursor IDE' } },
    ])
    const { status, json } = await node.api('DELETE', `/connections/${String(items[0]?.['id'])}`)
    expect(status).toBe(200)
    expectShape(schemas.Cut, json)
    expect(json).toEqual({ cut: 1, lastCutMs: expect.any(Number), durable: true })
    await stream.done()
    expect((await get('/connections', schemas.ConnectionPage)).items).toEqual([])
    expectProblem(await node.api('DELETE', `/connections/${String(items[0]?.['id'])}`), 404)
  })

  test('gates and kills', async () => {
    for (const path of ['/servers/events/gate', '/gate']) {
      const closed = await node.api('PUT', path, { state: 'closed', reason: 'maintenance' })
      expectShape(schemas.GateState, closed.json)
      expect([closed.status, closed.json]).toEqual([
        200,
        { state: 'closed', reason: 'maintenance', cut: 0, lastCutMs: null, durable: true },
      ])
      expect(await get('/servers/events', schemas.Server)).toMatchObject({ state: 'closed', reason: 'maintenance' })
      expect(await get('/node', schemas.Node)).toMatchObject({ gate: { state: 'closed', reason: 'maintenance' } })
      const opened = await node.api('PUT', path, { state: 'open' })
      expect(opened.json).toMatchObject({ state: 'open', reason: null })
      expect(await get('/node', schemas.Node)).toMatchObject({ gate: { state: 'open', reason: null } })
    }
    const kill = await node.api('DELETE', '/servers/events/connections')
    expectShape(schemas.Cut, kill.json)
    expect(kill.json).toMatchObject({ cut: 0, lastCutMs: null })
  })

  test('revocations', async () => {
    const body = { tokens: ['Cursor IDE'], reason: 'lost_device', note: 'a note' }
    const { json, location } = await create(
      '/revocations',
      body,
      schemas.Revocation,
      /^\/api\/v1\/revocations\/rev_\w+$/,
    )
    expect(json).toMatchObject({
      actor: 'local:0',
      reason: 'lost_device',
      note: 'a note',
      dryRun: false,
      durable: true,
      complete: true,
      peers: [],
    })
    const stored = await eventually(async () => {
      const read = await get(location, schemas.Revocation)
      return (read['timings'] as { commitMs: number | null }).commitMs === null ? null : read
    })
    expect<unknown>(stored).toEqual(json)
    expect((await get('/revocations', schemas.RevocationPage)).items).toEqual([stored])
  })

  test('people and keys', async () => {
    await create(
      '/apikeys',
      { name: 'ci', role: 'auditor', expires: '30d' },
      schemas.ApiKeyIssued,
      /\/apikeys\/key_\w+$/,
    )
    const keys = await get('/apikeys', schemas.ApiKeyPage)
    expect(keys.items).toMatchObject([{ name: 'ci', role: 'auditor', createdBy: 'local:0' }])
    expect(JSON.stringify(keys)).not.toContain('pca_')
    await create('/operators', { name: 'Ada', role: 'operator' }, schemas.OperatorCreated, /\/operators\/Ada$/)
    expect((await get('/operators', schemas.OperatorPage)).items).toMatchObject([
      { name: 'Ada', role: 'operator', ready: false },
    ])
    const link = await node.api('POST', '/operators/Ada/links')
    expect(link.status).toBe(201)
    expectShape(schemas.Link, link.json)
    const setup = await node.api('POST', '/setup-links')
    expectShape(schemas.Link, setup.json)
    const ring = await get('/keys', schemas.RingKeyPage)
    expect(ring.items).toMatchObject([{ current: true, liveTokens: 0 }])
    await create('/keys', undefined, schemas.RingKey, /\/keys\/k\w+$/)
    for (const path of ['/apikeys/ci', '/operators/Ada']) {
      expect(await node.api('DELETE', path)).toMatchObject({ status: 204, json: null })
      expectProblem(await node.api('DELETE', path), 404, 'not-found')
    }
    const removed = await node.api('DELETE', `/keys/${String(ring.items[0]?.['id'])}`)
    expectShape(schemas.KeyRemoved, removed.json)
  })

  test('audit', async () => {
    expect((await get('/audit', schemas.AuditPage)).items.length).toBeGreaterThan(5)
    expect(await get('/audit/verification', schemas.Verification)).toMatchObject({
      status: 'intact',
      ok: true,
      sequence: null,
    })
    const checkpoint = await get('/audit/checkpoint', schemas.Checkpoint)
    const verified = await node.api('POST', '/audit/verification', checkpoint)
    expectShape(schemas.Verification, verified.json)
    expect(verified.json).toMatchObject({ status: 'intact' })
  })

  test('removing a server', async () => {
    const { status, json } = await node.api('DELETE', '/servers/events')
    expect(status).toBe(200)
    expectShape(schemas.Cut, json)
    for (const method of ['GET', 'DELETE']) expectProblem(await node.api(method, '/servers/events'), 404, 'not-found')
    expectProblem(await node.api('PATCH', '/servers/events', { kind: 'mcp' }), 404, 'not-found')
  })
})

describe('what is wrong is a problem document', () => {
  const rows: [what: string, method: string, path: string, body: unknown, status: number][] = [
    ['no such route', 'GET', '/nothing', undefined, 404],
    ['no such method', 'DELETE', '/tokens', undefined, 404],
    ['no such token', 'GET', '/tokens/tok_nothing', undefined, 404],
    ['no such revocation', 'GET', '/revocations/rev_nothing', undefined, 404],
    ['a token of no server', 'POST', '/tokens', { name: 'x', servers: [] }, 400],
    ['a token of an unknown server', 'POST', '/tokens', { name: 'x', servers: ['nowhere'] }, 404],
    ['a token without a name', 'POST', '/tokens', { servers: ['a'] }, 400],
    ['a name of spaces', 'POST', '/tokens', { name: '  ', servers: ['a'] }, 400],
    ['a name too long', 'POST', '/tokens', { name: 'x'.repeat(101), servers: ['a'] }, 400],
    ['a name with a line feed', 'POST', '/tokens', { name: 'a\nb', servers: ['a'] }, 400],
    ['a name that turns the text around', 'POST', '/tokens', { name: 'a\u202eb', servers: ['a'] }, 400],
    ['an unknown field', 'POST', '/tokens', { name: 'x', servers: ['a'], admin: true }, 400],
    ['a number for a text', 'POST', '/tokens', { name: 1, servers: ['a'] }, 400],
    ['an expiry in the past', 'POST', '/tokens', { name: 'x', servers: ['a'], expiresAt: '2020-01-01' }, 400],
    ['an expiry that is none', 'POST', '/tokens', { name: 'x', servers: ['a'], expires: 'soon' }, 400],
    ['30 February', 'POST', '/tokens', { name: 'x', servers: ['a'], expires: '2027-02-30' }, 400],
    ['two expiries', 'POST', '/tokens', { name: 'x', servers: ['a'], expires: '1d', expiresAt: '2027-01-01' }, 400],
    ['a list for a body', 'POST', '/tokens', [], 400],
    ['a text for a body', 'POST', '/servers', 'x', 400],
    ['null for a body', 'POST', '/servers', null, 400],
    ["a server's name with a slash", 'POST', '/servers', { name: 'a/b', url: 'http://127.0.0.1:1' }, 400],
    ["a server's name of dots", 'POST', '/servers', { name: '..', url: 'http://127.0.0.1:1' }, 400],
    ['a gate neither open nor closed', 'PUT', '/gate', { state: 'ajar' }, 400],
    ['a role that no key may have', 'POST', '/apikeys', { name: 'x', role: 'owner' }, 400],
    ['an operator without a role', 'POST', '/operators', { name: 'x' }, 400],
    ['a limit of 0', 'GET', '/tokens?limit=0', undefined, 400],
    ['a limit of 1001', 'GET', '/tokens?limit=1001', undefined, 400],
    ['a limit that is none', 'GET', '/audit?limit=many', undefined, 400],
    ['an empty limit', 'GET', '/servers?limit=', undefined, 400],
    ['an order that is none', 'GET', '/audit?order=random', undefined, 400],
    ['a negative grace', 'POST', '/tokens/x/rotations', { graceSeconds: -1 }, 400],
  ]
  test.each(rows)('%s', async (_what, method, path, body, status) => {
    expectProblem(await node.api(method, path, body), status)
  })

  test('what is no JSON, and what does not say that it is JSON', async () => {
    const post = async (body: string, type: string) => {
      const response = await fetch('http://localhost/api/v1/tokens', {
        unix: `${node.data}/control.sock`,
        method: 'POST',
        headers: { 'Content-Type': type },
        body,
      })
      return { status: response.status, headers: response.headers, json: (await response.json()) as unknown }
    }
    expectProblem(await post('{"name":', 'application/json'), 400)
    expectProblem(await post('', 'application/json'), 400)
    expectProblem(await post('{"name":"x","servers":["a"]}', 'text/plain'), 400)
    expectProblem(await post('name=x&servers=a', 'application/x-www-form-urlencoded'), 400)
  })
})
