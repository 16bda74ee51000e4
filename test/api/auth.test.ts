import packageJson from '../../package.json' with { type: 'json' }
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type Answer, type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask, connectRaw } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem } from './shape.ts'

type OpenApi = { paths: Record<string, Record<string, { operationId?: string }>> }
/** What must never be seen by whoever may not see it. */
const MARK = 'marked-4711'

let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
let operator: string
let auditor: string
let token: string
const idOf: Record<string, string> = {}

beforeAll(async () => {
  echo = await startEcho()
  node = await startNode({ args: ['--allow-host', 'console.example'] })
  operator = (await makeKey(node, 'op-key', 'operator')).key
  auditor = (await makeKey(node, 'audit-key', 'auditor')).key
  await node.addServer(MARK, echo.url)
  const issued = await node.createToken(`token ${MARK}`, [MARK], { subject: `${MARK}@example.com` })
  token = issued.token
  idOf['token'] = issued.id
  const dead = await node.createToken(`dead ${MARK}`, [MARK])
  idOf['revocation'] = (await node.revoke({ tokens: [dead.id], note: MARK })).id
  await node.api('POST', '/operators', { name: `op-${MARK}`, role: 'operator' })
})
afterAll(async () => {
  await node.stop()
  echo.stop()
})

type Change = { sequence: number; actor: string }
/** The last row of a change; what strangers caused is written when a minute ends. */
const lastChange = async () => {
  const { json } = await node.api<{ items: Change[] }>('GET', '/audit?order=desc&limit=1000')
  return json.items.find(({ actor }) => !actor.startsWith('address:'))?.sequence
}
let sequence: number | undefined
beforeEach(async () => {
  sequence = await lastChange()
})
/** Nothing was changed: every change has its row. */
const expectNothingDone = async () => expect(await lastChange()).toBe(sequence)
const expectUnauthenticated = (answer: Answer<unknown>) => {
  const problem = expectProblem(answer, 401, 'unauthenticated')
  expect(answer.headers.get('www-authenticate')).toStartWith('Bearer ')
  expect(JSON.stringify(problem)).not.toContain(MARK)
}

describe('without a credential', () => {
  test('every route of the API answers 401, and does nothing', async () => {
    const { json } = await node.api<OpenApi>('GET', '/openapi.json')
    const routes = Object.entries(json.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => [method, path] as const),
    )
    expect(routes.length).toBeGreaterThan(25)
    const guesses: Record<string, string>[] = [{}, { 'Sec-Fetch-Site': 'same-origin' }, { Origin: node.console }]
    const bodies = [
      undefined,
      { name: 'x', servers: [MARK], role: 'auditor', state: 'closed', url: echo.url, all: true, reason: 'other' },
    ]
    for (const [method, template] of routes) {
      const path = template
        .replace(/^\/api\/v1/, '')
        .replace('{name}', MARK)
        .replace('{id}', idOf['token'] ?? '')
      for (const body of method === 'get' ? [undefined] : bodies) {
        for (const headers of guesses) {
          expectUnauthenticated(await consoleApi(node)(method.toUpperCase(), path, body, headers))
        }
      }
    }
    expectUnauthenticated(await consoleApi(node)('GET', '/openapi.json'))
    expectUnauthenticated(await consoleApi(node)('GET', '/no/such/route'))
    await expectNothingDone()
    expect(echo.requests).toEqual([])
  })

  test('nor by another spelling of a route', async () => {
    const targets = [
      '/api/v1/tokens/',
      '/api/v1//tokens',
      '//api/v1/tokens',
      '/API/v1/tokens',
      '/api/v1/%74okens',
      '/api%2fv1/tokens',
      '/x/../api/v1/tokens',
      '/api/v1/tokens?x=/healthz',
      '/healthz/../api/v1/tokens',
      '/healthz%2f..%2fapi/v1/tokens',
      '/./api/v1/tokens',
      '/api/v1/tokens;x',
      '/api/v1/tokens#x',
      '\\api\\v1\\tokens',
      `${node.console}/api/v1/tokens`,
    ]
    for (const target of targets) {
      const client = await ask(node.console, { target })
      expect([target, client.status]).not.toEqual([target, 200])
      expect(client.text).not.toContain(MARK)
    }
  })

  test('a credential of another kind is none', async () => {
    const secrets = [
      token,
      `${operator.slice(0, -1)}${operator.endsWith('x') ? 'y' : 'x'}`,
      operator.toLowerCase(),
      'x',
      '',
    ]
    for (const secret of secrets) expectUnauthenticated(await consoleApi(node, secret)('GET', '/tokens'))
    const ways: Record<string, string>[] = [
      { Authorization: `Basic ${btoa(`x:${operator}`)}` },
      { Authorization: operator },
      { 'X-Api-Key': operator },
      { Cookie: `portcullis_session=${operator}` },
      { 'X-Portcullis-Actor': 'local:0' },
    ]
    for (const headers of ways) expectUnauthenticated(await consoleApi(node)('GET', '/tokens', undefined, headers))
    expectUnauthenticated(await consoleApi(node)('GET', `/tokens?access_token=${operator}`))
  })

  test('health is told, metrics only here', async () => {
    expect(await (await fetch(`${node.console}/healthz`)).text()).not.toContain(MARK)
    expect((await fetch(`${node.console}/healthz`)).status).toBe(200)
    const ready = await fetch(`${node.console}/readyz`)
    expect([ready.status, await ready.json()]).toMatchObject([200, { problems: [] }])
    const metrics = await fetch(`${node.console}/metrics`)
    const text = await metrics.text()
    expect(metrics.headers.get('content-type')).toStartWith('text/plain')
    expect(text).toMatch(/^portcullis_connections\{kind="sse"\} 0$/m)
    expect(text).toMatch(/^portcullis_ready 1$/m)
    expect(text).toContain(`\nportcullis_build_info{version="${packageJson.version}",commit=""} 1\n`)
    expect(text).not.toMatch(/pcl_|pca_|marked/)
    const forwarded = { 'X-Forwarded-For': '127.0.0.1' }
    expect((await fetch(`${node.console}/metrics`, { headers: forwarded })).status).toBe(401)
    expect((await fetch(`${node.console}/metrics`, { headers: { Forwarded: 'for=192.0.2.1' } })).status).toBe(401)
    const withKey = await fetch(`${node.console}/metrics`, { headers: { ...forwarded, ...bearer(auditor) } })
    expect(withKey.status).toBe(200)
  })
})

describe('Host', () => {
  test('a foreign one, none or two: 421, whatever the credential', async () => {
    const { host } = new URL(node.console)
    const heads = [
      'Host: evil.example',
      'Host: localhost.evil.example',
      'Host: 127.0.0.1.evil.example',
      `Host: ${host}\r\nHost: evil.example`,
      `Host: ${host}\r\nHost: ${host}`,
      `Host: ${host}, evil.example`,
      'Host: a/../x',
      'Host:',
    ]
    for (const target of ['/api/v1/tokens', '/healthz', '/readyz', '/metrics', '/']) {
      for (const head of heads) {
        const client = await connectRaw(node.console)
        client.send(`GET ${target} HTTP/1.1\r\n${head}\r\nAuthorization: Bearer ${operator}\r\n\r\n`)
        await client.done()
        expect([target, head, [400, 421].includes(client.status), client.status]).toEqual([
          target,
          head,
          true,
          client.status,
        ])
        expect(client.text).not.toContain(MARK)
      }
    }
  })

  test('ours', async () => {
    for (const host of ['localhost', '127.0.0.1', '[::1]:7071', 'LOCALHOST:1', 'console.example', '192.0.2.1']) {
      const client = await ask(node.console, { target: '/api/v1/tokens', host, headers: bearer(auditor) })
      expect([host, client.status]).toEqual([host, 200])
    }
  })
})

describe('roles', () => {
  const filled = (path: string) => path.replace(/\{(\w+)\}/, (_, name: string) => idOf[name] ?? '')
  type Row = [role: 'auditor' | 'operator' | 'owner', method: string, path: string, body?: unknown]
  // What each route needs; `{}` where the body alone would be refused: the role is asked first.
  const rows: Row[] = [
    ...[
      '/servers',
      `/servers/${MARK}`,
      '/tokens',
      '/revocations',
      '/connections',
      '/audit',
      '/audit/verification',
      '/audit/checkpoint',
      '/openapi.json',
      '/node',
      '/apikeys',
      '/operators',
      '/keys',
      '/cluster',
    ].map((path): Row => ['auditor', 'GET', path]),
    ['auditor', 'GET', '/tokens/{token}'],
    ['auditor', 'GET', '/tokens/{token}/usage'],
    ['auditor', 'GET', '/tokens/{token}/connect'],
    ['auditor', 'GET', '/tokens/{token}/activity'],
    ['auditor', 'POST', '/tokens/lookups', { secret: 'none' }],
    ['auditor', 'GET', '/revocations/{revocation}'],
    ['auditor', 'GET', '/revocations/{revocation}/connections'],
    // Of no row: its answer is no one JSON document.
    ['auditor', 'GET', '/audit/export?target=none'],
    ['auditor', 'POST', '/audit/verification', {}],
    ['auditor', 'GET', '/sessions'],
    ['auditor', 'DELETE', '/sessions/none'],
    ['operator', 'PUT', '/tokens/{token}/policy', {}],
    ['operator', 'POST', '/servers', { name: 'by-role', url: 'http://127.0.0.1:1', probe: false }],
    ['operator', 'PATCH', `/servers/${MARK}`, { kind: 'http' }],
    ['operator', 'PUT', `/servers/${MARK}/gate`, { state: 'open' }],
    ['operator', 'PUT', `/servers/${MARK}/gate`, { state: 'closed' }],
    ['operator', 'PUT', '/gate', { state: 'open' }],
    ['auditor', 'GET', '/selftest'],
    ['operator', 'POST', '/selftest', {}],
    ['operator', 'DELETE', `/servers/${MARK}/connections`],
    ['operator', 'POST', `/servers/${MARK}/probes`],
    ['operator', 'POST', '/tokens', { name: 'by role', servers: [MARK] }],
    ['operator', 'POST', '/tokens/{token}/rotations', {}],
    ['operator', 'POST', '/revocations', { tokens: ['by role'], reason: 'other' }],
    ['operator', 'POST', '/revocations', { tokens: ['by role'], reason: 'other', dryRun: true }],
    ['operator', 'DELETE', '/connections/none'],
    ['owner', 'POST', '/apikeys', { name: 'more', role: 'operator' }],
    ['owner', 'DELETE', '/apikeys/op-key'],
    ['owner', 'POST', '/operators', { name: 'more', role: 'owner' }],
    ['owner', 'DELETE', `/operators/op-${MARK}`],
    ['owner', 'POST', `/operators/op-${MARK}/links`],
    ['owner', 'POST', '/setup-links'],
    ['owner', 'POST', '/keys'],
    ['owner', 'DELETE', '/keys/none'],
    ['owner', 'DELETE', '/keys/none?revoke=true'],
    ['owner', 'GET', '/backup'],
    ['owner', 'POST', '/cluster/tickets', {}],
    ['owner', 'DELETE', '/cluster/members/none'],
    ['owner', 'DELETE', '/cluster/members/none?force=true'],
    ['operator', 'DELETE', '/servers/by-role'],
  ]
  // A row as one value: to a row that is too short, bun:test adds a callback of its own.
  test.each(rows.map((row) => ({ row, name: row.slice(0, 3).join(' ') })))(
    '$name',
    async ({ row: [role, method, path, body] }) => {
      for (const [has, key] of [
        ['auditor', auditor],
        ['operator', operator],
      ] as const) {
        const allowed = role === 'auditor' || role === has
        const answer = await consoleApi(node, key)(method, filled(path), body)
        if (allowed) expect([401, 403]).not.toContain(answer.status)
        else {
          const problem = expectProblem(answer, 403, 'forbidden')
          expect(problem.detail).toContain(role)
          await expectNothingDone()
        }
      }
    },
  )

  test('OpenAPI names the same role for each of them, and no route is missing here', async () => {
    type Operation = { description?: string }
    const { json } = await node.api<{ paths: Record<string, Record<string, Operation>> }>('GET', '/openapi.json')
    const told = Object.entries(json.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { description }]) => ({
        route: `${method.toUpperCase()} ${path.replace(/^\/api\/v1/, '')}`,
        role: /^Needs the role (\w+)\./.exec(description ?? '')?.[1],
      })),
    )
    const tested = ({ route }: { route: string }) => {
      const shape = new RegExp(`^${route.replaceAll(/\{\w+\}/g, '[^/ ]+')}$`)
      // A literal place wins over one with a name in it, as in the router.
      return rows.find(([, method, path]) => shape.test(`${method} ${path.replace(/\?.*/, '')}`))?.[0]
    }
    expect(told.map((each) => [each.route, each.role])).toEqual(
      told.map((each): [string, string | undefined] => [each.route, tested(each)]),
    )
  })

  test('an actor is who the key says, not who a header says', async () => {
    await consoleApi(node, operator)(
      'POST',
      '/servers',
      { name: 'named', url: echo.url, probe: false },
      { 'X-Portcullis-Actor': 'local:0' },
    )
    const { json } = await node.api<{
      items: { actor: string; targetName: string }[]
    }>('GET', '/audit?order=desc&limit=1')
    expect(json.items).toMatchObject([{ actor: 'apikey:op-key', targetName: 'named' }])
  })
})

describe('API keys end', () => {
  test('when removed, at once', async () => {
    const { id, key } = await makeKey(node, 'short-lived', 'operator')
    expect((await consoleApi(node, key)('GET', '/tokens')).status).toBe(200)
    expect((await node.api('DELETE', `/apikeys/${id}`)).status).toBe(204)
    expectUnauthenticated(await consoleApi(node, key)('GET', '/tokens'))
    expect(
      (await fetch(`${node.console}/metrics`, { headers: { ...bearer(key), 'X-Forwarded-For': '::1' } })).status,
    ).toBe(401)
    const list = await node.api<{ items: { name: string }[] }>('GET', '/apikeys')
    expect(list.json.items.map(({ name }) => name)).not.toContain('short-lived')
  })

  test('when they expire', async () => {
    const expiresAt = new Date(Date.now() + 400).toISOString()
    const { key } = await makeKey(node, 'expiring', 'auditor', { expiresAt })
    expect((await consoleApi(node, key)('GET', '/tokens')).status).toBe(200)
    await eventually(async () => (await consoleApi(node, key)('GET', '/tokens')).status === 401)
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt))
    expectUnauthenticated(await consoleApi(node, key)('GET', '/tokens'))
  })

  test('but not when the node starts again, nor do removed ones come back', async () => {
    const data = node.data
    const copy = await startNode()
    const kept = await makeKey(copy, 'kept', 'auditor')
    const gone = await makeKey(copy, 'gone', 'auditor')
    await copy.api('DELETE', `/apikeys/${gone.id}`)
    expect(copy.data).not.toBe(data)
    copy.kill('SIGKILL')
    await copy.exited
    const again = await startNode({ data: copy.data })
    expect((await consoleApi(again, kept.key)('GET', '/tokens')).status).toBe(200)
    expectUnauthenticated(await consoleApi(again, gone.key)('GET', '/tokens'))
    await again.stop()
    await copy.stop()
  })
})

test('a body over the limit is refused, unread', async () => {
  const body = { name: 'x'.repeat(2_000_000), servers: [MARK] }
  const { status } = await consoleApi(node, operator)('POST', '/tokens', body).catch(() => ({ status: 413 })) // The connection may be closed before all was sent.
  expect(status).toBe(413)
  await expectNothingDone()
})

test('answers forbid sniffing and framing', async () => {
  for (const path of ['/api/v1/tokens', '/healthz', '/readyz', '/nothing']) {
    const { headers } = await fetch(node.console + path, { headers: bearer(auditor) })
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('x-frame-options')).toBe('DENY')
    expect(headers.get('access-control-allow-origin')).toBeNull()
  }
})
