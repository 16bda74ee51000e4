import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import type { PolicyRequest } from '../../src/policy.ts'
import { ask, formatRequest, open, type RawClient, type RawRequest } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startSmallGate } from '../support/small-gate.ts'
import { eventsAnswer, jsonAnswer, startLenient } from '../support/upstreams/lenient.ts'
import { expectProblem } from './problem.ts'

let upstream: Awaited<ReturnType<typeof startLenient>>
let gate: ReturnType<typeof startSmallGate>
beforeAll(async () => {
  upstream = await startLenient()
  gate = startSmallGate(upstream.url, {})
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

const secretUnder = (request: PolicyRequest | null) => gate.secretUnder(request)

type Sent = Partial<RawRequest> & { headers?: Record<string, string> }
const JSON_TYPE = { 'Content-Type': 'application/json' }
const send = async (secret: string, { headers = JSON_TYPE, target = '/s/up', ...rest }: Sent): Promise<RawClient> =>
  ask(gate.url, { method: 'POST', target, headers: { ...bearer(secret), ...headers }, ...rest })

const call = (name: unknown, id: unknown = 1) =>
  JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: {} } })
const gzip = (text: string) => Bun.gzipSync(Buffer.from(text))
const DENIED = call('forbidden')
const ALLOWED = call('echo')
const PING = '{"jsonrpc":"2.0","id":7,"method":"ping"}'

/** Every one of them leaves `forbidden` out. */
const RULES: [string, PolicyRequest][] = [
  ['allow', { allow: ['echo', 'get_*'] }],
  ['deny', { deny: ['forbidden'] }],
  ['deny by a pattern', { deny: ['forb*'] }],
  ['allow nothing', { allow: [] }],
]

const errorOf = (client: RawClient) => {
  expect([client.status, client.head?.get('content-type')]).toEqual([
    200,
    expect.stringMatching(/^application\/json\b/),
  ])
  return client.json
}
const refusal = (id: unknown, type = 'tool_denied') => ({
  jsonrpc: '2.0',
  id,
  error: { code: -32081, message: expect.stringContaining('policy'), data: { type } },
})

describe.each(RULES)('%s', (_, rules) => {
  test('a call of another tool is refused, and nothing arrives', async () => {
    expect(errorOf(await send(secretUnder(rules), { body: DENIED }))).toEqual(refusal(1))
    expect(errorOf(await send(secretUnder(rules), { body: `[${DENIED}]` }))).toEqual([refusal(1)])
    expect(upstream.requests).toEqual([])
  })
})

test('what is allowed arrives byte for byte', async () => {
  const secret = secretUnder({ allow: ['echo'] })
  const odd = ` {"params":{"arguments":{"n":12345678901234567890,"é":"\\u00e9\\/"},"name":"\\u0065cho"},\n"method":"tools\\/call",
    "id":"x","jsonrpc":"2.0"}\r\n`
  for (const body of [ALLOWED, PING, odd, `[${odd},${PING}]`]) {
    expect((await send(secret, { body })).status).toBe(200)
    expect(upstream.arrived()).toEqual([body])
  }
})

test('a token without a policy, and one with limits alone, pass on whatever it is', async () => {
  const secrets = [secretUnder(null), secretUnder({ callsPerMinute: 100, concurrentStreams: 10 })]
  const bodies = [DENIED, `${DENIED}x`, '{"method":"tools/call","method":"ping"}', '\ufeff{}', '{"model":"m"}', 'x']
  for (const secret of secrets) {
    for (const body of bodies) {
      for (const method of ['POST', 'PUT']) expect((await send(secret, { body, method })).status).toBe(200)
      expect(upstream.arrived()).toEqual([body, body])
    }
  }
})

describe('names', () => {
  test.each([
    'Forbidden',
    'FORBIDDEN',
    'forbidden ',
    '\tforbidden',
    'forbidden\0',
    'for\u200bbidden',
    'ｆorbidden',
    'forbidden\ud800',
    '',
    null,
    undefined,
    1,
    [['forbidden']],
    { toString: 'forbidden' },
    'x'.repeat(limits.toolNameLengthMax + 1),
  ])('%j is refused under a list of what is denied', async (name) => {
    expect(errorOf(await send(secretUnder({ deny: ['forbidden'] }), { body: call(name) }))).toEqual(refusal(1))
    expect(upstream.requests).toEqual([])
  })
})

describe('methods', () => {
  test.each([
    'Tools/Call',
    'TOOLS/CALL',
    'tools/execute',
    'tools/call/',
    'tools/calls',
    'tools//call',
    '/tools/call',
    'tools.call',
    'tools\\call',
    'tools',
    'mcp/tools/call',
    'tools_call',
    'tools/List',
  ])('%j is refused', async (method) => {
    const body = DENIED.replace('tools/call', method.replace('\\', '\\\\'))
    for (const rules of [{ deny: ['forbidden'] }, { allow: ['forbidden'] }])
      expect(errorOf(await send(secretUnder(rules), { body }))).toEqual(refusal(1))
    expect(upstream.requests).toEqual([])
  })

  test.each([
    'ping',
    'initialize',
    'server/discover',
    'prompts/get',
    'resources/read',
    'subscriptions/listen',
    'toolset',
  ])('%j passes', async (method) => {
    const body = DENIED.replace('tools/call', method)
    expect((await send(secretUnder({ deny: ['forbidden'] }), { body })).status).toBe(200)
    expect(upstream.arrived()).toEqual([body])
  })

  test('a call that wants no answer gets none, and does not arrive', async () => {
    const answer = await send(secretUnder({ deny: ['forbidden'] }), { body: DENIED.replace('"id":1,', '') })
    expect([answer.status, answer.text]).toEqual([202, ''])
    expect(upstream.requests).toEqual([])
  })
})

/** Requests that some server might take for a call of `forbidden`, and that no gate can be sure about. */
const twice = (member: string) => DENIED.replace(/^\{/, `{${member},`)
const inParams = (member: string) => DENIED.replace('"params":{', `"params":{${member},`)
const UNREADABLE: [string, Sent][] = [
  ['method twice', { body: twice('"method":"ping"') }],
  ['method twice, the other way', { body: DENIED.replace('"params"', '"method":"ping","params"') }],
  ['method twice, once escaped', { body: twice('"\\u006dethod":"ping"') }],
  ['Method', { body: twice('"Method":"ping"') }],
  ['method with a long s elsewhere', { body: twice('"paramſ":{}') }],
  ['params twice', { body: twice('"params":{"name":"echo"}') }],
  ['name twice', { body: inParams('"name":"echo"') }],
  ['name twice, once escaped', { body: inParams('"n\\u0061me":"echo"') }],
  ['Name', { body: call('echo').replace('"name"', '"Name":"forbidden","name"') }],
  ['a name with a NUL', { body: call('echo').replace('"name"', '"name\\u0000":"forbidden","name"') }],
  ['arguments twice', { body: call('echo').replace('"arguments"', '"arguments":{"a":1},"arguments"') }],
  ['a member twice in arguments', { body: call('echo').replace('{}', '{"tool":"a","tool":"forbidden"}') }],
  ['jsonrpc twice', { body: `[${PING},${twice('"jsonrpc":"2.0"')}]` }],
  ['params an array', { body: DENIED.replace('{"name":"forbidden","arguments":{}}', '["forbidden",{}]') }],
  ['id null', { body: call('echo', null) }],
  ['id an object', { body: call('echo', {}) }],
  ['id past 2^53', { body: call('echo', 1).replace('"id":1', '"id":9007199254740993') }],
  ['a member that JSON-RPC has not', { body: twice('"tool":"forbidden"').replace('tools/call', 'ping') }],
  ['a byte order mark', { body: `\ufeff${DENIED}` }],
  ['trailing garbage', { body: `${PING};${DENIED}` }],
  ['two documents', { body: `${PING}\n${DENIED}` }],
  ['a comment', { body: `${PING}/*${DENIED}*/` }],
  ['an empty batch', { body: '[]' }],
  ['a batch in a batch', { body: `[[${DENIED}]]` }],
  ['one past the batch limit', { body: `[${Array(limits.rpcIdsMax).fill(PING).join(',')},${DENIED}]` }],
  ['too deep', { body: call('echo').replace('{}', `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`) }],
  [
    'a deep batch',
    { body: `[${DENIED},${PING.replace('}', `,"params":{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`)}]` },
  ],
  ['nothing', { body: '' }],
  ['no body', {}],
  ['a form', { body: 'method=tools/call&name=forbidden' }],
  ['UTF-16', { body: Buffer.from(DENIED, 'utf16le') }],
  ['UTF-16 with its mark', { body: Buffer.from(`\ufeff${DENIED}`, 'utf16le') }],
  ['UTF-7', { body: DENIED.replaceAll('"', '+ACI-') }],
  ['Latin-1', { body: Buffer.from(call('forbiddén'), 'latin1') }],
  ['gzip that nobody told of', { body: gzip(DENIED) }],
]
const HEADS: [string, Record<string, string>][] = [
  ['no type', {}],
  ['text/plain', { 'Content-Type': 'text/plain' }],
  ['an empty type', { 'Content-Type': '' }],
  ['a form', { 'Content-Type': 'application/x-www-form-urlencoded' }],
  ['multipart', { 'Content-Type': 'multipart/form-data; boundary=x' }],
  ['another JSON', { 'Content-Type': 'application/vnd.api+json' }],
  ['text/json', { 'Content-Type': 'text/json' }],
  ['jsonrpc', { 'Content-Type': 'application/jsonrpc' }],
  ['json-rpc', { 'Content-Type': 'application/json-rpc' }],
  ['json lines', { 'Content-Type': 'application/x-ndjson' }],
  ['two types', { 'Content-Type': 'application/json, text/plain' }],
  ['a type in a type', { 'Content-Type': 'text/plain; application/json' }],
  ['UTF-16', { 'Content-Type': 'application/json; charset=utf-16' }],
  ['UTF-16 in quotes', { 'Content-Type': 'application/json; charset="utf-16"' }],
  ['UTF-7', { 'Content-Type': 'application/json; charset=utf-7' }],
  ['two charsets', { 'Content-Type': 'application/json; charset=utf-8; charset=utf-16' }],
  ['a parameter before', { 'Content-Type': 'application/json; x=y; charset=utf-16' }],
  ['gzip', { ...JSON_TYPE, 'Content-Encoding': 'gzip' }],
  ['deflate in capitals', { ...JSON_TYPE, 'Content-Encoding': 'DEFLATE' }],
  ['two codings', { ...JSON_TYPE, 'Content-Encoding': 'identity, gzip' }],
]

describe('what could be read in two ways is refused', () => {
  test.each(UNREADABLE)('%s', async (_, sent) => {
    expectProblem(await send(secretUnder({ deny: ['forbidden'] }), sent), 403, 'policy-unreadable')
    expectProblem(await send(secretUnder({ allow: ['echo'] }), sent), 403, 'policy-unreadable')
    expect(upstream.requests).toEqual([])
  })

  test.each(HEADS)('%s', async (_, headers) => {
    const body = /gzip|deflate/i.test(headers['Content-Encoding'] ?? '') ? gzip(DENIED) : DENIED
    for (const sent of [body, call('echo')])
      expectProblem(await send(secretUnder({ deny: ['forbidden'] }), { headers, body: sent }), 403, 'policy-unreadable')
    expect(upstream.requests).toEqual([])
  })

  test.each([
    'application/json',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json; charset="UTF-8" ',
  ])('the type %j is plain', async (type) => {
    const secret = secretUnder({ deny: ['forbidden'] })
    const headers = { 'Content-Type': type }
    expect((await send(secret, { headers, body: ALLOWED })).status).toBe(200)
    expect(upstream.arrived()).toEqual([ALLOWED])
    expect(errorOf(await send(secret, { headers, body: DENIED }))).toEqual(refusal(1))
    expect(upstream.requests).toEqual([])
  })

  test('two heads of one name', async () => {
    const secret = secretUnder({ deny: ['forbidden'] })
    for (const types of [
      ['application/json', 'text/plain'],
      ['text/plain', 'application/json'],
      ['application/json', 'application/json; charset=utf-16'],
    ]) {
      const headers = [
        ...Object.entries(bearer(secret)),
        ...types.map((type): [string, string] => ['Content-Type', type]),
      ]
      const answer = await ask(gate.url, { method: 'POST', target: '/s/up', headers, body: DENIED })
      expect(answer.text).toMatch(/policy-unreadable|-32081/)
    }
    expect(upstream.requests).toEqual([])
  })
})

describe('other roads', () => {
  const POLICY = { deny: ['forbidden'] }
  const EVENTS = { Accept: 'text/event-stream' }

  test.each(['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'QUERY', 'GET'])('%s with a call', async (method) => {
    const refused = await send(secretUnder(POLICY), { method, body: DENIED })
    expect(refused.status).toBeOneOf([400, 403, 405])
    const withEvents = await send(secretUnder(POLICY), { method, body: DENIED, headers: { ...JSON_TYPE, ...EVENTS } })
    expect(withEvents.status).toBeOneOf([400, 403, 405])
    expect(upstream.requests).toEqual([])
  })

  test.each(['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'GET'])('%s without a body', async (method) => {
    expect((await send(secretUnder(POLICY), { method, headers: {} })).status).toBe(403)
    expect(upstream.requests).toEqual([])
  })

  test('the DELETE of a session carries no call', async () => {
    const secret = secretUnder(POLICY)
    upstream.answering = (request) =>
      request.answer('200 OK', [...Object.entries(JSON_TYPE).map(([k, v]) => `${k}: ${v}`), 'Mcp-Session-Id: s1'], '{}')
    await send(secret, { body: PING })
    const headers = { ...JSON_TYPE, 'Mcp-Session-Id': 's1' }
    upstream.requests.length = 0
    const override = { ...headers, 'X-HTTP-Method-Override': 'POST' }
    expectProblem(await send(secret, { method: 'DELETE', headers: override, body: DENIED }), 403, 'policy-unreadable')
    const chunked = { ...override, 'Transfer-Encoding': 'chunked' }
    const frame = `${DENIED.length.toString(16)}\r\n${DENIED}\r\n0\r\n\r\n`
    const answer = await send(secret, { method: 'DELETE', headers: chunked, body: frame })
    expectProblem(answer, 403, 'policy-unreadable')
    expect(upstream.requests).toEqual([])
    expect((await send(secret, { method: 'DELETE', headers: { 'Mcp-Session-Id': 's1' } })).status).toBe(200)
    expect(upstream.requests.map(({ method, bodyBytes }) => [method, bodyBytes])).toEqual([['DELETE', 0]])
  })

  test.each<Record<string, string>>([
    { 'X-HTTP-Method-Override': 'GET' },
    { 'X-HTTP-Method': 'PUT' },
    { 'X-Method-Override': 'DELETE' },
    { 'Last-Event-ID': '1' },
    { 'Mcp-Session-Id': 'no-such' },
  ])('%j', async (extra) => {
    const answer = await send(secretUnder(POLICY), {
      headers: { ...JSON_TYPE, ...extra },
      body: DENIED,
    })
    expect(answer.text).toMatch(/-32081|session-not-found/)
    expect(upstream.requests).toEqual([])
  })

  test.each(['/s/up?name=echo', '/s/up/mcp', '/s/up/~/message', '/s/up/', '/s/up/mcp/'])('%s', async (target) => {
    const answer = await send(secretUnder(POLICY), { target, body: DENIED })
    expect([200, 404]).toContain(answer.status)
    if (answer.status === 200) expect(answer.json).toEqual(refusal(1))
    const byPath = await send('', { target: `/t/${secretUnder(POLICY)}${target}`, body: DENIED })
    expect(byPath.text).toMatch(/-32081|endpoint-not-found/)
    expect(upstream.requests).toEqual([])
  })

  test.each(['/s/up/api/tools/forbidden/run?now=1', '/s/up/forbidden', '/s/up/mcp/forbidden', '/s/up/v1/mcp'])(
    'what else the server offers at HTTP: %s',
    async (target) => {
      // Tools that are also served by themselves, such as `POST /forbidden`, don't care what is JSON-RPC in the body.
      for (const sent of [{ body: PING }, { method: 'GET', headers: EVENTS }, { method: 'DELETE', headers: {} }])
        expectProblem(await send(secretUnder(POLICY), { target, ...sent }), 403, 'policy-unreadable')
      expect(upstream.requests).toEqual([])
      expect((await send(secretUnder({ callsPerMinute: 9 }), { target, body: PING })).status).toBe(200)
    },
  )

  test('a plain HTTP server', async () => {
    gate.server.kind = 'http'
    for (const method of ['GET', 'POST', 'PUT']) {
      const sent = method === 'GET' ? { headers: EVENTS } : { body: PING }
      expectProblem(await send(secretUnder(POLICY), { method, ...sent }), 403, 'policy-unreadable')
    }
    expect(upstream.requests).toEqual([])
  })

  test('a body without a length, in pieces', async () => {
    const pieces = [DENIED.slice(0, 30), DENIED.slice(30, 31), DENIED.slice(31)]
    const body = [...pieces, ''].map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('')
    const answer = await send(secretUnder(POLICY), { headers: { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' }, body })
    expect(errorOf(answer)).toEqual(refusal(1))
    expect(upstream.requests).toEqual([])
  })

  test('a body past what is read', async () => {
    const fits = `${DENIED}${' '.repeat(limits.rpcBodyBytesMax - DENIED.length)}`
    expect(errorOf(await send(secretUnder(POLICY), { body: fits }))).toEqual(refusal(1))
    for (const body of [`${fits} `, ` ${fits}`, `${' '.repeat(70_000)}${fits}`])
      expectProblem(await send(secretUnder(POLICY), { body }), 413, 'body-too-large')
    expect(upstream.requests).toEqual([])
  })

  test('a body that never ends', async () => {
    const request: RawRequest = {
      method: 'POST',
      target: '/s/up',
      headers: { ...bearer(secretUnder(POLICY)), ...JSON_TYPE, 'Content-Length': String(DENIED.length + 1) },
    }
    using client = await open(gate.url, request)
    client.send(DENIED)
    client.close()
    await client.until(({ ended }) => ended !== 'open')
    expect(upstream.requests).toEqual([])
  })

  test('a second request hidden behind the first', async () => {
    const secret = secretUnder(POLICY)
    const hidden = formatRequest(upstream.url, { method: 'POST', target: '/', headers: JSON_TYPE, body: DENIED })
    const body = Buffer.concat([Buffer.from(PING), hidden])
    const headers = { ...bearer(secret), ...JSON_TYPE, 'Content-Length': String(PING.length) }
    using client = await open(gate.url, { method: 'POST', target: '/s/up', headers, body })
    await client.until(({ ended, complete }) => complete || ended !== 'open')
    expect(upstream.arrived().filter((text) => text.includes('forbidden'))).toEqual([])
  })
})

describe('headers of 2026-07-28', () => {
  const base64 = (text: string, name = 'base64') => `=?${name}?${Buffer.from(text).toString('base64')}?=`
  test.each([
    [{ 'Mcp-Method': 'tools/call', 'Mcp-Name': 'echo' }, ALLOWED, true],
    [{ 'Mcp-Method': 'tools/call', 'Mcp-Name': base64('echo') }, ALLOWED, true],
    [{ 'Mcp-Method': 'tools/call' }, ALLOWED, true],
    [{ 'Mcp-Method': 'ping' }, PING, true],
    [{ 'Mcp-Method': 'tools/call', 'Mcp-Name': 'forbidden' }, ALLOWED, false],
    [{ 'Mcp-Name': base64('forbidden') }, ALLOWED, false],
    [{ 'Mcp-Name': base64('forbidden', 'BASE64') }, call(base64('forbidden', 'BASE64')), false],
    [{ 'Mcp-Name': base64('forbidden') }, call(base64('forbidden')), false],
    [{ 'Mcp-Name': 'echo, forbidden' }, ALLOWED, false],
    [{ 'Mcp-Name': 'ECHO' }, ALLOWED, false],
    [{ 'Mcp-Method': 'tools/call', 'Mcp-Name': 'forbidden' }, PING, false],
    [{ 'Mcp-Method': 'tools/list' }, ALLOWED, false],
    [{ 'Mcp-Method': 'Tools/Call' }, ALLOWED, false],
    [{ 'Mcp-Method': 'tools/call', 'Mcp-Name': 'forbidden' }, `[${PING}]`, false],
    [{ 'Mcp-Name': 'forbidden' }, `[${PING},${ALLOWED}]`, false],
    [{ 'Mcp-Method': 'tools/call' }, '{"jsonrpc":"2.0","id":1,"result":{}}', false],
  ] as [Record<string, string>, string, boolean][])('%j and %s: %p', async (extra, body, passes) => {
    const answer = await send(secretUnder({ deny: ['forbidden'] }), { headers: { ...JSON_TYPE, ...extra }, body })
    if (!passes) expect([answer.status, answer.json]).toMatchObject([400, { error: { code: -32020 } }])
    expect(upstream.arrived()).toEqual(passes ? [body] : [])
  })
})

describe('batches', () => {
  const secret = () => secretUnder({ deny: ['forbidden'] })
  const BIG =
    '{"jsonrpc":"2.0","id":"big","method":"tools/call","params":{"name":"echo","arguments":{"n":12345678901234567890,"f":1.10}}}'

  test('what is allowed goes on as it was spelt; answers stand beside those of the server', async () => {
    upstream.answering = jsonAnswer('[{"jsonrpc":"2.0","id":"big","result":{"n":12345678901234567890}}]')
    const answer = await send(secret(), { body: `[ ${DENIED}, ${BIG},${call('forbidden', 'two')}, ${PING} ]` })
    expect(upstream.arrived()).toEqual([`[${BIG},${PING}]`])
    expect(errorOf(answer)).toEqual([
      { jsonrpc: '2.0', id: 'big', result: { n: expect.any(Number) } },
      refusal(1),
      refusal('two'),
    ])
    expect(answer.text).toContain('"n":12345678901234567890')
  })

  test('a server that answers one message with an object', async () => {
    upstream.answering = jsonAnswer({ jsonrpc: '2.0', id: 7, result: {} })
    const answer = await send(secret(), { body: `[${DENIED},${PING}]` })
    expect(errorOf(answer)).toEqual([{ jsonrpc: '2.0', id: 7, result: {} }, refusal(1)])
  })

  test('a server that answers with an event stream: the refusals come first', async () => {
    upstream.answering = eventsAnswer(['data: {"jsonrpc":"2.0","id":7,"result":{}}\n\n'])
    const answer = await send(secret(), { body: `[${DENIED},${PING}]` })
    const [first, second, ...more] = answer.text.split('\n\n').filter((text) => text !== '')
    expect(JSON.parse((first ?? '').replace(/^data: /, ''))).toEqual(refusal(1))
    expect([second, more]).toEqual(['data: {"jsonrpc":"2.0","id":7,"result":{}}', []])
  })

  test.each([
    ['202 Accepted', ['Content-Type: text/plain'], 'Accepted'],
    ['202 Accepted', [], ''],
    ['204 No Content', [], ''],
    ['200 OK', ['Content-Type: text/plain'], ''],
  ])('a server that answers notifications with %s %j %j', async (status, headers, body) => {
    upstream.answering = (request) => request.answer(status, headers, body)
    const answer = await send(secret(), { body: `[${DENIED},{"jsonrpc":"2.0","method":"notifications/initialized"}]` })
    expect(errorOf(answer)).toEqual([refusal(1)])
    expect(upstream.arrived()).toEqual(['[{"jsonrpc":"2.0","method":"notifications/initialized"}]'])
  })

  test("a server's error stays the server's", async () => {
    upstream.answering = (request) => request.answer('503 Service Unavailable', ['Content-Type: text/plain'], 'busy')
    const answer = await send(secret(), { body: `[${DENIED},${PING}]` })
    expect([answer.status, answer.text]).toEqual([503, 'busy'])
  })

  test('an answer that refusals can not be put into is kept back', async () => {
    upstream.answering = (request) => request.answer('200 OK', ['Content-Type: text/plain'], 'hello')
    expectProblem(await send(secret(), { body: `[${DENIED},${PING}]` }), 502, 'policy-unreadable')
    upstream.answering = (request) =>
      request.answer('200 OK', ['Content-Type: application/json', 'Content-Encoding: gzip'], gzip('[]'))
    expectProblem(await send(secret(), { body: `[${DENIED},${PING}]` }), 502, 'policy-unreadable')
  })

  test('answers and notifications of the client pass', async () => {
    const answers = '{"jsonrpc":"2.0","id":3,"result":{"action":"accept"}}'
    const body = `[${answers},{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}]`
    await send(secret(), { body })
    expect(upstream.arrived()).toEqual([body])
  })

  test('the same id twice, refused and not', async () => {
    const answer = await send(secret(), { body: `[${DENIED},${ALLOWED},${DENIED}]` })
    expect(upstream.arrived()).toEqual([`[${ALLOWED}]`])
    expect(errorOf(answer)).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }, refusal(1), refusal(1)])
  })

  test('as many as a batch may hold, all refused', async () => {
    const all = Array.from({ length: limits.rpcIdsMax }, (_, id) => call('forbidden', id))
    const answer = await send(secret(), { body: `[${all.join(',')}]` })
    expect((errorOf(answer) as unknown[]).length).toBe(limits.rpcIdsMax)
    expect(upstream.requests).toEqual([])
  })
})
