import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  Client as StatelessClient,
  StreamableHTTPClientTransport as StatelessTransport,
} from '@modelcontextprotocol/client'
import { Client as SessionClient } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { AuditRowJson, TokenJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'

/** A refusal must be heard at once; the clients' own timeout is a minute. */
const SOON_MS = 1_000
const INFO = { name: 'test-client', version: '1.0.0' }

let node: TestNode
let sessions: Awaited<ReturnType<typeof startSessionMcp>>
let stateless: Awaited<ReturnType<typeof startStatelessMcp>>
let sse: Awaited<ReturnType<typeof startEverything>>
beforeAll(async () => {
  ;[sessions, stateless, sse, node] = await Promise.all([
    startSessionMcp(),
    startStatelessMcp(),
    startEverything('sse'),
    startNode(),
  ])
  await node.addServer('sessions', `${sessions.url}/mcp`)
  await node.addServer('stateless', `${stateless.url}/mcp`)
  // The endpoint that this one announces is under the URL of the first, and not of the second.
  await node.addServer('sse', sse.url, { path: '/sse' })
  await node.addServer('only-sse', sse.url + sse.path)
}, 30_000)
afterAll(async () => {
  await node?.stop()
  for (const upstream of [sessions, stateless, sse]) await upstream?.stop()
}, 30_000)

/** What both generations of clients look like to these tests. */
type Calling = Pick<SessionClient, 'listTools' | 'callTool' | 'ping' | 'close'>
const transportOptions = (secret: string) => ({ requestInit: { headers: bearer(secret) } })
const overSessions = async (url: URL, secret: string): Promise<Calling> => {
  const client = new SessionClient(INFO)
  await client.connect(new StreamableHTTPClientTransport(url, transportOptions(secret)))
  return client
}
const overSse = async (url: URL, secret: string): Promise<Calling> => {
  const client = new SessionClient(INFO)
  await client.connect(new SSEClientTransport(url, transportOptions(secret)))
  return client
}
const overStateless = async (url: URL, secret: string): Promise<Calling> => {
  const client = new StatelessClient(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
  await client.connect(new StatelessTransport(url, transportOptions(secret)))
  return client as unknown as Calling
}

/** A tool, what it is called with, and what it says. */
type Calls = [name: string, args: Record<string, unknown>, said: string]
type Setting = {
  connect: (url: URL, secret: string) => Promise<Calling>
  rest: string
  /** Read-only, and not. */
  reads: Calls
  changes: Calls
}
const own = {
  reads: ['slow', { seconds: 0.1 }, 'slept'],
  changes: ['echo', { text: 'hi' }, 'hi'],
} satisfies Partial<Setting>
const everything = {
  reads: ['get-sum', { a: 1, b: 2 }, 'is 3'],
  changes: ['toggle-subscriber-updates', {}, 'updates'],
} satisfies Partial<Setting>
const SETTINGS: [string, Setting][] = [
  ['sessions', { connect: overSessions, rest: '', ...own }],
  ['stateless', { connect: overStateless, rest: '', ...own }],
  ['sse', { connect: overSse, rest: '/sse', ...everything }],
  ['only-sse', { connect: overSse, rest: '', ...everything }],
]

const joined = async (server: string, { connect, rest }: Setting, what: string, policy: object | null) => {
  const issued = await node.createToken(`${server}: ${what}`, [server], { policy })
  const client = await connect(new URL(`${node.gate}/s/${server}${rest}`), issued.token)
  return { ...issued, client }
}
const namesOf = async (client: Calling) => (await client.listTools()).tools.map(({ name }) => name)
const call = async (client: Calling, [name, args]: readonly [string, Record<string, unknown>, ...unknown[]]) =>
  JSON.stringify(await client.callTool({ name, arguments: args }))
const failing = async (calling: Promise<unknown>) => {
  const from = performance.now()
  const error = await calling.then(
    () => null,
    (thrown: unknown) => thrown as Error & { code?: number; data?: unknown },
  )
  expect(performance.now() - from).toBeLessThan(SOON_MS)
  return error
}

describe.each(SETTINGS)('%s', (server, setting) => {
  const { reads, changes } = setting

  test('without a policy all is as it was', async () => {
    const { client } = await joined(server, setting, 'none', null)
    expect(await namesOf(client)).toEqual(expect.arrayContaining([reads[0], changes[0]]))
    expect(await call(client, changes)).toContain(changes[2])
    await client.close()
  })

  test('a list shows what may be called; another call fails at once, and the client goes on', async () => {
    const { client, id } = await joined(server, setting, 'deny', { deny: [reads[0]] })
    const names = await namesOf(client)
    expect([names.includes(reads[0]), names.includes(changes[0])]).toEqual([false, true])
    const error = await failing(call(client, reads))
    expect([error?.code, error?.data]).toEqual([-32081, { type: 'tool_denied' }])
    expect(await call(client, changes)).toContain(changes[2])
    const { json } = await node.api<TokenJson>('GET', `/tokens/${id}`)
    expect(json.refusals).toBe(1)
    const activity = await node.api<{ tools: { method: string; name: string; calls: number; refused: number }[] }>(
      'GET',
      `/tokens/${id}/activity`,
    )
    const ofTool = (name: string) => activity.json.tools.find((it) => it.name === name)
    expect(ofTool(reads[0])).toMatchObject({ calls: 0, refused: 1 })
    expect(ofTool(changes[0])).toMatchObject({ calls: 1, refused: 0 })
    await client.close()
  })

  test('readOnly goes by what the server says of its tools, asked before any list', async () => {
    const { client } = await joined(server, setting, 'readOnly', { readOnly: true })
    expect(await call(client, reads)).toContain(reads[2])
    const refused = await failing(call(client, changes))
    expect([refused?.code, refused?.data]).toEqual([-32081, { type: 'tool_not_read_only' }])
    expect((await failing(call(client, ['no_such_tool', {}])))?.code).toBe(-32081)
    const names = await namesOf(client)
    expect([names.includes(reads[0]), names.includes(changes[0])]).toEqual([true, false])
    await client.close()
  })

  test('one call too many fails at once', async () => {
    // To open the stream of HTTP+SSE counts too: nothing tells it from a request to a plain API.
    const { client } = await joined(server, setting, 'calls', { callsPerMinute: setting.connect === overSse ? 3 : 2 })
    for (let count = 0; count < 2; count += 1) expect(await call(client, changes)).toContain(changes[2])
    expect(String(await failing(call(client, changes)))).toContain('429')
    expect((await namesOf(client)).length).toBeGreaterThan(0)
    await client.close()
  })

  test('another policy cuts what runs under the old one, and is in force at once', async () => {
    const { client, id, token } = await joined(server, setting, 'changed', null)
    expect(await call(client, changes)).toContain(changes[2])
    const put = await node.api<TokenJson>('PUT', `/tokens/${id}/policy`, { allow: [reads[0]] })
    expect(put.status).toBe(200)
    const again = await setting.connect(new URL(`${node.gate}/s/${server}${setting.rest}`), token)
    expect(await namesOf(again)).toEqual([reads[0]])
    expect((await failing(call(again, changes)))?.code).toBe(-32081)
    await Promise.all([client.close(), again.close()])
  })
})

test('a call in flight under the old policy is cut, with its cause', async () => {
  const [, setting] = SETTINGS[0] as [string, Setting]
  const { client, id } = await joined('sessions', setting, 'in flight', null)
  let progress = 0
  const slow = (client as SessionClient).callTool({ name: 'slow', arguments: { seconds: 30 } }, undefined, {
    onprogress: () => (progress += 1),
  })
  const failed = slow.then(
    () => null,
    (thrown: unknown) => thrown as Error & { code?: number; data?: unknown },
  )
  await eventually(() => progress > 0)
  await node.api('PUT', `/tokens/${id}/policy`, { callsPerMinute: 5 })
  const error = await failed
  expect([error?.code, error?.data]).toEqual([-32080, { type: 'connection_killed' }])
  await client.close()
})

test('refused calls are folded into one row of the audit, with their count', async () => {
  await using small = await startNode()
  await small.addServer('sessions', `${sessions.url}/mcp`)
  const { id, token } = await small.createToken('folded', ['sessions'], { policy: { allow: [] } })
  const client = await overSessions(new URL(`${small.gate}/s/sessions`), token)
  for (let count = 0; count < 3; count += 1) await failing(call(client, ['echo', { text: 'never-written' }]))
  await client.close()
  const data = small.data
  // The fold is written each minute, and at the end.
  small.kill('SIGTERM')
  await small.exited
  await using again = await startNode({ data })
  const { json } = await again.api<{ items: AuditRowJson[] }>('GET', '/audit')
  const rows = json.items.filter(({ action }) => action === 'gate.policy')
  expect(rows).toEqual([expect.objectContaining({ targetId: id, targetName: 'folded' })])
  expect(JSON.stringify(rows)).toContain('"count":3')
  expect(JSON.stringify(json)).not.toContain('never-written')
}, 30_000)
