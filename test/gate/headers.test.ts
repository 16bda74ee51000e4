import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { gzipSync } from 'node:zlib'
import { type TestNode, startNode } from '../support/node.ts'
import { ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'

type Headers = Record<string, string>
const OWN_VALUE = 'Bearer of-the-upstream'

let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
let scripted: Awaited<ReturnType<typeof startRaw>>
let script: (request: RawUpstreamRequest) => void
let secret: string
let otherSecret: string

beforeAll(async () => {
  echo = await startEcho()
  scripted = await startRaw((request) => script(request))
  // The most talkative log is where a secret would show.
  node = await startNode({ args: ['--log-level', 'debug'] })
  await node.addServer('echo', echo.url, { kind: 'http' })
  await node.addServer('scripted', scripted.url, { kind: 'http' })
  await node.addServer('keyed', echo.url, { kind: 'http', headers: { Authorization: OWN_VALUE, 'X-Team': 'red' } })
  secret = (await node.createToken('mine', ['echo', 'keyed', 'scripted'])).token
  otherSecret = (await node.createToken('another', ['echo'])).token
})
afterAll(async () => {
  await node?.stop()
  echo?.stop()
  scripted?.stop()
})

/** Sends a request to an echoing server and gives the head that reached it. */
const headUpstream = async (headers: Headers | [string, string][], target = '/s/echo/x', method = 'GET') => {
  const before = echo.requests.length
  const answer = await ask(node.gate, { method, target, headers })
  expect(answer.status).toBe(200)
  expect(echo.requests.length).toBe(before + 1)
  const head = echo.last()?.head
  if (!head) throw new Error('nothing reached the upstream')
  return head
}

describe('no secret goes upstream', () => {
  const rows: [what: string, target: () => string, headers: () => Headers][] = [
    ['Authorization', () => '/s/echo/x', () => bearer(secret)],
    ['X-Api-Key', () => '/s/echo/x', () => ({ 'X-Api-Key': secret })],
    ['both', () => '/s/echo/x', () => ({ ...bearer(secret), 'x-api-key': secret })],
    ['two different ones', () => '/s/echo/x', () => ({ ...bearer(secret), 'X-Api-Key': otherSecret })],
    ['the path', () => `/t/${secret}/s/echo/x`, () => ({})],
    ['the path and Authorization', () => `/t/${secret}/s/echo/x`, () => bearer(secret)],
    ['Referer', () => '/s/echo/x', () => ({ ...bearer(secret), Referer: `https://x/t/${secret}/s/echo` })],
    ['Cookie', () => '/s/echo/x', () => ({ ...bearer(secret), Cookie: `a=b; token=${secret}` })],
    ['a header nobody knows', () => '/s/echo/x', () => ({ ...bearer(secret), 'X-Odd': `before ${secret} after` })],
    ['the secret of another token', () => '/s/echo/x', () => ({ ...bearer(secret), 'X-Odd': otherSecret })],
    ['User-Agent', () => '/s/echo/x', () => ({ ...bearer(secret), 'User-Agent': `client/${secret}` })],
    ['Mcp-Session-Id', () => '/s/echo/x', () => ({ ...bearer(secret), 'Mcp-Session-Id': secret })],
  ]
  test.each(rows)('from %s', async (_what, target, headers) => {
    const head = await headUpstream(headers(), target())
    expect(head.startLine).toBe('GET /x HTTP/1.1')
    for (const own of [secret, otherSecret]) expect(head.raw.toLowerCase()).not.toContain(own.slice(4).toLowerCase())
    expect(head.raw).not.toContain('pcl_')
    for (const name of ['authorization', 'x-api-key', 'x-odd']) expect(head.names()).not.toContain(name)
  })

  test('nor Referer, Origin or cookies, whatever they hold', async () => {
    const head = await headUpstream({
      ...bearer(secret),
      Referer: 'https://app.example/page',
      Origin: node.gate,
      Cookie: 'theme=dark',
    })
    expect(head.names()).not.toContain('referer')
    expect(head.names()).not.toContain('origin')
    expect(head.names()).not.toContain('cookie')
  })
})

test('nor in the path: a secret there is refused, or left out', async () => {
  const before = echo.requests.length
  for (const form of [secret, otherSecret, secret.replace('_', '%5F')]) {
    await ask(node.gate, { target: `/s/echo/x/${form}/y`, headers: bearer(secret) })
  }
  for (const { target } of echo.requests.slice(before)) expect(decodeURIComponent(target)).not.toContain('pcl_')
})

describe('upward', () => {
  test('hop-by-hop headers are dropped, those that Connection lists too', async () => {
    const head = await headUpstream({
      ...bearer(secret),
      Connection: 'keep-alive, X-Hop, x-hop-two',
      'Keep-Alive': 'timeout=5',
      'Proxy-Connection': 'keep-alive',
      'Proxy-Authorization': 'Basic cHJveHk6eA==',
      'X-Hop': '1',
      'X-Hop-Two': '2',
      TE: 'trailers',
      Trailer: 'X-Sum',
      'X-Stays': 'yes',
    })
    const dropped = ['keep-alive', 'proxy-connection', 'proxy-authorization', 'x-hop', 'x-hop-two', 'te', 'trailer']
    expect(head.names().filter((name) => dropped.includes(name))).toEqual([])
    expect(head.get('connection') ?? '').not.toMatch(/x-hop/i)
    expect(head.get('x-stays')).toBe('yes')
  })

  test('no upgrade to another protocol', async () => {
    const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' }
    const before = echo.requests.length
    const answer = await ask(node.gate, { target: '/s/echo/x', headers: { ...bearer(secret), ...upgrade } })
    expect(answer.status).not.toBe(101)
    for (const { head } of echo.requests.slice(before)) expect(head.names()).not.toContain('upgrade')
  })

  const passing: Headers = {
    'Mcp-Protocol-Version': '2025-11-25',
    'Mcp-Session-Id': 'f00-ba4',
    'Mcp-Method': 'tools/call',
    'Mcp-Name': 'echo',
    'Mcp-Param-Region': 'eu',
    'Last-Event-ID': '41',
    Accept: 'text/event-stream, application/json;q=0.9',
    'User-Agent': 'claude-code/2.1',
    'Content-Type': 'application/json; charset=utf-8',
    'Idempotency-Key': '"abc"',
    'X-Unknown': 'a, "b", c',
    'X-Empty': '',
    'anthropic-version': '2023-06-01',
    'If-None-Match': 'W/"1"',
    Range: 'bytes=0-1',
  }
  test('all others pass as they are', async () => {
    const head = await headUpstream({ ...bearer(secret), ...passing }, '/s/echo/x', 'POST')
    const got = Object.keys(passing).map((name) => [name, head.all(name)])
    expect(got).toEqual(Object.entries(passing).map(([name, value]) => [name, [value]]))
  })

  test('a header given twice arrives with both values, in order', async () => {
    const head = await headUpstream([...Object.entries(bearer(secret)), ['X-Twice', 'one'], ['X-Twice', 'two']])
    expect(head.get('x-twice')).toBe('one, two')
  })

  test('bytes beyond ASCII arrive unaltered', async () => {
    const head = await headUpstream({ ...bearer(secret), 'X-Latin': 'caf\xe9' })
    expect(head.get('x-latin')).toBe('caf\xe9')
  })

  test('identity is asked for, whatever the client takes', async () => {
    const accepting: Headers = { ...bearer(secret), 'Accept-Encoding': 'gzip, br' }
    for (const headers of [bearer(secret), accepting]) {
      expect((await headUpstream(headers)).all('accept-encoding')).toEqual(['identity'])
    }
  })

  test('nothing of our own is added', async () => {
    const head = await headUpstream(bearer(secret), '/s/echo/x', 'POST')
    const invented = /^(x-forwarded.*|forwarded|via|x-real-ip|traceparent|x-request-id|content-type|x-portcullis.*)$/
    expect(head.names().filter((name) => invented.test(name))).toEqual([])
    expect(head.get('user-agent') ?? '').not.toMatch(/bun|portcullis/i)
    expect(head.get('host')).toBe(new URL(echo.url).host)
  })

  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PROPFIND'])('%s passes', async (method) => {
    const before = echo.requests.length
    const answer = await ask(node.gate, { method, target: '/s/echo/x', headers: bearer(secret) })
    expect(answer.status).toBe(200)
    expect(echo.requests.slice(before).map((request) => request.method)).toEqual([method])
  })

  const bodied = ['GET', 'HEAD', 'DELETE', 'OPTIONS']
  test.each(bodied)('%s with a body: it passes, or is refused; it is not lost', async (method) => {
    const before = echo.requests.length
    const answer = await ask(node.gate, { method, target: '/s/echo/x', headers: bearer(secret), body: 'query' })
    const sent = echo.requests.slice(before).map(({ bodyText }) => bodyText)
    expect([answer.status >= 400, sent]).toEqual(answer.status >= 400 ? [true, []] : [false, ['query']])
  })

  test('an upload that waits for 100 Continue is not kept waiting', async () => {
    const headers = { ...bearer(secret), Expect: '100-continue', 'Content-Length': '5' }
    using client = await open(node.gate, { method: 'POST', target: '/s/echo/x', headers })
    await client.until((it) => it.received.startsWith('HTTP/1.1 100 '), 1_000)
    client.send('hello')
    await client.done()
    expect(client.json).toMatchObject({ body: { text: 'hello' } })
  })

  test.each([1_000, 65_536, 3_000_000])('a body of %d bytes passes as it is, whole or chunked', async (size) => {
    const body = new Uint8Array(size)
    for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(body.subarray(at, at + 65_536))
    const sha256 = new Bun.CryptoHasher('sha256').update(body).digest('hex')
    const whole = await ask(node.gate, { method: 'POST', target: '/s/echo', headers: bearer(secret), body })
    expect(whole.json).toMatchObject({ body: { bytes: body.length, sha256 } })
    expect(echo.last()?.head.get('content-length')).toBe(String(size))
    const headers = { ...bearer(secret), 'Transfer-Encoding': 'chunked' }
    using client = await open(node.gate, { method: 'POST', target: '/s/echo', headers })
    for (let at = 0; at < body.length; at += 4096) {
      client.send(`${Math.min(4096, size - at).toString(16)}\r\n`)
      client.send(body.subarray(at, at + 4096))
      client.send('\r\n')
    }
    client.send('0\r\n\r\n')
    await client.done()
    expect(client.json).toMatchObject({ body: { bytes: body.length, sha256 } })
  })
})

describe("the server's own credentials", () => {
  test('take the place of what the client sent', async () => {
    const head = await headUpstream({ ...bearer(secret), 'x-team': 'blue', 'X-Stays': 'yes' }, '/s/keyed/x')
    expect(head.all('authorization')).toEqual([OWN_VALUE])
    expect(head.all('x-team')).toEqual(['red'])
    expect(head.get('x-stays')).toBe('yes')
    const byPath = await headUpstream({ Authorization: 'Bearer of-the-client' }, `/t/${secret}/s/keyed/x`)
    expect(byPath.all('authorization')).toEqual([OWN_VALUE])
  })

  test('cannot be switched off by listing them in Connection', async () => {
    const head = await headUpstream({ ...bearer(secret), Connection: 'authorization, x-team' }, '/s/keyed/x')
    expect(head.all('authorization')).toEqual([OWN_VALUE])
    expect(head.all('x-team')).toEqual(['red'])
  })

  test('do not go to another server, and are never told', async () => {
    expect((await headUpstream(bearer(secret))).raw).not.toContain('of-the-upstream')
    const { json } = await node.api('GET', '/servers/keyed')
    expect(json).toMatchObject({ headers: { Authorization: '***', 'X-Team': '***' } })
    expect(node.stderr() + node.stdout()).not.toContain('of-the-upstream')
  })
})

describe('downward', () => {
  const askScripted = (answer: (request: RawUpstreamRequest) => void, method = 'GET') => {
    script = answer
    return ask(node.gate, { method, target: '/s/scripted/x', headers: bearer(secret) })
  }

  test('hop-by-hop headers are dropped, all others pass', async () => {
    const lines = [
      'Connection: keep-alive, X-Down',
      'Keep-Alive: timeout=77',
      'Proxy-Authenticate: Basic',
      'Trailer: X-Sum',
      'X-Down: 1',
      'Content-Type: text/plain',
      'X-Unknown: a, "b"',
      'ETag: W/"1"',
      'Mcp-Session-Id: f00',
      'Retry-After: 7',
      'Cache-Control: no-store',
      'Server: upstream/1',
    ]
    const { head, text } = await askScripted((request) => request.answer('200 OK', lines, 'hello'))
    const dropped = ['proxy-authenticate', 'trailer', 'x-down']
    expect(head?.names().filter((name) => dropped.includes(name))).toEqual([])
    expect(head?.get('keep-alive') ?? '').not.toContain('77')
    for (const line of lines.slice(5)) expect(head?.get(line.split(':')[0] ?? '')).toBe(line.split(': ')[1] as string)
    expect(head?.names()).not.toContain('via')
    expect(text).toBe('hello')
  })

  test('each Set-Cookie stays one of its own', async () => {
    const cookies = ['a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT', 'b=2; HttpOnly']
    const lines = cookies.map((cookie) => `Set-Cookie: ${cookie}`)
    const { head } = await askScripted((request) => request.answer('200 OK', lines, 'x'))
    expect(head?.all('set-cookie')).toEqual(cookies)
  })

  test('a content type is not invented', async () => {
    const { head } = await askScripted((request) => request.answer('200 OK', [], 'x'))
    expect(head?.get('content-type')).toBeNull()
  })

  test.each([
    ['400 Bad Request', '{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"header mismatch"}}'],
    ['403 Forbidden', '{"error":"not yours"}'],
    ['404 Not Found', '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}'],
    ['405 Method Not Allowed', ''],
    ['429 Too Many Requests', '{"error":{"type":"rate_limit"}}'],
    ['500 Internal Server Error', '<h1>\xff\x00 not even UTF-8</h1>'],
    ['503 Service Unavailable', 'down for a bit'],
    ['599 Made Up', 'x'],
  ])('%s and its body pass as they are', async (status, body) => {
    const bytes = Buffer.from(body, 'latin1')
    const answer = await askScripted((request) => request.answer(status, ['Content-Type: x/y'], bytes))
    expect(answer.status).toBe(Number(status.slice(0, 3)))
    expect(answer.head?.get('content-type')).toBe('x/y')
    expect(answer.bytes.equals(bytes)).toBeTrue()
  })

  test('an encoded body stays encoded, and says so', async () => {
    const bytes = gzipSync('so much '.repeat(1000))
    const lines = ['Content-Type: text/plain', 'Content-Encoding: gzip']
    const answer = await askScripted((request) => request.answer('200 OK', lines, bytes))
    expect(answer.head?.get('content-encoding')).toBe('gzip')
    expect(answer.bytes.equals(bytes)).toBeTrue()
  })

  test('HEAD keeps the length; 204 and 304 have no body', async () => {
    const lengthOnly = 'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n'
    const { head, bodyBytes } = await askScripted((request) => request.write(lengthOnly), 'HEAD')
    expect(head?.get('content-length')).toBe('1234')
    expect(bodyBytes).toBe(0)
    for (const status of ['204 No Content', '304 Not Modified']) {
      const answer = await askScripted((request) => request.write(`HTTP/1.1 ${status}\r\nETag: "1"\r\n\r\n`))
      expect([answer.status, answer.bodyBytes]).toEqual([Number(status.slice(0, 3)), 0])
      expect(answer.head?.get('etag')).toBe('"1"')
    }
  })

  test('an answer that comes before the upload is over passes', async () => {
    script = (request) => request.answer('413 Content Too Large', ['Content-Type: x/y'], 'enough')
    const headers = { ...bearer(secret), 'Content-Length': '5000000' }
    using client = await open(node.gate, { method: 'POST', target: '/s/scripted/x', headers, body: 'x'.repeat(1000) })
    await client.until((it) => it.complete, 2_000)
    expect([client.status, client.text]).toEqual([413, 'enough'])
  })

  test('a body that ends with the connection passes whole', async () => {
    const answer = await askScripted((request) => {
      request.write('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nto the ')
      request.write('end')
      request.socket.end()
    })
    expect(answer.text).toBe('to the end')
    expect(answer.complete).toBeTrue()
  })
})

test('the log holds no secret', () => {
  for (const own of [secret, otherSecret, OWN_VALUE]) expect(node.stderr() + node.stdout()).not.toContain(own.slice(7))
})
