import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../../src/limits.ts'
import {
  type AuditRowJson,
  Server,
  ServerCreated,
  type ServerJson,
  ServerPage,
  type TokenIssuedJson,
} from '../../src/server/api/schemas.ts'
import { type Answer, startNode, type TestNode } from '../support/node.ts'
import { consoleApi, makeKey } from './console.ts'
import { makeOperator } from './session.ts'
import { expectProblem, expectShape } from './shape.ts'

const VALUE = 'environment-value-Wv93kQ'
let node: TestNode
let asOperator: ReturnType<typeof consoleApi>
let asAuditor: ReturnType<typeof consoleApi>
let asOwner: typeof node.api
beforeAll(async () => {
  node = await startNode()
  asOperator = consoleApi(node, (await makeKey(node, 'ci', 'operator')).key)
  asAuditor = consoleApi(node, (await makeKey(node, 'watch', 'auditor')).key)
  const cookie = await makeOperator(node, 'Grace', 'owner', 'a long password of hers')
  asOwner = (method, path, body, headers) =>
    consoleApi(node)(method, path, body, { Cookie: cookie, 'Sec-Fetch-Site': 'same-origin', ...headers })
})
afterAll(() => node.stop())

const COMMAND = ['sleep', '3600']
const add = (name: string, stdio: object = {}, more: object = {}): Promise<Answer<ServerJson>> =>
  node.api('POST', '/servers', {
    name,
    stdio: { command: COMMAND, env: { TOKEN: VALUE }, ...stdio },
    ...{ probe: false, ...more },
  })
const names = async () =>
  (await node.api<{ items: ServerJson[] }>('GET', '/servers?limit=500')).json.items.map(({ name }) => name)
const auditOf = async (target: string) =>
  (await node.api<{ items: AuditRowJson[] }>('GET', `/audit?target=${target}&limit=50`)).json.items

describe('a server that is a command', () => {
  test('is added with what is left out as the limits say, and shown to auditors without values', async () => {
    const made = await add('fs')
    expect([made.status, made.headers.get('location')]).toEqual([201, '/api/v1/servers/fs'])
    expectShape(ServerCreated, made.json)
    expect(made.json).toMatchObject({ name: 'fs', url: null, kind: 'stdio', headers: {}, path: '' })
    const { status, ...stdio } = made.json.stdio as NonNullable<ServerJson['stdio']>
    expect(stdio).toEqual({
      command: COMMAND,
      env: { TOKEN: '***' },
      shared: false,
      user: null,
      sandbox: false,
      allow: [],
      network: true,
      idleMs: limits.stdioIdleMs,
      memoryBytes: limits.stdioMemoryBytes,
      cpuTimeMs: null,
      everywhere: false,
      node: null,
    })
    expect(status).toMatchObject({ processes: 0, crashes: 0, lastCrash: null, retryAt: null, stderr: [] })
    const shown = await asAuditor<ServerJson>('GET', '/servers/fs')
    expectShape(Server, shown.json)
    expect(shown.json.stdio).toEqual({ ...stdio, status })
    const page = await asAuditor<{ items: ServerJson[] }>('GET', '/servers')
    expectShape(ServerPage, page.json)
    expect(page.json.items).toContainEqual(shown.json)
  })

  test('is told in the audit log by its whole command line, and names of variables', async () => {
    const command = ['npx', '-y', '@scope/server', '--root', '/srv/some files']
    await add('told', { command, shared: true })
    await node.api('PATCH', '/servers/told', { stdio: { idleMs: 5_000, env: { TOKEN: '***', LEVEL: 'debug-Wv93' } } })
    const rows = await auditOf('told')
    expect(rows.find(({ action }) => action === 'server.add')?.details).toMatchObject({
      kind: 'stdio',
      command,
      env: ['TOKEN'],
      shared: true,
    })
    expect(rows.find(({ action }) => action === 'server.change')?.details).toMatchObject({
      command,
      env: ['TOKEN', 'LEVEL'],
      idleMs: 5_000,
      changed: ['idleMs', 'env'],
    })
    expect(JSON.stringify(rows)).not.toMatch(/Wv93/)
  })

  test.each<[string, object, RegExp]>([
    ['neither a URL nor a command', {}, /the url of the server, or the command/],
    ['both', { url: 'http://127.0.0.1:1', stdio: { command: COMMAND } }, /either the url/],
    ['a kind', { stdio: { command: COMMAND }, kind: 'mcp' }, /for servers with a url/],
    ['headers', { stdio: { command: COMMAND }, headers: { A: VALUE } }, /for servers with a url/],
    ['a mask for a value', { stdio: { command: COMMAND, env: { A: '***' } } }, /no value for a variable/],
    ['no command', { stdio: { command: [] } }, /give the command/],
    ['allowed paths without a sandbox', { stdio: { command: COMMAND, allow: ['/srv'] } }, /--sandbox/],
  ])('is not made with %s', async (_, body, words) => {
    const problem = expectProblem(await node.api('POST', '/servers', { name: 'wrong', probe: false, ...body }), 400)
    expect(problem.detail).toMatch(words)
    expect(JSON.stringify(problem)).not.toContain(VALUE)
    expect(await names()).not.toContain('wrong')
  })

  test.each<[string, object]>([
    ['a command that is one text', { command: 'sleep 1', env: { TOKEN: VALUE } }],
    ['a value that is no text', { command: COMMAND, env: { TOKEN: { nested: VALUE } } }],
    ['a variable that can not be', { command: COMMAND, env: { 'TO KEN': VALUE } }],
    ['a field that is none', { command: COMMAND, environment: { TOKEN: VALUE } }],
    ['half a millisecond', { command: COMMAND, idleMs: 1_000.5, env: { TOKEN: VALUE } }],
  ])('%s is refused, and no value comes back', async (_, stdio) => {
    const answer = await node.api('POST', '/servers', { name: 'wrong', stdio, probe: false })
    expect(answer.status).toBeOneOf([400, 422])
    expect(JSON.stringify(answer.json)).not.toContain(VALUE)
    expect(await names()).not.toContain('wrong')
  })

  test('keeps what a change does not name, a value by its mask, and never becomes a URL', async () => {
    await add('changing', { sandbox: true, allow: ['/srv:ro'], network: false, cpuTimeMs: 60_000 })
    const change = (stdio: object) => node.api<ServerJson>('PATCH', '/servers/changing', { stdio })
    const changed = await change({ command: ['sleep', '60'] })
    expect(changed.json.stdio).toMatchObject({ command: ['sleep', '60'], env: { TOKEN: '***' }, allow: ['/srv:ro'] })
    expectProblem(await change({ env: { OTHER: '***' } }), 400)
    // Both or neither: parts of it may not go together.
    expectProblem(await change({ sandbox: false }), 400)
    const open = await change({ sandbox: false, allow: [], network: true, cpuTimeMs: null, env: {} })
    expect(open.json.stdio).toMatchObject({ sandbox: false, allow: [], network: true, cpuTimeMs: null, env: {} })
    for (const body of [{ url: 'http://127.0.0.1:1' }, { kind: 'http' }, { headers: { A: 'b' } }])
      expectProblem(await node.api('PATCH', '/servers/changing', body), 400)
    await node.addServer('web', 'http://127.0.0.1:1')
    expectProblem(await node.api('PATCH', '/servers/web', { stdio: { command: COMMAND } }), 400)
    expectProblem(await change({ node: 'nobody' }), 400)
    const { json } = await node.api<ServerJson>('GET', '/servers/changing')
    expect(json).toMatchObject({ url: null, kind: 'stdio', stdio: { command: ['sleep', '60'] } })
  })

  test('is for owners to add, change and remove; the rest is for operators', async () => {
    await add('guarded')
    const wanted = { name: 'sneaked', stdio: { command: COMMAND }, probe: false }
    for (const ask of [asOperator, asAuditor]) {
      expectProblem(await ask('POST', '/servers', wanted), 403)
      expectProblem(await ask('PATCH', '/servers/guarded', { stdio: { command: ['sh', '-c', 'id'] } }), 403)
      expectProblem(await ask('PATCH', '/servers/guarded', { path: '/sse' }), 403)
      expectProblem(await ask('DELETE', '/servers/guarded'), 403)
    }
    // Not by way of one with a URL either: who may change that is told what is wrong only as far as the role goes.
    await node.addServer('plain', 'http://127.0.0.1:1')
    expectProblem(await asOperator('PATCH', '/servers/plain', { stdio: { command: COMMAND } }), 403)
    expect(await names()).not.toContain('sneaked')
    expect((await node.api<ServerJson>('GET', '/servers/guarded')).json.stdio?.command).toEqual(COMMAND)

    const close = (state: string) => asOperator('PUT', '/servers/guarded/gate', { state })
    expect((await close('closed')).status).toBe(200)
    expect((await close('open')).status).toBe(200)
    expect((await asOperator('DELETE', '/servers/guarded/connections')).status).toBe(200)
    const issued = await asOperator<TokenIssuedJson>('POST', '/tokens', { name: 'for guarded', servers: ['guarded'] })
    expect(issued.status).toBe(201)
    // It speaks MCP, whether or not anybody looked: every client is told how to call it.
    expect(issued.json.connect?.['openai-python']?.text).toContain('"type": "mcp"')
    expect(issued.json.urls).toEqual({ guarded: `${node.gate}/s/guarded` })

    expect((await asOwner('POST', '/servers', wanted)).status).toBe(201)
    expect((await asOwner('PATCH', '/servers/guarded', { stdio: { shared: true } })).status).toBe(200)
    expect((await asOwner('DELETE', '/servers/guarded')).status).toBe(200)
  })
})

test('no value stands in an answer, a kept answer, a page of the log, or a byte on the disk', async () => {
  const kept = { name: 'kept', stdio: { command: COMMAND, env: { TOKEN: VALUE } }, probe: false }
  const once = () => node.api<ServerJson>('POST', '/servers', kept, { 'Idempotency-Key': 'one' })
  const first = await once()
  expect(first.json.stdio?.env).toEqual({ TOKEN: '***' })
  const again = await once()
  expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true'])
  expect(again.json).toEqual(first.json)
  for (const path of ['/servers', '/audit?limit=500', '/openapi.json'])
    expect(JSON.stringify((await node.api('GET', path)).json)).not.toContain(VALUE)
  expect(node.stderr() + node.stdout()).not.toContain(VALUE)
  for (const file of readdirSync(node.data).filter((name) => /\.(db|journal)/.test(name)))
    expect(readFileSync(join(node.data, file), 'latin1')).not.toContain(VALUE)
})
