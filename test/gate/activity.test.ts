import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  Client as StatelessClient,
  StreamableHTTPClientTransport as StatelessTransport,
} from '@modelcontextprotocol/client'
import { Client as SessionClient } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { ActivityJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, type RawRequest, ask, open } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { startSmallGate } from '../support/small-gate.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'

/** Stands in everything that is said, and must stand in nothing that is kept. */
const MARKER = 'said-zqxjkv-4711'
const INFO = { name: 'test-client', version: '1.0.0' }

type Rpc = { jsonrpc: '2.0'; id?: number; method?: string; params?: { name?: string; arguments?: unknown } }

const answerTo = ({ id, params }: Rpc) => {
  if (params?.name === 'refuses') return { jsonrpc: '2.0', id, error: { code: -32602, message: `no ${MARKER}` } }
  const isError = params?.name === 'fails'
  return { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: MARKER }], ...(isError && { isError }) } }
}

/** Answers JSON-RPC as the path says: `/json`, `/sse`, or with a status of its own. */
const answerRpc = async (request: RawUpstreamRequest): Promise<void> => {
  const { pathname } = new URL(request.target, 'http://x')
  if (pathname === '/hangs') return
  if (pathname === '/dies') {
    request.begin('200 OK', ['Content-Type: text/event-stream'])
    request.chunk(': begun\n\n')
    request.reset()
    return
  }
  const [, early, status] = /^\/(early\/)?(\d{3})$/.exec(pathname) ?? []
  const text = early ? '' : await request.body().catch(() => null)
  // The client gave up.
  if (text === null) return
  if (status) return request.answer(`${status} Said`, ['Content-Type: text/plain'], MARKER)
  const body = JSON.parse(text || '[]') as Rpc | Rpc[]
  const answers = [body].flat().flatMap((message) => (message.id === undefined ? [] : [answerTo(message)]))
  if (pathname === '/sse') {
    request.begin('200 OK', ['Content-Type: text/event-stream'])
    for (const answer of answers) request.chunk(`event: message\ndata: ${JSON.stringify(answer)}\n\n`)
    return request.lastChunk()
  }
  if (answers.length === 0) return request.answer('202 Accepted', [])
  const padded = { ...answers[0], padding: MARKER.padEnd(100 * 1024, 'x') }
  if (pathname === '/large-sse') {
    request.begin('200 OK', ['Content-Type: text/event-stream'])
    request.chunk(`data: ${JSON.stringify({ ...padded, more: 'x'.repeat(1024 * 1024) })}\n\n`)
    return request.lastChunk()
  }
  if (pathname === '/large') return request.answer('200 OK', ['Content-Type: application/json'], JSON.stringify(padded))
  if (pathname === '/chunked' || pathname === '/large-chunked') {
    request.begin('200 OK', ['Content-Type: application/json'])
    const json = JSON.stringify(pathname === '/chunked' ? answers[0] : padded)
    for (const part of [json.slice(0, 20), json.slice(20)]) request.chunk(part)
    return request.lastChunk()
  }
  request.answer(
    '200 OK',
    ['Content-Type: application/json'],
    JSON.stringify(Array.isArray(body) ? answers : answers[0]),
  )
}

let data: string
let node: TestNode
/** What was shown as a secret anywhere in these tests. */
const secrets: string[] = []
let scripted: Awaited<ReturnType<typeof startRaw>>
let sessions: Awaited<ReturnType<typeof startSessionMcp>>
let stateless: Awaited<ReturnType<typeof startStatelessMcp>>
let everything: Awaited<ReturnType<typeof startEverything>>
beforeAll(async () => {
  data = tempFolder()
  ;[scripted, sessions, stateless, everything, node] = await Promise.all([
    startRaw((request) => void answerRpc(request)),
    startSessionMcp(),
    startStatelessMcp(),
    startEverything('sse'),
    startNode({
      data,
      args: ['--trusted-proxy', '127.0.0.1', '--trusted-proxy', '10.0.0.0/8', '--log-level', 'trace'],
    }),
  ])
  // The path is where MCP is, for the test of a policy: other places of a server can't be judged.
  await node.addServer('scripted', scripted.url, { path: '/json' })
  await node.addServer('plain', scripted.url, { kind: 'http' })
  await node.addServer('sessions', sessions.url)
  await node.addServer('stateless', stateless.url)
  await node.addServer('everything', everything.url)
  await node.addServer('down', 'http://127.0.0.1:1')
}, 30_000)
afterAll(async () => {
  await node?.stop()
  scripted?.stop()
  for (const upstream of [sessions, stateless, everything]) await upstream?.stop()
  removeFolder(data)
}, 30_000)

const activityOf = async (id: string, from: TestNode = node): Promise<ActivityJson> => {
  const { status, json } = await from.api<ActivityJson>('GET', `/tokens/${id}/activity`)
  expect(status).toBe(200)
  return json
}
const countsOf = ({ calls, errors, refused }: { calls: number; errors: number; refused: number }) => [
  calls,
  errors,
  refused,
]
/** Tools by name: calls, errors, refused. */
const toolsOf = ({ tools }: ActivityJson) => Object.fromEntries(tools.map((tool) => [tool.name, countsOf(tool)]))
const methodsOf = ({ methods }: ActivityJson) =>
  Object.fromEntries(methods.map((method) => [method.method, countsOf(method)]))

const toolCall = (id: number, name: string, args: unknown = { text: MARKER }): Rpc => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args },
})
const ARGUMENTS_BYTES = JSON.stringify({ text: MARKER }).length

const postTo = (
  target: string,
  secret: string,
  message: unknown,
  headers: Record<string, string> = {},
  url = node.gate,
): Promise<RawClient> => {
  const body = typeof message === 'string' ? message : JSON.stringify(message)
  return ask(url, {
    method: 'POST',
    target,
    headers: {
      ...bearer(secret),
      'User-Agent': 'raw/1',
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: headers['Transfer-Encoding'] ? chunked(body) : body,
  })
}
const CHUNKED = { 'Transfer-Encoding': 'chunked' }
const chunked = (body: string): string => {
  const parts = body.match(/[^]{1,40000}/g) ?? []
  return `${parts.map((part) => `${Buffer.byteLength(part).toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`
}

describe('official clients', () => {
  const requestInit = (secret: string) => ({ headers: { ...bearer(secret), 'X-Forwarded-For': '198.51.100.7' } })
  const connectors = {
    'SDK 1, sessions': async (secret: string) => {
      const client = new SessionClient(INFO)
      const url = new URL(`${node.gate}/s/sessions/mcp`)
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit: requestInit(secret) }))
      return client
    },
    'SDK 1, HTTP+SSE': async (secret: string) => {
      const client = new SessionClient(INFO)
      const url = new URL(`${node.gate}/s/everything/sse`)
      await client.connect(new SSEClientTransport(url, { requestInit: requestInit(secret) }))
      return client
    },
    'SDK 2, stateless': async (secret: string) => {
      const client = new StatelessClient(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
      const url = new URL(`${node.gate}/s/stateless/mcp`)
      await client.connect(new StatelessTransport(url, { requestInit: requestInit(secret) }))
      return client
    },
    'SDK 2, sessions': async (secret: string) => {
      const client = new StatelessClient(INFO, { versionNegotiation: { mode: 'auto' } })
      const url = new URL(`${node.gate}/s/sessions/mcp`)
      await client.connect(new StatelessTransport(url, { requestInit: requestInit(secret) }))
      return client
    },
  }

  test.each(Object.entries(connectors))('%s: tools, errors, sizes, address, client', async (what, connect) => {
    const servers = ['sessions', 'everything', 'stateless']
    const { id, token } = await node.createToken(what, servers)
    const client = await connect(token)
    const args = { text: MARKER, message: MARKER }
    await client.listTools()
    for (let times = 0; times < 3; times++) await client.callTool({ name: 'echo', arguments: args })
    // By one it is answered with `isError`, by another with an error of JSON-RPC, by a third one not at all.
    await client.callTool({ name: 'missing', arguments: args }).catch(() => undefined)
    await client.close()

    const activity = await eventually(async () => {
      const now = await activityOf(id)
      return now.errors > 0 && now
    })
    expect(toolsOf(activity)).toEqual({ echo: [3, 0, 0], missing: [1, 1, 0] })
    const bytes = JSON.stringify(args).length
    expect(activity.tools).toMatchObject([{ argumentBytes: 3 * bytes }, { argumentBytes: bytes }])
    expect(methodsOf(activity)).toMatchObject({ 'tools/list': [1, 0, 0], 'tools/call': [4, 1, 0] })
    expect(activity.addresses).toMatchObject([
      { address: '198.51.100.7', calls: activity.calls, errors: activity.errors },
    ])
    // Before a client tells its name, its stack does.
    const { client: named } = activity.clients[0] ?? {}
    expect(named).toBe('test-client 1.0.0')
    expect(activity.clients.find((it) => it.client === named)?.errors).toBe(activity.errors)
    expect(JSON.stringify(activity)).not.toContain(MARKER)
  })
})

describe('what is counted', () => {
  const make = async (servers = ['scripted']) => node.createToken(crypto.randomUUID(), servers)

  const errorsAreCounted = async (kind: string) => {
    const { id, token } = await make()
    for (const [index, name] of ['works', 'works', 'fails', 'refuses'].entries()) {
      const { status, text } = await postTo(`/s/scripted/${kind}`, token, toolCall(index, name))
      expect([status, text.includes(MARKER)]).toEqual([200, true])
    }
    const activity = await activityOf(id)
    expect(toolsOf(activity)).toEqual({ works: [2, 0, 0], fails: [1, 1, 0], refuses: [1, 1, 0] })
    expect(activity).toMatchObject({ calls: 4, errors: 2, refused: 0, argumentBytes: 4 * ARGUMENTS_BYTES })
    expect(activity.clients).toMatchObject([{ client: 'raw/1', calls: 4, errors: 2 }])
    expect(activity.addresses).toMatchObject([{ address: '127.0.0.1', calls: 4, errors: 2 }])
    expect(activity.tools[0]).toMatchObject({ server: 'scripted' })
  }
  test.each(['json', 'sse', 'chunked'])('answers as %s: errors of JSON-RPC and of tools', errorsAreCounted)
  // Above 64 KiB an answer passes unread, so that a slow reader can't make the gate hold it.
  test.failing.each(['large', 'large-chunked', 'large-sse'])('answers as %s: errors too', errorsAreCounted)

  test.each(['json', 'sse'])('each request of a batch, answered as %s', async (kind) => {
    const { id, token } = await make()
    const batch = [
      toolCall(1, 'works'),
      toolCall(2, 'fails'),
      { jsonrpc: '2.0', method: 'notifications/cancelled', params: { name: 'none' } },
      { jsonrpc: '2.0', id: 9, result: {} },
      toolCall(3, 'refuses'),
      { jsonrpc: '2.0', id: 4, method: 'prompts/get', params: { name: 'a prompt', arguments: {} } },
      { jsonrpc: '2.0', id: 5, method: 'resources/read', params: { name: MARKER, uri: `file:///${MARKER}` } },
    ]
    await postTo(`/s/scripted/${kind}`, token, batch)
    const activity = await activityOf(id)
    expect(toolsOf(activity)).toEqual({ works: [1, 0, 0], fails: [1, 1, 0], refuses: [1, 1, 0] })
    expect(methodsOf(activity)).toEqual({
      'tools/call': [3, 2, 0],
      'prompts/get': [1, 0, 0],
      'resources/read': [1, 0, 0],
    })
    expect(activity).toMatchObject({ calls: 5, errors: 2 })
  })

  test('chunked bodies like others; what is too large to be read, by its HTTP method', async () => {
    const { id, token } = await make()
    await postTo('/s/scripted/json', token, toolCall(1, 'fails'), CHUNKED)
    expect(toolsOf(await activityOf(id))).toEqual({ fails: [1, 1, 0] })
    const large = toolCall(2, 'large', { text: MARKER.padEnd(1024 * 1024, 'x') })
    for (const headers of [{}, CHUNKED]) {
      expect((await postTo('/s/scripted/200', token, large, headers)).status).toBe(200)
    }
    expect((await postTo('/s/scripted/500', token, large)).status).toBe(500)
    const activity = await activityOf(id)
    expect(toolsOf(activity)).toEqual({ fails: [1, 1, 0] })
    expect(methodsOf(activity)).toEqual({ 'tools/call': [1, 1, 0], POST: [3, 1, 0] })
  })

  test('a large one that is answered before its end, or given up by its client', async () => {
    const { id, token } = await make()
    const large = toolCall(2, 'large', { text: MARKER.padEnd(4 * 1024 * 1024, 'x') })
    for (const headers of [{}, CHUNKED]) {
      expect((await postTo('/s/scripted/early/200', token, large, headers)).status).toBe(200)
    }
    const headers = { ...bearer(token), 'Content-Type': 'application/json', ...CHUNKED }
    const before = scripted.requests.length
    const half = await open(node.gate, {
      method: 'POST',
      target: '/s/scripted/json',
      headers,
      body: '8\r\n{"jsonrp\r\n',
    })
    await eventually(() => scripted.requests.length > before)
    half.close()
    await eventually(async () => expect(methodsOf(await activityOf(id))).toEqual({ POST: [3, 0, 0] }) ?? true)
  })

  test.each(['json', 'sse'])('a large one within the limit, as %s, is read, and so is a large answer', async (kind) => {
    const { id, token } = await make()
    const args = { text: MARKER.padEnd(900_000, 'x') }
    for (const headers of [{}, CHUNKED]) await postTo(`/s/scripted/${kind}`, token, toolCall(1, 'fails', args), headers)
    expect(await activityOf(id)).toMatchObject({ calls: 2, errors: 2, argumentBytes: 2 * JSON.stringify(args).length })
  })

  test('arguments in depth are as long as they are', async () => {
    const { id, token } = await make()
    const args = `${'['.repeat(100_000)}1${']'.repeat(100_000)}`
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"deep","arguments":${args}}}`
    for (const headers of [{}, CHUNKED])
      expect((await postTo('/s/scripted/200', token, body, headers)).status).toBe(200)
    expect(toolsOf(await activityOf(id))).toEqual({ deep: [2, 0, 0] })
  })

  test('plain HTTP by its method, whatever the body looks like', async () => {
    const { id, token } = await make(['plain'])
    const request = async (extra: Partial<RawRequest> & { target: string }) =>
      ask(node.gate, { headers: { ...bearer(token), 'User-Agent': 'curl/8' }, ...extra })
    await request({ target: `/s/plain/200?q=${MARKER}` })
    await request({ target: '/s/plain/404' })
    await request({ target: '/s/plain/200', method: 'PUT', body: MARKER })
    await postTo('/s/plain/200', token, toolCall(1, 'hidden'))
    await request({ target: '/s/plain/503', method: 'DELETE' })
    const activity = await activityOf(id)
    expect(methodsOf(activity)).toEqual({ GET: [2, 1, 0], PUT: [1, 0, 0], POST: [1, 0, 0], DELETE: [1, 1, 0] })
    expect(activity).toMatchObject({ tools: [], argumentBytes: 0, calls: 5, errors: 2 })
    expect(activity.clients).toMatchObject([{ client: 'curl/8' }, { client: 'raw/1' }])
  })

  test('HTTP errors, 401 of the server included, and servers that are not there', async () => {
    const { id, token } = await make(['scripted', 'down', 'plain'])
    for (const status of [400, 401, 404, 500]) await postTo(`/s/scripted/${status}`, token, toolCall(1, `${status}`))
    expect((await postTo('/s/down/mcp', token, toolCall(1, 'nowhere'))).status).toBe(502)
    expect((await postTo('/s/down/mcp', token, toolCall(1, 'nowhere'), CHUNKED)).status).toBe(502)
    expect((await postTo('/s/down/mcp', token, [toolCall(1, 'batch'), toolCall(2, 'batch')])).status).toBe(502)
    expect((await ask(node.gate, { target: '/s/down/x', headers: bearer(token) })).status).toBe(502)
    const activity = await activityOf(id)
    expect(toolsOf(activity)).toMatchObject({ 400: [1, 1, 0], 401: [1, 1, 0], 404: [1, 1, 0], 500: [1, 1, 0] })
    expect(toolsOf(activity)).toMatchObject({ batch: [2, 2, 0] })
    expect(methodsOf(activity)).toMatchObject({ GET: [1, 1, 0] })
    // A chunked body that nobody took was never read: it is known by its HTTP method alone.
    expect(activity).toMatchObject({ calls: 9, errors: 9 })
  })

  test('a server that dies amid its answer has failed', async () => {
    const { id, token } = await make()
    await postTo('/s/scripted/dies', token, toolCall(1, 'dies'))
    expect(toolsOf(await activityOf(id))).toEqual({ dies: [1, 1, 0] })
  })

  test('a server that does not answer in time', async () => {
    await using gate = await startSmallGate(scripted.url, { upstreamHeadersMs: 50 })
    const { token, secret } = gate.issue('waits')
    expect((await postTo('/s/up/hangs', secret, toolCall(1, 'slow'), {}, gate.url)).status).toBe(504)
    expect(gate.activity.pending(token.id)).toMatchObject([{ name: 'slow', calls: 1, errors: 1 }])
  })

  test('what the policy refuses is no call, and reaches nobody', async () => {
    const policy = { allow: ['works', 'fails'], deny: ['fails'] }
    const { id, token } = await node.createToken('under policy', ['scripted'], { policy })
    const before = scripted.requests.length
    await postTo('/s/scripted/json', token, toolCall(1, 'fails'))
    await postTo('/s/scripted/json', token, toolCall(2, MARKER.slice(0, 4)))
    expect(scripted.requests.length).toBe(before)
    await postTo('/s/scripted/json', token, [toolCall(3, 'works'), toolCall(4, 'fails')])
    expect(scripted.requests.at(-1)?.bodyText).not.toContain('"fails"')
    const activity = await activityOf(id)
    expect(toolsOf(activity)).toEqual({ fails: [0, 0, 2], said: [0, 0, 1], works: [1, 0, 0] })
    expect(activity).toMatchObject({ calls: 1, errors: 0, refused: 3, argumentBytes: ARGUMENTS_BYTES })
    expect(activity.addresses).toMatchObject([{ address: '127.0.0.1', calls: 1, refused: 3 }])
  })

  test('what the rate limit refuses', async () => {
    const { id, token } = await node.createToken('few calls', ['scripted'], { policy: { callsPerMinute: 1 } })
    expect((await postTo('/s/scripted/json', token, toolCall(1, 'works'))).status).toBe(200)
    expect((await postTo('/s/scripted/json', token, toolCall(2, 'works'))).status).toBe(429)
    expect(toolsOf(await activityOf(id))).toEqual({ works: [1, 0, 1] })
  })

  test('nothing under a dead token, and nothing without one', async () => {
    const { id, token } = await make()
    await postTo('/s/scripted/json', token, toolCall(1, 'works'))
    await node.revoke({ tokens: [id] })
    for (const secret of [token, unknownSecret()]) {
      expect((await postTo('/s/scripted/json', secret, toolCall(2, 'late'))).status).toBe(401)
    }
    expect(await activityOf(id)).toMatchObject({ calls: 1, errors: 0, refused: 0, token: { status: 'revoked' } })
  })

  test('a call that is cut is no error of the tool', async () => {
    const { id, token } = await make()
    const call = await open(node.gate, {
      method: 'POST',
      target: '/s/scripted/hangs',
      headers: { ...bearer(token), 'Content-Type': 'application/json' },
      body: JSON.stringify(toolCall(1, 'hangs')),
    })
    await eventually(async () => (await activityOf(id)).calls === 1)
    await node.revoke({ tokens: [id] })
    await call.done()
    expect(toolsOf(await activityOf(id))).toEqual({ hangs: [1, 0, 0] })
  })
})

describe('from where, and with what', () => {
  const addressesSeen = async (from: TestNode, forwardedFor: string) => {
    const { id, token } = await from.createToken(crypto.randomUUID(), ['scripted'])
    await postTo('/s/scripted/json', token, toolCall(1, 'works'), { 'X-Forwarded-For': forwardedFor }, from.gate)
    return (await activityOf(id, from)).addresses.map(({ address }) => address)
  }

  test('behind a trusted proxy the last address that is none of them; a forged one is none', async () => {
    expect(await addressesSeen(node, '198.51.100.7')).toEqual(['198.51.100.7'])
    expect(await addressesSeen(node, '203.0.113.9, 198.51.100.7, 10.1.2.3')).toEqual(['198.51.100.7'])
    expect(await addressesSeen(node, '::ffff:198.51.100.8')).toEqual(['198.51.100.8'])
    expect(await addressesSeen(node, `${MARKER}, 10.1.2.3`)).toEqual(['10.1.2.3'])
    await using untrusting = await startNode()
    await untrusting.addServer('scripted', scripted.url)
    expect(await addressesSeen(untrusting, '198.51.100.7')).toEqual(['127.0.0.1'])
  })

  test("initialize's name for its session, _meta's for its request, else the User-Agent", async () => {
    const { id, token } = await node.createToken('names', ['scripted', 'sessions'])
    const initialize = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'In Session', version: '2' } },
    }
    const opened = await postTo('/s/sessions/mcp', token, initialize)
    const session = { 'Mcp-Session-Id': opened.head?.get('mcp-session-id') ?? '' }
    await postTo('/s/sessions/mcp', token, toolCall(2, 'echo'), session)
    const _meta = { 'io.modelcontextprotocol/clientInfo': { name: 'In Meta', version: '3' } }
    await postTo('/s/scripted/json', token, { ...toolCall(1, 'works'), params: { name: 'works', _meta } })
    await postTo('/s/scripted/json', token, toolCall(1, 'works'), { 'User-Agent': 'Agent/4' })
    const { clients } = await activityOf(id)
    expect(Object.fromEntries(clients.map(({ client, calls }) => [client, calls]))).toEqual({
      'In Session 2': 2,
      'In Meta 3': 1,
      'Agent/4': 1,
    })
  })

  test('secrets in place of names are kept nowhere', async () => {
    const { id, token } = await node.createToken('careless', ['scripted', 'plain'])
    secrets.push(token, unknownSecret())
    for (const secret of secrets) {
      await postTo('/s/scripted/json', token, toolCall(1, secret, {}))
      await postTo('/s/scripted/json', token, { jsonrpc: '2.0', id: 1, method: secret })
      await postTo('/s/scripted/json', token, toolCall(1, 'works'), { 'User-Agent': `x ${secret}` })
      await postTo('/s/scripted/json', token, toolCall(1, 'works'), { 'User-Agent': `${'x'.repeat(180)}${secret}` })
      await postTo('/s/scripted/json', token, {
        ...toolCall(1, 'works'),
        params: { name: 'works', _meta: { 'io.modelcontextprotocol/clientInfo': { name: secret, version: '1' } } },
      })
    }
    const activity = await activityOf(id)
    expect(toolsOf(activity)).toEqual({ '(secret)': [2, 0, 0], works: [6, 0, 0] })
    expect(activity.calls).toBe(10)
  })

  test('names that are made to harm are shown harmless', async () => {
    const { id, token } = await node.createToken('hostile', ['scripted'])
    for (const name of ['a\u001b[2Jb\r\n\u0000\u202ec', '\ud800']) {
      await postTo('/s/scripted/json', token, toolCall(1, name))
    }
    await postTo('/s/scripted/json', token, { jsonrpc: '2.0', id: 1, method: 'a\r\nb' })
    const activity = await activityOf(id)
    expect(toolsOf(activity)).toEqual({ 'a�[2Jb����c': [1, 0, 0], '�': [1, 0, 0] })
    expect(methodsOf(activity)).toEqual({ 'tools/call': [2, 0, 0], '(others)': [1, 0, 0] })
  })

  test('10,000 invented tools', async () => {
    const { id, token } = await node.createToken('inventive', ['scripted'])
    for (let from = 0; from < 10_000; from += 500) {
      const batch = Array.from({ length: 500 }, (_, index) => toolCall(index, `tool ${from + index}`, {}))
      expect((await postTo('/s/scripted/json', token, batch)).status).toBe(200)
    }
    await postTo('/s/scripted/json', token, toolCall(1, 'late'), { 'X-Forwarded-For': '198.51.100.9' })
    const activity = await activityOf(id)
    expect(activity).toMatchObject({ calls: 10_001, truncated: false })
    expect(activity.tools).toHaveLength(501)
    expect(activity.tools[0]).toMatchObject({ name: '(others)', calls: 9_501 })
    expect(activity.addresses).toMatchObject([{ address: '127.0.0.1' }, { address: '198.51.100.9', calls: 1 }])
  })
})

test('nothing that was said is kept: in no answer, no log and no file', async () => {
  const answers = await Promise.all(
    ['/tokens', '/connections', '/audit?limit=1000', '/revocations', '/servers', '/node'].map((path) =>
      node.api('GET', path),
    ),
  )
  const { json } = await node.api<{ items: { id: string }[] }>('GET', '/tokens?limit=1000')
  const activities = await Promise.all(json.items.map(({ id }) => activityOf(id)))
  const live = filesIn(data)
  expect(await node.stop()).toBe(0)
  const files = [...live, ...filesIn(data)]
  // They are read indeed: what may be kept is in them.
  expect(files.some(([, bytes]) => bytes.includes('test-client 1.0.0') && bytes.includes('prompts/get'))).toBeTrue()
  const places: Place[] = [
    ['an answer', Buffer.from(JSON.stringify(answers))],
    ['activity', Buffer.from(JSON.stringify(activities))],
    ['stdout', Buffer.from(node.stdout())],
    ['stderr', Buffer.from(node.stderr())],
    ...files,
  ]
  const found = [MARKER, ...secrets.map((secret) => secret.slice(4, 24))].flatMap((said) =>
    places.filter(([, bytes]) => bytes.includes(said)).map(([where]) => `${said} in ${where}`),
  )
  expect(found).toEqual([])
})

type Place = [where: string, bytes: Buffer]
const filesIn = (folder: string): Place[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name))])
