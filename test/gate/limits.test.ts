import { expect, test } from 'bun:test'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { startSmallGate } from '../support/small-gate.ts'

/** One past each limit of the gate: a clear answer, and nothing else suffers. */

const ticking = () =>
  Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      const path = new URL(request.url).pathname
      if (path === '/never') return new Promise<Response>(() => undefined)
      if (path === '/echo')
        return new Response(await request.bytes(), { headers: { 'content-type': 'application/octet-stream' } })
      if (path === '/session') {
        const sessionId = request.headers.get('mcp-session-id') ?? Bun.randomUUIDv7()
        return Response.json(
          { jsonrpc: '2.0', id: 1, result: {} },
          { headers: path === '/session' && request.method === 'POST' ? { 'mcp-session-id': sessionId } : {} },
        )
      }
      const encoder = new TextEncoder()
      return new Response(
        new ReadableStream({ start: (controller) => controller.enqueue(encoder.encode('data: hello\n\n')) }),
        {
          headers: { 'content-type': 'text/event-stream' },
        },
      )
    },
  })

const slugOf = async (response: Response) => ((await response.json()) as { type: string }).type.split(':').at(-1)
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` })

const openStreams = (url: string, secret: string, count: number) =>
  Promise.all(Array.from({ length: count }, () => fetch(`${url}/sse`, { headers: bearer(secret) })))

test('one connection more than a token may hold is 429, and another token is not hindered', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { connectionsPerTokenMax: 3 })
  const one = gate.issue('one')
  const other = gate.issue('other')
  const streams = await openStreams(gate.url, one.secret, 3)
  expect(streams.map(({ status }) => status)).toEqual([200, 200, 200])
  const refused = await fetch(`${gate.url}/sse`, { headers: bearer(one.secret) })
  expect([refused.status, await slugOf(refused)]).toEqual([429, 'too-many-connections'])
  expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
  expect((await fetch(`${gate.url}/sse`, { headers: bearer(other.secret) })).status).toBe(200)
  await streams[0]?.body?.cancel()
  await eventually(() => gate.registry.ofToken(one.token.id).size === 2)
  expect((await fetch(`${gate.url}/sse`, { headers: bearer(one.secret) })).status).toBe(200)
})

test('a connection with nothing under way is closed, and one that waits for an answer or an event is not', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { idleConnectionMs: 1_000, keepAliveMs: 60_000 })
  const { token, secret } = gate.issue('one')
  const { origin } = new URL(gate.url)
  const refused = await open(origin, { target: '/s/up/sse' })
  const passed = await open(origin, { target: '/s/up/session', headers: bearer(secret) })
  const stream = await open(origin, { target: '/s/up/sse', headers: bearer(secret) })
  const waiting = await open(origin, { target: '/s/up/never', headers: bearer(secret) })
  const closed = { timeoutMs: 20_000, everyMs: 50 }
  await eventually(() => refused.ended !== 'open' && passed.ended !== 'open', closed)
  expect([refused.status, passed.status]).toEqual([401, 200])
  // Opened after them, so that only what is under way can have kept them.
  const later = await open(origin, { target: '/s/up/sse' })
  await eventually(() => later.ended !== 'open', closed)
  expect([stream.ended, waiting.ended]).toEqual(['open', 'open'])
  gate.registry.cut(gate.registry.ofToken(token.id), 'connection_killed')
  await eventually(() => stream.complete && stream.ended !== 'open', closed)
  await eventually(() => waiting.status > 0, closed)
})

test('one connection more than the gate may hold is 503', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { connectionsMax: 2 })
  const { secret } = gate.issue('one')
  await openStreams(gate.url, secret, 2)
  const refused = await fetch(`${gate.url}/sse`, { headers: bearer(secret) })
  expect([refused.status, await slugOf(refused)]).toEqual([503, 'too-many-connections'])
})

test('a body one byte too large is 413, with and without its length told; the largest passes', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { requestBodyBytesMax: 1_000, rpcBodyBytesMax: 100 })
  const headers = bearer(gate.issue('one').secret)
  const send = (body: BodyInit) => fetch(`${gate.url}/echo`, { method: 'POST', headers, body })
  const flowing = (size: number) =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        for (let sent = 0; sent < size; sent += 100) controller.enqueue(new Uint8Array(Math.min(100, size - sent)))
        controller.close()
      },
    })
  for (const largest of [new Uint8Array(1_000), flowing(1_000), new Uint8Array(100), new Uint8Array(101)]) {
    const size = largest instanceof Uint8Array ? largest.length : 1_000
    expect((await (await send(largest)).bytes()).length).toBe(size)
  }
  for (const tooLarge of [new Uint8Array(1_001), flowing(1_001)]) {
    const refused = await send(tooLarge)
    expect([refused.status, await slugOf(refused)]).toEqual([413, 'body-too-large'])
  }
  expect(gate.registry.size).toBe(0)
})

test('a body that stops arriving is 408', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { requestBodyIdleMs: 100 })
  const { secret } = gate.issue('one')
  for (const framing of ['Content-Length: 50', 'Content-Length: 5000000', 'Transfer-Encoding: chunked']) {
    const { hostname, port } = new URL(gate.url)
    let seen = ''
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: { data: (_socket, bytes) => void (seen += bytes.toString()) },
    })
    socket.write(`POST /s/up/echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${secret}\r\n${framing}\r\n\r\n`)
    if (framing.includes('chunked')) socket.write('1\r\nx\r\n')
    await eventually(() => seen.includes('body-timeout'), { what: framing })
    expect(seen).toStartWith('HTTP/1.1 408 ')
    socket.end()
  }
  await eventually(() => gate.registry.size === 0)
})

test('an upstream that does not answer in time is 504', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { upstreamHeadersMs: 100 })
  const refused = await fetch(`${gate.url}/never`, { headers: bearer(gate.issue('one').secret) })
  expect([refused.status, await slugOf(refused)]).toEqual([504, 'upstream-timeout'])
  expect(gate.registry.size).toBe(0)
})

test('the least recently used session makes room, and is 404 from then on', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { sessionsPerTokenMax: 2 })
  const headers = bearer(gate.issue('one').secret)
  const open = async () => {
    const opened = await fetch(`${gate.url}/session`, { method: 'POST', headers, body: '{}' })
    return opened.headers.get('mcp-session-id') as string
  }
  const use = async (sessionId: string) =>
    (
      await fetch(`${gate.url}/session`, {
        method: 'POST',
        headers: { ...headers, 'mcp-session-id': sessionId },
        body: '{}',
      })
    ).status
  const [first, second] = [await open(), await open()]
  // The clock of sessions counts milliseconds.
  const opened = Date.now()
  await eventually(() => Date.now() > opened)
  expect(await use(first)).toBe(200)
  const third = await open()
  expect([await use(first), await use(second), await use(third)]).toEqual([200, 404, 200])
})

test('a session whose id is too long is not bound, and so not usable', async () => {
  const long = 'x'.repeat(33)
  using upstream = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: () => Response.json({}, { headers: { 'mcp-session-id': long } }),
  })
  await using gate = startSmallGate(upstream.url.href, { sessionIdBytesMax: 32 })
  const headers = bearer(gate.issue('one').secret)
  await fetch(`${gate.url}/mcp`, { method: 'POST', headers, body: '{}' })
  expect(gate.registry.size).toBe(0)
  expect(
    (await fetch(`${gate.url}/mcp`, { method: 'POST', headers: { ...headers, 'mcp-session-id': long }, body: '{}' }))
      .status,
  ).toBe(404)
})

test('tries with a dead token are counted, from more addresses than are kept together', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { evidenceAddressesMax: 2 })
  const { token } = gate.issue('one')
  for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.1'])
    gate.evidence.add(token.id, address, 1)
  expect(
    gate.evidence
      .of([token.id])
      .get(token.id)
      ?.map(({ address, count }) => [address, count]),
  ).toEqual([
    ['10.0.0.1', 2],
    ['10.0.0.2', 1],
    ['others', 2],
  ])
})

test('a header larger than the runtime takes is 431, and the next request is served', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, {})
  const headers = bearer(gate.issue('one').secret)
  expect((await fetch(`${gate.url}/echo`, { headers: { ...headers, 'x-large': 'x'.repeat(70_000) } })).status).toBe(431)
  expect((await fetch(`${gate.url}/echo`, { method: 'POST', headers, body: 'x' })).status).toBe(200)
})

test('a silent stream gets a comment, and a talking one nothing', async () => {
  using upstream = ticking()
  await using gate = startSmallGate(upstream.url.href, { keepAliveMs: 50 })
  const stream = await fetch(`${gate.url}/sse`, { headers: bearer(gate.issue('one').secret) })
  let seen = ''
  for await (const chunk of stream.body as ReadableStream<Uint8Array>) {
    seen += new TextDecoder().decode(chunk)
    if (seen.split(':\n\n').length > 3) break
  }
  expect(seen.replaceAll(':\n\n', '')).toBe('data: hello\n\n')
})
