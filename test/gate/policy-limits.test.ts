import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { policyOf, type PolicyRequest } from '../../src/policy.ts'
import { eventually } from '../support/poll.ts'
import { ask, open, type RawRequest } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startSmallGate } from '../support/small-gate.ts'
import { type Answering, jsonAnswer, startLenient } from '../support/upstreams/lenient.ts'
import { expectProblem } from './problem.ts'

const RPC_BYTES_MAX = 4_096
let upstream: Awaited<ReturnType<typeof startLenient>>
let gate: ReturnType<typeof startSmallGate>
beforeAll(async () => {
  upstream = await startLenient()
  gate = startSmallGate(upstream.url, { rpcBodyBytesMax: RPC_BYTES_MAX })
})
afterAll(async () => {
  await gate?.[Symbol.asyncDispose]()
  upstream?.stop()
})
beforeEach(() => {
  gate.server.kind = 'auto'
  upstream.requests.length = 0
  upstream.answering = jsonAnswer({ jsonrpc: '2.0', id: 1, result: {} })
})

const issue = (request: PolicyRequest) => gate.secretUnder(request)
type Sent = Partial<RawRequest> & { headers?: Record<string, string> }
const JSON_TYPE = { 'Content-Type': 'application/json' }
const requestOf = (secret: string, { headers = JSON_TYPE, target = '/s/up', ...rest }: Sent): RawRequest => ({
  method: 'POST',
  target,
  headers: { ...bearer(secret), ...headers },
  ...rest,
})
const send = (secret: string, sent: Sent) => ask(gate.url, requestOf(secret, sent))

const CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}'
const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
const batch = (count: number, rest: string[] = []) => `[${[...Array<string>(count).fill(CALL), ...rest].join(',')}]`
const chunked = (...pieces: (string | Uint8Array)[]) =>
  Buffer.concat(
    [...pieces, ''].flatMap((piece) => [
      Buffer.from(`${Buffer.from(piece).length.toString(16)}\r\n`),
      Buffer.from(piece),
      Buffer.from('\r\n'),
    ]),
  )
const CHUNKED = { 'Transfer-Encoding': 'chunked' }
const PADDING = ' '.repeat(RPC_BYTES_MAX)
const GET_EVENTS: Sent = { method: 'GET', headers: { Accept: 'text/event-stream' } }

/** How many calls a request is counted as, of the ten that may be. */
const costOf = async (sent: Sent, kind: typeof gate.server.kind = 'auto'): Promise<number | 'refused'> => {
  gate.server.kind = kind
  const secret = issue({ callsPerMinute: 10 })
  const { status } = await send(secret, sent)
  if (status === 403) return 'refused'
  gate.server.kind = 'auto'
  for (let left = 10; left > 0; left -= 1) {
    const answer = await send(secret, { body: batch(left) })
    if (answer.status === 200) return status === 429 ? NaN : 10 - left
  }
  return 10
}

describe('calls a minute', () => {
  test('one past the limit is told when to come again, and does not arrive; others have their own', async () => {
    const [secret, other] = [issue({ callsPerMinute: 3 }), issue({ callsPerMinute: 3 })]
    for (let count = 0; count < 3; count += 1) expect((await send(secret, { body: CALL })).status).toBe(200)
    const refused = await send(secret, { body: CALL })
    expectProblem(refused, 429, 'rate-limited')
    expect(Number(refused.head?.get('retry-after'))).toBeWithin(55, 61)
    expect(upstream.requests.length).toBe(3)
    expect((await send(other, { body: CALL })).status).toBe(200)
    expect((await send(secret, { body: PING })).status).toBe(200)
  })

  test('a batch is taken whole or not at all', async () => {
    const secret = issue({ callsPerMinute: 3 })
    expectProblem(await send(secret, { body: batch(4) }), 429, 'rate-limited')
    expect((await send(secret, { body: batch(2, [PING]) })).status).toBe(200)
    expectProblem(await send(secret, { body: batch(2) }), 429, 'rate-limited')
    expect((await send(secret, { body: batch(1) })).status).toBe(200)
    expect(upstream.requests.length).toBe(2)
  })

  test('what the lists refuse takes none', async () => {
    const secret = issue({ callsPerMinute: 1, deny: ['forbidden'] })
    for (let count = 0; count < 3; count += 1)
      expect((await send(secret, { body: CALL.replace('echo', 'forbidden') })).text).toContain('-32081')
    expect((await send(secret, { body: CALL })).status).toBe(200)
  })

  const notification = CALL.replace('"id":1,', '')
  const gzip = (text: string) => Bun.gzipSync(Buffer.from(text))
  const COSTS: [string, Sent, number | 'refused', typeof gate.server.kind?][] = [
    ['a call', { body: CALL }, 1],
    ['a call that wants no answer', { body: notification }, 1],
    ['a batch', { body: batch(3, [PING]) }, 3],
    ['a ping', { body: PING }, 0],
    ['a call without a length', { headers: { ...JSON_TYPE, ...CHUNKED }, body: chunked(CALL) }, 1],
    ['a batch without a length', { headers: { ...JSON_TYPE, ...CHUNKED }, body: chunked(batch(3)) }, 3],
    ['a call that can be read in two ways', { body: CALL.replace('{', '{"method":"ping",') }, 1],
    ['a padded call', { body: CALL + PADDING }, 1],
    ['a padded batch', { body: batch(3) + PADDING }, 'refused'],
    ['a batch padded in front', { body: PADDING + batch(3) }, 'refused'],
    ['a batch after other white space', { body: `\ufeff\u00a0${PADDING}${batch(3)}` }, 'refused'],
    [
      'a padded batch without a length',
      { headers: { 'Content-Type': 'text/plain', ...CHUNKED }, body: chunked(' ', batch(3)) },
      'refused',
    ],
    ['a batch as text', { headers: { 'Content-Type': 'text/plain' }, body: batch(3) }, 'refused'],
    [
      'a batch as text, padded',
      { headers: { 'Content-Type': 'text/plain' }, body: ' '.repeat(200) + batch(3) },
      'refused',
    ],
    ['a batch of no type', { headers: {}, body: batch(3) }, 'refused'],
    ['a batch of jsonrpc', { headers: { 'Content-Type': 'application/jsonrpc' }, body: batch(3) }, 3],
    ['a batch of json5', { headers: { 'Content-Type': 'text/json5; x=y' }, body: batch(3) }, 3],
    ['a batch that can be read in two ways', { body: batch(3, ['{"a":1,"a":1}']) }, 'refused'],
    ['a batch in UTF-16', { body: Buffer.from(batch(3), 'utf16le') }, 'refused'],
    ['a batch in UTF-16 with its mark', { body: Buffer.from(`\ufeff${batch(3)}`, 'utf16le') }, 'refused'],
    ['a batch in UTF-16, big-endian', { body: Buffer.from(batch(3), 'utf16le').swap16() }, 'refused'],
    ['a compressed batch', { headers: { ...JSON_TYPE, 'Content-Encoding': 'gzip' }, body: gzip(batch(3)) }, 'refused'],
    [
      'a compressed text',
      { headers: { 'Content-Type': 'text/plain', 'Content-Encoding': 'gzip' }, body: gzip(batch(3)) },
      'refused',
    ],
    ['a batch by PUT', { method: 'PUT', body: batch(3) }, 3],
    [
      'a batch by PUT, as text',
      { method: 'PUT', headers: { 'Content-Type': 'text/plain' }, body: batch(3) },
      'refused',
    ],
    ['a batch by DELETE', { method: 'DELETE', body: batch(3) }, 3],
    [
      'a call by PUT to a server of MCP',
      { method: 'PUT', headers: { 'Content-Type': 'text/plain' }, body: CALL },
      1,
      'mcp',
    ],
    ['a GET', { method: 'GET', headers: {} }, 1],
    ['a GET of MCP', { method: 'GET', headers: {} }, 0, 'mcp'],
    ['a form', { headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'a=[' }, 1],
    [
      'a picture',
      { headers: { 'Content-Type': 'image/jpeg' }, body: Buffer.from('\xff\xd8\xff\xe0\0\x10JFIF[', 'latin1') },
      1,
    ],
    ['JSON of an API', { body: '{"model":"m","messages":[]}' }, 1],
    ['JSON of an API, dressed up', { body: '{"jsonrpc":"2.0","id":1,"method":"ping","model":"m"}' }, 1],
    ['a batch to a plain server', { body: batch(3) }, 1, 'http'],
    ['a GET of a plain server', { method: 'GET', headers: {} }, 1, 'http'],
    [
      'a compressed body to a plain server',
      { headers: { ...JSON_TYPE, 'Content-Encoding': 'gzip' }, body: gzip('[]') },
      1,
      'http',
    ],
  ]
  test.each(COSTS.map(([what, sent, cost, kind = 'auto']) => [what, sent, cost, kind] as const))(
    '%s',
    async (_, sent, cost, kind) => {
      expect(await costOf(sent, kind)).toBe(cost)
      // What flows has begun to: the server may have heard of the request, and of nothing in it.
      if (cost === 'refused') expect(upstream.requests.filter(({ bodyBytes }) => bodyBytes > 0)).toHaveLength(0)
    },
  )
})

describe('streams held open at once', () => {
  const POLICY = { concurrentStreams: 2 }
  /** An event stream that begins and goes on; `end` ends it as told. */
  const streaming: Answering = (request) => {
    request.begin('200 OK', ['Content-Type: text/event-stream'])
    request.chunk('data: 1\n\n')
  }
  beforeEach(() => {
    upstream.answering = streaming
  })
  const begun = async (secret: string, sent: Sent = GET_EVENTS) => {
    const client = await open(gate.url, requestOf(secret, sent))
    return client.until(({ bodyBytes, ended }) => bodyBytes > 0 || ended !== 'open')
  }
  const statusOf = async (secret: string, sent?: Sent) => {
    const client = await begun(secret, sent)
    client[Symbol.dispose]()
    return client.status
  }
  const LISTEN = PING.replace('ping', 'subscriptions/listen')
  const LLM = { body: '{"model":"m","stream":true}' }

  test('one past the limit is refused, and does not arrive; a place is free when one ends', async () => {
    const secret = issue(POLICY)
    const [first] = [await begun(secret), await begun(secret)]
    const refused = await send(secret, GET_EVENTS)
    expectProblem(refused, 429, 'too-many-streams')
    expect(Number(refused.head?.get('retry-after'))).toBeGreaterThan(0)
    expect(upstream.requests.length).toBe(2)
    expect(await statusOf(issue(POLICY))).toBe(200)
    first.close()
    await eventually(async () => (await statusOf(secret)) === 200)
  })

  const KINDS: [string, Sent, number][] = [
    ['a GET', GET_EVENTS, 0],
    ['a subscription', { body: LISTEN }, 0],
    ['a subscription without a length', { headers: { ...JSON_TYPE, ...CHUNKED }, body: chunked(LISTEN) }, 0],
    ['a subscription in a batch', { body: `[${PING},${LISTEN}]` }, 0],
    // That it is a stream is known when it begins: then it has arrived.
    ['an answer of an LLM', LLM, 1],
    ['one dressed up', { body: '{"jsonrpc":"2.0","id":1,"method":"ping","model":"m","stream":true}' }, 1],
    ['one of unknown length', { headers: { 'Content-Type': 'text/plain', ...CHUNKED }, body: chunked(LISTEN) }, 1],
    ['a padded subscription', { body: LISTEN + PADDING }, 1],
    ['a subscription that can be read in two ways', { body: LISTEN.replace('{', '{"method":"ping",') }, 0],
    ['a stream nobody asked for', { method: 'GET', headers: {} }, 1],
  ]
  test.each(KINDS)('%s takes a place', async (_, sent, arrives) => {
    const secret = issue(POLICY)
    const held = [await begun(secret), await begun(secret)]
    upstream.requests.length = 0
    expect(await statusOf(secret, sent)).toBe(429)
    expect(upstream.requests.length).toBe(arrives)
    for (const client of held) client[Symbol.dispose]()
    await eventually(async () => (await statusOf(secret, sent)) === 200)
  })

  test('calls of MCP, and what is no stream, take none', async () => {
    const secret = issue({ concurrentStreams: 1 })
    const held = await begun(secret)
    for (let count = 0; count < 3; count += 1) expect(await statusOf(secret, { body: CALL })).toBe(200)
    upstream.answering = jsonAnswer({})
    for (const sent of [LLM, { method: 'GET', headers: {} }]) expect((await send(secret, sent)).status).toBe(200)
    held[Symbol.dispose]()
  })

  const ENDINGS: [string, (it: Awaited<ReturnType<typeof begun>>, secret: string) => void | Promise<void>][] = [
    ['the client ends it', (it) => it.close()],
    ['the client breaks it off', (it) => it[Symbol.dispose]()],
    ['the server ends it', () => upstream.last()?.lastChunk()],
    ['the server breaks it off', () => upstream.last()?.reset()],
    ['it is cut', () => gate.registry.cut(gate.registry.all(), 'connection_killed') as never],
  ]
  describe.each(KINDS.filter(([, , arrives]) => arrives === 0).concat([['an answer of an LLM', LLM, 1]]))(
    '%s',
    (_, sent) => {
      test.each(ENDINGS)('gives its place back when %s', async (_ending, end) => {
        const secret = issue({ concurrentStreams: 1 })
        const held = await begun(secret, sent)
        expect([held.status, await statusOf(secret)]).toEqual([200, 429])
        await end(held, secret)
        await eventually(async () => (await statusOf(secret)) === 200)
      })
    },
  )

  const BEFORE: [string, Answering | null, Sent][] = [
    ['the server answers with something else', jsonAnswer({}), GET_EVENTS],
    ['the server fails', jsonAnswer({}, '500 Internal Server Error'), GET_EVENTS],
    ['the server has none', jsonAnswer({}, '405 Method Not Allowed'), GET_EVENTS],
    ['the server asks for credentials', jsonAnswer({}, '401 Unauthorized'), GET_EVENTS],
    ['the server leads away', (request) => request.answer('302 Found', ['Location: http://127.0.0.1:1/']), GET_EVENTS],
    ['the server breaks off', (request) => request.reset(), GET_EVENTS],
    ['it has a body', null, { ...GET_EVENTS, body: 'x' }],
    ['a session is unknown', null, { method: 'GET', headers: { Accept: 'text/event-stream', 'Mcp-Session-Id': 'x' } }],
  ]
  test.each(BEFORE)('a stream that never begins gives its place back: %s', async (_, answering, sent) => {
    const secret = issue({ concurrentStreams: 1 })
    if (answering) upstream.answering = answering
    for (let count = 0; count < 3; count += 1) expect((await send(secret, sent)).status).not.toBe(429)
    upstream.answering = streaming
    expect(await statusOf(secret)).toBe(200)
  })

  test('a stream that is one call too many gives its place back', async () => {
    const { token, secret } = gate.issue('used-up', { concurrentStreams: 1, callsPerMinute: 1 })
    upstream.answering = jsonAnswer({})
    expect((await send(secret, GET_EVENTS)).status).toBe(200)
    expectProblem(await send(secret, GET_EVENTS), 429, 'rate-limited')
    token.policy = policyOf({ concurrentStreams: 1 })
    expect((await send(secret, GET_EVENTS)).status).toBe(200)
  })

  test('as many as the policy says at once, and not one more', async () => {
    const secret = issue({ concurrentStreams: 30 })
    const held = await Promise.all(Array.from({ length: 30 }, () => begun(secret)))
    expect(held.map(({ status }) => status)).toEqual(Array<number>(30).fill(200))
    expect(await statusOf(secret)).toBe(429)
    for (const client of held) client[Symbol.dispose]()
  })
})
