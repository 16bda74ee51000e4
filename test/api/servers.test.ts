import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { expectProblem } from './shape.ts'

const CREDENTIAL = 'Bearer upstream-credential-Qx4711zZ'
let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
beforeAll(async () => {
  echo = await startEcho()
  node = await startNode()
})
afterAll(async () => {
  await node.stop()
  echo.stop()
})
const add = (name: string, url: string, extra: object = {}) =>
  node.api<ServerJson>('POST', '/servers', { name, url, probe: false, ...extra })
const names = async () =>
  (await node.api<{ items: ServerJson[] }>('GET', '/servers')).json.items.map(({ name }) => name)

describe('the URL', () => {
  const LINK_LOCAL = [
    '169.254.169.254',
    '169.254.169.254.',
    '169.254.0.1:8080',
    '2852039166',
    '0xa9fea9fe',
    '0xA9.0xFE.0xA9.0xFE',
    '0251.0376.0251.0376',
    '169.254.43518',
    '169.16689662',
    '１６９.254.169.254',
    '169。254。169。254',
    '[fe80::1]',
    '[FE80::1]',
    '[fe80:0:0:0::1]',
    '[febf::1]',
    '[::ffff:169.254.169.254]',
    '[::ffff:a9fe:a9fe]',
    '[0:0:0:0:0:ffff:169.254.1.1]',
    '[::169.254.169.254]',
    '[64:ff9b::169.254.169.254]',
  ]
  test.each(LINK_LOCAL)('link-local is refused: %s', async (host) => {
    for (const scheme of ['http', 'https']) expectProblem(await add('local', `${scheme}://${host}/latest`), 400)
    expect(await names()).not.toContain('local')
  })

  test.each([
    'ftp://a.example',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'ws://a.example',
    'data:text/plain,x',
    'unix:///run/x.sock',
    '//a.example',
    '/path',
    'a.example',
    '',
    'http://',
    'http://user@a.example',
    'http://user:secret@a.example',
    'http://a.example/?q',
    'http://a.example/#f',
    'http://[fe80::1%25eth0]',
    'http://a.example:99999',
    'http://a b.example',
  ])('%p is refused', async (url) => {
    expectProblem(await add('bad', url), 400)
    expect(await names()).not.toContain('bad')
  })

  test('a change of it is checked like the first', async () => {
    await add('changing', 'http://127.0.0.1:1')
    for (const url of ['http://169.254.169.254', 'http://[fe80::1]', 'file:///etc/passwd']) {
      expectProblem(await node.api('PATCH', '/servers/changing', { url }), 400)
    }
    expect((await node.api<ServerJson>('GET', '/servers/changing')).json.url).toBe('http://127.0.0.1:1/')
  })

  test('a redirect to link-local is not followed by a probe', async () => {
    let asked = 0
    const away = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => {
        asked += 1
        return new Response(null, { status: 302, headers: { location: `${echo.url}/stolen` } })
      },
    })
    const { json } = await node.api<ServerJson & { probe: { found: string } }>('POST', '/servers', {
      name: 'away',
      url: `http://127.0.0.1:${away.port}`,
    })
    expect(json.probe.found).not.toBe('mcp')
    expect(asked).toBeGreaterThan(0)
    expect(echo.requests.filter(({ target }) => target === '/stolen')).toEqual([])
    away.stop(true)
  })
})

describe('credentials', () => {
  const headers = { Authorization: CREDENTIAL, 'X-Other': 'other' }
  const sent = async () => {
    const { token } = await node.createToken(`t ${crypto.randomUUID()}`, ['sealed'])
    await ask(node.gate, { target: '/s/sealed/x', headers: bearer(token) })
    const { head } = echo.last() ?? {}
    return { Authorization: head?.get('authorization'), 'X-Other': head?.get('x-other') }
  }

  test('are answered as *** and never otherwise', async () => {
    const answers = [
      await add('sealed', echo.url, { headers }),
      await node.api('GET', '/servers/sealed'),
      await node.api('GET', '/servers'),
      await node.api('PATCH', '/servers/sealed', { kind: 'http' }),
      await node.api('GET', '/audit?limit=1000'),
      await node.api('GET', '/audit?action=server.add&target=sealed'),
    ]
    for (const { status, json } of answers) {
      expect(status).toBeLessThan(300)
      expect(JSON.stringify(json)).not.toContain('Qx4711zZ')
    }
    for (const { json } of [answers[0], answers[1], answers[3]] as { json: ServerJson }[]) {
      expect(json.headers).toEqual({ Authorization: '***', 'X-Other': '***' })
    }
    expect(await sent()).toEqual(headers)
  })

  test('*** in a change keeps the old value, and only an old one', async () => {
    const patch = (given: Record<string, string>) =>
      node.api<ServerJson>('PATCH', '/servers/sealed', { headers: given })
    expect((await patch({ Authorization: '***', 'X-Other': 'changed' })).json.headers).toEqual({
      Authorization: '***',
      'X-Other': '***',
    })
    expect(await sent()).toEqual({ Authorization: CREDENTIAL, 'X-Other': 'changed' })
    expect((await patch({ authorization: '***' })).json.headers).toEqual({ authorization: '***' })
    expect(await sent()).toEqual({ Authorization: CREDENTIAL, 'X-Other': null })
    expectProblem(await patch({ 'X-New': '***' }), 400)
    expectProblem(await add('masked', echo.url, { headers: { 'X-Key': '***' } }), 400)
    expect(await sent()).toEqual({ Authorization: CREDENTIAL, 'X-Other': null })
  })

  test('do not follow a URL to another origin', async () => {
    // Whoever may change a server could have its credential sent to a place of their own.
    const thief = await startEcho()
    const { status } = await node.api('PATCH', '/servers/sealed', { url: thief.url })
    expect([200, 400]).toContain(status)
    const { token } = await node.createToken('thief', ['sealed'])
    await ask(node.gate, { target: '/s/sealed/x', headers: bearer(token) })
    expect(thief.last()?.head.get('authorization') ?? null).toBeNull()
    expect(thief.requests).toHaveLength(status === 200 ? 1 : 0)
    expectProblem(
      await node.api('PATCH', '/servers/sealed', { url: thief.url, headers: { Authorization: '***' } }),
      400,
    )
    thief.stop()
    await node.api('PATCH', '/servers/sealed', { url: echo.url, headers: { Authorization: CREDENTIAL } })
    expect(await sent()).toEqual({ Authorization: CREDENTIAL, 'X-Other': null })
  })

  test('are not in the database as they are', async () => {
    const database = new Database(join(node.data, 'portcullis.db'), { readonly: true })
    const tables = database.query("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]
    const everything = JSON.stringify(tables.map(({ name }) => database.query(`SELECT * FROM "${name}"`).all()))
    database.close()
    expect(everything).toContain('sealed')
    expect(everything).not.toContain('Qx4711zZ')
    expect(everything).not.toContain(btoa(CREDENTIAL).slice(0, 20))
  })

  test.each([
    ['Host', 'evil.example'],
    ['Content-Length', '1'],
    ['Transfer-Encoding', 'chunked'],
    ['Connection', 'close'],
    ['a b', 'x'],
    ['X-Split', 'a\r\nX-Injected: b'],
    ['X-Nul', 'a\u0000b'],
    ['X-Snow', '☃'],
    ['', 'x'],
    ['X-Long', 'x'.repeat(9_000)],
  ])('%p is no header to give', async (name, value) => {
    expectProblem(await add('bad-header', echo.url, { headers: { [name]: value } }), 400)
  })
})

describe('names', () => {
  test('are unique, and free again after removal', async () => {
    expect((await add('unique', echo.url)).status).toBe(201)
    expectProblem(await add('unique', echo.url), 409)
    expect((await node.api('DELETE', '/servers/unique')).status).toBe(200)
    expect((await add('unique', echo.url)).status).toBe(201)
  })

  test('a server added again is not reached by old tokens', async () => {
    await add('again', echo.url)
    const { token, id } = await node.createToken('of the old one', ['again'])
    const headers = bearer(token)
    expect((await ask(node.gate, { target: '/s/again/x', headers })).status).toBe(200)
    await node.api('DELETE', '/servers/again')
    expect((await ask(node.gate, { target: '/s/again/x', headers })).status).toBe(404)
    await add('again', echo.url)
    const before = echo.requests.length
    expect((await ask(node.gate, { target: '/s/again/x', headers })).status).toBe(403)
    expect(echo.requests).toHaveLength(before)
    const { json } = await node.api<{ servers: string[]; urls: object }>('GET', `/tokens/${id}`)
    expect([json.servers, json.urls]).toEqual([[], {}])
    // A revocation by the name means the one that is there.
    const revoked = await node.api<{ tokens: object[] }>('POST', '/revocations', { server: 'again', reason: 'other' })
    expect(revoked.json.tokens).toEqual([])
  })

  test.each(['UPPER', 'a b', 'a/b', '..', '.', '-a', 'a-', 'ü', 'a%2fb', 'x'.repeat(64), ''])(
    '%p is refused',
    async (name) => {
      expectProblem(await add(name, echo.url), 400)
    },
  )
})

test('adding with a probe is one change, and says what was found', async () => {
  const mcp = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: async (request) => {
      if (new URL(request.url).pathname !== '/mcp') return new Response(null, { status: 404 })
      const { id } = (await request.json()) as { id: unknown }
      const result = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'x', version: '1' } }
      return Response.json({ jsonrpc: '2.0', id, result })
    },
  })
  const { json } = await node.api<ServerJson>('POST', '/servers', {
    name: 'probed',
    url: `http://127.0.0.1:${mcp.port}`,
  })
  mcp.stop(true)
  expect(json).toMatchObject({
    path: '/mcp',
    publicUrl: `${node.gate}/s/probed/mcp`,
    probe: { reachable: true, found: 'mcp', path: '/mcp' },
  })
  const { json: audit } = await node.api<{ items: { action: string }[] }>('GET', '/audit?target=probed')
  expect(audit.items.map(({ action }) => action)).toEqual(['server.add'])
})
