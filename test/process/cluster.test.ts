import { mkdirSync, rmSync } from 'node:fs'
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { startCluster, type TestCluster, type TestMember, ticketOf } from '../support/cluster.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { freePort } from '../support/port.ts'
import { parseEvents } from '../support/sse.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'

describe('three nodes', () => {
  let cluster: TestCluster
  let [a, b, c] = [] as unknown as [TestMember, TestMember, TestMember]
  const upstream = startStreamUpstream()

  beforeAll(async () => {
    cluster = await startCluster(3)
    ;[a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
    await a.running.addServer('live', upstream.url, { kind: 'http' })
    await everywhere(cluster, async ({ node }) => (await node?.api('GET', '/servers/live'))?.status === 200)
  }, 60_000)
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]()
    upstream.stop()
  })

  test('a token that one issued passes at all, as soon as its issue is answered', async () => {
    const { token } = await a.running.createToken('Cursor IDE', ['live'])
    for (const member of [a, b, c]) expect((await ask(member, token)).status).toBe(200)
  })

  test('a revocation anywhere ends every stream everywhere, and the receipt says what each peer did', async () => {
    const { id, token } = await b.running.createToken('rogue', ['live'])
    const streams = await Promise.all([a, b, c, c].map((member) => upstream.open(member.running.gate, token)))
    const receipt = await c.running.revoke({ tokens: [id] })
    expect(receipt).toMatchObject({ complete: true, durable: true, connections: { cut: 2 } })
    expect(receipt.peers).toMatchObject([
      { node: 'a', state: 'acked', cut: 1 },
      { node: 'b', state: 'acked', cut: 1 },
    ])
    for (const { ms } of receipt.peers) expect(ms).toBeGreaterThan(0)
    for (const stream of streams) {
      const last = parseEvents(await stream.text).at(-1)
      expect(last).toMatchObject({ event: 'disconnect' })
      expect(JSON.parse(last?.data ?? '')).toMatchObject({ error: { type: 'token_revoked' } })
    }
    for (const member of [a, b, c]) {
      const answer = await ask(member, token)
      expect(answer.status).toBe(401)
      expect(await answer.text()).toContain('token-revoked')
    }
    // Each node has a receipt of its own, and its row in its own audit log.
    for (const member of [a, b]) {
      // That the other peers have it too they learn with the next digest.
      await eventually(async () => {
        const { json } = await member.running.api<RevocationJson>('GET', `/revocations/${receipt.id}`)
        expect(json).toMatchObject({ id: receipt.id, reason: 'compromised', connections: { cut: 1 }, complete: true })
        return true
      })
      const { json: page } = await member.running.api<{ items: { details: { revocation?: string } }[] }>(
        'GET',
        '/audit?action=token.revoke',
      )
      expect(page.items.filter(({ details }) => details.revocation === receipt.id)).toHaveLength(1)
    }
  })

  test('a gate that is closed on one is closed on all, and opened likewise', async () => {
    const { token } = await a.running.createToken('gated', ['live'])
    const stream = await upstream.open(b.running.gate, token)
    await a.running.api('PUT', '/servers/live/gate', { state: 'closed', reason: 'rogue tool' })
    expect(parseEvents(await stream.text).at(-1)?.data).toContain('server_closed')
    for (const member of [a, b, c]) await eventually(async () => (await ask(member, token)).status === 503)
    await c.running.api('PUT', '/servers/live/gate', { state: 'open' })
    for (const member of [a, b, c]) await eventually(async () => (await ask(member, token)).status === 200)
  })

  test('a kill on one cuts on all, and the token lives on', async () => {
    const { token } = await c.running.createToken('killed', ['live'])
    const streams = await Promise.all([a, b].map((member) => upstream.open(member.running.gate, token)))
    await c.running.api('DELETE', '/servers/live/connections')
    for (const stream of streams) expect(parseEvents(await stream.text).at(-1)?.data).toContain('connection_killed')
    for (const member of [a, b, c]) expect((await ask(member, token)).status).toBe(200)
  })

  test('a rotation without grace ends the old secret everywhere, one with grace when that ends', async () => {
    const { id, token } = await a.running.createToken('rotated', ['live'])
    const stream = await upstream.open(b.running.gate, token)
    const { json: second } = await c.running.api<{ token: string }>('POST', `/tokens/${id}/rotations`, {})
    expect(parseEvents(await stream.text).at(-1)?.data).toContain('token_revoked')
    for (const member of [a, b, c]) {
      expect((await ask(member, token)).status).toBe(401)
      expect((await ask(member, second.token)).status).toBe(200)
    }
    const graceful = await upstream.open(a.running.gate, second.token)
    const { json: third } = await b.running.api<{ token: string }>('POST', `/tokens/${id}/rotations`, {
      graceSeconds: 1,
    })
    expect((await ask(a, second.token)).status).toBe(200)
    expect(parseEvents(await graceful.text).at(-1)?.data).toContain('token_revoked')
    for (const member of [a, b, c]) {
      await eventually(async () => (await ask(member, second.token)).status === 401)
      expect((await ask(member, third.token)).status).toBe(200)
    }
  })

  test('operators and API keys hold on all', async () => {
    const { json: key } = await a.running.api<{ key: string }>('POST', '/apikeys', { name: 'ci', role: 'auditor' })
    const readTokens = (member: TestMember) =>
      fetch(`${member.running.console}/api/v1/tokens`, { headers: { authorization: `Bearer ${key.key}` } })
    for (const member of [a, b, c]) await eventually(async () => (await readTokens(member)).status === 200)
    await b.running.api('DELETE', '/apikeys/ci')
    for (const member of [a, b, c]) await eventually(async () => (await readTokens(member)).status === 401)
    await c.running.api('POST', '/operators', { name: 'ada', role: 'operator' })
    for (const member of [a, b, c]) {
      await eventually(async () => {
        const { json } = await member.running.api<{ items: { name: string }[] }>('GET', '/operators')
        return json.items.some(({ name }) => name === 'ada')
      })
    }
  })

  test('the third member brought the policy lease, and the status tells of all', async () => {
    for (const member of [a, b, c]) {
      const status = await member.status()
      expect(status).toMatchObject({
        clustered: true,
        policy: 'lease',
        serving: true,
        isolated: false,
        incompleteCount: 0,
      })
      if (!status.clustered) throw new Error('not clustered')
      expect(status.members.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
      expect(status.leaseLeftMs).toBeGreaterThan(0)
    }
  })

  test('a member that restarts with its used ticket just rejoins', async () => {
    const { token } = await a.running.createToken('before', ['live'])
    await c.kill()
    const { id } = await a.running.createToken('meanwhile', ['live'])
    await c.start('--cluster-join', a.url, '--ticket', `pcj_${'0'.repeat(43)}`)
    await cluster.settled()
    expect((await ask(c, token)).status).toBe(200)
    expect((await c.running.api('GET', `/tokens/${id}`)).status).toBe(200)
  })
})

const ask = (member: TestMember, token: string) =>
  fetch(`${member.running.gate}/s/live/once`, { headers: { authorization: `Bearer ${token}` } })

const everywhere = (cluster: TestCluster, holds: (member: TestMember) => Promise<boolean>) =>
  eventually(async () => (await Promise.all(cluster.members.map(holds))).every(Boolean), {
    what: 'it holds on all nodes',
  })

describe('ways in and out', () => {
  test('a node that leaves lets nobody in any more, and the others go on', async () => {
    await using cluster = await startCluster(3)
    const [a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
    const { status, json } = await c.running.api('DELETE', '/cluster/members/c')
    expect({ status, json }).toMatchObject({ status: 200, json: { name: 'c', off: true } })
    await eventually(async () => {
      const own = await c.status()
      return own.clustered && !own.serving
    })
    for (const member of [a, b]) {
      const own = await member.status()
      expect(own.clustered && own.members.map(({ name }) => name)).toEqual(['a', 'b'])
      expect(own.clustered && own.serving).toBe(true)
    }
  }, 60_000)

  test('a dead member is removed by the majority, and joins again after a wipe under its name', async () => {
    await using cluster = await startCluster(3)
    const [a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
    await c.kill()
    const { status } = await a.running.api('DELETE', '/cluster/members/c')
    expect(status).toBe(200)
    await eventually(async () => {
      const own = await b.status()
      return own.clustered && own.members.length === 2
    })
    const again = cluster.member()
    await again.start('--cluster-join', a.url, '--ticket', await ticketOf(a), '--node-name', 'c')
    await cluster.settled()
  }, 60_000)

  test('one of two whose folder was wiped joins again at its address, and revocations are complete with it', async () => {
    await using cluster = await startCluster(2)
    const [a, b] = cluster.members as [TestMember, TestMember]
    await a.running.addServer('live', 'http://127.0.0.1:1', { kind: 'http' })
    const { id } = await a.running.createToken('leaked', ['live'])
    await b.kill()
    rmSync(b.data, { recursive: true })
    mkdirSync(b.data, { mode: 0o700 })
    await cluster.join(b)
    await cluster.settled()
    const receipt = await a.running.revoke({ tokens: [id] })
    expect(receipt).toMatchObject({ complete: true, peers: [{ node: 'b', state: 'acked' }] })
    const status = await a.status()
    expect(status.clustered && [status.members.map(({ name }) => name), status.void]).toEqual([['a', 'b'], []])
  }, 60_000)

  test('who takes the place of a lost node elsewhere has its name; that the lost one is off is said of that one', async () => {
    await using cluster = await startCluster(3, { args: ['--cluster-policy', 'serve'] })
    const [a, , c] = cluster.members as [TestMember, TestMember, TestMember]
    await c.kill()
    const again = cluster.member()
    await again.start('--cluster-join', a.url, '--ticket', await ticketOf(a), '--node-name', 'c')
    await cluster.settled()
    expect(await a.status()).toMatchObject({ policy: 'serve', void: [{ name: 'c' }] })
    expect((await a.running.api('DELETE', '/cluster/members/c?off=true')).status).toBe(200)
    const after = await a.status()
    expect(after.clustered && [after.members.map(({ name }) => name), after.void]).toEqual([['a', 'b', 'c'], []])
  }, 60_000)

  test('nodes on one machine that nobody gave a name get numbers', async () => {
    await using cluster = await startCluster(1)
    const [a] = cluster.members as [TestMember]
    const names: string[][] = []
    for (const port of [freePort(), freePort()]) {
      const own = ['--cluster-listen', `127.0.0.1:${port}`, '--cluster-join', a.url, '--ticket', await ticketOf(a)]
      const member = cluster.member()
      member.node = await startNode({ data: member.data, args: own })
      const status = await member.status()
      names.push(status.clustered ? status.members.map(({ name }) => name) : [])
    }
    const machine = /[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?/i.exec(hostname())?.[0] ?? 'node'
    expect(names.at(-1)?.toSorted()).toEqual(['a', machine, `${machine}-2`].toSorted())
  }, 60_000)

  test('tickets that are used, wrong or of another node are told so, and nothing is joined', async () => {
    await using cluster = await startCluster(2)
    const [a] = cluster.members as [TestMember]
    const ticket = await ticketOf(a)
    const third = cluster.member()
    await third.start('--cluster-join', a.url, '--ticket', ticket)
    const refusal = async (given: string) => {
      const args = ['--cluster-listen', `127.0.0.1:${freePort()}`, '--cluster-join', a.url, '--ticket', given]
      const failed = await startNode({ args }).then(
        () => '',
        (error: unknown) => String(error),
      )
      return failed
    }
    expect(await refusal(ticket)).toContain('was used')
    expect(await refusal(`pcj_${'x'.repeat(43)}`)).toContain('no such ticket')
    const own = await a.status()
    expect(own.clustered && own.members.length).toBe(3)
  }, 60_000)
})
