import { expect, test } from 'bun:test'
import { Lease } from '../../src/cluster/lease.ts'
import { checkChange, isMember, majorityOf, nextStep } from '../../src/cluster/membership.ts'
import type { Member, Membership, Message } from '../../src/cluster/message.ts'
import { Protocol, type ProtocolState, stateOf, type Timing } from '../../src/cluster/protocol.ts'
import type { ClusterPolicy } from '../../src/cluster-view.ts'
import { AppError } from '../../src/error.ts'
import type { FactId, StoredFact, Vector } from '../../src/fact.ts'
import { limits } from '../../src/limits.ts'
import type { Applied, ProtocolDisk, Replica } from '../../src/replica.ts'

const TIMING: Timing = {
  digestMs: 250,
  leaseGuard: 1.1,
  pullBytesMax: 1_000,
  syncGraceMs: 3_000,
  changeTimeoutMs: 10_000,
}
const LEASE_MS = 5_000

const member = (id: string): Member => ({ id, name: id.toUpperCase(), url: `ws://${id}:1`, key: '' })

const membership = (ids: string, policy: ClusterPolicy, more: Partial<Membership> = {}): Membership => ({
  version: 1,
  ballot: '1.a',
  floor: { vector: {}, unknown: [] },
  members: [...ids].map(member),
  policy,
  auto: false,
  leaseMs: LEASE_MS,
  void: [],
  off: [],
  heir: null,
  secret: 'sealed',
  actor: 'test',
  change: 'founded',
  ...more,
})

/** Facts in memory: all that the protocol asks of a replica. */
class Facts implements Replica {
  vector: Vector = {}
  readonly unknown: FactId[] = []
  readonly all: StoredFact[] = []
  refuses = false

  behind(vector: Vector, bytesMax: number) {
    const missing = this.all.filter(({ origin, seq }) => seq > (vector[origin]?.[0] ?? 0))
    const facts = missing.slice(0, Math.max(1, Math.floor(bytesMax / 100)))
    return { facts, more: facts.length < missing.length }
  }

  apply(facts: readonly StoredFact[]): Applied {
    if (this.refuses) throw new AppError('storage', 'the disk is full')
    const news = facts.filter((fact) => {
      const reach = this.vector[fact.origin]?.[0] ?? 0
      if (fact.seq !== reach + 1) return false
      this.vector = { ...this.vector, [fact.origin]: [fact.seq, 0] }
      this.all.push(fact)
      return true
    })
    return {
      revocations: news.map(({ origin, seq }) => ({ origin, seq, cut: 1, revocation: null })),
      count: news.length,
    }
  }
}

/** Nodes whose messages arrive at once, unless a link is down. */
class Cluster {
  now = 0
  readonly nodes = new Map<string, { protocol: Protocol; facts: Facts; disk: ProtocolDisk<ProtocolState> }>()
  readonly down = new Set<string>()
  sent: Message[] = []

  constructor(first: Membership) {
    for (const { id } of first.members) this.start(id, stateOf([first], true))
    this.link()
  }

  start(id: string, state: ProtocolState, fresh = false): void {
    let saved = state
    const disk = { load: () => saved, save: (next: ProtocolState) => void (saved = next) }
    const facts = this.nodes.get(id)?.facts ?? new Facts()
    const protocol = new Protocol({ self: member(id), replica: facts, disk, timing: TIMING, version: '1', fresh })
    this.nodes.set(id, { protocol, facts, disk })
    protocol.start(this.now)
  }

  link(): void {
    for (const id of this.nodes.keys()) {
      for (const other of this.nodes.keys()) if (this.up(id, other)) this.at(id).linked(other, this.now)
    }
    this.deliver()
  }

  at(id: string): Protocol {
    const node = this.nodes.get(id)
    if (!node) throw new Error(`no node ${id}`)
    return node.protocol
  }

  facts(id: string): Facts {
    const node = this.nodes.get(id)
    if (!node) throw new Error(`no node ${id}`)
    return node.facts
  }

  up(a: string, b: string): boolean {
    return a !== b && !this.down.has(a) && !this.down.has(b)
  }

  cut(id: string): void {
    this.down.add(id)
    for (const other of this.nodes.keys()) {
      if (other === id) continue
      this.at(id).unlinked(other, this.now)
      this.at(other).unlinked(id, this.now)
    }
  }

  deliver(): void {
    for (let some = true; some;) {
      some = false
      for (const [from, { protocol }] of this.nodes) {
        for (const { to, message } of protocol.drain()) {
          this.sent.push(message)
          for (const [id, node] of this.nodes) {
            if ((to !== 'all' && to !== id) || !this.up(from, id)) continue
            some = true
            node.protocol.receive(from, message, this.now)
          }
        }
      }
    }
  }

  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 50
      for (const { protocol } of this.nodes.values()) if (protocol.nextTickAt <= this.now) protocol.tick(this.now)
      this.deliver()
    }
  }

  revoke(id: string): number {
    const facts = this.facts(id)
    const seq = (facts.vector[id]?.[0] ?? 0) + 1
    const fact: StoredFact = { origin: id, stream: 'revocation', seq, kind: 'token.revoke', hlc: '', payload: '{}' }
    facts.apply([fact])
    this.at(id).committed([fact], this.now)
    this.deliver()
    return seq
  }

  state(id: string, seq: number, of = 'a') {
    const { complete, peers } = this.at(id).completion({ origin: of, seq }, this.now)
    return { complete, peers: peers.map((peer) => `${peer.id} ${peer.state}`).toSorted() }
  }
}

test('a lease runs from the question, and needs a majority of each membership', () => {
  const lease = new Lease()
  const three = membership('abc', 'lease')
  const five = membership('abcde', 'lease', { version: 2, leaseMs: 1_000 })
  lease.granted('b', 100)
  expect(lease.validUntil([three], 'a')).toBe(5_100)
  // By the shortest of the two, and two of five are no majority.
  expect(lease.validUntil([three, five], 'a')).toBe(-Infinity)
  lease.granted('d', 40)
  expect(lease.validUntil([three, five], 'a')).toBe(1_040)
  // A grant of before never shortens one.
  lease.granted('b', 50)
  expect(lease.validUntil([three], 'a')).toBe(5_100)
  expect(lease.validUntil([membership('abc', 'serve')], 'a')).toBe(Infinity)
  expect(lease.validUntil([membership('a', 'lease')], 'a')).toBe(Infinity)
})

test('members are changed one at a time, and the policy follows their number', () => {
  const two = membership('ab', 'serve', { auto: true })
  expect(nextStep(two, { kind: 'add', member: member('c') })).toMatchObject({
    policy: 'lease',
    members: [...'abc'].map(member),
  })
  expect(nextStep(two, { kind: 'add', member: member('b') })).toBeNull()
  const removed = nextStep(two, { kind: 'remove', id: 'b', force: true, secret: 'new' })
  expect(removed).toMatchObject({ members: [member('a')], void: [member('b')], secret: 'new', policy: 'serve' })
  // The place is empty before another takes it: majorities of what follows each other must meet.
  const replaced = nextStep(two, { kind: 'replace', id: 'b', member: member('c'), off: true, secret: '' })
  expect(replaced).toMatchObject({ members: [member('a')], void: [], off: ['b'], heir: member('c') })
  expect(() => nextStep(membership('a', 'serve'), { kind: 'remove', id: 'a', force: true, secret: '' })).toThrow(
    'last member',
  )
  expect(() => checkChange([two], { kind: 'add', member: member('x') }, ['x'])).toThrow('was removed')
  expect(() => checkChange([two], { kind: 'off', id: 'a' }, [])).toThrow('no removed member')
  const full = membership('', 'lease', { members: Array.from({ length: 100 }, (_, at) => member(`n${at}`)) })
  expect(() => checkChange([full], { kind: 'add', member: member('x') }, [])).toThrow('at most 100')
  // Changes that wait for one that was removed are not piled up until nobody can read them.
  const waiting = [...Array(limits.membershipsWaitingMax - 1).fill(membership('abx', 'serve')), two]
  const policy = { kind: 'policy', policy: 'lease', leaseMs: LEASE_MS } as const
  expect(() => checkChange(waiting.slice(1), policy, [])).not.toThrow()
  expect(() => checkChange(waiting, policy, [])).toThrow('say that it is off')
  expect(() => checkChange(waiting, { kind: 'off', id: 'x' }, [])).not.toThrow()
  expect([1, 2, 3, 4, 5].map((count) => majorityOf(membership('abcde'.slice(0, count), 'lease')))).toEqual([
    1, 2, 2, 3, 3,
  ])
})

test('under serve a revocation is complete when all have acked, and not before', () => {
  const cluster = new Cluster(membership('abc', 'serve'))
  cluster.pass(500)
  expect(cluster.state('a', cluster.revoke('a'))).toEqual({ complete: true, peers: ['b acked', 'c acked'] })
  cluster.cut('c')
  const seq = cluster.revoke('a')
  cluster.pass(60_000)
  expect(cluster.state('a', seq)).toEqual({ complete: false, peers: ['b acked', 'c pending'] })
  cluster.down.clear()
  cluster.link()
  expect(cluster.state('a', seq)).toEqual({ complete: true, peers: ['b acked', 'c acked'] })
  expect(cluster.at('a').takeCompleted()).toHaveLength(2)
})

test('under lease it is complete once the lease of who is away has run out, and a tenth more', () => {
  const cluster = new Cluster(membership('abc', 'lease'))
  cluster.pass(500)
  cluster.cut('c')
  const seq = cluster.revoke('a')
  cluster.pass(LEASE_MS)
  expect(cluster.at('c').standing(cluster.now).unfit).toBe('node_stale')
  expect(cluster.state('a', seq)).toEqual({ complete: false, peers: ['b acked', 'c pending'] })
  cluster.pass(1_000)
  expect(cluster.state('a', seq)).toEqual({ complete: true, peers: ['b acked', 'c lease_expired'] })
  expect(cluster.at('a').standing(cluster.now).unfit).toBeNull()
})

test('who is alone can call nothing complete under lease, nor let anybody in', () => {
  const cluster = new Cluster(membership('abc', 'lease'))
  cluster.pass(500)
  cluster.cut('a')
  const seq = cluster.revoke('a')
  cluster.pass(60_000)
  expect(cluster.state('a', seq).complete).toBe(false)
  expect(cluster.at('a').standing(cluster.now).unfit).toBe('node_stale')
  expect(cluster.at('a').status(cluster.now).isolated).toBe(true)
  expect(cluster.at('b').status(cluster.now).isolated).toBe(false)
})

test('what the disk refused is not acked, and asked for again', () => {
  const cluster = new Cluster(membership('ab', 'serve'))
  cluster.facts('b').refuses = true
  const seq = cluster.revoke('a')
  cluster.pass(2_000)
  expect(cluster.state('a', seq)).toEqual({ complete: false, peers: ['b pending'] })
  cluster.facts('b').refuses = false
  cluster.pass(2_000)
  expect(cluster.state('a', seq)).toEqual({ complete: true, peers: ['b acked'] })
})

test('under serve one that is away is removed by force alone, and nothing is complete until it is off', () => {
  const cluster = new Cluster(membership('ab', 'serve'))
  cluster.pass(500)
  cluster.cut('b')
  const asked = cluster.at('a').change({ kind: 'remove', id: 'b', force: false, secret: 's' }, 'ann', cluster.now)
  cluster.pass(11_000)
  expect(cluster.at('a').changeOutcome(asked)).toEqual({ failed: expect.stringContaining('by force') })
  cluster.at('a').change({ kind: 'remove', id: 'b', force: true, secret: 's' }, 'ann', cluster.now)
  const seq = cluster.revoke('a')
  expect(cluster.state('a', seq)).toEqual({ complete: false, peers: ['b removed'] })
  cluster.at('a').change({ kind: 'off', id: 'b' }, 'ann', cluster.now)
  cluster.pass(500)
  expect(cluster.state('a', seq)).toEqual({ complete: true, peers: [] })
})

test('a majority removes one that is away under lease; it learns of it, but not the new secret', () => {
  const cluster = new Cluster(membership('abc', 'lease'))
  cluster.pass(500)
  cluster.cut('c')
  const asked = cluster.at('a').change({ kind: 'remove', id: 'c', force: false, secret: 'new' }, 'ann', cluster.now)
  cluster.pass(500)
  expect(cluster.at('a').changeOutcome(asked)).toBe('in_force')
  // Its last lease is waited for.
  expect(cluster.state('a', cluster.revoke('a')).complete).toBe(false)
  cluster.down.clear()
  cluster.link()
  cluster.pass(500)
  expect(isMember(cluster.at('c').membership, 'c')).toBe(false)
  expect(cluster.at('c').membership.secret).toBe('')
  expect(cluster.at('b').membership.secret).toBe('new')
  expect(cluster.at('c').standing(cluster.now).unfit).toBe('not_synced')
  expect(cluster.at('a').view).toHaveLength(1)
})

test('what a peer tells by memberships that are not known here counts for nothing, until it has told them whole', () => {
  const cluster = new Cluster(membership('abc', 'lease'))
  cluster.pass(500)
  const seq = cluster.revoke('a')
  cluster.cut('b')
  cluster.cut('c')
  const a = cluster.at('a')
  const newer = membership('abcd', 'lease', { version: 2, ballot: '2.b' })
  const told = { vector: { a: [seq + 1, 0] as const, d: [9, 0] as const }, unknown: [], version: '1', synced: true }
  const digest: Message = {
    t: 'digest',
    ask: 1,
    ...told,
    view: [
      [1, '1.a'],
      [2, '2.b'],
    ],
    former: null,
  }
  const said = () => a.drain().map(({ to, message }) => `${to} ${message.t}`)
  a.receive('b', digest, cluster.now)
  // Neither is it granted anything, nor asked for what it has, nor believed that it knows more of `a` than `a` itself.
  expect(said()).toEqual(['b which'])
  expect(a.rolledBack).toBe(false)
  a.receive('b', digest, cluster.now)
  expect(said()).toEqual([])
  a.receive('b', { t: 'ack', acks: [], ...told, view: [[2, '2.b']] }, cluster.now + TIMING.digestMs)
  expect(said()).toEqual(['b which'])
  expect(a.rolledBack).toBe(false)
  a.receive('b', { t: 'view', memberships: [membership('abc', 'lease'), newer] }, cluster.now)
  expect(a.membership).toEqual(newer)
  a.receive('b', digest, cluster.now)
  expect(a.rolledBack).toBe(true)
})

test('an ack that names a membership that is not known here completes nothing', () => {
  const cluster = new Cluster(membership('ab', 'serve'))
  cluster.pass(500)
  cluster.cut('b')
  const [a, seq] = [cluster.at('a'), cluster.revoke('a')]
  const view = [
    [1, '1.a'],
    [2, '2.b'],
  ] as const
  const ack: Message = { t: 'ack', acks: [], vector: { a: [seq, 0] }, unknown: [], view }
  a.receive('b', ack, cluster.now)
  expect(cluster.state('a', seq)).toEqual({ complete: false, peers: ['b pending'] })
  const newer = membership('abc', 'serve', { version: 2, ballot: '2.b' })
  a.receive('b', { t: 'view', memberships: [membership('ab', 'serve'), newer] }, cluster.now)
  a.receive('b', ack, cluster.now)
  // Another one has joined there, who may let anybody in.
  expect(cluster.state('a', seq)).toEqual({ complete: false, peers: ['b acked', 'c pending'] })
})

test('who is behind is told whole memberships, and who asks; all others their names', () => {
  const cluster = new Cluster(membership('abc', 'lease'))
  cluster.cut('c')
  cluster.at('a').change({ kind: 'policy', policy: 'lease', leaseMs: 2_000 }, 'ann', cluster.now)
  cluster.pass(500)
  const a = cluster.at('a')
  expect(a.membership.version).toBe(2)
  const view: Message = { t: 'view', memberships: a.view }
  const told = { vector: {}, unknown: [], version: '1', synced: true, former: null }
  a.receive('c', { t: 'digest', ask: 1, ...told, view: [[1, '1.a']] }, cluster.now)
  expect(a.drain()).toContainEqual({ to: 'c', message: view })
  a.receive('c', { t: 'which' }, cluster.now)
  expect(a.drain()).toEqual([{ to: 'c', message: view }])
  cluster.sent = []
  cluster.revoke('a')
  cluster.pass(2_000)
  expect(new Set(cluster.sent.map(({ t }) => t))).toEqual(new Set(['digest', 'answer', 'facts', 'ack']))
  expect(JSON.stringify(cluster.sent)).not.toMatch(/members|secret|sealed/)
})

test('a joiner lets nobody in before it knows what every member knows', () => {
  const cluster = new Cluster(membership('abc', 'lease'))
  cluster.pass(500)
  for (let count = 0; count < 50; count += 1) cluster.revoke('a')
  const asked = cluster.at('a').change({ kind: 'add', member: member('d') }, 'ann', cluster.now)
  cluster.pass(500)
  expect(cluster.at('a').changeOutcome(asked)).toBe('in_force')
  cluster.start('d', stateOf(cluster.at('a').view, false), true)
  cluster.cut('c')
  cluster.link()
  cluster.pass(2_000)
  expect(cluster.facts('d').vector).toEqual(cluster.facts('a').vector)
  expect(cluster.at('d').standing(cluster.now).unfit).toBe('not_synced')
  cluster.down.clear()
  cluster.link()
  cluster.pass(500)
  expect(cluster.at('d').standing(cluster.now).unfit).toBeNull()
})

test('a peer that knows more of this node than itself: it went back, and uses no number again', () => {
  const cluster = new Cluster(membership('ab', 'serve'))
  cluster.revoke('a')
  const state = cluster.nodes.get('a')?.disk.load()
  cluster.nodes.delete('a')
  if (state) cluster.start('a', state)
  cluster.link()
  expect(cluster.at('a').rolledBack).toBe(true)
  expect(cluster.at('a').standing(cluster.now).unfit).toBe('not_synced')
  expect(cluster.at('b').rolledBack).toBe(false)
})

test('two changes at once: the second is told to wait', () => {
  const cluster = new Cluster(membership('abc', 'lease'))
  cluster.cut('b')
  cluster.cut('c')
  cluster.at('a').change({ kind: 'policy', policy: 'serve', leaseMs: LEASE_MS }, 'ann', cluster.now)
  const again = () => cluster.at('a').change({ kind: 'policy', policy: 'lease', leaseMs: 1_000 }, 'ann', cluster.now)
  expect(again).toThrow('under way')
  expect(() =>
    new Cluster(membership('a', 'serve')).at('a').change({ kind: 'policy', policy: 'serve', leaseMs: 1 }, 'x', 0),
  ).toThrow('a lease takes')
})
