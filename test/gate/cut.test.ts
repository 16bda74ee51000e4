import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { ConnectionJson, RevocationJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, type RawRequest, ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { parseEvents } from '../support/sse.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'
import { KINDS, type Kind, type Reason } from './cut-kinds.ts'

/** The contract's generous bound: far more than a cut takes, far less than any client's timeout. */
const SOON_MS = 1_000

type Scene = { token: TokenIssuedJson & { token: string }; server: string }
type Cause = Reason & {
  what: string
  token?: () => Record<string, unknown>
  cut: (scene: Scene) => Promise<unknown>
  /** What the same secret is answered afterwards. */
  after: number
  /** Whose stream must go on: that of another token of the same server, of another server, or nobody's. */
  bystander: 'token' | 'server' | 'none'
}

let node: TestNode
let upstream: Awaited<ReturnType<typeof startRaw>>

beforeAll(async () => {
  upstream = await startRaw((it) => {
    const kind = it.head.get('x-kind')
    if (kind === 'bystander') it.begin('200 OK', ['Content-Type: text/event-stream'])
    else if (kind === null) it.answer('200 OK', [])
    else KINDS[Number(kind)]?.upstream(it)
  })
  node = await startNode()
  await node.addServer('elsewhere', upstream.url)
})
afterAll(async () => {
  await node?.stop()
  upstream?.stop()
})

const connectionsOf = async (tokenId: string) => {
  const { json } = await node.api<{ items: ConnectionJson[] }>('GET', '/connections?limit=1000')
  return json.items.filter(({ token }) => token.id === tokenId)
}
const rotate = (scene: Scene, body: object) => node.api('POST', `/tokens/${scene.token.id}/rotations`, body)
const closeAgain = (path: string) => node.api('PUT', path, { state: 'closed', reason: 'test' })

const TOKEN_DEAD = { after: 401, refusedWith: [401], bystander: 'token' } as const
const REVOKED = { type: 'token_revoked', message: 'Connection token revoked', ...TOKEN_DEAD } as const
const KILLED = { type: 'connection_killed', after: 200, refusedWith: [502, 503] } as const
const CLOSED = { type: 'server_closed', after: 503, refusedWith: [503] } as const

const CAUSES: Cause[] = [
  { what: 'its token is revoked', ...REVOKED, cut: ({ token }) => node.revoke({ tokens: [token.id] }) },
  {
    what: 'its subject is revoked',
    ...REVOKED,
    token: () => ({ subject: 'Dev@Example.com' }),
    cut: () => node.revoke({ subject: 'dev@example.com' }),
  },
  {
    what: 'its token expires',
    type: 'token_expired',
    ...TOKEN_DEAD,
    token: () => ({ expiresAt: new Date(Date.now() + 2_500).toISOString() }),
    cut: ({ token }) => eventually(() => Date.now() >= Date.parse(token.expiresAt ?? ''), { timeoutMs: 5_000 }),
  },
  { what: 'its secret is rotated', type: /^token_/, ...TOKEN_DEAD, cut: (scene) => rotate(scene, {}) },
  {
    what: "its secret's grace ends",
    type: /^token_/,
    ...TOKEN_DEAD,
    cut: async (scene) => {
      const { json } = await rotate(scene, { graceSeconds: 1 })
      const diesAt = Date.parse((json as TokenIssuedJson).oldSecretDiesAt ?? '')
      await eventually(() => Date.now() >= diesAt)
    },
  },
  {
    what: 'its server is killed',
    ...KILLED,
    bystander: 'server',
    cut: ({ server }) => node.api('DELETE', `/servers/${server}/connections`),
  },
  {
    what: 'its server is closed',
    ...CLOSED,
    bystander: 'server',
    cut: ({ server }) => closeAgain(`/servers/${server}/gate`),
  },
  { what: 'all servers are closed', ...CLOSED, bystander: 'none', cut: () => closeAgain('/gate') },
  {
    what: 'its server is removed',
    type: /\w+/,
    after: 404,
    refusedWith: [404, 502, 503],
    bystander: 'server',
    cut: ({ server }) => node.api('DELETE', `/servers/${server}`),
  },
  {
    what: 'it is killed itself',
    ...KILLED,
    bystander: 'token',
    cut: async ({ token }) => {
      for (const { id } of await connectionsOf(token.id)) await node.api('DELETE', `/connections/${id}`)
    },
  },
]

const rows = CAUSES.map((cause, index) => [cause.what, cause, `s${index}`] as const)
describe.each(rows)('when %s', (_what, cause, server) => {
  type Flight = { client: RawClient; upstream: RawUpstreamRequest; bodyBytes: number }
  let secret: string
  let flights: Flight[]
  let bystander: Flight
  let cutAt: number
  let outcome: unknown

  const openFlight = async (kind: string, target: string, bearing: string, request: Omit<RawRequest, 'target'>) => {
    const before = upstream.requests.length
    const headers = { ...bearer(bearing), ...request.headers, 'X-Kind': kind }
    const client = await open(node.gate, { ...request, target, headers })
    const seen = await eventually(() => upstream.requests.slice(before).find((it) => it.head.get('x-kind') === kind), {
      what: `${kind} reaches the upstream`,
    })
    return { client, upstream: seen }
  }
  const openKind = async ({ request, begun }: Kind, index: number): Promise<Flight> => {
    const flight = await openFlight(String(index), `/s/${server}/x`, secret, request)
    await flight.client.until((it) => begun(it, flight.upstream))
    return { ...flight, bodyBytes: flight.upstream.bodyBytes }
  }

  beforeAll(async () => {
    await node.addServer(server, upstream.url)
    const beside = cause.bystander === 'server' ? 'elsewhere' : server
    const other = await node.createToken(`${server}-bystander`, [beside])
    bystander = { ...(await openFlight('bystander', `/s/${beside}/x`, other.token, {})), bodyBytes: 0 }
    await bystander.client.until((it) => it.status === 200)
    const token = await node.createToken(`${server}-token`, [server], cause.token?.())
    secret = token.token
    flights = await Promise.all(KINDS.map(openKind))
    expect(flights.map(({ client }) => client.ended)).toEqual(KINDS.map(() => 'open'))
    outcome = await cause.cut({ token, server })
    cutAt = performance.now()
  }, 20_000)
  afterAll(async () => {
    bystander?.client.close()
    if (cause.bystander === 'none') await node.api('PUT', '/gate', { state: 'open' })
  })

  test.each(KINDS.map(({ what, ends }, index) => [what, index, ends] as const))('%s', async (_kind, index, ends) => {
    const flight = flights[index]!
    await flight.client.done(SOON_MS)
    ends(flight.client, cause)
    await eventually(() => flight.upstream.closedAt !== null, { timeoutMs: SOON_MS, what: 'the upstream is let go' })
    expect(flight.upstream.bodyBytes).toBe(flight.bodyBytes)
    expect((flight.client.endedAt ?? cutAt) - cutAt).toBeLessThan(SOON_MS)
  })

  test('nothing more arrives, whatever either side sends', async () => {
    const before = flights.map(({ client, upstream: seen }) => [client.received.length, seen.bodyBytes])
    for (const { client, upstream: seen } of flights) {
      seen.chunk('data: late\n\n')
      if (!seen.bodyComplete) client.send('more of a body')
    }
    // Another exchange's round trip gives the late bytes their time.
    for (let trips = 0; trips < 5; trips += 1) await ask(node.gate, { target: '/healthz' })
    expect(flights.map(({ client, upstream: seen }) => [client.received.length, seen.bodyBytes])).toEqual(before)
  })

  test(`the next request is answered ${cause.after}`, async () => {
    const next = await ask(node.gate, { target: `/s/${server}/x`, headers: bearer(secret) })
    expect(next.status).toBe(cause.after)
    if (cause.after === 401) expect(next.head?.get('www-authenticate')).toContain('error="invalid_token"')
  })

  if (cause.bystander !== 'none') {
    test('the stream beside it flows on', async () => {
      const told = `data: told ${server}\n\n`
      bystander.upstream.chunk(told)
      await bystander.client.until((it) => it.text.endsWith(told))
      expect(parseEvents(bystander.client.text).map(({ event }) => event)).not.toContain('disconnect')
      expect(bystander.client.ended).toBe('open')
    })
  }

  if (cause.type === 'token_revoked') {
    test('the receipt counts every one', () => {
      const receipt = outcome as RevocationJson
      expect(receipt.connections.cut).toBe(KINDS.length)
      expect(receipt).toMatchObject({ durable: true, complete: true, peers: [] })
      const { commitMs, firstCutMs, lastCutMs } = receipt.timings
      expect(Number(commitMs)).toBeGreaterThan(0)
      expect(Number(firstCutMs)).toBeGreaterThanOrEqual(Number(commitMs))
      expect(Number(lastCutMs)).toBeGreaterThanOrEqual(Number(firstCutMs))
    })
  }
})
