import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import * as schemas from '../../src/server/api/schemas.ts'
import type { ClusteredJson, ClusterTicketJson, RevocationJson } from '../../src/server/api/schemas.ts'
import { startCluster, type TestCluster, type TestMember } from '../support/cluster.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { expectProblem, expectShape } from './shape.ts'

describe('a node that stands alone', () => {
  test('says so, and how to change that', async () => {
    await using node = await startNode({ args: ['--node-name', 'lonely'] })
    const { status, json } = await node.api('GET', '/cluster')
    expect(status).toBe(200)
    expectShape(schemas.Cluster, json)
    expect(json).toEqual({ clustered: false, node: { id: expect.stringMatching(/^node_/) as unknown, name: 'lonely' } })
    expect(expectProblem(await node.api('POST', '/cluster/tickets', {}), 400).detail).toContain('--cluster-listen')
    expect(expectProblem(await node.api('DELETE', '/cluster/members/lonely'), 404).detail).toContain('stands alone')
    for (const query of ['force=yes', 'off=1', 'force='])
      expectProblem(await node.api('DELETE', `/cluster/members/lonely?${query}`), 400, 'invalid')
    expect((await node.api<{ clustered: boolean }>('GET', '/cluster')).json.clustered).toBeFalse()
  })

  test('answers a revocation at once, whatever it is to wait', async () => {
    await using node = await startNode()
    await node.addServer('one', 'http://127.0.0.1:1')
    await node.createToken('first', ['one'])
    const startedAt = performance.now()
    const { status, json } = await node.api<RevocationJson>('POST', '/revocations?wait=60s', {
      tokens: ['first'],
      reason: 'other',
    })
    expect([status, json.complete, json.peers]).toEqual([201, true, []])
    expect(performance.now() - startedAt).toBeLessThan(30_000)
    for (const wait of ['61s', '2m', 'soon', '-1s', ''])
      expectProblem(await node.api('POST', `/revocations?wait=${wait}`, { all: true, reason: 'other' }), 400, 'invalid')
  })
})

describe('two nodes', () => {
  let cluster: TestCluster
  let a: TestMember
  let b: TestMember
  beforeAll(async () => {
    cluster = await startCluster(2)
    ;[a, b] = cluster.members as [TestMember, TestMember]
    await a.running.addServer('one', 'http://127.0.0.1:1')
  }, 60_000)
  afterAll(() => cluster[Symbol.asyncDispose]())
  const issue = (name: string) => a.running.createToken(name, ['one'])
  const revoke = (name: string, query = '') =>
    a.running.api<RevocationJson>('POST', `/revocations${query}`, { tokens: [name], reason: 'compromised' })

  test('each tells of both', async () => {
    for (const member of [a, b]) {
      const json = (await member.status()) as ClusteredJson
      expectShape(schemas.Cluster, json)
      expect(structuredClone(json)).toMatchObject({
        clustered: true,
        node: { name: member.name },
        transport: 'websocket',
        policy: 'serve',
        serving: true,
        reason: null,
        leaseLeftMs: null,
        isolated: false,
        void: [],
        incompleteCount: 0,
      })
      expect(json.members.map(({ name, state }) => [name, state])).toEqual(
        ['a', 'b'].map((name) => [name, name === member.name ? 'self' : 'linked']),
      )
    }
    const [one, other] = [await a.status(), await b.status()] as [ClusteredJson, ClusteredJson]
    expect(one.id).toBe(other.id)
  })

  test('a ticket is shown once, also where an Idempotency-Key asks again', async () => {
    const key = { 'Idempotency-Key': 'ticket-1' }
    const first = await a.running.api<ClusterTicketJson>('POST', '/cluster/tickets', {}, key)
    expect(first.status).toBe(201)
    expectShape(schemas.ClusterTicket, first.json)
    expect(first.json.ticket).toMatch(/^pcj_[0-9A-Za-z_-]{43}$/)
    expect(first.json.url).toBe(a.url)
    expect(Date.parse(first.json.expiresAt) - Date.now()).toBeWithin(9 * 60_000, 10 * 60_000 + 1)
    expect(first.headers.get('cache-control')).toBe('no-store')
    const again = await a.running.api<ClusterTicketJson>('POST', '/cluster/tickets', {}, key)
    expect(again.json).toEqual({ ...first.json, ticket: null })
    const { json } = await a.running.api('GET', '/audit?limit=1000')
    expect(JSON.stringify(json)).not.toContain(first.json.ticket as string)
  })

  test('a revocation is answered when the other has acked, and its receipt says the same later', async () => {
    await issue('acked')
    const { status, json } = await revoke('acked')
    expectShape(schemas.Revocation, json)
    expect([status, json.complete, json.peers]).toEqual([
      201,
      true,
      [{ node: 'b', state: 'acked', ms: expect.any(Number) as number, cut: 0 }],
    ])
    expect(json.peers[0]?.ms).toBeGreaterThanOrEqual(json.timings.commitMs ?? Infinity)
    const { json: later } = await a.running.api<RevocationJson>('GET', `/revocations/${json.id}`)
    expect([later.complete, later.peers]).toEqual([true, json.peers])
    const { json: page } = await a.running.api<{ items: RevocationJson[] }>('GET', '/revocations')
    expect(page.items.find(({ id }) => id === json.id)?.peers).toEqual(json.peers)
    // The other node has the receipt as well.
    const there = await eventually(async () => {
      const read = (await b.running.api<RevocationJson>('GET', `/revocations/${json.id}`)).json
      return read.complete ? read : null
    })
    expect(there.tokens).toEqual(json.tokens)
  })

  test('one that waits for a node says for which, until it is back', async () => {
    await issue('waits')
    await b.kill()
    await eventually(async () => (await memberOf(a, 'b'))?.state === 'unreachable')
    const startedAt = performance.now()
    const { json } = await revoke('waits', '?wait=1s')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(1_000)
    // Under the policy serve nobody knows until when.
    expect([json.complete, json.peers]).toEqual([false, [{ node: 'b', state: 'pending', ms: null, cut: null }]])
    const status = (await a.status()) as ClusteredJson
    expect([status.incomplete, status.incompleteCount]).toEqual([[{ id: json.id, waitsFor: ['b'] }], 1])
    // What is dead already has nothing to record; it is not complete all the same.
    const { status: code, json: dead } = await revoke('waits')
    expect([code, dead.tokens, dead.complete]).toEqual([200, [], false])

    await b.start()
    await eventually(async () => ((await a.status()) as ClusteredJson).incompleteCount === 0)
    const { json: later } = await a.running.api<RevocationJson>('GET', `/revocations/${json.id}`)
    expect(later.complete).toBeTrue()
    expect(later.peers).toMatchObject([{ node: 'b', state: 'acked' }])
    expect((await revoke('waits')).json.complete).toBeTrue()
  })

  const memberOf = async (of: TestMember, name: string) =>
    ((await of.status()) as ClusteredJson).members.find((member) => member.name === name)

  test('a member that is none is not removed, and one that is lets nobody in', async () => {
    const { token } = await issue('lives')
    const answerOf = async (member: TestMember) =>
      (await fetch(`${member.running.gate}/s/one/x`, { headers: bearer(token) })).status
    // The server behind the gate is not there: the token was let in.
    await eventually(async () => (await answerOf(b)) === 502)
    expectProblem(await a.running.api('DELETE', '/cluster/members/nobody'), 404, 'not-found')
    const removed = await a.running.api('DELETE', '/cluster/members/b')
    expect(removed.status).toBe(200)
    expectShape(schemas.MemberRemoved, removed.json)
    expect(removed.json).toMatchObject({ name: 'b', off: true })
    const left = (await a.status()) as ClusteredJson
    expect(left.members.map(({ name }) => name)).toEqual(['a'])
    expectProblem(await a.running.api('DELETE', '/cluster/members/b'), 404, 'not-found')
    await eventually(async () => (await answerOf(b)) === 503)
    expect(await answerOf(a)).toBe(502)
  })
})
