import { afterAll, beforeAll, expect, test } from 'bun:test'
import { startNode } from '../support/node.ts'
import { type RawClient, ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { startSessionMcp } from '../support/upstreams/mcp.ts'

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}

let data: string
let events: Awaited<ReturnType<typeof startEvents>>
let mcp: Awaited<ReturnType<typeof startSessionMcp>>

beforeAll(async () => {
  data = tempFolder()
  events = await startEvents({ burst: 1 })
  mcp = await startSessionMcp()
})
afterAll(async () => {
  events?.stop()
  await mcp?.stop()
  removeFolder(data)
})

const post = (gate: string, secret: string, headers: Record<string, string>, message: object): Promise<RawClient> =>
  ask(gate, {
    method: 'POST',
    target: '/s/mcp/mcp',
    headers: {
      ...bearer(secret),
      ...headers,
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify(message),
  })

test('a restart keeps the dead dead and the live alive, and knows no session', async () => {
  const first = await startNode({ data })
  await first.addServer('events', events.url)
  await first.addServer('mcp', mcp.url)
  await first.addServer('shut', events.url)
  await first.api('PUT', '/servers/shut/gate', { state: 'closed' })
  const live = await first.createToken('live', ['events', 'mcp', 'shut'])
  const dead = await first.createToken('dead', ['events'])
  const stream = await open(first.gate, { target: '/s/events/x', headers: bearer(live.token) })
  await stream.until((it) => it.text.length > 0)
  const opened = await post(first.gate, live.token, {}, INITIALIZE)
  const session = { 'Mcp-Session-Id': opened.head?.get('mcp-session-id') ?? '', 'Mcp-Protocol-Version': '2025-11-25' }
  const list = { jsonrpc: '2.0', id: 2, method: 'tools/list' }
  expect((await post(first.gate, live.token, session, list)).status).toBe(200)
  await first.revoke({ tokens: ['dead'] })

  const stoppedAt = performance.now()
  expect(await first.stop()).toBe(0)
  expect(performance.now() - stoppedAt).toBeLessThan(5_000)
  await stream.until((it) => it.ended !== 'open')

  await using second = await startNode({ data })
  const statusOf = async (secret: string, target: string) => {
    using client = await open(second.gate, { target, headers: bearer(secret) })
    return (await client.until((it) => it.status > 0)).status
  }
  expect(await statusOf(live.token, '/s/events/x')).toBe(200)
  expect(await statusOf(dead.token, '/s/events/x')).toBe(401)
  expect(await statusOf(live.token, '/s/shut/x')).toBe(503)
  expect((await post(second.gate, live.token, session, list)).status).toBe(404)
  expect((await post(second.gate, live.token, {}, INITIALIZE)).status).toBe(200)
}, 20_000)

test('a kill -9 right after the receipt loses nothing of it', async () => {
  const first = await startNode({ data })
  const token = await first.createToken('crash', ['events'])
  await first.revoke({ tokens: [token.id] })
  first.kill('SIGKILL')
  await first.exited
  await using second = await startNode({ data })
  expect((await ask(second.gate, { target: '/s/events/x', headers: bearer(token.token) })).status).toBe(401)
}, 20_000)
