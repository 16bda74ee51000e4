import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { builtBinary } from '../support/binary.ts'
import { startCluster, type TestCluster, type TestMember } from '../support/cluster.ts'
import { HERE, type Machine, onMachines, startMachines } from '../support/machines.ts'
import { eventually } from '../support/poll.ts'
import { parseEvents } from '../support/sse.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'

/** Five nodes on five machines: cables that are pulled, packets that are lost without a word, processes that die or stop. */

const NODES = 5
const LEASE_MS = 2_000

const binary = builtBinary()

describe.if(onMachines(import.meta.path, 240_000))('five machines', () => {
  let cluster: TestCluster
  let machines: Machine[]
  let upstream: ReturnType<typeof startStreamUpstream>
  let [a, b, c, d, e] = [] as unknown as TestMember[] as [TestMember, TestMember, TestMember, TestMember, TestMember]

  beforeAll(async () => {
    machines = await startMachines(NODES)
    upstream = startStreamUpstream(HERE)
    cluster = await startCluster(NODES, { machines, command: [binary], args: ['--lease', `${LEASE_MS / 1_000}s`] })
    ;[a, b, c, d, e] = cluster.members as [TestMember, TestMember, TestMember, TestMember, TestMember]
    await a.running.addServer('live', upstream.url, { kind: 'http' })
    await cluster.spread()
  }, 60_000)
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]()
    upstream?.stop()
  })

  const ask = async (member: TestMember, token: string): Promise<number> => {
    const answer = await fetch(`${member.running.gate}/s/live/once`, { headers: { authorization: `Bearer ${token}` } })
    await answer.body?.cancel()
    return answer.status
  }
  const receiptOf = async (member: TestMember, { id }: RevocationJson): Promise<RevocationJson> =>
    (await member.running.api<RevocationJson>('GET', `/revocations/${id}`)).json
  const complete = (member: TestMember, receipt: RevocationJson) =>
    eventually(
      async () => {
        const now = await receiptOf(member, receipt)
        return now.complete && now
      },
      { timeoutMs: 15_000, everyMs: 10, what: 'the receipt is complete' },
    )
  const everywhere = (token: string, status: number) =>
    Promise.all(
      cluster.members.map((member) =>
        eventually(async () => (await ask(member, token)) === status, { timeoutMs: 15_000, everyMs: 10 }),
      ),
    )
  const issue = async (name: string) => {
    const issued = await a.running.createToken(`${name} ${crypto.randomUUID()}`, ['live'])
    await everywhere(issued.token, 200)
    return issued
  }
  const stateAt = ({ peers }: RevocationJson, name: string) => peers.find(({ node }) => node === name)?.state
  const machineOf = (member: TestMember): Machine => member.machine as Machine

  test('one whose cable is pulled refuses and cuts before a revocation is complete, and comes back by itself', async () => {
    const leaked = await issue('leaked')
    const other = await issue('innocent')
    const stream = await upstream.open(e.running.gate, leaked.token)
    machineOf(e).plug(false)
    const receipt = await a.running.revoke({ tokens: [leaked.id] })
    expect(receipt).toMatchObject({ complete: false, durable: true })
    expect(receipt.peers.map(({ node, state }) => [node, state])).toEqual([
      ['b', 'acked'],
      ['c', 'acked'],
      ['d', 'acked'],
      ['e', 'pending'],
    ])
    expect(await ask(e, leaked.token)).toBe(200)
    const done = await complete(a, receipt)
    // By then it has cut, and lets nobody in.
    expect(stream.endedAt()).toBeGreaterThan(0)
    expect(parseEvents(await stream.text).at(-1)?.data).toContain('node_stale')
    expect([await ask(e, leaked.token), await ask(e, other.token)]).toEqual([503, 503])
    expect(stateAt(done, 'e')).toBe('lease_expired')
    expect(await ask(a, other.token)).toBe(200)
    machineOf(e).plug(true)
    const healedAt = performance.now()
    await everywhere(other.token, 200)
    console.log(`it lets clients in ${Math.round(performance.now() - healedAt)} ms after its cable was back`)
    await everywhere(leaked.token, 401)
    await cluster.settled()
  })

  test('one that is not heard, though it hears, is isolated too: what it does is not believed', async () => {
    const { id, token } = await issue('leaked')
    machineOf(e).lose('out', 1)
    const receipt = await a.running.revoke({ tokens: [id] })
    // It hears of the revocation, and nobody knows that it did.
    await eventually(async () => [401, 503].includes(await ask(e, token)), { timeoutMs: 10_000 })
    expect(stateAt(await complete(a, receipt), 'e')).toBe('lease_expired')
    expect([401, 503]).toContain(await ask(e, token))
    await eventually(
      async () => (await e.status()).clustered && (await fetch(`${e.running.console}/readyz`)).status === 503,
    )
    machineOf(e).heal()
    await cluster.settled()
    await everywhere(token, 401)
    expect(stateAt(await receiptOf(a, receipt), 'e')).toMatch(/acked|lease_expired/)
  })

  test('one that hears nothing, though it is heard: what it revokes is not complete before the others know', async () => {
    const { id, token } = await issue('leaked')
    machineOf(e).lose('in', 1)
    await eventually(async () => (await ask(e, token)) === 503, { timeoutMs: 10_000 })
    const receipt = await e.running.revoke({ tokens: [id] })
    expect(receipt).toMatchObject({ durable: true, complete: false })
    expect((await receiptOf(e, receipt)).complete).toBe(false)
    machineOf(e).heal()
    await cluster.settled()
    await everywhere(token, 401)
    await complete(e, receipt)
  })

  test('a tenth of all packets lost each way: every revocation arrives, is acked, and nobody loses the lease for long', async () => {
    for (const member of [d, e]) for (const way of ['in', 'out'] as const) machineOf(member).lose(way, 0.1)
    for (let round = 0; round < 8; round += 1) {
      const { id, token } = await issue('leaked')
      const streams = await Promise.all(cluster.members.map(({ running }) => upstream.open(running.gate, token)))
      const receipt = await cluster.members[round % NODES]!.running.revoke({ tokens: [id] })
      const done = await complete(cluster.members[round % NODES]!, receipt)
      expect(done.peers.filter(({ state }) => state === 'pending')).toEqual([])
      for (const { text } of streams) expect(await text).toMatch(/token_revoked|node_stale/)
      await everywhere(token, 401)
    }
    for (const member of [d, e]) machineOf(member).heal()
    await cluster.settled()
  })

  test('kill -9 of the node that is revoking: what was answered holds everywhere, and else all or none are dead', async () => {
    let answered = 0
    let dead = 0
    // At once, at the first end of a stream anywhere, at the end on the node itself, after the answer.
    for (const moment of ['sent', 'first end', 'own end', 'answer'] as const) {
      const { id, token } = await issue(moment)
      const streams = await Promise.all(cluster.members.map(({ running }) => upstream.open(running.gate, token)))
      // The client of the node that dies sees its connection break.
      const said = streams.map(({ text }) => text.catch(() => ''))
      const revoking = e.running.revoke({ tokens: [id] }).catch(() => null)
      if (moment === 'first end') await Promise.race([revoking, ...said])
      if (moment === 'own end') await Promise.race([revoking, said.at(-1)])
      if (moment === 'answer') await revoking
      await e.kill()
      const receipt = await revoking
      answered += receipt ? 1 : 0
      await e.start()
      await cluster.settled()
      await cluster.spread()
      const found = await Promise.all(cluster.members.map((member) => ask(member, token)))
      expect([200, 401]).toContain(found[0] as number)
      expect(new Set(found).size).toBe(1)
      if (receipt) expect(found[0]).toBe(401)
      if (found[0] === 401) {
        dead += 1
        for (const text of said.slice(0, -1)) expect(await text).toContain('token_revoked')
      } else await a.running.revoke({ tokens: [id] })
      await Promise.all(said)
    }
    expect(answered).toBeGreaterThan(0)
    expect(dead).toBeGreaterThanOrEqual(answered)
  })

  test('a majority that is stopped: the others refuse, nothing is complete, and all is well when they wake', async () => {
    const leaked = await issue('leaked')
    const other = await issue('innocent')
    const stopped = [c, d, e]
    for (const { running } of stopped) running.kill('SIGSTOP')
    for (const member of [a, b])
      await eventually(async () => (await ask(member, other.token)) === 503, { timeoutMs: 10_000, everyMs: 10 })
    const receipt = await a.running.revoke({ tokens: [leaked.id] })
    expect(receipt).toMatchObject({ durable: true, complete: false })
    expect(stateAt(receipt, 'b')).toBe('acked')
    // They wait in the buffers of processes that do not run.
    const waiting = stopped.flatMap((member) => Array.from({ length: 5 }, () => ask(member, leaked.token)))
    expect((await receiptOf(a, receipt)).complete).toBe(false)
    for (const { running } of stopped) running.kill('SIGCONT')
    // Nobody had said complete, so the token may pass until they hear of it; not once the receipt is complete.
    await complete(a, receipt)
    for (const member of cluster.members) expect([401, 503]).toContain(await ask(member, leaked.token))
    for (const status of await Promise.all(waiting)) expect([401, 503]).toContain(status)
    await cluster.settled()
    await everywhere(other.token, 200)
    await everywhere(leaked.token, 401)
  })

  test('after all that, nobody ended, and nothing was a defect', () => {
    for (const { running } of cluster.members) {
      expect(running.stderr()).not.toMatch(/promise was rejected|panic|a step failed/)
    }
    expect(machines).toHaveLength(NODES)
    expect(b.running.pid).toBeGreaterThan(0)
  })
})
