import { afterEach, describe, expect, spyOn, test } from 'bun:test'
import { startDemoUpstream } from '../../src/demo/upstream.ts'
import { AppError } from '../../src/error.ts'
import { introduce } from '../../src/gate/introduce.ts'
import { limits } from '../../src/limits.ts'
import type { Upstream } from '../../src/upstream.ts'
import { eventually } from '../support/poll.ts'
import { call } from '../support/call.ts'
import { serverAt } from '../support/server.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'
import { startRaw } from '../support/upstreams/raw.ts'
import { endless, INITIALIZED, never, type Script, startScripted } from '../support/upstreams/scripted.ts'

const TIMEOUT_MS = 5_000
const running: { stop(): unknown }[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((upstream) => upstream.stop()))
})
const using = <T extends { stop(): unknown }>(upstream: T): T => {
  running.push(upstream)
  return upstream
}

const visit = (
  url: string,
  { headers = [], timeoutMs = TIMEOUT_MS }: { headers?: Upstream['headers']; timeoutMs?: number } = {},
) => introduce(serverAt(url, { headers }), new URL(url), timeoutMs, call)

const refusalOf = async (...asked: Parameters<typeof visit>): Promise<string> => {
  const error = await visit(...asked).then(
    (introduced) => introduced,
    (thrown: unknown) => thrown,
  )
  if (error instanceof AppError) return error.slug
  throw new Error(`it was introduced, or threw otherwise: ${JSON.stringify(error)}`, { cause: error })
}

/** A server of 2025 whose script is completed by what a test is about. */
const scripted = (script: Script = {}) =>
  using(startScripted({ initialize: () => INITIALIZED(), 'tools/list': () => ({ tools: [] }), ...script }))

/** HTTP+SSE, with clients told to come back at once when the stream ends. */
const oldScripted = (answerAfterMs: number) => {
  let say: (text: string) => void = () => undefined
  const start = (controller: ReadableStreamDefaultController<string>) => {
    say = (text) => controller.enqueue(text)
    say('retry: 1\nevent: endpoint\ndata: /mcp\n\n')
  }
  const old = using(
    startScripted({
      GET: () => new Response(new ReadableStream({ start }), { headers: { 'content-type': 'text/event-stream' } }),
      initialize: ({ id }) => {
        if (old.asked('GET').length === 0) return new Response(null, { status: 405 })
        const answer = JSON.stringify({ jsonrpc: '2.0', id, result: INITIALIZED({ capabilities: {} }) })
        setTimeout(() => say(`data: ${answer}\n\n`), answerAfterMs)
        return new Response(null, { status: 202 })
      },
    }),
  )
  return old
}

const tool = (name: string, extra: Record<string, unknown> = {}) => ({
  name,
  inputSchema: { type: 'object' },
  ...extra,
})

describe('every generation says who it is', () => {
  test('sessions of 2025, which are closed again', async () => {
    const upstream = using(await startSessionMcp())
    expect(await visit(upstream.url)).toEqual({
      name: 'test-upstream',
      version: '1.0.0',
      revision: '2025-11-25',
      transport: 'http',
      tools: [
        { name: 'echo', readOnly: false },
        { name: 'slow', readOnly: true },
      ],
    })
    await eventually(() => upstream.deleted.length > 0)
    expect(upstream.sessions()).toEqual([])
    const [opened] = upstream.requests.flatMap(({ sessionId }) => sessionId ?? [])
    expect(upstream.deleted.map(({ what }) => what)).toContain(opened as string)
    const farewell = upstream.requests.find(({ method }) => method === 'DELETE')
    expect(farewell?.headers.get('mcp-protocol-version')).toBe('2025-11-25')
  })

  test('2026-07-28 alone, without a word of older ones', async () => {
    const upstream = using(await startStatelessMcp())
    expect(await visit(upstream.url)).toMatchObject({
      name: 'test-upstream',
      revision: '2026-07-28',
      transport: 'http',
    })
    expect(upstream.requests.map(({ headers }) => headers.get('mcp-method'))).toEqual(['server/discover', 'tools/list'])
    expect(upstream.listening()).toBe(0)
  })

  test('a server of both is joined in the newer one', async () => {
    const { url } = using(startDemoUpstream())
    const { revision, tools } = await visit(`${url}/mcp`)
    expect(revision).toBe('2026-07-28')
    expect(tools?.map(({ name }) => name)).toEqual(['echo', 'add', 'countdown'])
  })

  test.each(['sse', 'streamableHttp'] as const)('the reference server over %s', async (mode) => {
    const upstream = using(await startEverything(mode))
    const { name, transport, tools } = await visit(upstream.url + upstream.path)
    expect([name, transport]).toEqual(['mcp-servers/everything', mode === 'sse' ? 'sse' : 'http'])
    expect(tools?.length).toBeGreaterThan(5)
  })

  test('HTTP+SSE that takes its time once the endpoint is announced', async () => {
    const old = oldScripted(limits.endpointMs + 200)
    expect(await visit(`${old.url}/mcp`)).toMatchObject({ name: 'scripted', transport: 'sse' })
  })

  test('and is not opened again once the visit is over', async () => {
    const old = oldScripted(0)
    expect(await visit(`${old.url}/mcp`)).toMatchObject({ name: 'scripted', transport: 'sse' })
    await eventually(() => old.asked('GET').every(({ aborted }) => aborted))
    // Counted on this side: what was stopped would not reach the server any more, and yet go on for ever.
    const fetched = spyOn(globalThis, 'fetch')
    using({ stop: () => fetched.mockRestore() })
    // Another visit is what passes the time.
    const other = scripted({ 'server/discover': never })
    await visit(`${other.url}/mcp`, { timeoutMs: 600 })
    const urls = fetched.mock.calls.map(([url]) => String(url))
    expect(urls).toContain(`${other.url}/mcp`)
    expect(urls).not.toContain(`${old.url}/mcp`)
  })

  test('an old server that fails at what it does not know', async () => {
    const failing = scripted({ 'server/discover': () => new Response('TypeError', { status: 500 }) })
    expect(await visit(`${failing.url}/mcp`)).toMatchObject({ name: 'scripted', revision: '2025-11-25' })
  })

  test('an old server that never answers what it does not know', async () => {
    const mute = scripted({ 'server/discover': never })
    expect(await visit(`${mute.url}/mcp`, { timeoutMs: 600 })).toMatchObject({ name: 'scripted' })
    await eventually(() => mute.asked('server/discover').every(({ aborted }) => aborted))
  })
})

describe('tools', () => {
  test('only a plain true is read-only, one odd tool hides no other', async () => {
    const tools = [
      tool('reads', { annotations: { readOnlyHint: true } }),
      tool('says', { annotations: { readOnlyHint: 'true' } }),
      tool('writes', { annotations: { readOnlyHint: false } }),
      { name: 'no schema' },
      { title: 'no name' },
      'no tool',
      null,
      tool('x'.repeat(limits.toolNameLengthMax + 1)),
    ]
    const upstream = scripted({ 'tools/list': () => ({ tools }) })
    expect((await visit(`${upstream.url}/mcp`)).tools).toEqual([
      { name: 'reads', readOnly: true },
      { name: 'says', readOnly: false },
      { name: 'writes', readOnly: false },
      { name: 'no schema', readOnly: false },
    ])
  })

  test('all pages are read', async () => {
    const upstream = scripted({
      'tools/list': ({ params }) => {
        const page = Number(params?.['cursor'] ?? 0)
        return { tools: [tool(`t${page}`)], ...(page < 9 && { nextCursor: String(page + 1) }) }
      },
    })
    expect((await visit(`${upstream.url}/mcp`)).tools?.map(({ name }) => name)).toEqual(
      Array.from({ length: 10 }, (_, page) => `t${page}`),
    )
  })

  test('pages without an end are left, and a part is not told as the whole', async () => {
    const upstream = scripted({ 'tools/list': () => ({ tools: [tool('again')], nextCursor: 'on' }) })
    expect(await visit(`${upstream.url}/mcp`)).toMatchObject({ name: 'scripted', tools: null })
    expect(upstream.asked('tools/list').length).toBe(limits.toolPagesMax)
  })

  test('so is one tool past the most, but not the most', async () => {
    let count = limits.toolsMax
    const upstream = scripted({
      'tools/list': () => ({ tools: Array.from({ length: count }, (_, i) => tool(`t${i}`)) }),
    })
    expect((await visit(`${upstream.url}/mcp`)).tools?.length).toBe(limits.toolsMax)
    count++
    expect((await visit(`${upstream.url}/mcp`)).tools).toBeNull()
  })

  test('a huge list is let go on the way', async () => {
    const mebibyte = new TextEncoder().encode(' '.repeat(1024 * 1024))
    let sent = 0
    const huge = () =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => {
          sent++
          controller.enqueue(mebibyte)
        },
      })
    const json = { headers: { 'content-type': 'application/json' } }
    const upstream = scripted({ 'tools/list': () => new Response(huge(), json) })
    expect(await visit(`${upstream.url}/mcp`)).toMatchObject({ name: 'scripted', tools: null })
    await eventually(() => upstream.asked('tools/list').every(({ aborted }) => aborted))
    expect(sent).toBeLessThan(32)
  })

  test('a server without tools is not asked for them', async () => {
    const upstream = scripted({ initialize: () => INITIALIZED({ capabilities: {} }) })
    expect((await visit(`${upstream.url}/mcp`)).tools).toBeNull()
    expect(upstream.asked('tools/list')).toEqual([])
  })

  test('a list that never comes leaves no stream and no session behind', async () => {
    const opened = () =>
      Response.json(
        { jsonrpc: '2.0', id: 0, result: INITIALIZED() },
        { headers: { 'mcp-session-id': 'session-of-a-visit' } },
      )
    const upstream = scripted({
      initialize: opened,
      'tools/list': never,
      GET: () => endless('text/event-stream'),
      DELETE: () => new Response(null, { status: 200 }),
    })
    expect(await visit(`${upstream.url}/mcp`, { timeoutMs: 500 })).toMatchObject({ name: 'scripted', tools: null })
    const [farewell] = await eventually(() => upstream.asked('DELETE').length > 0 && upstream.asked('DELETE'))
    expect(farewell?.headers.get('mcp-session-id')).toBe('session-of-a-visit')
    for (const method of ['tools/list', 'GET']) {
      await eventually(
        () => upstream.asked(method).length > 0 && upstream.asked(method).every(({ aborted }) => aborted),
      )
    }
  })
})

describe('what is no MCP server', () => {
  test('nothing there', async () => {
    expect(await refusalOf('http://127.0.0.1:1')).toBe('upstream-unreachable')
  })

  test('one that hangs is left in time, and nothing of it stays open', async () => {
    const upstream = using(await startRaw(() => undefined))
    const startedAt = performance.now()
    expect(await refusalOf(upstream.url, { timeoutMs: 400 })).toBe('upstream-timeout')
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    await eventually(() => upstream.requests.every(({ closedAt }) => closedAt !== null))
    expect(upstream.requests.map(({ method }) => method)).not.toContain('DELETE')
  })

  test('one that begins and goes no further', async () => {
    const upstream = using(
      await startRaw((request) => request.begin('200 OK', ['Content-Type: text/event-stream', 'Mcp-Session-Id: half'])),
    )
    expect(await refusalOf(upstream.url, { timeoutMs: 400 })).toStartWith('no-mcp')
    await eventually(() =>
      upstream.requests.filter(({ method }) => method !== 'DELETE').every(({ closedAt }) => closedAt),
    )
    await eventually(() =>
      upstream.requests.some(({ method, head }) => method === 'DELETE' && head.get('mcp-session-id')),
    )
  })

  test('plain HTTP and event streams of another kind', async () => {
    const { url } = using(startDemoUpstream())
    expect(await refusalOf(url)).toBe('no-mcp')
    expect(await refusalOf(`${url}/sse`)).toBe('no-mcp-stream')
  })

  test('a page without an end is let go', async () => {
    const upstream = using(startScripted({ GET: () => endless('text/html') }))
    expect(await refusalOf(`${upstream.url}/mcp`)).toBe('no-mcp')
    await eventually(() => upstream.asked('GET').length > 0 && upstream.asked('GET').every(({ aborted }) => aborted))
  })

  test('401, at once or at the list of tools, says that the credentials are wrong', async () => {
    const refuse = () => new Response('who?', { status: 401 })
    const atOnce = scripted({ 'server/discover': refuse })
    expect(await refusalOf(`${atOnce.url}/mcp`)).toBe('upstream-unauthorized')
    expect(atOnce.requests.length).toBe(1)
    const late = scripted({ 'tools/list': refuse })
    expect(await refusalOf(`${late.url}/mcp`)).toBe('upstream-unauthorized')
  })

  test.each([301, 302, 307, 308])('%d is not followed, not even at home', async (status) => {
    const there = scripted()
    let origin = there.url
    const here = using(
      startScripted({
        'server/discover': () => new Response(null, { status, headers: { location: `${origin}/mcp` } }),
        initialize: () => new Response(null, { status, headers: { location: `${origin}/mcp` } }),
        GET: () => new Response(null, { status, headers: { location: `${origin}/mcp` } }),
      }),
    )
    expect(await refusalOf(`${here.url}/mcp`)).toBe('no-mcp')
    expect(there.requests).toEqual([])
    origin = `${here.url}/elsewhere`
    expect(await refusalOf(`${here.url}/mcp`)).toBe('no-mcp')
    expect(here.requests.map(({ path }) => path)).not.toContain('/elsewhere/mcp')
  })
})

test("the server's own credentials go with each request, and nothing is asked for encoded", async () => {
  const upstream = using(await startSessionMcp())
  await visit(upstream.url, { headers: [['authorization', 'Bearer upstream-credential']] })
  await eventually(() => upstream.deleted.length > 0)
  for (const { headers } of upstream.requests) {
    expect(headers.get('authorization')).toBe('Bearer upstream-credential')
    expect(headers.get('accept-encoding')).toBe('identity')
  }
})

test('credentials never follow an endpoint to another origin', async () => {
  const away = scripted()
  const event = `event: endpoint\ndata: ${away.url}/mcp\n\n`
  const here = scripted({
    initialize: () => new Response(null, { status: 405 }),
    GET: () => new Response(event, { headers: { 'content-type': 'text/event-stream' } }),
  })
  const headers = [['authorization', 'Bearer upstream-credential']] as const
  expect(await refusalOf(`${here.url}/mcp`, { headers })).toBe('no-mcp')
  expect(away.requests).toEqual([])
})

test('a server that is changed during a visit gets no credentials of later', async () => {
  const server = serverAt('http://127.0.0.1', { headers: [['authorization', 'Bearer first']] })
  const upstream = scripted({
    initialize: () => {
      server.headers = [['authorization', 'Bearer second']]
      return INITIALIZED()
    },
  })
  await introduce(server, new URL(`${upstream.url}/mcp`), TIMEOUT_MS, call)
  expect(new Set(upstream.requests.map(({ headers }) => headers.get('authorization')))).toEqual(
    new Set(['Bearer first']),
  )
})
