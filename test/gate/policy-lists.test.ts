import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { changeEvents, EventGate, parseEvents } from '../../src/gate/sse.ts'
import { ToolFilter } from '../../src/gate/tool-filter.ts'
import { limits } from '../../src/limits.ts'
import { type Policy, policyOf, type PolicyRequest, toolDenial } from '../../src/policy.ts'
import { ask, type RawRequest } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startSmallGate } from '../support/small-gate.ts'
import { eventsAnswer, jsonAnswer, startLenient } from '../support/upstreams/lenient.ts'
import { expectProblem } from './problem.ts'

const encoder = new TextEncoder()
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

const tool = (name: unknown, extra: object = {}) => ({ name, inputSchema: { type: 'object' }, ...extra })
const READS = { annotations: { readOnlyHint: true } }
const TOOLS = [
  tool('echo', READS),
  tool('forbidden'),
  tool('FORBIDDEN '),
  tool('get_x', { annotations: { readOnlyHint: false } }),
  tool('get_y', { annotations: { readOnlyHint: 'true' } }),
  tool('forb\u200bidden', READS),
  tool(7),
  { title: 'nameless' },
  'forbidden',
  null,
]
const list = (extra: object = {}, id: unknown = 1) => ({ jsonrpc: '2.0', id, result: { tools: TOOLS, ...extra } })
const shown = (names: string[], extra: object = {}, id: unknown = 1) => ({
  jsonrpc: '2.0',
  id,
  result: {
    tools: TOOLS.filter(
      (it) => it !== null && typeof it === 'object' && 'name' in it && names.includes(it.name as string),
    ),
    ...extra,
  },
})
const LIST = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
const READ_BYTES_MAX = 128 * 1024
const DENY: PolicyRequest = { deny: ['forbidden'] }
const LEFT = ['echo', 'get_x', 'get_y']

let upstream: Awaited<ReturnType<typeof startLenient>>
let gate: ReturnType<typeof startSmallGate>
beforeAll(async () => {
  upstream = await startLenient()
  gate = startSmallGate(upstream.url, { policyAnswerBytesMax: READ_BYTES_MAX })
})
afterAll(async () => {
  await gate?.[Symbol.asyncDispose]()
  upstream?.stop()
})
beforeEach(() => void (upstream.requests.length = 0))

const askUnder = (rules: PolicyRequest | null, sent: Partial<RawRequest> = {}) => {
  const secret = gate.secretUnder(rules)
  const { headers = {}, ...rest } = sent
  const all = { ...bearer(secret), 'Content-Type': 'application/json', ...(headers as Record<string, string>) }
  return ask(gate.url, { method: 'POST', target: '/s/up', body: LIST, headers: all, ...rest })
}
/** One that is asked about answers alone. */
const eventsOf = (text: string) => parseEvents(text).map(({ data }) => JSON.parse(data) as unknown)
const event = (message: unknown) => `event: message\nid: 9\ndata: ${JSON.stringify(message)}\n\n`

describe('lists', () => {
  test.each([
    [DENY, LEFT],
    [{ allow: ['get_*'] }, ['get_x', 'get_y']],
    [{ allow: [] }, []],
    [{ readOnly: true }, ['echo']],
    [{ readOnly: true, allow: ['get_*'] }, []],
  ])('under %j a list shows %j, as JSON and as an event stream', async (rules, names) => {
    upstream.answering = jsonAnswer(list({ nextCursor: 'x' }))
    expect((await askUnder(rules)).json).toEqual(shown(names, { nextCursor: 'x' }))
    upstream.answering = eventsAnswer([event(list())])
    expect(eventsOf((await askUnder(rules)).text)).toEqual([shown(names)])
  })

  test('a token without a policy, and one with limits, get the bytes of the server', async () => {
    const body = `{"jsonrpc":"2.0", "id":1,"result":{"tools":${JSON.stringify(TOOLS)}, "n":12345678901234567890}}`
    for (const rules of [null, { callsPerMinute: 9, concurrentStreams: 9 }]) {
      upstream.answering = jsonAnswer(body)
      expect((await askUnder(rules)).text).toBe(body)
      upstream.answering = eventsAnswer([event(list())])
      expect((await askUnder(rules)).text).toBe(event(list()))
    }
  })

  test('a list of which nothing is taken stays byte for byte', async () => {
    const body = '{"jsonrpc":"2.0", "id":1,"result":{"tools":[{"name":"echo","max":12345678901234567890}]}}'
    upstream.answering = jsonAnswer(body)
    expect((await askUnder(DENY)).text).toBe(body)
  })

  test('numbers of what stays are spelt as they were; nobody else may keep the list', async () => {
    const rest = '"inputSchema":{"maximum":12345678901234567890,"minimum":-0,"multipleOf":1.10}'
    upstream.answering = jsonAnswer(
      `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo",${rest}},{"name":"forbidden"}],"ttlMs":1e3,"cacheScope":"public"}}`,
    )
    expect((await askUnder(DENY)).text).toBe(
      `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo",${rest}}],"ttlMs":1e3,"cacheScope":"private"}}`,
    )
    upstream.answering = jsonAnswer({ jsonrpc: '2.0', id: 1, result: { tools: [tool('echo')], cacheScope: 'public' } })
    expect((await askUnder(DENY)).json).toMatchObject({ result: { cacheScope: 'private' } })
  })

  test('lists in a batch, beside the refusals', async () => {
    const body = `[${LIST},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"forbidden"}},${LIST}]`
    upstream.answering = jsonAnswer([list(), list({}, 3)])
    expect((await askUnder(DENY, { body })).json).toEqual([
      shown(LEFT),
      shown(LEFT, {}, 3),
      expect.objectContaining({ id: 2, error: expect.objectContaining({ code: -32081 }) }),
    ])
    upstream.answering = eventsAnswer([event([list(), list({}, 3)])])
    expect(eventsOf((await askUnder(DENY, { body })).text).slice(1)).toEqual([[shown(LEFT), shown(LEFT, {}, 3)]])
  })

  test.each([
    ['an error of HTTP', '400 Bad Request', list()],
    ['a failure', '500 Internal Server Error', list()],
    ['a batch for one request', '200 OK', [list()]],
  ])('in %s', async (_, status, answer) => {
    upstream.answering = jsonAnswer(answer, status)
    const { text, status: got } = await askUnder(DENY)
    expect(String(got)).toBe(status.slice(0, 3))
    expect(text).toContain('echo')
    expect(text.toLowerCase()).not.toContain('forbidden')
  })

  test('an event stream in an error of HTTP', async () => {
    upstream.answering = (request) => {
      request.begin('400 Bad Request', ['Content-Type: text/event-stream'])
      request.chunk(event(list()))
      request.lastChunk()
    }
    expect(eventsOf((await askUnder(DENY)).text)).toEqual([shown(LEFT)])
  })

  const body = JSON.stringify(list())
  test.each<[string, string[], string | Uint8Array]>([
    ['no type', [], body],
    ['text/plain', ['Content-Type: text/plain'], body],
    ['HTML', ['Content-Type: text/html'], body],
    ['JSON lines', ['Content-Type: application/x-ndjson'], body],
    ['no JSON', ['Content-Type: application/json'], `${body}x`],
    ['two documents', ['Content-Type: application/json'], `${body}\n${body}`],
    ['UTF-16', ['Content-Type: application/json; charset=utf-16'], Buffer.from(body, 'utf16le')],
    ['gzip', ['Content-Type: application/json', 'Content-Encoding: gzip'], Bun.gzipSync(Buffer.from(body))],
    ['a coded stream', ['Content-Type: text/event-stream', 'Content-Encoding: br'], event(list())],
    [
      'one past what is read',
      ['Content-Type: application/json'],
      body + ' '.repeat(READ_BYTES_MAX + 1 - Buffer.byteLength(body)),
    ],
  ])('that can not be read is kept back: %s', async (_, headers, bytes) => {
    upstream.answering = (request) => request.answer('200 OK', headers, bytes)
    const refused = await askUnder(DENY)
    expectProblem(refused, 502, 'policy-unreadable')
    expect(refused.received).not.toContain('echo')
  })

  test.each([
    ['202 Accepted', 'Accepted'],
    ['405 Method Not Allowed', 'no'],
    ['503 Service Unavailable', 'busy'],
  ])('what is no list passes, also without a length: %s', async (status, said) => {
    for (const method of ['POST', 'GET']) {
      upstream.answering = (request) => {
        request.begin(status, ['Content-Type: text/plain'])
        request.chunk(said)
        request.lastChunk()
      }
      const sent = method === 'GET' ? { method, body: undefined, headers: { Accept: 'text/event-stream' } } : {}
      const answer = await askUnder(DENY, sent)
      expect([answer.status, answer.text, answer.complete]).toEqual([Number(status.slice(0, 3)), said, true])
    }
  })

  test('as large as is read passes', async () => {
    upstream.answering = jsonAnswer(body + ' '.repeat(READ_BYTES_MAX - Buffer.byteLength(body)))
    expect((await askUnder(DENY)).json).toEqual(shown(LEFT))
  })

  test('other answers are not read at all', async () => {
    upstream.answering = (request) => request.answer('200 OK', ['Content-Type: text/plain'], 'hello')
    expect((await askUnder(DENY, { body: LIST.replace('tools/list', 'ping') })).text).toBe('hello')
  })
})

describe('streams that a GET opens', () => {
  const GET = { method: 'GET', body: undefined, headers: { Accept: 'text/event-stream' } }

  test.each<Record<string, string>>([{}, { 'Last-Event-ID': '4' }, { Accept: 'application/json, text/event-stream' }])(
    'what is listed on them, or again, is filtered: %j',
    async (headers) => {
      upstream.answering = eventsAnswer([event({ jsonrpc: '2.0', method: 'notifications/message' }) + event(list())])
      const answer = await askUnder(DENY, { ...GET, headers: { ...GET.headers, ...headers } })
      expect(eventsOf(answer.text)).toEqual([{ jsonrpc: '2.0', method: 'notifications/message' }, shown(LEFT)])
      expect(upstream.requests[0]?.head.get('last-event-id')).toBe(headers['Last-Event-ID'] ?? null)
    },
  )

  test('a POST that some server takes for one that resumes', async () => {
    upstream.answering = eventsAnswer([event(list())])
    const answer = await askUnder(DENY, { headers: { 'Last-Event-ID': '4' }, body: LIST.replace('tools/list', 'ping') })
    expect(eventsOf(answer.text)).toEqual([shown(LEFT)])
  })

  test.each(['application/json', 'text/html', 'application/octet-stream'])('%s is kept back', async (type) => {
    upstream.answering = (request) => request.answer('200 OK', [`Content-Type: ${type}`], JSON.stringify(list()))
    expectProblem(await askUnder(DENY, GET), 502, 'policy-unreadable')
  })

  test('that there is none is passed on', async () => {
    upstream.answering = jsonAnswer(
      { jsonrpc: '2.0', error: { code: -32000, message: 'no' }, id: null },
      '405 Method Not Allowed',
    )
    const answer = await askUnder(DENY, GET)
    expect([answer.status, answer.json]).toMatchObject([405, { error: { message: 'no' } }])
  })
})

describe('events', () => {
  const data = JSON.stringify(list())
  const half = Math.floor(data.indexOf('"name"'))
  const lines = [data.slice(0, half), data.slice(half)]
  const FORMS: [string, string][] = [
    ['LF', `event: message\ndata: ${data}\n\n`],
    ['CR LF', `event: message\r\ndata: ${data}\r\n\r\n`],
    ['CR', `event: message\rdata: ${data}\r\r`],
    ['mixed', `: hi\r\nid: 1\rdata: ${data}\n\r\n`],
    ['no space', `data:${data}\n\n`],
    ['many lines', `data: ${lines[0]}\nid: 3\ndata: ${lines[1]}\n\n`],
    ['many lines, CR LF', `data: ${lines[0]}\r\ndata: ${lines[1]}\r\n\r\n`],
    ['no type said', `event\ndata: ${data}\n\n`],
    ['an empty type', `event:\ndata: ${data}\n\n`],
    ['a type taken back', `event: other\nevent: message\ndata: ${data}\n\n`],
    ['a comment before', `: x\n\n\n\ndata: ${data}\n\n`],
    ['unfinished', `data: ${data}`],
    ['half finished', `data: ${data}\n`],
  ]

  test.each(FORMS)('%s', async (_, stream) => {
    upstream.answering = eventsAnswer([`data: {"jsonrpc":"2.0","method":"a"}\n\n`, stream])
    const { text } = await askUnder(DENY)
    expect(text.toLowerCase()).not.toContain('forb')
    expect(eventsOf(text).slice(1)).toEqual([shown(LEFT)])
  })

  test.each(FORMS)('%s, cut at every byte', (_, stream) => {
    const bytes = encoder.encode(`data: {"jsonrpc":"2.0","method":"a"}\n\n${stream}`)
    const filter = new ToolFilter(policyOf(DENY) as Policy)
    for (let at = 1; at < bytes.length; at += 1) {
      // As an exchange does with what arrives: whole events alone are looked at.
      const events = new EventGate(READ_BYTES_MAX)
      const parts = [events.push(bytes.subarray(0, at)), events.push(bytes.subarray(at)), events.rest()]
      const text = parts.map((part) => decode(filter.events(part))).join('')
      expect(text.toLowerCase()).not.toContain('forb')
      expect(eventsOf(text).slice(1)).toEqual([shown(LEFT)])
    }
  })

  test('each byte by itself, after a byte order mark', async () => {
    upstream.answering = eventsAnswer(
      [...encoder.encode(`\ufeffdata: ${data}\r\n\r\n`)].map((byte) => Uint8Array.of(byte)),
    )
    expect(eventsOf((await askUnder(DENY)).text)).toEqual([shown(LEFT)])
  })

  test('ids, types, comments and other events stay', async () => {
    upstream.answering = eventsAnswer([
      `: c\nid: 7\nretry: 10\nevent: message\ndata: ${data}\n\nevent: other\ndata: forb\n\n`,
    ])
    const { text } = await askUnder({ allow: [] })
    expect(text).toBe(
      `: c\nid: 7\nretry: 10\nevent: message\ndata: ${JSON.stringify(shown([]))}\n\nevent: other\ndata: forb\n\n`,
    )
  })

  test.each([
    ['that is no JSON', 'data: {"jsonrpc"\n\n'],
    ['cut off in the middle', `data: ${data.slice(0, 150)}`],
    ['larger than is read', `data: ${' '.repeat(64 * READ_BYTES_MAX)}${data}\n\n`],
  ])('one %s ends the stream, unseen', async (_, stream) => {
    upstream.answering = eventsAnswer([`${event({ jsonrpc: '2.0', method: 'a' })}`, stream])
    const answer = await askUnder(DENY)
    expect([answer.complete, answer.ended]).toEqual([false, 'reset'])
    expect(answer.text).not.toContain('echo')
  })

  test('an event past the usual bound, and within what is read', async () => {
    const large = list({ padding: 'x'.repeat(limits.eventTailBytesMax) })
    upstream.answering = eventsAnswer([event(large).slice(0, 70_000), event(large).slice(70_000)])
    const [found] = eventsOf((await askUnder(DENY)).text) as [{ result: { padding: string; tools: unknown[] } }]
    expect([found.result.padding.length, found.result.tools.length]).toEqual([limits.eventTailBytesMax, LEFT.length])
  })
})

describe('by any list and policy', () => {
  const name = fc.oneof(
    fc.constantFrom('a', 'ab', 'b', 'A', 'get_a', 'get_b', ' a', 'x'.repeat(129)),
    fc.string({ maxLength: 6 }),
  )
  const pattern = fc.constantFrom('a', 'b', '*', 'get_*', '?', '*b', 'A*')
  const rules: fc.Arbitrary<Policy> = fc
    .record({
      allow: fc.option(fc.array(pattern, { maxLength: 3 })),
      deny: fc.array(pattern, { maxLength: 2 }),
      readOnly: fc.boolean(),
    })
    .map((request) => policyOf({ ...request }) ?? policyOf({ deny: ['none'] }))
    .filter((policy) => policy !== null)
  const listed = fc.record(
    {
      name,
      annotations: fc.record({ readOnlyHint: fc.boolean(), title: fc.string() }, { requiredKeys: [] }),
      inputSchema: fc.jsonValue(),
      _meta: fc.jsonValue(),
    },
    { requiredKeys: ['name'] },
  )
  const result = fc.record(
    { tools: fc.array(listed, { maxLength: 8 }), nextCursor: fc.string(), _meta: fc.jsonValue() },
    { requiredKeys: ['tools'] },
  )
  const message = fc.oneof(
    fc.record({ jsonrpc: fc.constant('2.0'), id: fc.nat(), result }),
    fc.record({ jsonrpc: fc.constant('2.0'), id: fc.nat(), result: fc.jsonValue() }),
    fc.record({ jsonrpc: fc.constant('2.0'), method: fc.string(), params: fc.jsonValue() }),
  )
  const answer = fc.oneof(message, fc.array(message, { maxLength: 4 }))
  type Message = { result?: { tools?: { name: string; annotations?: { readOnlyHint?: boolean } }[] } }

  /** The reference. */
  const expected = (policy: Policy, one: Message): Message => {
    const tools = one.result?.tools
    if (!Array.isArray(tools)) return one
    const keep = tools.filter((it) => toolDenial(policy, it.name, it.annotations?.readOnlyHint === true) === null)
    return { ...one, result: { ...one.result, tools: keep } }
  }

  test('exactly the allowed tools stay, in their order, with all else as it was', () => {
    fc.assert(
      fc.property(rules, answer, (policy, given) => {
        const json = JSON.stringify(given)
        const all = JSON.parse(json) as Message | Message[]
        const want = Array.isArray(all) ? all.map((one) => expected(policy, one)) : expected(policy, all)
        const got = JSON.parse(decode(new ToolFilter(policy).body(encoder.encode(json)))) as unknown
        return Bun.deepEquals(got, want)
      }),
      { numRuns: 3_000 },
    )
  })

  const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
  const other = fc.constantFrom('id: 7', 'event: message', ': comment', 'retry: 100', 'x')
  const events = fc.array(
    fc.tuple(fc.array(other, { maxLength: 2 }), fc.nat(5), fc.array(other, { maxLength: 2 }), lineEnd, fc.nat(1)),
    { maxLength: 5 },
  )
  const textOf = (all: [string[], number, string[], string, number][]) =>
    all
      .map(
        ([before, value, after, end, blank]) =>
          [...before, `data: [${value},`, `data: "é"]`, ...after, '', ''].join(end) + end.repeat(blank),
      )
      .join('')

  test('events that nothing is changed in are the same bytes', () => {
    fc.assert(
      fc.property(events, (all) => {
        const bytes = encoder.encode(textOf(all))
        return changeEvents(bytes, () => null) === bytes
      }),
    )
  })

  test('of events, exactly the data that is changed changes', () => {
    fc.assert(
      fc.property(events, fc.nat(5), (all, which) => {
        const text = textOf(all)
        const change = (found: string) => (found.startsWith(`[${which},`) ? '{"changed":true}' : null)
        const changed = decode(changeEvents(encoder.encode(text), (it) => change(it.data)))
        const want = parseEvents(text).map((it) => ({ ...it, data: change(it.data) ?? it.data }))
        if (!Bun.deepEquals(parseEvents(changed), want)) return false
        // All other lines stay, in their order.
        const rest = (given: string) =>
          given.split(/\r\n|\n|\r/).filter((line) => line !== '' && !line.startsWith('data'))
        return Bun.deepEquals(rest(changed), rest(text))
      }),
      { numRuns: 2_000 },
    )
  })
})
