import { afterEach, expect, test } from 'bun:test'
import { startDemoUpstream } from '../../src/demo/upstream.ts'
import { probing } from '../../src/gate/probe.ts'
import { call } from '../support/call.ts'
import { serverAt } from '../support/server.ts'
import { INITIALIZED, never, startScripted } from '../support/upstreams/scripted.ts'

const probe = probing(call)

const running: { stop(): unknown }[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((upstream) => upstream.stop()))
})
const using = <T extends { stop(): unknown }>(upstream: T): T => {
  running.push(upstream)
  return upstream
}

test('what is no MCP server gets no second POST, unless it answers otherwise', async () => {
  const upstream = using(startScripted({ initialize: () => INITIALIZED({ capabilities: {} }) }))
  const door = upstream.door
  upstream.door = () => new Response('an API', { status: 200 })
  const server = serverAt(upstream.url)
  const first = await probe(server, null)
  expect(first).toEqual({ reachable: true, found: 'http', path: '', detail: 'HTTP answers (200)', mcp: null })
  const asked = upstream.requests.length
  expect(await probe(server, first)).toEqual(first)
  expect(upstream.requests.slice(asked).map(({ method }) => method)).toEqual(['GET'])
  upstream.door = door
  expect(await probe(server, first)).toMatchObject({ found: 'mcp', path: '/mcp', mcp: { tools: null } })
})

test('what answers is reachable, though MCP hangs below it', async () => {
  const upstream = using(startScripted({ 'server/discover': never, initialize: never, GET: never }))
  const detail = 'HTTP answers (404)'
  expect(await probe(serverAt(upstream.url), null)).toMatchObject({
    reachable: true,
    found: 'http',
    detail,
    mcp: null,
  })
  expect(upstream.asked('initialize').length).toBeGreaterThan(0)
})

test('kind http is only ever asked by GET', async () => {
  const upstream = using(startScripted({ initialize: () => INITIALIZED() }))
  const found = await probe(serverAt(upstream.url, { kind: 'http', path: '/mcp' }), null)
  expect(found).toMatchObject({ reachable: true, found: 'http', detail: 'HTTP answers (405)', mcp: null })
  expect(upstream.requests.map(({ method, path }) => [method, path])).toEqual([['GET', '/mcp']])
})

test('an event stream is found, but MCP beside it comes first', async () => {
  const { url } = using(startDemoUpstream())
  expect(await probe(serverAt(url), null)).toMatchObject({ found: 'mcp', path: '/mcp' })
  const detail = `an event stream answers at ${url}/sse`
  expect(await probe(serverAt(url, { path: '/sse' }), null)).toEqual({
    reachable: true,
    found: 'sse',
    path: '/sse',
    detail,
    mcp: null,
  })
})
