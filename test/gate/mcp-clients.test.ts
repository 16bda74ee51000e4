import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  Client as StatelessClient,
  StreamableHTTPClientTransport as StatelessTransport,
} from '@modelcontextprotocol/client'
import { Client as SessionClient } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'

/** A call that is cut must fail at once; the clients' own timeout is a minute. */
const SOON_MS = 1_000
const INFO = { name: 'test-client', version: '1.0.0' }

let node: TestNode
let sessions: Awaited<ReturnType<typeof startSessionMcp>>
let resumable: Awaited<ReturnType<typeof startSessionMcp>>
let stateless: Awaited<ReturnType<typeof startStatelessMcp>>
let everything: Awaited<ReturnType<typeof startEverything>>
let everythingSse: Awaited<ReturnType<typeof startEverything>>

beforeAll(async () => {
  ;[sessions, resumable, stateless, everything, everythingSse, node] = await Promise.all([
    startSessionMcp(),
    startSessionMcp({ resumable: true }),
    startStatelessMcp(),
    startEverything('streamableHttp'),
    startEverything('sse'),
    startNode(),
  ])
  await node.addServer('sessions', sessions.url)
  await node.addServer('resumable', resumable.url)
  await node.addServer('stateless', stateless.url)
  await node.addServer('everything', everything.url)
  await node.addServer('everything-sse', everythingSse.url)
  // The endpoint that this one announces, /message, is not under its URL.
  await node.addServer('only-sse', everythingSse.url + everythingSse.path)
}, 30_000)
afterAll(async () => {
  await node?.stop()
  for (const upstream of [sessions, resumable, stateless, everything, everythingSse]) await upstream?.stop()
}, 30_000)

type Road = 'header' | 'path'
const urlOf = (road: Road, secret: string, rest: string) =>
  new URL(`${node.gate}${road === 'path' ? `/t/${secret}` : ''}/s/${rest}`)
const requestInit = (road: Road, secret: string) => ({ headers: road === 'header' ? bearer(secret) : {} })

const connectSession = async (road: Road, secret: string, rest: string) => {
  const client = new SessionClient(INFO)
  const transport = new StreamableHTTPClientTransport(urlOf(road, secret, rest), {
    requestInit: requestInit(road, secret),
  })
  await client.connect(transport)
  return client
}
const connectSse = async (road: Road, secret: string, rest: string) => {
  const client = new SessionClient(INFO)
  await client.connect(new SSEClientTransport(urlOf(road, secret, rest), { requestInit: requestInit(road, secret) }))
  return client
}
const connectStateless = async (road: Road, secret: string, rest: string) => {
  const client = new StatelessClient(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
  const transport = new StatelessTransport(urlOf(road, secret, rest), { requestInit: requestInit(road, secret) })
  await client.connect(transport)
  return client
}

/** What both generations of clients look like to these tests. */
type Calling = {
  tools: () => Promise<string[]>
  call: (name: string, args: Record<string, unknown>, onprogress?: () => void) => Promise<unknown>
  close: () => Promise<void>
}
const sessionCalling = (client: SessionClient): Calling => ({
  tools: async () => (await client.listTools()).tools.map(({ name }) => name),
  call: async (name, args, onprogress) =>
    (await client.callTool({ name, arguments: args }, undefined, { onprogress })).content,
  close: () => client.close(),
})
const statelessCalling = (client: StatelessClient): Calling => ({
  tools: async () => (await client.listTools()).tools.map(({ name }) => name),
  call: async (name, args, onprogress) => (await client.callTool({ name, arguments: args }, { onprogress })).content,
  close: () => client.close(),
})

type Setting = {
  what: string
  server: string
  connect: (road: Road, secret: string) => Promise<Calling>
  slow: (seconds: number) => [name: string, args: Record<string, unknown>]
  echo: [name: string, args: Record<string, unknown>]
}
const own = {
  slow: (seconds: number): [string, Record<string, unknown>] => ['slow', { seconds }],
  echo: ['echo', { text: 'hällo' }] as Setting['echo'],
}
const everythings = {
  slow: (seconds: number): [string, Record<string, unknown>] => [
    'trigger-long-running-operation',
    { duration: seconds, steps: seconds * 10 },
  ],
  echo: ['echo', { message: 'hällo' }] as Setting['echo'],
}
const overSession =
  (rest: string): Setting['connect'] =>
  async (road, secret) =>
    sessionCalling(await connectSession(road, secret, rest))
const overSse =
  (rest: string): Setting['connect'] =>
  async (road, secret) =>
    sessionCalling(await connectSse(road, secret, rest))

const SETTINGS: Setting[] = [
  { what: 'SDK 1, sessions', server: 'sessions', connect: overSession('sessions/mcp'), ...own },
  { what: 'SDK 1, resumable sessions', server: 'resumable', connect: overSession('resumable/mcp'), ...own },
  {
    what: 'SDK 2, stateless',
    server: 'stateless',
    connect: async (road, secret) => statelessCalling(await connectStateless(road, secret, 'stateless/mcp')),
    ...own,
  },
  {
    what: 'SDK 2, sessions',
    server: 'sessions',
    connect: async (road, secret) => {
      const client = new StatelessClient(INFO, { versionNegotiation: { mode: 'auto' } })
      const url = urlOf(road, secret, 'sessions/mcp')
      await client.connect(new StatelessTransport(url, { requestInit: requestInit(road, secret) }))
      return statelessCalling(client)
    },
    ...own,
  },
  { what: 'server-everything', server: 'everything', connect: overSession('everything/mcp'), ...everythings },
  {
    what: 'server-everything, HTTP+SSE',
    server: 'everything-sse',
    connect: overSse('everything-sse/sse'),
    ...everythings,
  },
  { what: 'HTTP+SSE whose endpoint leaves the URL', server: 'only-sse', connect: overSse('only-sse'), ...everythings },
]
const rows = SETTINGS.flatMap((setting) =>
  (['header', 'path'] as const).map((road) => [setting.what, road, setting] as const),
)

describe.each(rows)('%s, token by %s', (what, road, { server, connect, slow, echo }) => {
  test('lists tools, calls them, and sees progress', async () => {
    const { token } = await node.createToken(`${what} by ${road}`, [server])
    const client = await connect(road, token)
    expect(await client.tools()).toContain('echo')
    expect(JSON.stringify(await client.call(...echo))).toContain('hällo')
    let progress = 0
    await client.call(...slow(0.3), () => (progress += 1))
    // The SDK forgets a call once it has the result, and with it a progress that came just before.
    expect(progress).toBeOneOf([2, 3])
    await client.close()
  })

  test('a call in flight fails at once when the token is revoked, and so does the next', async () => {
    const { id, token } = await node.createToken(`${what} by ${road}, cut`, [server])
    const client = await connect(road, token)
    let progress = 0
    const call = client
      .call(...slow(30), () => (progress += 1))
      .then(
        () => null,
        (error: unknown) => ({ at: performance.now(), error: error as Error & { code?: number } }),
      )
    const other = await node.createToken(`${what} by ${road}, bystander`, [server])
    const bystander = await connect(road, other.token)
    let othersProgress = 0
    const othersCall = bystander.call(...slow(0.5), () => (othersProgress += 1))
    await eventually(() => progress > 0 && othersProgress > 0)
    await node.revoke({ tokens: [id] })
    const cutAt = performance.now()
    const failed = await call
    expect((failed?.at ?? Infinity) - cutAt).toBeLessThan(SOON_MS)
    expect(failed?.error.code).toBe(-32080)
    expect(failed?.error.message).toContain('Connection token revoked')
    expect(failed?.error.message).not.toContain(token)
    const next = await client.tools().then(
      () => null,
      (error: unknown) => error as Error,
    )
    expect(next).toBeInstanceOf(Error)
    expect(performance.now() - cutAt).toBeLessThan(2 * SOON_MS)
    // The same server's clients under another token felt nothing: the call goes on to its end, and so does the session.
    expect(await othersCall).toBeArray()
    expect(await bystander.tools()).toContain('echo')
    await Promise.all([client.close(), bystander.close()])
  })
})

describe('what a cut closes upstream', () => {
  test('a session: its call is cancelled and the session deleted', async () => {
    const { id, token } = await node.createToken('session cut', ['sessions'])
    const known = new Set(sessions.sessions())
    const client = await connectSession('header', token, 'sessions/mcp')
    const sessionId = sessions.sessions().find((it) => !known.has(it)) ?? ''
    let progress = 0
    const onprogress = () => (progress += 1)
    const call = client.callTool({ name: 'slow', arguments: { seconds: 30 } }, undefined, { onprogress })
    call.catch(() => undefined)
    const listens = () => sessions.requests.some((it) => it.method === 'GET' && it.sessionId === sessionId)
    await eventually(() => progress > 0 && listens())
    const [cancels, aborts] = [sessions.cancelled.length, sessions.aborted.length]
    await node.revoke({ tokens: [id] })
    await eventually(() => sessions.deleted.some(({ what }) => what === sessionId), { timeoutMs: SOON_MS })
    expect(sessions.cancelled.length).toBe(cancels + 1)
    expect(sessions.aborted.slice(aborts).map(({ what }) => what)).toEqual(['slow'])
    const open = sessions.requests.filter((it) => it.sessionId === sessionId && it.method !== 'DELETE')
    // The stream of GET and that of the call.
    expect(open.filter(({ closedAt }) => closedAt !== null).length).toBe(2)
    const teardown = sessions.requests.filter((it) => it.method === 'DELETE' && it.sessionId === sessionId)
    expect(teardown.map(({ headers }) => headers.get('authorization'))).toEqual([null])
    await client.close()
  })

  test('a stateless call: its stream', async () => {
    const { id, token } = await node.createToken('stateless cut', ['stateless'])
    const client = await connectStateless('header', token, 'stateless/mcp')
    let progress = 0
    const call = client.callTool({ name: 'slow', arguments: { seconds: 30 } }, { onprogress: () => (progress += 1) })
    call.catch(() => undefined)
    await eventually(() => progress > 0)
    const aborts = stateless.aborted.length
    await node.revoke({ tokens: [id] })
    await eventually(() => stateless.aborted.length === aborts + 1, { timeoutMs: SOON_MS })
    await client.close()
  })

  test('a subscription: the client learns of it, the upstream lets go', async () => {
    const { id, token } = await node.createToken('subscription', ['stateless'])
    const client = await connectStateless('path', token, 'stateless/mcp')
    let changes = 0
    client.setNotificationHandler('notifications/tools/list_changed', () => void (changes += 1))
    const subscription = await client.listen({ toolsListChanged: true })
    stateless.toolsChanged()
    await eventually(() => changes === 1)
    let closed: string | null = null
    void subscription.closed.then((how) => (closed = how))
    await node.revoke({ tokens: [id] })
    await eventually(() => closed !== null, { timeoutMs: SOON_MS })
    expect(closed).toBe('remote' as never)
    await eventually(() => stateless.listening() === 0, { timeoutMs: SOON_MS })
    stateless.toolsChanged()
    expect(changes).toBe(1)
    await client.close()
  })
})

describe('a session belongs to the token that opened it', () => {
  const asked = (secret: string, sessionId: string, method: string) =>
    ask(node.gate, {
      method,
      target: '/s/sessions/mcp',
      headers: {
        ...bearer(secret),
        'Mcp-Session-Id': sessionId,
        'Mcp-Protocol-Version': '2025-11-25',
        'Content-Type': 'application/json',
        Accept: 'application/json, text/event-stream',
      },
      body: method === 'POST' ? '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' : undefined,
    })

  test('another one gets 404 by every method, and the upstream is not asked', async () => {
    const [mine, other] = await Promise.all(['owner', 'stranger'].map((name) => node.createToken(name, ['sessions'])))
    const known = new Set(sessions.sessions())
    const client = await connectSession('header', mine?.token ?? '', 'sessions/mcp')
    const sessionId = sessions.sessions().find((it) => !known.has(it)) ?? ''
    const ofSession = () => sessions.requests.filter((it) => it.sessionId === sessionId)
    // The client opens its GET stream when it is connected already.
    await eventually(() => ofSession().some(({ method }) => method === 'GET'))
    const before = ofSession().length
    for (const method of ['POST', 'GET', 'DELETE']) {
      expect((await asked(other?.token ?? '', sessionId, method)).status).toBe(404)
      expect((await asked(mine?.token ?? '', 'never-opened', method)).status).toBe(404)
    }
    expect(ofSession().length).toBe(before)
    expect((await asked(mine?.token ?? '', sessionId, 'POST')).status).toBe(200)
    expect((await client.listTools()).tools.length).toBe(2)
    await client.close()
  })

  test('it outlives a rotation, and not its own DELETE', async () => {
    const { id, token } = await node.createToken('rotated session', ['sessions'])
    const known = new Set(sessions.sessions())
    const client = await connectSession('header', token, 'sessions/mcp')
    const sessionId = sessions.sessions().find((it) => !known.has(it)) ?? ''
    const { json } = await node.api<{ token: string }>('POST', `/tokens/${id}/rotations`, { graceSeconds: 60 })
    expect((await asked(json.token, sessionId, 'POST')).status).toBe(200)
    expect((await asked(json.token, sessionId, 'DELETE')).status).toBe(200)
    expect((await asked(json.token, sessionId, 'POST')).status).toBe(404)
    await client.close()
  })

  test('an announced endpoint serves its own token alone, while its stream is open', async () => {
    const [mine, other] = await Promise.all(
      ['sse owner', 'sse stranger'].map((name) => node.createToken(name, ['only-sse', 'everything-sse'])),
    )
    let endpoint = ''
    const client = new SessionClient(INFO)
    const transport = new SSEClientTransport(urlOf('header', '', 'only-sse'), {
      requestInit: requestInit('header', mine?.token ?? ''),
      fetch: (url, init) => {
        if (init?.method === 'POST') endpoint = new URL(url).pathname + new URL(url).search
        return fetch(url, init)
      },
    })
    await client.connect(transport)
    expect(endpoint).toStartWith('/s/only-sse/~/message?sessionId=')
    const post = (secret: string) =>
      ask(node.gate, {
        method: 'POST',
        target: endpoint,
        headers: { ...bearer(secret), 'Content-Type': 'application/json' },
        body: '{"jsonrpc":"2.0","id":"x","method":"ping"}',
      })
    expect((await post(mine?.token ?? '')).status).toBe(202)
    expect((await post(other?.token ?? '')).status).toBe(404)
    expect((await ask(node.gate, { target: '/s/only-sse/~/sse', headers: bearer(mine?.token ?? '') })).status).toBe(404)
    await client.close()
    // The example server never answers a message for a stream that has just gone: so not before the gate knows.
    await eventually(async () => {
      const { json } = await node.api<{ items: { token: { id: string } }[] }>('GET', '/connections')
      return json.items.every(({ token }) => token.id !== mine?.id)
    })
    expect((await post(mine?.token ?? '')).status).toBe(404)
  })
})
