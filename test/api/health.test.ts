import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import type { Static } from '@sinclair/typebox'
import { Probe, Server, ServerCreated, type ServerJson, ServerPage } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { startStatelessMcp } from '../support/upstreams/mcp.ts'
import { startRaw } from '../support/upstreams/raw.ts'
import { INITIALIZED, type Script, startScripted } from '../support/upstreams/scripted.ts'
import { expectShape } from './shape.ts'

type Added = Static<typeof ServerCreated>
type Probed = Static<typeof Probe>

const TOOLS = [{ name: 'one' }, { name: 'two' }, { name: 'three' }]
const SCRIPTED = { name: 'scripted', version: '2.1', revision: '2025-11-25', transport: 'http', tools: 3 } as const

let node: TestNode
beforeAll(async () => {
  node = await startNode()
})
afterAll(() => node.stop())

const running: { stop(): unknown }[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((upstream) => upstream.stop()))
})
const using = <T extends { stop(): unknown }>(upstream: T): T => {
  running.push(upstream)
  return upstream
}
const scripted = (script: Script = {}, port?: number) =>
  using(startScripted({ initialize: () => INITIALIZED(), 'tools/list': () => ({ tools: TOOLS }), ...script }, port))

const add = async (name: string, url: string, extra: Record<string, unknown> = {}): Promise<Added> => {
  const { status, json } = await node.api<Added>('POST', '/servers', { name, url, ...extra })
  expect(status).toBe(201)
  expectShape(ServerCreated, json)
  return json
}
const healthOf = async (name: string, of = node) => {
  const { json } = await of.api<ServerJson>('GET', `/servers/${name}`)
  expectShape(Server, json)
  return json.health
}
const look = async (name: string): Promise<Probed> => {
  const { status, json } = await node.api<Probed>('POST', `/servers/${name}/probes`)
  expect(status).toBe(200)
  expectShape(Probe, json)
  return json
}

describe('what was added is told at once, and kept', () => {
  test('an MCP server below its URL', async () => {
    const { url } = scripted()
    const { probe, health, path, publicUrl } = await add('below', url)
    const detail = `MCP answers at ${url}/mcp`
    expect(probe).toEqual({ reachable: true, found: 'mcp', path: '/mcp', detail, mcp: SCRIPTED })
    expect([path, publicUrl]).toEqual(['/mcp', `${node.gate}/s/below/mcp`])
    expect(health).toEqual({
      reachable: true,
      lookedAt: expect.any(String) as unknown as string,
      detail,
      mcp: SCRIPTED,
      requests: 0,
      errors: 0,
      errorRate: null,
    })
    expect(await healthOf('below')).toMatchObject({ reachable: true, mcp: SCRIPTED })
    const { json: page } = await node.api<Static<typeof ServerPage>>('GET', '/servers')
    expectShape(ServerPage, page)
    expect(page.items.find(({ name }) => name === 'below')?.health.mcp).toEqual(SCRIPTED)
  })

  test('one of 2026-07-28', async () => {
    const { url } = using(await startStatelessMcp())
    expect((await add('stateless', url)).probe?.mcp).toMatchObject({ revision: '2026-07-28', tools: 2 })
  })

  test('plain HTTP is reachable, and no MCP server', async () => {
    const echo = using(await startEcho())
    const { probe, health } = await add('plain', echo.url)
    expect(probe).toMatchObject({ reachable: true, found: 'http', path: '', mcp: null })
    expect(health).toMatchObject({ reachable: true, mcp: null })
  })

  test('nothing there', async () => {
    const { probe, health } = await add('nothing', 'http://127.0.0.1:1')
    expect(probe).toMatchObject({ reachable: false, found: 'nothing', mcp: null })
    expect(health.reachable).toBe(false)
  })

  test('`probe: false` leaves it alone', async () => {
    const upstream = scripted()
    const { probe, health } = await add('alone', upstream.url, { probe: false })
    expect(probe).toBeNull()
    expect(health).toMatchObject({ reachable: null, lookedAt: null, detail: null, mcp: null })
    expect(upstream.requests).toEqual([])
  })

  test('a server that may not be added leaves nothing behind', async () => {
    const upstream = scripted()
    await add('twice', upstream.url, { probe: false })
    expect((await node.api('POST', '/servers', { name: 'twice', url: upstream.url })).status).toBe(409)
    expect((await healthOf('twice')).reachable).toBeNull()
  })
})

test('a server that hangs is told within its time, and holds up nobody else', async () => {
  const hanging = using(await startRaw(() => undefined))
  const adding = add('hanging', hanging.url)
  await eventually(() => hanging.requests.length > 0)
  const echo = using(await startEcho())
  await node.addServer('bystander', echo.url)
  const { id } = await node.createToken('bystander', ['bystander'])
  const startedAt = performance.now()
  expect((await node.revoke({ tokens: [id] })).tokens.length).toBe(1)
  expect(performance.now() - startedAt).toBeLessThan(1_000)
  const { probe } = await adding
  expect(probe).toMatchObject({ reachable: false, found: 'nothing', detail: 'nothing answered within 5 s' })
  await eventually(() => hanging.requests.every(({ closedAt }) => closedAt !== null))
})

test('401 says that the credentials are wrong, and the right ones put it right by themselves', async () => {
  const right = 'Bearer upstream-credential-Zz9'
  const upstream = scripted()
  upstream.door = (headers) => (headers.get('authorization') === right ? null : new Response('who?', { status: 401 }))
  const { probe, health } = await add('locked', upstream.url, {
    path: '/mcp',
    headers: { Authorization: 'Bearer wrong' },
  })
  expect(probe).toMatchObject({ reachable: true, mcp: null })
  expect(probe?.detail).toContain('credentials are missing or wrong')
  expect(health.detail).toContain('401')
  const { json } = await node.api<ServerJson>('PATCH', '/servers/locked', { headers: { Authorization: right } })
  expect(json.health).toMatchObject({ reachable: null, lookedAt: null, mcp: null })
  await eventually(async () => (await healthOf('locked')).mcp?.name === 'scripted')
  expect(JSON.stringify(await node.api('GET', '/servers/locked'))).not.toContain('upstream-credential')
})

test('another URL is looked at, and what was known of the old one is forgotten', async () => {
  const first = scripted()
  const second = scripted({ initialize: () => INITIALIZED({ serverInfo: { name: 'second', version: '1' } }) })
  await add('moving', first.url)
  const asked = first.requests.length
  await node.api('PATCH', '/servers/moving', { url: second.url })
  await eventually(async () => (await healthOf('moving')).mcp?.name === 'second')
  expect(first.requests.length).toBe(asked)
})

test('a server that dies and comes back', async () => {
  const first = scripted()
  await add('mortal', first.url)
  await first.stop()
  expect(await look('mortal')).toMatchObject({ reachable: false, mcp: null })
  expect(await healthOf('mortal')).toMatchObject({ reachable: false, mcp: null })
  scripted({ 'tools/list': () => ({ tools: TOOLS.slice(1) }) }, first.port)
  expect(await look('mortal')).toMatchObject({ reachable: true, mcp: { tools: 2 } })
  expect(await healthOf('mortal')).toMatchObject({ reachable: true, mcp: { tools: 2 } })
})

test('what passes the gate is counted: 500, wrong credentials and what breaks off are errors, 404 is none', async () => {
  let status = 503
  const upstream = scripted({ GET: () => new Response('broken', { status }) })
  const server = await add('counted', upstream.url, { probe: false })
  const { token } = await node.createToken('counting', ['counted'])
  const call = async (path: string) => (await fetch(`${node.gate}/s/counted${path}`, { headers: bearer(token) })).status
  expect([await call('/none'), await call('/none'), await call('/none'), await call('/mcp')]).toEqual([
    404, 404, 404, 503,
  ])
  await eventually(async () => (await healthOf('counted')).requests === 4)
  expect(await healthOf('counted')).toMatchObject({ requests: 4, errors: 1, errorRate: 0.25 })
  status = 401
  expect(await call('/mcp')).toBe(502)
  expect(await healthOf('counted')).toMatchObject({ requests: 5, errors: 2, errorRate: 0.4 })
  await upstream.stop()
  expect(await call('/mcp')).toBe(502)
  expect(await healthOf('counted')).toMatchObject({ requests: 6, errors: 3, errorRate: 0.5 })
  await look('counted')
  const metrics = await (await fetch(`${node.console}/metrics`)).text()
  const metric = (name: string) =>
    new RegExp(`^portcullis_server_${name}\\{server="${server.id}"\\} (\\S+)$`, 'm').exec(metrics)?.[1]
  expect([metric('requests_total'), metric('errors_total'), metric('up')]).toEqual(['6', '3', '0'])
  expect(metric('tools')).toBeUndefined()
  // What is refused by the gate itself never was the server's to answer.
  await fetch(`${node.gate}/s/counted/mcp`)
  expect((await healthOf('counted')).requests).toBe(6)
  await node.api('DELETE', '/servers/counted')
  expect(await (await fetch(`${node.console}/metrics`)).text()).not.toContain(server.id)
})

test('a restart looks again, at what is open', async () => {
  const data = tempFolder()
  const [open, closed] = [scripted(), scripted()]
  const before = await startNode({ data })
  await before.addServer('open', open.url)
  await before.addServer('closed', closed.url)
  await before.api('PUT', '/servers/closed/gate', { state: 'closed' })
  await before.stop()
  expect(open.requests).toEqual([])
  using({ stop: () => removeFolder(data) })
  const after = await startNode({ data })
  await eventually(async () => (await healthOf('open', after)).mcp?.tools === 3)
  expect(await healthOf('closed', after)).toMatchObject({ reachable: null, lookedAt: null })
  expect(closed.requests).toEqual([])
  await after.api('PUT', '/servers/closed/gate', { state: 'open' })
  await eventually(async () => (await healthOf('closed', after)).mcp?.tools === 3)
  await after.stop()
})
