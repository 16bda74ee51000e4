import { expect, test } from 'bun:test'
import {
  Client as StatelessClient,
  StreamableHTTPClientTransport as StatelessTransport,
} from '@modelcontextprotocol/client'
import { Client as SessionClient } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { type Kind, KINDS } from '../gate/cut-kinds.ts'
import { eventually } from '../support/poll.ts'
import { ask, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { curl, headers } from './curl.ts'
import { DIRECT, GATE, type Proxy, type Scene } from './scene.ts'

const REASON = { type: 'token_revoked', message: 'Connection token revoked', refusedWith: [401] } as const
const FAREWELL = '"message":"Connection token revoked"}}\n\n'
const INFO = { name: 'test-client', version: '1.0.0' }

const asReset = (client: RawClient): RawClient =>
  Object.create(client, { ended: { value: 'reset' }, complete: { value: false } }) as RawClient

/** Behind a proxy, what was a reset of the gate is an end without the terminator. */
const checkEnd = ({ ends }: Pick<Kind, 'ends'>, client: RawClient, hidesResets: boolean): void => {
  if (!client.complete && client.ended !== 'open') return ends(asReset(client), REASON)
  try {
    ends(client, REASON)
  } catch (error) {
    if (!hidesResets) throw error
    ends(asReset(client), REASON)
  }
}

type Road = 'header' | 'path'
const urlOf = (road: Road, secret: string, rest: string) =>
  new URL(`${GATE}${road === 'path' ? `/t/${secret}` : ''}/s/${rest}`)

type Calling = { call: (name: string, args: Record<string, unknown>, onprogress: () => void) => Promise<unknown> }
type Connecting = (url: URL, requestInit: RequestInit) => Promise<Calling>

const session: Connecting = async (url, requestInit) => {
  const client = new SessionClient(INFO)
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }))
  return { call: (name, args, onprogress) => client.callTool({ name, arguments: args }, undefined, { onprogress }) }
}
const oldSse: Connecting = async (url, requestInit) => {
  const client = new SessionClient(INFO)
  await client.connect(new SSEClientTransport(url, { requestInit }))
  return { call: (name, args, onprogress) => client.callTool({ name, arguments: args }, undefined, { onprogress }) }
}
const stateless: Connecting = async (url, requestInit) => {
  const client = new StatelessClient(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
  await client.connect(new StatelessTransport(url, { requestInit }))
  return { call: (name, args, onprogress) => client.callTool({ name, arguments: args }, { onprogress }) }
}
const slow = ['slow', { seconds: 30 }] as const
const slowest = ['trigger-long-running-operation', { duration: 30, steps: 300 }] as const

const MCP = [
  ['MCP 2025-11-25, with a session', session, 'sessions', 'sessions/mcp', slow],
  ['MCP 2026-07-28, stateless', stateless, 'stateless', 'stateless/mcp', slow],
  ['HTTP+SSE', oldSse, 'everything-sse', 'everything-sse/sse', slowest],
  ['HTTP+SSE whose endpoint leaves the URL', oldSse, 'only-sse', 'only-sse', slowest],
] as const
const ROADS: Road[] = ['header', 'path']

/** Milliseconds from the asking for a revocation until the last of a stream has arrived. */
const cutTime = async (scene: Scene, how: 'direct' | 'HTTP/1.1' | 'HTTP/2'): Promise<number> => {
  const { id, token } = await scene.createToken(`timed ${crypto.randomUUID()}`)
  if (how === 'HTTP/2') {
    const mark = crypto.randomUUID()
    const sent = headers({ ...bearer(token), 'X-Kind': 'events', 'X-Mark': mark })
    const client = curl([...sent, `${GATE}/s/raw/x`])
    const upstream = await eventually(() => scene.raw.requests.find((it) => it.head.get('x-mark') === mark))
    upstream.chunk('data: 1\n\n')
    await eventually(() => client.text().endsWith('data: 1\n\n'))
    const askedAt = performance.now()
    await scene.node.revoke({ tokens: [id] })
    expect(await client.exited).toBe(0)
    expect(client.text()).toEndWith(FAREWELL)
    return client.lastArrivalAt() - askedAt
  }
  const { client, upstream } = await scene.open(token, 'events', {}, how === 'direct' ? DIRECT : GATE)
  upstream.chunk('data: 1\n\n')
  await client.until(({ text }) => text.endsWith('data: 1\n\n'))
  const askedAt = performance.now()
  await scene.node.revoke({ tokens: [id] })
  await client.done()
  expect(client.text).toEndWith(FAREWELL)
  const { lastArrivalAt } = client
  client.close()
  return lastArrivalAt - askedAt
}
const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

export const testCuts = ({ name, hidesResets = false }: Proxy, scene: () => Scene): void => {
  test.each(ROADS)('whatever is in flight under a token by %s ends as without a proxy', async (road) => {
    const { id, token } = await scene().createToken(`cut by ${road}`)
    const target = road === 'path' ? `/t/${token}/s/raw/x` : '/s/raw/x'
    const flights = await Promise.all(
      KINDS.map(async ({ request, begun, what, ends }, index) => {
        const flight = await scene().open(token, String(index), { ...request, target })
        await flight.client
          .until((it) => begun(it, flight.upstream))
          .catch((error: unknown) => {
            throw new Error(`${what} does not begin: ${String(error)}`)
          })
        return { what, ends, ...flight }
      }),
    )
    expect(flights.filter(({ client }) => client.ended !== 'open').map(({ what }) => what)).toEqual([])
    const bystander = await scene().open((await scene().createToken(`bystander by ${road}`)).token, 'events')
    const { connections } = await scene().node.revoke({ tokens: [id] })
    expect(connections.cut).toBe(KINDS.length)
    for (const { what, client, upstream, ...kind } of flights) {
      // Caddy answers a client that has stopped in the middle of its body when that goes on.
      if (what === 'an upload') client.send('more')
      await client.done(5_000).catch((error: unknown) => {
        throw new Error(`${what}: ${String(error)}`)
      })
      checkEnd(kind, client, hidesResets)
      await eventually(() => upstream.closedAt !== null, { what: `the server is let go of ${what}` })
      client[Symbol.dispose]()
    }
    const next = await ask(GATE, { target, headers: road === 'path' ? {} : bearer(token) })
    expect([next.status, (next.json as { type: string }).type]).toEqual([401, 'urn:portcullis:problem:token-revoked'])
    expect(next.head?.get('www-authenticate')).toContain('error="invalid_token"')
    bystander.upstream.chunk('data: still here\n\n')
    await bystander.client.until(({ text }) => text.endsWith('data: still here\n\n'))
    bystander.client[Symbol.dispose]()
  })

  const rows = MCP.flatMap((row) => ROADS.map((road) => [row[0], road, ...row.slice(1)] as const))
  test.each(rows)('%s, token by %s: a call in flight fails at once, and so does the next', async (...row) => {
    const [what, road, connect, server, rest, [tool, args]] = row as unknown as [
      string,
      Road,
      Connecting,
      string,
      string,
      typeof slow,
    ]
    const { id, token } = await scene().createToken(`${what} by ${road}`, [server])
    const client = await connect(urlOf(road, token, rest), { headers: road === 'header' ? bearer(token) : {} })
    let progress = 0
    const failed = client
      .call(tool, args, () => (progress += 1))
      .then(
        () => null,
        (error: unknown) => error,
      )
    await eventually(() => progress > 1)
    await scene().node.revoke({ tokens: [id] })
    expect(await failed).toMatchObject({ code: -32080, message: expect.stringContaining('Connection token revoked') })
    await expect(client.call(tool, args, () => undefined)).rejects.toThrow()
  })

  test('how long the end of a stream takes to the client', async () => {
    const times = { direct: [] as number[], 'HTTP/1.1': [] as number[], 'HTTP/2': [] as number[] }
    for (let round = 0; round < 9; round += 1) {
      for (const how of ['direct', 'HTTP/1.1', 'HTTP/2'] as const) times[how].push(await cutTime(scene(), how))
    }
    const told = Object.entries(times).map(([how, values]) => `${how} ${median(values).toFixed(1)} ms`)
    // Printed, not asserted: a loaded machine says nothing about a proxy.
    console.log(`${name}, from asking to the client's last byte, median of 9: ${told.join(', ')}`)
  })
}
