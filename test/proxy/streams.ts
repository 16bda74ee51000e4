import { expect, test } from 'bun:test'
import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import type { RawUpstreamRequest } from '../support/upstreams/raw.ts'
import { curl, headers } from './curl.ts'
import { CONSOLE, GATE, type Proxy, type Scene } from './scene.ts'

const begins =
  (...lines: string[]) =>
  (it: RawUpstreamRequest) =>
    it.begin('200 OK', lines)

/** What the raw server does with a request, by its `X-Kind`. */
export const STREAMS: Record<string, (it: RawUpstreamRequest) => void> = {
  // The second header would have nginx keep events back.
  events: begins('Content-Type: text/event-stream', 'X-Accel-Buffering: yes', 'X-Accel-Redirect: /elsewhere'),
  text: begins('Content-Type: text/html'),
  json: begins('Content-Type: application/json'),
  silence: () => undefined,
  takes: (it) => void it.body().then((text) => it.answer('200 OK', [], `${text.length}`)),
  breaks: (it) => it.reset(),
}

/** Those that were opened, alive or just closed. */
const connectionsToGate = async (): Promise<number> => {
  const table = await Bun.file('/proc/net/tcp').text()
  // 127.0.0.1:7070, as the kernel writes it.
  return table.split('\n').filter((line) => /: [0-9A-F]{8}:[0-9A-F]{4} 0100007F:1B9E /.test(line)).length
}

export const testStreams = ({ answersLate = false }: Proxy, scene: () => Scene): void => {
  test.each([
    ['an event stream', 'events', 'GET'],
    ['a streamed answer to a POST', 'events', 'POST'],
    ['a streamed JSON answer to a POST', 'json', 'POST'],
    ['a page that is streamed', 'text', 'GET'],
  ])('%s goes on piece by piece, and unpacked', async (_what, kind, method) => {
    const { token } = await scene().createToken(`${kind} ${method}`)
    const body = method === 'POST' ? '{"stream":true}' : undefined
    const sent = { method, body, headers: { 'Accept-Encoding': 'gzip, br', 'Content-Type': 'application/json' } }
    const { client, upstream } = await scene().open(token, kind, sent)
    for (let count = 1; count <= 5; count += 1) {
      upstream.chunk(`data: ${count}\n\n`)
      // The next one is sent only when this one has come through.
      await client.until(({ text }) => text.endsWith(`data: ${count}\n\n`))
    }
    expect(client.status).toBe(200)
    expect(client.head?.get('content-encoding') ?? null).toBeNull()
    upstream.lastChunk()
    await client.done()
    expect(client.complete).toBeTrue()
    client.close()
  })

  test('the same over HTTP/2, up as well as down', async () => {
    const { token } = await scene().createToken('HTTP/2')
    const sent = { ...bearer(token), 'X-Kind': 'events', 'X-Mark': 'h2', 'Content-Type': 'text/plain' }
    const both = curl(
      ['-w', '%{http_code} %{http_version}', '-T', '.', '-X', 'POST', ...headers(sent), `${GATE}/s/raw/x`],
      'pipe',
    )
    both.send('up')
    const upstream = await eventually(() => scene().raw.requests.find((it) => it.head.get('x-mark') === 'h2'))
    for (let count = 1; count <= 5; count += 1) {
      await eventually(() => upstream.bodyText === 'up'.repeat(count))
      both.send('up')
    }
    both.send(null)
    await eventually(() => upstream.bodyComplete)
    for (let count = 1; count <= 5; count += 1) {
      upstream.chunk(`data: ${count}\n\n`)
      await eventually(() => both.text().endsWith(`data: ${count}\n\n`))
    }
    upstream.lastChunk()
    expect(await both.exited).toBe(0)
    expect(both.text()).toEndWith('200 2')
  })

  test('an upload in chunks arrives as it is sent, and a large one whole', async () => {
    const { token } = await scene().createToken('upload')
    const chunked = { method: 'POST', body: '2\r\nup\r\n', headers: { 'Transfer-Encoding': 'chunked' } }
    const { client, upstream } = await scene().open(token, 'silence', chunked)
    for (let count = 1; count <= 3; count += 1) {
      client.send('3\r\n;up\r\n')
      await eventually(() => upstream.bodyText.endsWith(';up'.repeat(count)))
    }
    client.send('0\r\n\r\n')
    await eventually(() => upstream.bodyComplete)
    upstream.answer('200 OK', [], 'thanks')
    await client.done()
    expect(client.text).toBe('thanks')

    const body = Buffer.alloc(24 * 1024 * 1024, 'portcullis')
    const large = await scene().open(token, 'takes', { method: 'POST', body })
    await large.client.done(20_000)
    expect(large.client.status).toBe(200)
    expect(large.upstream.bodySha256()).toBe(new Bun.CryptoHasher('sha256').update(body).digest('hex'))
  })

  test("limits are the gate's own: its answers and challenges come through", async () => {
    const { token } = await scene().createToken('limits')
    const tooLarge = { 'Content-Length': String(128 * 1024 * 1024 + 1), ...bearer(token) }
    const refused = await open(GATE, { method: 'POST', target: '/s/raw/x', headers: tooLarge })
    // Caddy gives no answer before it has all of a body, or can't get rid of it.
    if (!answersLate) {
      await refused.done()
      expect([refused.status, (refused.json as { type: string }).type]).toEqual([
        413,
        'urn:portcullis:problem:body-too-large',
      ])
    }

    const longest = { 'X-Long': 'x'.repeat(12_000) }
    const { client, upstream } = await scene().open(token, '', { headers: longest })
    await client.done()
    expect(client.status).toBe(200)
    expect(upstream.head.get('x-long')).toBe(longest['X-Long'])

    const missing = await ask(GATE, { target: '/s/raw/x' })
    expect([missing.status, missing.head?.get('www-authenticate')]).toEqual([401, 'Bearer realm="portcullis"'])
    const before = scene().raw.requests.length
    await ask(GATE, { target: '/s/raw/x', host: 'evil.example.com', headers: bearer(token) })
    expect(scene().raw.requests.length).toBe(before)
  })

  test('who goes away is gone from the gate, over HTTP/1.1 and HTTP/2, with an answer begun or not', async () => {
    const { id, token } = await scene().createToken('leaving')
    const streaming = await scene().open(token, 'events')
    streaming.upstream.chunk('data: 1\n\n')
    await streaming.client.until(({ text }) => text.includes('data: 1'))
    const waiting = await scene().open(token, 'silence')
    const sent = headers({ ...bearer(token), 'X-Kind': 'events', 'X-Mark': 'leaving' })
    const second = curl([...sent, `${GATE}/s/raw/x`])
    const upstream = await eventually(() => scene().raw.requests.find((it) => it.head.get('x-mark') === 'leaving'))
    upstream.chunk('data: 1\n\n')
    await eventually(() => second.text().includes('data: 1'))
    expect((await scene().connectionsOf(id)).length).toBe(3)

    streaming.client[Symbol.dispose]()
    await eventually(() => streaming.upstream.closedAt !== null, { what: 'the stream is let go' })
    second.kill()
    await eventually(() => upstream.closedAt !== null, { what: 'the stream over HTTP/2 is let go' })
    waiting.client[Symbol.dispose]()
    await eventually(() => waiting.upstream.closedAt !== null, { what: 'the request without an answer is let go' })
    await eventually(async () => (await scene().connectionsOf(id)).length === 0)
  })

  test('a request whose server breaks off is not made twice', async () => {
    const { token } = await scene().createToken('once')
    for (const method of ['POST', 'GET']) {
      const { client } = await scene().open(token, 'breaks', { method, ...(method === 'POST' ? { body: '{}' } : {}) })
      await client.done()
      const mark = scene().raw.last()?.head.get('x-mark')
      expect(client.status).toBe(502)
      expect(client.text).toContain('upstream-failed')
      expect(scene().raw.requests.filter((it) => it.head.get('x-mark') === mark).length).toBe(1)
    }
  })

  test('who is refused with a body hears so, however large it is and whenever it comes', async () => {
    const unknown = bearer(unknownSecret())
    scene().secrets.push(...Object.values(unknown))
    const heard = new Set<string>()
    for (const http of ['--http1.1', '--http2']) {
      for (const size of [200, 60_000, 1_000_000]) {
        for (let round = 0; round < 8; round += 1) {
          const sent = [...headers({ ...unknown, Expect: '' }), '--data-binary', '@-']
          const asked = curl([http, '-o', '/dev/null', '-w', '%{http_code}', ...sent, `${GATE}/s/raw/x`], 'pipe')
          asked.send('x'.repeat(size))
          asked.send(null)
          await asked.exited
          heard.add(`${http}, ${size} bytes: ${asked.text()}`)
        }
      }
    }
    expect([...heard].filter((line) => !line.endsWith(': 401'))).toEqual([])
  })

  // HAProxy 2.6 does not send the rest of a body that is answered already, and uses the connection again.
  test('what comes after a body that was answered unread is a request of its own', async () => {
    const early = [
      [GATE, '/s/raw/x', 401],
      [GATE, '/healthz', 200],
      [CONSOLE, '/api/v1/tokens', 401],
      [CONSOLE, '/sign-in', 403],
    ] as const
    const statuses = new Set<string>()
    for (let round = 0; round < 15; round += 1) {
      for (const [origin, path] of early) {
        const asked = curl(['-o', '/dev/null', '-w', '%{http_code}', '--data', 'name=eve', `${origin}${path}`])
        await asked.exited
        statuses.add(`${origin}${path} ${asked.text()}`)
      }
    }
    expect([...statuses].toSorted()).toEqual(early.map((row) => `${row[0]}${row[1]} ${row[2]}`).toSorted())

    const { token } = await scene().createToken('early')
    const unread = [
      ['http://127.0.0.1:7070', '/healthz', {}],
      ['http://127.0.0.1:7070', '/s/raw/x', {}],
      ['http://127.0.0.1:7070', '/s/raw/x', bearer(token)],
      ['http://127.0.0.1:7071', '/healthz', {}],
      ['http://127.0.0.1:7071', '/sign-in', {}],
      ['http://127.0.0.1:7071', '/api/v1/tokens', {}],
    ] as const
    const ends = async ([origin, target, given]: (typeof unread)[number]) => {
      const client = await open(origin, { method: 'POST', target, headers: { ...given, 'Content-Length': '9' } })
      await client.until(({ ended }) => ended !== 'open')
      expect(client.head?.get('connection')).toBe('close')
      expect(client.complete).toBeTrue()
    }
    await Promise.all(unread.map(ends))
  })

  test('connections to the gate are kept for the next request', async () => {
    const { token } = await scene().createToken('many')
    const before = await connectionsToGate()
    for (let count = 0; count < 30; count += 1) await ask(GATE, { target: '/s/raw/x', headers: bearer(token) })
    expect((await connectionsToGate()) - before).toBeLessThan(10)
  })
}
