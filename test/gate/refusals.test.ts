import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, ask, connectRaw, open } from '../support/raw.ts'
import { bearer, misspelt, unknownSecret } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { expectProblem } from './problem.ts'

type Headers = Record<string, string>
const APP = 'https://app.example'
const EVIL: Headers = { Origin: 'https://evil.example' }

let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
let live: string
let revoked: string
let expired: string
let unknown: string

beforeAll(async () => {
  echo = await startEcho()
  node = await startNode({ args: ['--allow-origin', APP, '--allow-host', 'gate.example'] })
  for (const name of ['echo', 'other', 'shut']) await node.addServer(name, echo.url, { kind: 'http' })
  await node.addServer('deep', `${echo.url}/base/v2`, { kind: 'http' })
  live = (await node.createToken('live', ['echo', 'deep', 'shut'])).token
  revoked = (await node.createToken('revoked', ['echo'])).token
  await node.revoke({ tokens: ['revoked'] })
  const expiresAt = new Date(Date.now() + 500).toISOString()
  expired = (await node.createToken('expired', ['echo'], { expiresAt })).token
  unknown = unknownSecret()
  await node.api('PUT', '/servers/shut/gate', { state: 'closed', reason: 'maintenance' })
  const refused = () => ask(node.gate, { target: '/s/echo', headers: bearer(expired) }).then((it) => it.status === 401)
  await eventually(refused)
})
afterAll(async () => {
  await node?.stop()
  echo?.stop()
})

let reached = 0
beforeEach(() => {
  reached = echo.requests.length
})
const expectUpstreamUntouched = () => expect(echo.requests.length).toBe(reached)

/** Sends bytes exactly and waits for the answer. */
const askBytes = async (bytes: string): Promise<RawClient> => {
  const client = await connectRaw(node.gate)
  client.send(bytes)
  return client.done()
}

describe('the order of questions', () => {
  // Each row is wrong in its own way and in every later one: only its own is answered.
  const rows: [what: string, status: number, host: string, target: string, headers: () => Headers][] = [
    ['Host first', 421, 'evil.example', '/s/nowhere/../x', () => EVIL],
    ['then the path', 400, 'localhost', '/s/nowhere/../x', () => EVIL],
    ['then Origin', 403, 'localhost', '/s/nowhere/x', () => EVIL],
    ['then the token, none given', 401, 'localhost', '/s/nowhere/x', () => ({})],
    ['then the token, an unknown one', 401, 'localhost', '/s/nowhere/x', () => bearer(unknown)],
    ['the token also before the state', 401, 'localhost', '/s/shut/x', () => bearer(revoked)],
    ['then the server', 404, 'localhost', '/s/nowhere/x', () => bearer(live)],
    ['then the scope', 403, 'localhost', '/s/other/x', () => bearer(live)],
    ['then the state', 503, 'localhost', '/s/shut/x', () => bearer(live)],
  ]
  test.each(rows)('%s: %d', async (_what, status, host, target, headers) => {
    expectProblem(await ask(node.gate, { host, target, headers: headers() }), status)
    expectUpstreamUntouched()
  })

  test('the scope before the state', async () => {
    await node.api('PUT', '/servers/other/gate', { state: 'closed' })
    expectProblem(await ask(node.gate, { target: '/s/other/x', headers: bearer(live) }), 403)
    await node.api('PUT', '/servers/other/gate', { state: 'open' })
  })
})

describe('Host', () => {
  test.each([
    'evil.example',
    'evil.example:80',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'gate.example.evil',
  ])('%s is not ours: 421', async (host) => {
    expectProblem(await ask(node.gate, { host, target: '/s/echo', headers: bearer(live) }), 421)
    expectProblem(await ask(node.gate, { host, target: '/s/echo' }), 421)
    expectUpstreamUntouched()
  })

  test.each([
    'localhost',
    'LOCALHOST:7070',
    '127.0.0.1',
    '10.1.2.3:99',
    '[::1]',
    '[::1]:7070',
    'gate.example',
    'Gate.Example:443',
  ])('%s is ours', async (host) => {
    expect((await ask(node.gate, { host, target: '/s/echo', headers: bearer(live) })).status).toBe(200)
  })

  test('two of them: 421, even when both are ours', async () => {
    for (const second of ['localhost', 'evil.example']) {
      const headers: Headers = { Host: second, ...bearer(live) }
      expectProblem(await ask(node.gate, { host: 'localhost', target: '/s/echo', headers }), 421)
    }
    expectUpstreamUntouched()
  })

  test('none: 421 for HTTP/1.0; the runtime itself answers 400 for HTTP/1.1', async () => {
    const old = await ask(node.gate, { host: null, version: '1.0', target: '/s/echo', headers: bearer(live) })
    expect(old.status).toBe(421)
    const modern = await ask(node.gate, { host: null, target: '/s/echo', headers: bearer(live) })
    expect(modern.status).toBe(400)
    expectUpstreamUntouched()
  })

  test.each(['a', 'localhost/s/echo', 'localhost@evil.example', 'localhost#', 'localhost?x'])(
    '"%s" routes nothing to another path',
    async (host) => {
      const answer = await ask(node.gate, { host, target: '/xx/s/echo', headers: bearer(live) })
      expect(answer.status).toBeGreaterThanOrEqual(400)
      expectUpstreamUntouched()
    },
  )
})

describe('path', () => {
  const climbing = [
    '/s/deep/../y',
    '/s/deep/..',
    '/s/deep/a/../../y',
    '/s/deep/%2e%2e/y',
    '/s/deep/%2E%2e',
    '/s/deep/.%2e/y',
    '/s/deep/%2e./y',
    '/s/deep/a%2fb',
    '/s/deep/..%2Fy',
    '/s/deep/%2e%2e%2fy',
    '/s/deep/../../s/echo/y',
    '/s/../s/deep/y',
  ]
  test.each(climbing)('%s climbs: 400', async (target) => {
    expectProblem(await ask(node.gate, { target, headers: bearer(live) }), 400)
    expectProblem(await ask(node.gate, { target: `/t/${live}${target}` }), 400)
    expectUpstreamUntouched()
  })

  const odd = [
    '/s/deep/..%5cy',
    '/s/deep/..\\y',
    '/s/deep/%252e%252e/y',
    '/s/deep//../y',
    '/s/deep/..;/y',
    '/s/deep/./y',
    '/s/deep//evil.example/y',
  ]
  test.each(odd)('%s never leaves the server URL', async (target) => {
    const answer = await ask(node.gate, { target, headers: bearer(live) })
    // What an upstream makes of it that resolves dot segments as browsers do, and takes %5c for a slash.
    const sent = echo.requests.slice(reached).map(({ target: path }) => path.replaceAll(/\\|%5c/gi, '/'))
    if (answer.status === 400) expect(sent).toEqual([])
    else expect(sent.map((path) => new URL(path, echo.url).pathname)).toEqual([expect.stringMatching(/^\/base\/v2\//)])
  })

  test.each([
    ['/s/deep', '/base/v2'],
    ['/s/deep?a=1&a=%20', '/base/v2?a=1&a=%20'],
    ['/s/deep/x/y.z', '/base/v2/x/y.z'],
    ['/s/deep/a%20b%C3%A9', '/base/v2/a%20b%C3%A9'],
    ['/s/deep/x/?q=a/../b', '/base/v2/x/?q=a/../b'],
    ['/s/deep/..x/...', '/base/v2/..x/...'],
    ['/s/echo/', '/'],
    ['/s/echo/mcp', '/mcp'],
  ])('%s goes to %s', async (target, sent) => {
    expect((await ask(node.gate, { target, headers: bearer(live) })).json).toMatchObject({ target: sent })
  })
})

describe('Origin', () => {
  test.each([
    'https://evil.example',
    'null',
    'http://app.example',
    'https://app.example.evil',
    'https://app.example:444',
  ])('%s: 403', async (origin) => {
    const headers: Headers = { Origin: origin, ...bearer(live) }
    const refusal = await ask(node.gate, { target: '/s/echo', headers })
    expectProblem(refusal, 403)
    expect(refusal.head?.get('access-control-allow-origin')).toBeNull()
    expectUpstreamUntouched()
  })

  test('the gate itself and an allowed one pass', async () => {
    for (const origin of [node.gate, APP]) {
      const headers: Headers = { Origin: origin, ...bearer(live) }
      expect((await ask(node.gate, { target: '/s/echo', headers })).status).toBe(200)
    }
  })

  test('OPTIONS from an allowed one is answered without a token, and not by the upstream', async () => {
    const headers: Headers = {
      Origin: APP,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,mcp-session-id',
    }
    const answer = await ask(node.gate, { method: 'OPTIONS', target: '/s/echo/mcp', headers })
    expect(answer.status).toBeOneOf([200, 204])
    expect(answer.head?.get('access-control-allow-origin')).toBe(APP)
    expect(answer.head?.get('access-control-allow-methods')).toContain('POST')
    expect(answer.head?.get('access-control-allow-headers')?.toLowerCase()).toMatch(/authorization/)
    expect(answer.head?.get('access-control-allow-credentials')).toBeNull()
    expectUpstreamUntouched()
  })

  test('OPTIONS from a foreign one: 403', async () => {
    const headers: Headers = { ...EVIL, 'Access-Control-Request-Method': 'POST' }
    const refusal = await ask(node.gate, { method: 'OPTIONS', target: '/s/echo', headers })
    expectProblem(refusal, 403)
    expect(refusal.head?.get('access-control-allow-origin')).toBeNull()
  })
})

describe('401', () => {
  test.each([
    ['nothing', {}],
    ['an empty Authorization', { Authorization: '' }],
    ['another scheme', { Authorization: 'Basic dXNlcjpwYXNz' }],
  ])('with %s: no error in the challenge', async (_what, headers: Headers) => {
    const refusal = await ask(node.gate, { target: '/s/echo', headers })
    expectProblem(refusal, 401)
    expect(refusal.head?.get('www-authenticate')).toMatch(/^Bearer\b/)
    expect(refusal.head?.get('www-authenticate')).not.toContain('error')
    expectUpstreamUntouched()
  })

  const dead: [what: string, secret: () => string, slug: string | undefined, description: RegExp][] = [
    ['unknown', () => unknown, undefined, /error_description="(?!.*(revoked|expired))/],
    ['misspelt', () => misspelt(live), undefined, /error_description="(?!.*(revoked|expired))/],
    ['too long', () => `${live}x`, undefined, /error_description="(?!.*(revoked|expired))/],
    ['cut short', () => 'pcl_abc', undefined, /error_description="(?!.*(revoked|expired))/],
    ['expired', () => expired, 'token-expired', /error_description="[^"]*expired/],
    ['revoked', () => revoked, 'token-revoked', /error_description="[^"]*revoked/],
  ]
  const places: [where: string, place: (secret: string) => { target: string; headers?: Headers }][] = [
    ['Authorization', (secret) => ({ target: '/s/echo/x', headers: bearer(secret) })],
    ['lower case bearer', (secret) => ({ target: '/s/echo/x', headers: { authorization: `bearer ${secret}` } })],
    ['X-Api-Key', (secret) => ({ target: '/s/echo/x', headers: { 'X-Api-Key': secret } })],
    ['the path', (secret) => ({ target: `/t/${secret}/s/echo/x` })],
  ]
  const deadInPlaces = dead.flatMap(([what, ...rest]) =>
    places.map(([where, place]) => [what, where, place, ...rest] as const),
  )
  test.each(deadInPlaces)(
    'with the %s secret in %s: invalid_token',
    async (_what, _where, place, secret, slug, description) => {
      const refusal = await ask(node.gate, place(secret()))
      expectProblem(refusal, 401, slug)
      const challenge = refusal.head?.get('www-authenticate') ?? ''
      expect(challenge).toMatch(/^Bearer\b.*error="invalid_token"/)
      expect(challenge).toMatch(description)
      expect(refusal.received).not.toContain(secret())
      expectUpstreamUntouched()
    },
  )

  test('a dead secret in Authorization is not saved by a live one elsewhere', async () => {
    const headers: Headers = { ...bearer(revoked), 'X-Api-Key': live }
    expectProblem(await ask(node.gate, { target: '/s/echo', headers }), 401, 'token-revoked')
    expectProblem(await ask(node.gate, { target: `/t/${live}/s/echo`, headers: bearer(revoked) }), 401, 'token-revoked')
    expectUpstreamUntouched()
  })

  test('X-Api-Key counts when Authorization holds none of ours', async () => {
    const headers: Headers = { Authorization: 'Bearer sk-of-someone-else', 'X-Api-Key': live }
    expect((await ask(node.gate, { target: '/s/echo', headers })).status).toBe(200)
  })
})

describe('server, scope, state', () => {
  test('404 for a server that is not', async () => {
    const refusal = await ask(node.gate, { target: '/s/nowhere', headers: bearer(live) })
    expectProblem(refusal, 404)
    expect(refusal.head?.get('www-authenticate')).toBeNull()
  })

  test('403 insufficient_scope for one the token is not for', async () => {
    const refusal = await ask(node.gate, { target: '/s/other', headers: bearer(live) })
    expectProblem(refusal, 403)
    expect(refusal.head?.get('www-authenticate')).toMatch(/^Bearer\b.*error="insufficient_scope"/)
    expectUpstreamUntouched()
  })

  test('503 with Retry-After for a closed one', async () => {
    const refusal = await ask(node.gate, { target: '/s/shut', headers: bearer(live) })
    expectProblem(refusal, 503, 'server-closed')
    expect(Number(refusal.head?.get('retry-after'))).toBeGreaterThan(0)
    expectUpstreamUntouched()
  })

  test('closing all closes each, opening all opens each', async () => {
    const statuses = () =>
      Promise.all(['echo', 'deep'].map((name) => ask(node.gate, { target: `/s/${name}`, headers: bearer(live) })))
    await node.api('PUT', '/gate', { state: 'closed' })
    for (const refusal of await statuses()) {
      expectProblem(refusal, 503, 'server-closed')
      expect(refusal.head?.get('retry-after')).toMatch(/^\d+$/)
    }
    expectUpstreamUntouched()
    await node.api('PUT', '/gate', { state: 'open' })
    expect((await statuses()).map(({ status }) => status)).toEqual([200, 200])
    await node.api('PUT', '/servers/shut/gate', { state: 'closed' })
  })
})

describe('everything else is a JSON 404', () => {
  const elsewhere = [
    '/',
    '/.well-known/oauth-authorization-server',
    '/.well-known/oauth-protected-resource',
    '/.well-known/oauth-protected-resource/s/echo',
    '/.well-known/openid-configuration',
    '/register',
    '/authorize',
    '/token',
    '/s',
    '/sse',
    '/mcp',
    '/metrics',
    '/readyz',
    '/setup',
    '/api/v1/node',
    '/api/v1/tokens',
    '/S/echo',
    '/favicon.ico',
  ]
  test.each(elsewhere)('%s', async (target) => {
    for (const method of ['GET', 'POST']) {
      const refusal = await ask(node.gate, { method, target, headers: bearer(live) })
      expectProblem(refusal, 404)
      expect(refusal.head?.get('www-authenticate')).toBeNull()
      expect(refusal.received).not.toContain(live)
    }
    expectUpstreamUntouched()
  })

  test('/healthz is 200', async () => {
    expect((await ask(node.gate, { target: '/healthz' })).status).toBe(200)
  })
})

describe('a secret in the query is 400 and never echoed', () => {
  const forms: [what: string, target: () => string, headers: () => Headers, secret: () => string][] = [
    ['alone', () => `/s/echo?token=${live}`, () => ({}), () => live],
    ['beside a good one', () => `/s/echo/x?a=b&access_token=${live}`, () => bearer(live), () => live],
    ['a dead one', () => `/s/echo?token=${revoked}`, () => bearer(live), () => revoked],
    ['within a value', () => `/s/echo?next=https://x/${live}/y`, () => bearer(live), () => live],
    ['as a name', () => `/s/echo?${live}`, () => bearer(live), () => live],
    ['under a path token', () => `/t/${live}/s/echo?key=${live}`, () => ({}), () => live],
    ['percent-encoded', () => `/s/echo?token=${live.replace('_', '%5F')}`, () => bearer(live), () => live],
  ]
  test.each(forms)('%s', async (_what, target, headers, secret) => {
    const refusal = await ask(node.gate, { target: target(), headers: headers() })
    expectProblem(refusal, 400)
    expect(refusal.received).not.toContain(secret())
    expect(refusal.received).not.toContain(secret().slice(4))
    expectUpstreamUntouched()
  })
})

describe('framing', () => {
  const smuggled: [what: string, lines: string[], rest: string][] = [
    [
      'Content-Length and Transfer-Encoding',
      ['Content-Length: 4', 'Transfer-Encoding: chunked'],
      '0\r\n\r\nGET /s/echo/smuggled HTTP/1.1\r\n\r\n',
    ],
    ['two lengths', ['Content-Length: 3', 'Content-Length: 4'], 'abcd'],
    ['a doubled coding', ['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'],
    ['a space before the colon', ['Content-Length : 4'], 'abcd'],
  ]
  test.each(smuggled)('%s is refused before anyone is asked', async (_what, lines, rest) => {
    const head = ['POST /s/echo HTTP/1.1', 'Host: localhost', `Authorization: Bearer ${live}`, ...lines]
    const refusal = await askBytes(`${head.join('\r\n')}\r\n\r\n${rest}`)
    expect(refusal.status).toBe(400)
    expectUpstreamUntouched()
  })

  test('a bare LF ends no header', async () => {
    const refusal = await askBytes(`GET /s/echo HTTP/1.1\nHost: localhost\nAuthorization: Bearer ${live}\n\n`)
    expect(refusal.status).toBeGreaterThanOrEqual(400)
    expectUpstreamUntouched()
  })

  const unread: [status: number, target: string, headers: () => Headers][] = [
    [401, '/s/echo', () => ({})],
    [404, '/nowhere', () => ({})],
    [403, '/s/other', () => bearer(live)],
    [503, '/s/shut', () => bearer(live)],
  ]
  test.each(unread)('a %d with an unread body closes the connection', async (status, target, headers) => {
    const announced = { ...headers(), 'Content-Length': '60000000', 'Content-Type': 'application/octet-stream' }
    using client = await open(node.gate, { method: 'POST', target, headers: announced, body: 'x'.repeat(1000) })
    await client.until((it) => it.complete)
    expect(client.status).toBe(status)
    expect(client.head?.get('connection')).toBe('close')
    await client.until((it) => it.ended !== 'open', 1_000)
    expectUpstreamUntouched()
  })
})

test('no refusal has left a secret in the log', () => {
  for (const secret of [live, revoked, expired, unknown]) {
    expect(node.stderr()).not.toContain(secret.slice(4))
    expect(node.stdout()).not.toContain(secret.slice(4))
  }
})
