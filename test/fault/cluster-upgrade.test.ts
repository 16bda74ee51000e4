import { afterAll, afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { dial, type Established } from '../../src/cluster/handshake.ts'
import { decodeMessage } from '../../src/cluster/frame.ts'
import { join } from '../../src/cluster/join.ts'
import type { Message } from '../../src/cluster/message.ts'
import type { Transport, TransportEvents } from '../../src/cluster/transport.ts'
import { dialWire, type Wire } from '../../src/cluster/wire.ts'
import type { FactId } from '../../src/fact.ts'
import type { OperatorJson, RevocationJson, ServerJson, TokenJson } from '../../src/server/api/schemas.ts'
import { consoleApi } from '../api/console.ts'
import { postForm, signIn } from '../api/session.ts'
import type { TrustOptions, trustOf } from '../cluster/nodes.ts'
import { Node } from '../cluster/transported.ts'
import { builtBinary } from '../support/binary.ts'
import { startCluster, TestCluster, type TestMember, ticketOf } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import { answersTo, expectAlive, expectedAnswers } from '../support/released/holds.ts'
import { makeReleased } from '../support/released/released.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'
import { startEcho } from '../support/upstreams/echo.ts'

/** One node after the other is upgraded: for a while nodes of this version and of the next are one cluster. */

const command = [builtBinary()]
const LEASE_MS = 1_000

/** Links of a node that speaks frames of version 2 and 1, and says more than this version understands. */
class NextTransport implements Transport {
  readonly name = 'websocket'
  readonly got: { peer: string; message: Message }[] = []
  /** Those that it reaches; to others it has no way. */
  readonly reaches = new Set<string>()
  #members: Parameters<Transport['members']>[0] = []
  readonly #links = new Map<string, { wire: Wire; session: Established['session'] | null }>()
  #timer: NodeJS.Timeout | null = null

  constructor(
    readonly trust: ReturnType<typeof trustOf>,
    readonly events: TransportEvents,
  ) {}

  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#dialAll(), 50)
  }

  members(members: Parameters<Transport['members']>[0]): void {
    this.#members = members
  }

  #dialAll(): void {
    for (const { id, url } of this.#members) if (this.reaches.has(id) && !this.#links.has(id)) this.#dial(id, url)
  }

  #dial(id: string, url: string): void {
    const keyOf = (member: string) => this.#members.find((one) => one.id === member)?.key ?? null
    const step = dial(this.trust, keyOf, id, [2, 1])
    const link: { wire: Wire; session: Established['session'] | null } = {
      session: null,
      wire: dialWire(new URL(`${url}/link?from=${this.trust.self().id}`), {
        opened: () => link.wire.send(step.hello),
        received: (data) => {
          if (!link.session) {
            const established = typeof data === 'string' ? step.finish(data) : 'malformed'
            if (typeof established === 'string') return this.events.refused(established)
            link.wire.send(established.proof)
            link.session = established.session
            return this.events.linked(id)
          }
          const plain = typeof data === 'string' ? 'malformed' : link.session.open(data)
          const message = typeof plain === 'string' ? plain : decodeMessage(plain)
          if (typeof message === 'string') return this.events.refused(message)
          if (!message) return
          this.got.push({ peer: id, message })
          this.events.message(id, message)
        },
        closed: () => {
          this.#links.delete(id)
          if (link.session) this.events.unlinked(id)
        },
      }),
    }
    this.#links.set(id, link)
  }

  send(to: string, message: Message): boolean {
    const link = this.#links.get(to)
    if (!link?.session) return false
    const say = (value: object) => {
      if (link.session) link.wire.send(link.session.seal(Buffer.from(`\x01${JSON.stringify(value)}`)))
    }
    say({ t: 'gossip', about: ['something', 'of', { the: 'next version' }] })
    say({ ...message, later: { some: 'field' } })
    return true
  }

  broadcast(message: Message): void {
    for (const id of this.linked()) this.send(id, message)
  }

  drop(peer: string): void {
    this.#links.get(peer)?.wire.terminate()
  }

  linked(): readonly string[] {
    return [...this.#links].flatMap(([id, { session }]) => (session ? [id] : []))
  }

  stop(): void {
    clearInterval(this.#timer ?? undefined)
    for (const { wire } of this.#links.values()) wire.terminate()
  }
}

const startNext = async (member: TestMember, id: string) => {
  const options: TrustOptions = { url: 'ws://127.0.0.1:1' }
  let transport: NextTransport | null = null
  const node = new Node(id, (_id, trust, events) => (transport = new NextTransport(trust, events)), options)
  const { cluster, secret, memberships } = await join(member.url, await ticketOf(member), node.member, '9.0.0')
  const newest = memberships.at(-1)
  if (!newest || !transport) throw new Error('there is no membership')
  options.cluster = cluster
  options.secrets = [{ version: newest.version, secret: new Uint8Array(Buffer.from(secret, 'base64')) }]
  await node.start(newest)
  return { node, transport: transport as NextTransport, [Symbol.dispose]: () => node.stop() }
}

const upstream = startStreamUpstream()
afterAll(() => upstream.stop())

const ask = async (member: TestMember, token: string): Promise<number> => {
  const answer = await fetch(`${member.running.gate}/s/live/once`, { headers: { authorization: `Bearer ${token}` } })
  await answer.body?.cancel()
  return answer.status
}

test('a node of the next version: what it says that is not understood is kept, passed on and not acked', async () => {
  await using cluster = await startCluster(2, { command, args: ['--lease', `${LEASE_MS / 1_000}s`] })
  const [a, b] = cluster.members as [TestMember, TestMember]
  await a.running.addServer('live', upstream.url, { kind: 'http' })
  const leaked = await a.running.createToken('leaked', ['live'])
  const innocent = await a.running.createToken('innocent', ['live'])
  await cluster.spread()
  const ids = { a: await a.id(), b: await b.id() }
  using next = await startNext(a, 'next')
  const { node, transport } = next
  transport.reaches.add(ids.a)
  await eventually(async () => {
    const status = await a.status()
    expect(status.clustered && status.members.find(({ id }) => id === 'next')).toMatchObject({
      state: 'linked',
      behind: 0,
      version: 'test',
    })
    return true
  })

  // In each stream one that only it knows, and one that all know behind it.
  node.commit('revocation', '{"whom":"everybody, a little"}', 'token.freeze')
  const record = {
    ...{ id: 'rev_next', at: Date.now(), actor: 'local:0', reason: 'compromised', note: 'of the next version' },
    ...{ selector: { tokens: [leaked.id] }, issuedUntil: 0 },
  }
  node.commit('revocation', JSON.stringify(record))
  node.commit('change', '{"id":"gdg_1"}', 'gadget.put')
  const policy = { allow: null, deny: [], readOnly: false, callsPerMinute: 77, concurrentStreams: null }
  node.commit('change', JSON.stringify({ id: innocent.id, policy, actor: 'local:0' }), 'token.policy')

  // It has no way to b: a passes all of it on.
  for (const member of [a, b]) {
    await eventually(async () => (await ask(member, leaked.token)) === 401)
    await eventually(async () => {
      const { json } = await member.running.api<TokenJson>('GET', `/tokens/${innocent.id}`)
      return json.policy?.callsPerMinute === 77
    })
    expect(await ask(member, innocent.token)).toBe(200)
  }
  const frozen: FactId = { origin: 'next', stream: 'revocation', seq: 1 }
  const toldBy = (peer: string) =>
    transport.got.flatMap((got) => (got.peer === peer && got.message.t === 'digest' ? [got.message] : [])).at(-1)
  const tells = (peer: string) =>
    eventually(() => {
      const digest = toldBy(peer)
      expect(digest?.vector['next']).toEqual([2, 2])
      expect(digest?.unknown).toEqual([frozen])
      return true
    })
  await tells(ids.a)
  const acked = () =>
    transport.got
      .flatMap(({ message }) => (message.t === 'ack' ? message.acks : []))
      .filter(({ origin }) => origin === 'next')
  await eventually(() => acked().some(({ seq }) => seq === 2))
  expect(acked().filter(({ seq }) => seq === 1)).toEqual([])

  // What all know is complete, what they do not know never is: not when every lease has run out either.
  const complete = (seq: number) => node.protocol.completion({ origin: 'next', seq }, performance.now()).complete
  await eventually(() => complete(2))
  const later = performance.now() + 2 * LEASE_MS
  await eventually(() => performance.now() > later, { everyMs: 50 })
  expect([complete(1), complete(2)]).toEqual([false, true])

  // They go on, the unknown or not, also when they start anew; and what they do is complete on the new one too.
  await b.kill()
  await b.start()
  await eventually(async () => {
    const status = await b.status()
    return status.clustered && status.serving
  })
  transport.reaches.add(ids.b)
  await tells(ids.b)
  expect(await ask(b, leaked.token)).toBe(401)
  const { json: receipt } = await b.running.api<RevocationJson>('POST', '/revocations?wait=10s', {
    tokens: [innocent.id],
    reason: 'compromised',
  })
  expect(receipt.complete).toBe(true)
  expect(receipt.peers.map(({ state }) => state)).toEqual(['acked', 'acked'])
  expect([await ask(a, innocent.token), await ask(b, innocent.token)]).toEqual([401, 401])
  expect(node.refused).toEqual([])
  for (const { running } of [a, b]) {
    const metrics = await (await fetch(`${running.console}/metrics`)).text()
    expect(metrics.match(/^portcullis_cluster_refused_total\{.*\} [1-9].*$/gm)).toBeNull()
    expect(running.stderr()).not.toMatch(/promise was rejected|panic|a step failed/)
  }
}, 60_000)

describe('a folder of 0.5.0', () => {
  let echo: Awaited<ReturnType<typeof startEcho>>
  beforeEach(async () => {
    echo = await startEcho()
  })
  afterEach(() => echo.stop())

  test('founds a cluster, and who joins gets everything', async () => {
    await using cluster = new TestCluster({ command })
    const a = cluster.member()
    const facts = makeReleased('0.5.0', a.data, echo.url)
    await a.start()
    await expectAlive(a.running, facts)
    const b = await cluster.join()
    await cluster.settled()
    await cluster.spread()
    for (const { running } of [a, b]) await expectAlive(running, facts)
    expect(await answersTo(b.running, facts)).toEqual(expectedAnswers(facts))
    // But for the nodes' own probes.
    const passed = echo.requests.filter(({ head }) => head.startLine.startsWith('GET /x '))
    expect(passed.length).toBeGreaterThan(0)
    for (const { head } of passed) expect(head.get(facts.header.name)).toBe(facts.header.value)

    const tokensAt = async ({ running }: TestMember) => {
      const { json } = await running.api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')
      return json.items
        .map(({ id, name, status, subject, group, policy, servers, createdAt, expiresAt }) => ({
          ...{ id, name, status, subject, group, policy, createdAt, expiresAt },
          servers: servers.toSorted(),
        }))
        .toSorted((one, other) => (one.id < other.id ? -1 : 1))
    }
    const tokens = await tokensAt(b)
    expect(tokens.map(({ name }) => name).toSorted()).toEqual(Object.keys(facts.tokens).toSorted())
    expect(tokens).toEqual(await tokensAt(a))
    const serversAt = async ({ running }: TestMember) => {
      const { json } = await running.api<{ items: ServerJson[] }>('GET', '/servers')
      return Object.fromEntries(json.items.map(({ name, state }): [string, string] => [name, state]))
    }
    expect(await serversAt(b)).toEqual(facts.servers)
    const { json: revocations } = await b.running.api<{ items: RevocationJson[] }>('GET', '/revocations?limit=1000')
    for (const { id, note, tokens: dead } of facts.revocations) {
      const here = revocations.items.find((one) => one.id === id)
      expect({ note: here?.note, dead: here?.tokens.map(({ name }) => name).toSorted() }).toEqual({
        note,
        dead: dead.toSorted(),
      })
    }
    for (const { key, answer } of facts.apiKeys)
      expect((await consoleApi(b.running, key)('GET', '/tokens')).status).toBe(answer)
    for (const { name, password, removed } of facts.operators) {
      if (removed) expect((await postForm(b.running, '/sign-in', { name, password })).status).toBe(401)
      else expect(await signIn(b.running, name, password)).toContain('=')
    }
    const { json: operators } = await b.running.api<{ items: OperatorJson[] }>('GET', '/operators')
    expect(operators.items.map(({ name }) => name).toSorted()).toEqual(
      facts.operators.flatMap(({ name, removed }) => (removed ? [] : [name])).toSorted(),
    )
    // From here on it is a cluster like any other.
    const receipt = await b.running.revoke({ all: true })
    expect(receipt.complete).toBe(true)
    expect(new Set(await answersTo(a.running, facts))).toEqual(new Set([401]))
  }, 60_000)
})
