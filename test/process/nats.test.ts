import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { startCluster, type TestCluster, type TestMember } from '../support/cluster.ts'
import { hasNats, type NatsServer, startNatsCluster } from '../support/nats.ts'
import { eventually } from '../support/poll.ts'
import { parseEvents } from '../support/sse.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'

const ask = (member: TestMember, token: string) =>
  fetch(`${member.running.gate}/s/live/once`, { headers: { authorization: `Bearer ${token}` } })

describe.skipIf(!hasNats())('three nodes that talk over three servers of NATS', () => {
  let servers: Awaited<ReturnType<typeof startNatsCluster>>
  let cluster: TestCluster
  let [a, b, c] = [] as unknown as [TestMember, TestMember, TestMember]
  const upstream = startStreamUpstream()

  beforeAll(async () => {
    servers = await startNatsCluster()
    cluster = await startCluster(3, { args: ['--cluster-nats', servers.urls.join(',')] })
    ;[a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
    await a.running.addServer('live', upstream.url, { kind: 'http' })
    for (const { running } of [b, c]) {
      await eventually(async () => (await running.api('GET', '/servers/live')).status === 200)
    }
  }, 90_000)
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]()
    await servers[Symbol.asyncDispose]()
    upstream.stop()
  })

  test('say so, and a revocation anywhere ends every stream everywhere', async () => {
    for (const member of [a, b, c]) expect(await member.status()).toMatchObject({ transport: 'nats', policy: 'lease' })
    const { id, token } = await b.running.createToken('rogue', ['live'])
    const streams = await Promise.all([a, b, c].map((member) => upstream.open(member.running.gate, token)))
    const receipt = await c.running.revoke({ tokens: [id] })
    expect(receipt).toMatchObject({ complete: true, durable: true, connections: { cut: 1 } })
    expect(receipt.peers).toMatchObject([
      { node: 'a', state: 'acked', cut: 1 },
      { node: 'b', state: 'acked', cut: 1 },
    ])
    for (const stream of streams) expect(parseEvents(await stream.text).at(-1)?.data).toContain('token_revoked')
    for (const member of [a, b, c]) expect((await ask(member, token)).status).toBe(401)
  })

  test('refuse within their lease when NATS is gone, and lose nothing of what was done meanwhile', async () => {
    const { id, token } = await a.running.createToken('meanwhile', ['live'])
    for (const member of [a, b, c]) await eventually(async () => (await ask(member, token)).status === 200)
    await Promise.all(servers.servers.map((server: NatsServer) => server.kill()))
    for (const server of servers.servers) server.wipe()
    for (const member of [a, b, c]) {
      await eventually(async () => (await ask(member, token)).status === 503, { timeoutMs: 20_000, everyMs: 50 })
    }
    const receipt = await b.running.revoke({ tokens: [id] })
    expect(receipt).toMatchObject({ complete: false, durable: true })
    await Promise.all(servers.servers.map((server: NatsServer) => server.start()))
    await cluster.settled(30_000)
    for (const member of [a, b, c]) {
      await eventually(async () => (await ask(member, token)).status === 401)
      await eventually(async () => {
        const { json } = await member.running.api<RevocationJson>('GET', `/revocations/${receipt.id}`)
        return json.complete
      })
    }
  }, 90_000)

  test('a killed process is back as the member that it was', async () => {
    const { token } = await a.running.createToken('back', ['live'])
    await c.kill()
    await c.start()
    await cluster.settled(30_000)
    expect((await ask(c, token)).status).toBe(200)
  }, 60_000)
})
