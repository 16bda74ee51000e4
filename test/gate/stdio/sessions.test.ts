import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { type TestNode, startNode } from '../../support/node.ts'
import { eventually } from '../../support/poll.ts'
import { bearer } from '../../support/secret.ts'
import { mcp } from './bridged.ts'
import { isAlive } from './supervised.ts'

/** A call that is cut must fail at once; the clients' own timeout is a minute. */
const SOON_MS = 1_000
const INFO = { name: 'test-client', version: '1.0.0' }

let node: TestNode
beforeAll(async () => {
  node = await startNode()
  const answer = await node.api('POST', '/servers', { name: 'own', stdio: { command: mcp() }, probe: false })
  expect(answer.status).toBe(201)
}, 30_000)
afterAll(async () => {
  await node?.stop()
}, 30_000)

/** What the generations of clients look like to these tests. */
type Talking = {
  call: (name: string, args?: Record<string, unknown>, onprogress?: () => void) => Promise<unknown>
  close: () => Promise<void>
}
const url = (rest: string) => new URL(`${node.gate}/s/own${rest}`)
const requestInit = (secret: string) => ({ headers: bearer(secret) })

const talking1 = async (transport: SSEClientTransport | Transport1): Promise<Talking> => {
  const client = new Client1(INFO)
  await client.connect(transport)
  return {
    call: async (name, args = {}, onprogress) =>
      (await client.callTool({ name, arguments: args }, undefined, { onprogress })).content,
    close: () => client.close(),
  }
}
const CLIENTS: [what: string, connect: (secret: string) => Promise<Talking>][] = [
  ['SDK 1', (secret) => talking1(new Transport1(url('/mcp'), { requestInit: requestInit(secret) }))],
  [
    'SDK 1 over HTTP+SSE',
    (secret) => talking1(new SSEClientTransport(url('/sse'), { requestInit: requestInit(secret) })),
  ],
  [
    'SDK 2',
    async (secret) => {
      const client = new Client(INFO, { versionNegotiation: { mode: 'auto' } })
      await client.connect(new StreamableHTTPClientTransport(url(''), { requestInit: requestInit(secret) }))
      return {
        call: async (name, args = {}, onprogress) =>
          (await client.callTool({ name, arguments: args }, { onprogress })).content,
        close: () => client.close(),
      }
    },
  ],
]

const pidOf = async ({ call }: Talking): Promise<number> => {
  const [content] = (await call('pid')) as [{ text: string }]
  return Number(content.text)
}
const failureOf = (call: Promise<unknown>) =>
  call.then(
    () => {
      throw new Error('it was answered')
    },
    (error: unknown) => ({ at: performance.now(), error: error as Error & { code?: number } }),
  )
const connectionsOf = async (tokenId: string): Promise<string[]> => {
  const { json } = await node.api<{ items: { kind: string; token: { id: string } }[] }>('GET', '/connections')
  return json.items.filter(({ token }) => token.id === tokenId).map(({ kind }) => kind)
}

describe.each(CLIENTS)('%s', (what, connect) => {
  test('a revocation fails the call in flight at once, ends the process, and touches nobody else', async () => {
    const [mine, other] = await Promise.all([1, 2].map((it) => node.createToken(`${what}, cut ${it}`, ['own'])))
    if (!mine || !other) throw new Error('no tokens')
    const [client, bystander] = [await connect(mine.token), await connect(other.token)]
    const [pid, others] = [await pidOf(client), await pidOf(bystander)]
    let [progress, othersProgress] = [0, 0]
    const call = failureOf(client.call('slow', { seconds: 30 }, () => (progress += 1)))
    const othersCall = bystander.call('slow', { seconds: 1 }, () => (othersProgress += 1))
    await eventually(() => progress > 0 && othersProgress > 0)
    expect(await connectionsOf(mine.id)).toContain('process')
    await node.revoke({ tokens: [mine.id] })
    const cutAt = performance.now()
    const { at, error } = await call
    expect(at - cutAt).toBeLessThan(SOON_MS)
    expect(error.code).toBe(-32080)
    expect(error.message).toContain('Connection token revoked')
    await eventually(() => !isAlive(pid), { what: 'its process is gone' })
    expect(await connectionsOf(mine.id)).toEqual([])
    expect(JSON.stringify(await othersCall)).toContain('slept')
    expect(await pidOf(bystander)).toBe(others)
    await Promise.all([client.close(), bystander.close()])
  })

  test('a process that dies fails the calls in flight, and leaves no session behind', async () => {
    const { id, token } = await node.createToken(`${what}, exit`, ['own'])
    const client = await connect(token)
    const slow = failureOf(client.call('slow', { seconds: 30 }))
    const exit = failureOf(client.call('exit', { code: 9 }))
    for (const { error } of await Promise.all([slow, exit])) {
      expect(error.code).toBe(-32082)
      expect(error.message).toContain('The server exited: exit code 9')
    }
    await eventually(async () => (await connectionsOf(id)).length === 0)
    await client.close()
    // It is started again a while later.
    const again = await eventually(() => connect(token), { timeoutMs: 20_000, everyMs: 200 })
    expect(JSON.stringify(await again.call('echo', { text: 'again' }))).toContain('echo: again')
    await again.close()
  }, 30_000)
})

test('a session, and its process, outlive a rotation', async () => {
  const { id, token } = await node.createToken('rotated', ['own'])
  const say = (secret: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(url('/mcp'), {
      method: 'POST',
      headers: {
        ...bearer(secret),
        ...headers,
        'Content-Type': 'application/json',
        Accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify(body),
    })
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: INFO }
  const begun = await say(token, { jsonrpc: '2.0', id: 1, method: 'initialize', params })
  const session = { 'Mcp-Session-Id': begun.headers.get('mcp-session-id') ?? '' }
  const pid = async (secret: string) => {
    const call = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'pid' } }
    const answer = await say(secret, call, session)
    return { status: answer.status, pid: /"text":"(\d+)"/.exec(await answer.text())?.[1] ?? null }
  }
  const before = await pid(token)
  expect(before).toEqual({ status: 200, pid: expect.any(String) })
  const { json } = await node.api<{ token: string }>('POST', `/tokens/${id}/rotations`, { graceSeconds: 1 })
  expect(await pid(json.token)).toEqual(before)
  // Not in the session: it is of the secret that used it last.
  await eventually(async () => (await fetch(url('/nothing'), requestInit(token))).status === 401)
  expect(await pid(json.token)).toEqual(before)
})
