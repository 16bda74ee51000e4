import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type TestNode, startNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'
import { expectProblem } from './problem.ts'

let node: TestNode
let upstream: Awaited<ReturnType<typeof startRaw>>
let script: (request: RawUpstreamRequest) => void
let secret: string

beforeAll(async () => {
  upstream = await startRaw((request) => script(request))
  node = await startNode()
  const refused = await startRaw(() => {})
  refused.stop()
  await node.addServer('based', `${upstream.url}/base`, { kind: 'http' })
  await node.addServer('refused', refused.url, { kind: 'http' })
  secret = (await node.createToken('mine', ['based', 'refused'])).token
})
afterAll(async () => {
  await node?.stop()
  upstream?.stop()
})

const roads: [road: string, prefix: () => string, headers: () => Record<string, string>][] = [
  ['by header', () => '/s/based', () => bearer(secret)],
  ['by path', () => `/t/${secret}/s/based`, () => ({})],
]
const askThrough = (answer: (request: RawUpstreamRequest) => void, prefix: string, headers: Record<string, string>) => {
  script = answer
  return ask(node.gate, { target: `${prefix}/a/b?q=1`, headers })
}

describe.each(roads)('a redirect, %s', (_road, prefix, headers) => {
  const staying: [location: () => string, back: string][] = [
    [() => `${upstream.url}/base/next?x=1`, '/next?x=1'],
    [() => '/base/next', '/next'],
    [() => '/base/a/next#part', '/a/next#part'],
    [() => 'next', '/a/next'],
    [() => '../next', '/next'],
    [() => '?q=2', '/a/b?q=2'],
  ]
  test.each(staying)('that stays under the URL leads back through the gate (%#)', async (location, back) => {
    for (const status of ['301 Moved', '302 Found', '303 See Other', '307 Temporary', '308 Permanent']) {
      const answer = await askThrough((it) => it.answer(status, [`Location: ${location()}`]), prefix(), headers())
      expect(answer.status).toBe(Number(status.slice(0, 3)))
      const given = answer.head?.get('location') ?? ''
      expect(given).not.toContain(secret)
      expect(new URL(given, `${node.gate}${prefix()}/a/b?q=1`).href).toBe(`${node.gate}${prefix()}${back}`)
    }
  })

  const leaving = [
    () => 'https://evil.example/base/next',
    () => '//evil.example/base',
    () => '/elsewhere',
    () => '/basement',
    () => '/base/../elsewhere',
    () => '../../elsewhere',
    () => '/base/%2e%2e/elsewhere',
    () => '/',
    () => upstream.url.replace('127.0.0.1', 'localhost'),
    () => 'javascript:alert(1)',
    () => 'http://',
    () => '\\\\evil.example\\x',
  ]
  test.each(leaving.map((location) => [location]))('that leaves it is a 502 (%#)', async (location) => {
    const answer = await askThrough((it) => it.answer('302 Found', [`Location: ${location()}`]), prefix(), headers())
    expectProblem(answer, 502)
    expect(answer.received).not.toContain(secret)
    expect(answer.received).not.toContain('evil')
  })
})

describe('an upstream that fails', () => {
  test('one that refuses the connection is a 502', async () => {
    expectProblem(await ask(node.gate, { target: '/s/refused/x', headers: bearer(secret) }), 502)
  })

  test('its own 401 is a 502 that says whose it is, and challenges nobody', async () => {
    const challenge = 'WWW-Authenticate: Bearer realm="upstream", error="invalid_token"'
    const answer = await askThrough((it) => it.answer('401 No', [challenge], 'who?'), '/s/based', bearer(secret))
    expectProblem(answer, 502, 'upstream-unauthorized')
    expect(answer.head?.get('www-authenticate')).toBeNull()
    expect(answer.text).not.toContain('who?')
  })

  const broken: [what: string, answer: (request: RawUpstreamRequest) => void][] = [
    ['closes without a word', (it) => it.socket.destroy()],
    ['resets', (it) => it.reset()],
    ['speaks another protocol', (it) => it.socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
    ['stops within its headers', (it) => it.socket.end('HTTP/1.1 200 OK\r\nContent-Ty')],
    ['announces a length that is none', (it) => it.socket.end('HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nx')],
    ['never ends its headers', (it) => it.socket.end(`HTTP/1.1 200 OK\r\nX-Huge: ${'x'.repeat(8_000_000)}`)],
    ['switches protocols', (it) => it.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n')],
  ]
  test.each(broken)('one that %s is a 502, and the node goes on', async (_what, answer) => {
    const refusal = await askThrough(answer, '/s/based', bearer(secret))
    expectProblem(refusal, 502)
    expect(refusal.text).not.toMatch(/ECONN|stack|\bat \//)
    const next = await askThrough((it) => it.answer('200 OK', [], 'fine'), '/s/based', bearer(secret))
    expect(next.text).toBe('fine')
  })

  test('a POST is not sent a second time when the first was broken off', async () => {
    // A kept connection is what tempts a client library to try again.
    await askThrough((it) => it.answer('200 OK', [], 'fine'), '/s/based', bearer(secret))
    const before = upstream.requests.length
    script = (it) => it.socket.destroy()
    const request = { method: 'POST', target: '/s/based/pay', headers: bearer(secret), body: 'once' }
    expectProblem(await ask(node.gate, request), 502)
    expect(upstream.requests.length).toBe(before + 1)
  })
})
