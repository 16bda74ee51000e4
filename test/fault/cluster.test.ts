import { afterAll, expect, test } from 'bun:test'
import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { startCluster, type TestMember, ticketOf } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import { freePort } from '../support/port.ts'
import { parseEvents } from '../support/sse.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'

/** Nodes that lose sight of each other, stop, or die: what clients see, and what the receipt says. Real processes. */

const upstream = startStreamUpstream()
afterAll(() => upstream.stop())

const ask = (member: TestMember, token: string) =>
  fetch(`${member.running.gate}/s/live/once`, { headers: { authorization: `Bearer ${token}` } })

const slugOf = async (answer: Response): Promise<string> => ((await answer.json()) as { type: string }).type

const receiptAt = async (member: TestMember, id: string) =>
  (await member.running.api<RevocationJson>('GET', `/revocations/${id}`)).json

const threeNodes = async (...args: string[]) => {
  const cluster = await startCluster(3, { proxied: true, args })
  const [a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
  await a.running.addServer('live', upstream.url, { kind: 'http' })
  return { cluster, a, b, c }
}

test('under lease an isolated node cuts and refuses before a revocation is called complete, and comes back', async () => {
  const { cluster, a, b, c } = await threeNodes('--lease', '2s')
  await using _ = cluster
  const { id, token } = await a.running.createToken('leaked', ['live'])
  const other = await a.running.createToken('innocent', ['live'])
  const stream = await upstream.open(c.running.gate, token)
  await cluster.cut(a, c)
  await cluster.cut(b, c)

  const receipt = await a.running.revoke({ tokens: [id] })
  expect(receipt.complete).toBe(false)
  expect(receipt.peers).toMatchObject([
    { node: 'b', state: 'acked' },
    { node: 'c', state: 'pending' },
  ])
  // It has not heard of it: the token still passes there, and nobody says otherwise.
  expect((await ask(c, token)).status).toBe(200)

  const text = await stream.text
  const last = parseEvents(text).at(-1)
  expect(last).toMatchObject({ event: 'disconnect' })
  expect(last?.data).toContain('node_stale')
  const refused = await ask(c, token)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
  expect(await slugOf(refused)).toEndWith(':node-stale')
  expect((await fetch(`${c.running.console}/readyz`)).status).toBe(503)
  await eventually(async () => {
    expect(await c.status()).toMatchObject({ serving: false, reason: 'node_stale', isolated: true })
    return true
  })

  await eventually(async () => (await receiptAt(a, receipt.id)).complete, { timeoutMs: 10_000 })
  // By then it has stopped: that is what complete says.
  expect(stream.endedAt()).toBeGreaterThan(0)
  const done = await receiptAt(a, receipt.id)
  expect(done.peers).toMatchObject([
    { node: 'b', state: 'acked' },
    { node: 'c', state: 'lease_expired' },
  ])

  await cluster.cut(a, c, false)
  await cluster.cut(b, c, false)
  await eventually(async () => (await ask(c, other.token)).status === 200, { timeoutMs: 10_000 })
  const dead = await ask(c, token)
  expect(dead.status).toBe(401)
}, 60_000)

test('what an isolated node revokes is not complete: the others go on, and hear of it when they are back', async () => {
  const { cluster, a, b, c } = await threeNodes('--lease', '2s')
  await using _ = cluster
  const { id, token } = await a.running.createToken('leaked', ['live'])
  const stream = await upstream.open(a.running.gate, token)
  await cluster.cut(a, c)
  await cluster.cut(b, c)
  const receipt = await c.running.revoke({ tokens: [id] })
  expect(receipt).toMatchObject({ complete: false, durable: true })
  // Longer than any lease: who only hears from a majority would have said complete by now.
  await eventually(async () => (await c.status()).clustered && (await ask(c, token)).status === 401)
  const lateness = performance.now() + 3_500
  await eventually(() => performance.now() > lateness, { timeoutMs: 5_000, everyMs: 50 })
  expect((await receiptAt(c, receipt.id)).complete).toBe(false)
  expect((await ask(a, token)).status).toBe(200)

  await cluster.cut(a, c, false)
  await cluster.cut(b, c, false)
  expect(parseEvents(await stream.text).at(-1)?.data).toContain('token_revoked')
  await eventually(async () => (await receiptAt(c, receipt.id)).complete, { timeoutMs: 10_000 })
  for (const member of [a, b]) await eventually(async () => (await ask(member, token)).status === 401)
}, 60_000)

test('a process that was stopped and wakes lets nothing through that it finds in its buffers', async () => {
  const { cluster, a, c } = await threeNodes('--lease', '2s')
  await using _ = cluster
  const { id, token } = await a.running.createToken('leaked', ['live'])
  const stream = await upstream.open(c.running.gate, token)
  c.running.kill('SIGSTOP')
  const receipt = await a.running.revoke({ tokens: [id] })
  expect(receipt.complete).toBe(false)
  await eventually(async () => (await receiptAt(a, receipt.id)).complete, { timeoutMs: 15_000, everyMs: 50 })
  const completeAt = Date.now()
  // They wait in the buffers of a process that does not run.
  const asked = Array.from({ length: 20 }, () => ask(c, token))
  c.running.kill('SIGCONT')
  for (const answer of await Promise.all(asked)) expect([401, 503]).toContain(answer.status)
  // Events that the upstream said after the revocation was complete went nowhere.
  const said = parseEvents(await stream.text).flatMap(({ event, data }) => (event === 'message' ? [Number(data)] : []))
  expect(said.length).toBeGreaterThan(0)
  expect(Math.max(...said)).toBeLessThan(completeAt)
}, 60_000)

test('under serve an isolated node goes on, and the receipt waits for it however long that takes', async () => {
  await using cluster = await startCluster(2, { proxied: true })
  const [a, b] = cluster.members as [TestMember, TestMember]
  await a.running.addServer('live', upstream.url, { kind: 'http' })
  const { id, token } = await a.running.createToken('leaked', ['live'])
  const stream = await upstream.open(b.running.gate, token)
  await cluster.cut(a, b)
  const receipt = await a.running.revoke({ tokens: [id] })
  expect(receipt).toMatchObject({ complete: false, peers: [{ node: 'b', state: 'pending' }] })
  expect((await ask(b, token)).status).toBe(200)
  await cluster.cut(a, b, false)
  expect(parseEvents(await stream.text).at(-1)?.data).toContain('token_revoked')
  await eventually(async () => (await receiptAt(a, receipt.id)).complete)
}, 60_000)

test('a node that is deaf on one side only is isolated all the same', async () => {
  const { cluster, a, b, c } = await threeNodes('--lease', '2s')
  await using _ = cluster
  const { token } = await a.running.createToken('any', ['live'])
  expect((await ask(c, token)).status).toBe(200)
  const ids = await Promise.all([a, b, c].map((member) => member.id()))
  // What the others say does not reach it; what it says reaches them.
  for (const from of ids) if (c.proxy) c.proxy.wireFrom(from).deaf.dialler = true
  for (const { proxy } of [a, b]) if (proxy) proxy.wireFrom(ids[2] as string).deaf.dialled = true
  await eventually(async () => (await ask(c, token)).status === 503, { timeoutMs: 10_000 })
  for (const { proxy } of [a, b, c]) {
    for (const from of ids) {
      const wire = proxy?.wireFrom(from)
      if (wire) wire.deaf = { dialler: false, dialled: false }
    }
    proxy?.apply()
  }
  await eventually(async () => (await ask(c, token)).status === 200, { timeoutMs: 10_000 })
}, 60_000)

test('kill -9 of any node loses nothing that was answered', async () => {
  const { cluster, a, b, c } = await threeNodes('--lease', '2s')
  await using _ = cluster
  const dead: string[] = []
  const alive: string[] = []
  for (const [round, victim] of [c, b, a, c].entries()) {
    const from = [a, b, c].find((member) => member !== victim) as TestMember
    const one = await from.running.createToken(`dead ${round}`, ['live'])
    const two = await victim.running.createToken(`alive ${round}`, ['live'])
    const revoking = victim.running.revoke({ tokens: [one.id] })
    const receipt = await revoking
    await victim.kill()
    dead.push(one.token)
    alive.push(two.token)
    expect(receipt.durable).toBe(true)
    await victim.start()
    await cluster.settled()
  }
  for (const member of [a, b, c]) {
    for (const token of dead) await eventually(async () => (await ask(member, token)).status === 401)
    for (const token of alive) await eventually(async () => (await ask(member, token)).status === 200)
  }
}, 90_000)

test('a joiner lets nobody in before it knows what the others know', async () => {
  await using cluster = await startCluster(2)
  const [a] = cluster.members as [TestMember]
  await a.running.addServer('live', upstream.url, { kind: 'http' })
  for (let made = 0; made < 300; made += 1) await a.running.createToken(`filler ${made}`, ['live'])
  const dead = await a.running.createToken('dead', ['live'])
  const alive = await a.running.createToken('alive', ['live'])
  await a.running.revoke({ tokens: [dead.id] })

  const joiner = cluster.member()
  const gate = freePort()
  const seen = { dead: new Set<number>(), alive: [] as number[] }
  let over = false
  const hammer = (async () => {
    while (!over) {
      const get = (token: string) =>
        fetch(`http://127.0.0.1:${gate}/s/live/once`, { headers: { authorization: `Bearer ${token}` } }).then(
          ({ status }) => status,
          () => 0,
        )
      seen.dead.add(await get(dead.token))
      seen.alive.push(await get(alive.token))
      await Bun.sleep(1)
    }
  })()
  await joiner.start('--cluster-join', a.url, '--ticket', await ticketOf(a), '--listen', `127.0.0.1:${gate}`)
  await eventually(() => seen.alive.includes(200), { timeoutMs: 15_000 })
  over = true
  await hammer
  expect([...seen.dead].filter((status) => ![0, 401, 503].includes(status))).toEqual([])
  // 401 would make a client throw its token away.
  expect([...new Set(seen.alive)].filter((status) => ![0, 200, 503].includes(status))).toEqual([])
  const first = seen.alive.indexOf(200)
  expect(seen.alive.slice(first).every((status) => status === 200)).toBe(true)
}, 60_000)
