import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { startCluster, type TestCluster, type TestMember, ticketOf } from '../support/cluster.ts'
import { hasNats, type NatsServer, startNats, startNatsCluster } from '../support/nats.ts'
import { eventually } from '../support/poll.ts'
import { parseEvents } from '../support/sse.ts'
import { tempFolder } from '../support/temp.ts'
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

test.skipIf(!hasNats())(
  'TLS takes a certificate of an authority that the environment names, and no other',
  async () => {
    const folder = tempFolder()
    const file = (name: string) => join(folder, name)
    const made = Bun.spawnSync([
      ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-keyout', file('key.pem'), '-out', file('cert.pem'), '-subj', '/CN=nats'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1'],
    ])
    expect(made.exitCode).toBe(0)
    await using server = await startNats(
      `tls { cert_file: "${file('cert.pem')}", key_file: "${file('key.pem')}" }`,
      'tls',
    )
    const streams = async () =>
      (await server.jetstream()).account_details?.flatMap((one) => one.stream_detail ?? []) ?? []
    const found = async (env: Record<string, string>) => {
      const cluster = await startCluster(1, { args: ['--cluster-nats', server.url], env })
      await ticketOf(cluster.members[0] as TestMember)
      return cluster
    }
    await using wary = await found({})
    await eventually(() => wary.members[0]?.running.stderr().includes('self signed certificate'))
    expect(await streams()).toEqual([])
    await using _trusting = await found({ NODE_EXTRA_CA_CERTS: file('cert.pem') })
    await eventually(async () => (await streams()).length === 1)
  },
  60_000,
)
