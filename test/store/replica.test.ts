import { afterEach, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  type FactStream,
  hadSeen,
  nextHlc,
  type Seen,
  stampOf,
  STREAMS,
  type StoredFact,
  type Vector,
} from '../../src/fact.ts'
import { limits } from '../../src/limits.ts'
import { matches } from '../../src/revocation.ts'
import type { RevocationRecord, Selector } from '../../src/revocation-record.ts'
import { earlierDeath } from '../../src/token.ts'
import { fact } from '../../src/store/log.ts'
import type { Handler } from '../../src/store/replica/handler.ts'
import { connect, openNode, type ReplicatedNode } from '../support/replicated.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const open: ReplicatedNode[] = []
const node = (folder = tempFolder(), more: Record<string, Handler> = {}): ReplicatedNode => {
  const made = openNode(folder, () => 1_000, more)
  open.push(made)
  return made
}
const close = (one: ReplicatedNode): string => {
  open.splice(open.indexOf(one), 1)
  one.close()
  return one.folder
}
const restart = (one: ReplicatedNode, more: Record<string, Handler> = {}): ReplicatedNode => node(close(one), more)
afterEach(() => {
  for (const one of [...open]) removeFolder(close(one))
})

const ORIGINS = ['node_a', 'node_b', 'node_c'] as const
const pick = fc.nat({ max: 1_000 })
const at = <T>(all: readonly T[], n: number): T => all[n % all.length] as T

/** What a node of the model does; whom and what it names is picked of what there is by then. */
const deed = fc.record({
  origin: fc.nat({ max: 2 }),
  kind: fc.constantFrom('issue', 'issue', 'issue', 'rotate', 'policy', 'revoke', 'revoke'),
  what: fc.constantFrom('token', 'subject', 'group', 'server', 'all', 'issuedBefore', 'tokenOfSubject'),
  pick,
  other: pick,
  skewMs: fc.integer({ min: -50, max: 50 }),
  hears: fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 4 }), fc.nat({ max: 4 })),
})
type Deed = typeof deed extends fc.Arbitrary<infer T> ? T : never

interface ModelToken {
  id: string
  subject: string | null
  group: string | null
  servers: Set<string>
  createdAt: number
  seen: Seen
  secrets: string[]
}

const digestOf = (n: number): string => Buffer.from(`${n}`.padStart(32, '.')).toString('base64')

/** Facts of three nodes that hear of each other now and then, and what must come of them in whatever order they arrive. */
const play = (deeds: readonly Deed[]) => {
  const facts: StoredFact[] = []
  const made: ModelToken[] = []
  const told: { origin: string; seq: number; selector: Selector }[] = []
  const deaths = new Map<string, number>()
  const policies = new Map<string, { stamp: string; calls: number }>()
  const known = ORIGINS.map(() => ORIGINS.map(() => 0))
  const seqs = ORIGINS.map(() => ({ revocation: 0, change: 0 }))
  const hlcs: (string | null)[] = ORIGINS.map(() => null)
  let clock = 100
  let secrets = 0
  const write = (n: number, stream: FactStream, kind: string, payload: object, skewMs: number) => {
    const origin = at(ORIGINS, n)
    const hlc = nextHlc(hlcs[n] ?? null, clock + skewMs)
    hlcs[n] = hlc
    const counted = seqs[n] as (typeof seqs)[number]
    counted[stream] += 1
    if (stream === 'revocation') (known[n] as number[])[n] = counted.revocation
    facts.push({ origin, stream, seq: counted[stream], kind, hlc, payload: JSON.stringify(payload) })
    return { origin, seq: counted[stream], stamp: stampOf(hlc, origin) }
  }
  for (const { origin: n, kind, what, pick: picked, other, skewMs, hears } of deeds) {
    clock += 1
    const own = known[n] as number[]
    for (const [peer, more] of hears.entries())
      own[peer] = Math.min((own[peer] ?? 0) + more, seqs[peer]?.revocation ?? 0)
    const secret = () => ({ digest: digestOf((secrets += 1)), keyId: 'key_unknown', createdAt: clock, diesAt: null })
    const token = made.length > 0 ? at(made, picked) : null
    if (kind === 'issue' || !token) {
      const first = secret()
      const issued: ModelToken = {
        id: `tok_${made.length}`,
        subject: at([null, 'Ada@x', 'ada@x', 'bob'], picked),
        group: at([null, 'g', 'h'], other),
        servers: new Set(at([['s1'], ['s2'], ['s1', 's2']], other)),
        createdAt: clock + skewMs,
        seen: Object.fromEntries(ORIGINS.map((origin, peer) => [origin, own[peer] ?? 0])),
        secrets: [first.digest],
      }
      made.push(issued)
      const row = { name: `name ${picked % 3}`, createdBy: 'local:0', expiresAt: null, revokedAt: null, policy: null }
      write(n, 'change', 'token.issue', { ...issued, ...row, servers: [...issued.servers], secrets: [first] }, skewMs)
    } else if (kind === 'rotate') {
      const next = secret()
      // Of what it knows of the token: some, or all.
      const listed = token.secrets.slice(other % 2)
      const death = other % 3 === 0 ? -clock : clock + 50 + (other % 7)
      for (const digest of listed) deaths.set(digest, earlierDeath(deaths.get(digest) ?? null, death) ?? death)
      token.secrets.push(next.digest)
      const dying = Object.fromEntries(listed.map((digest) => [digest, death]))
      const payload = { id: token.id, secret: next, deaths: dying, oldDieAt: death, actor: 'local:0' }
      write(n, 'change', 'token.rotate', payload, skewMs)
    } else if (kind === 'policy') {
      const policy = { callsPerMinute: 1 + (other % 9) }
      const { stamp } = write(n, 'change', 'token.policy', { id: token.id, policy, actor: 'local:0' }, skewMs)
      if (stamp > (policies.get(token.id)?.stamp ?? '')) policies.set(token.id, { stamp, calls: policy.callsPerMinute })
    } else {
      const selectors: Record<Deed['what'], Selector> = {
        token: { tokens: [token.id] },
        subject: { subject: 'ada@x' },
        group: { group: 'g' },
        server: { server: at(['s1', 's2'], other) },
        all: { all: true },
        issuedBefore: { issuedBefore: clock - (other % 20) },
        tokenOfSubject: { tokens: [token.id], subject: 'ada@x' },
      }
      const selector = selectors[what]
      const { seq } = seqs[n] ? { seq: seqs[n].revocation + 1 } : { seq: 0 }
      const record = { id: `rev_${n}_${seq}`, at: clock, actor: 'local:0', reason: 'other', note: '', selector }
      told.push({ ...write(n, 'revocation', 'token.revoke', record, skewMs), selector })
    }
  }
  const isDead = (token: ModelToken): boolean =>
    told.some(
      (one) =>
        matches(one.selector, { ...token, ...REST }) &&
        (one.selector.tokens !== undefined || !hadSeen(token.seen, one)),
    )
  const expected = made.map((token) => ({
    id: token.id,
    dead: isDead(token),
    secrets: token.secrets.map((digest) => [digest, deaths.get(digest) ?? null]).toSorted(),
    calls: policies.get(token.id)?.calls ?? null,
  }))
  return { facts, expected: expected.toSorted(byId) }
}

const REST = { name: '', createdBy: '', expiresAt: null, revokedAt: null, revocationId: null, policy: null }
const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)

const stateOf = ({ tokens }: ReplicatedNode) =>
  [...tokens]
    .map((token) => ({
      id: token.id,
      dead: token.revokedAt !== null,
      secrets: token.secrets.map(({ digest, diesAt }) => [digest, diesAt]).toSorted(),
      calls: (token.policy as { callsPerMinute?: number } | null)?.callsPerMinute ?? null,
    }))
    .toSorted(byId)

const registersOf = ({ store }: ReplicatedNode) => store.client.query('SELECT * FROM registers ORDER BY key').all()
const auditOf = ({ store }: ReplicatedNode) =>
  store.client.query('SELECT node, action, target_id AS target, details FROM audit ORDER BY sequence').all() as {
    node: string
    action: string
    target: string | null
    details: string
  }[]
const vectorOf = (facts: readonly StoredFact[]): Vector => {
  const vector: Record<string, [number, number]> = {}
  for (const { origin, stream, seq } of facts) {
    const reach = (vector[origin] ??= [0, 0])
    const place = stream === 'revocation' ? 0 : 1
    reach[place] = Math.max(reach[place], seq)
  }
  return vector
}

/** Delivers all facts in an order that keeps each stream's: in batches, some twice, some too early. */
const deliver = (to: ReplicatedNode, facts: readonly StoredFact[], choices: readonly number[]): void => {
  const queues = ORIGINS.flatMap((origin) =>
    STREAMS.map((stream) => facts.filter((fact) => fact.origin === origin && fact.stream === stream)),
  )
  const sent = queues.map(() => 0)
  const dead = new Set<string>()
  const deaths = new Map<string, number>()
  const look = () => {
    for (const token of to.tokens) {
      if (token.revokedAt !== null) dead.add(token.id)
      else expect(dead.has(token.id), 'a dead token lives').toBe(false)
      for (const { digest, diesAt } of token.secrets) {
        expect(diesAt ?? Infinity).toBeLessThanOrEqual(deaths.get(digest) ?? Infinity)
        if (diesAt !== null) deaths.set(digest, diesAt)
      }
    }
  }
  for (let step = 0; queues.some((queue, n) => (sent[n] ?? 0) < queue.length); step += 1) {
    const choice = at(choices, step) + step
    const batch: StoredFact[] = []
    for (const [n, queue] of queues.entries()) {
      const from = sent[n] ?? 0
      const count = (choice >> n) % 4
      // What it has is passed over, and so is what comes before its time.
      if ((choice + n) % 7 === 0) batch.push(...queue.slice(Math.max(0, from - 2), from))
      if ((choice + n) % 5 === 0) batch.push(...queue.slice(from + 1, from + 3))
      else {
        batch.push(...queue.slice(from, from + count))
        sent[n] = Math.min(queue.length, from + count)
      }
    }
    to.replica.apply(batch, choice % 2 === 0)
    look()
  }
}

test('whatever the order, the batches and the repetitions, the same facts are the same tokens, and what is dead stays dead', () => {
  fc.assert(
    fc.property(
      fc.array(deed, { minLength: 1, maxLength: 40 }),
      fc.array(fc.nat({ max: 100_000 }), { minLength: 3, maxLength: 12 }),
      fc.array(fc.nat({ max: 100_000 }), { minLength: 3, maxLength: 12 }),
      (deeds, one, other) => {
        const { facts, expected } = play(deeds)
        const [a, early] = [node(), node()]
        deliver(a, facts, one)
        deliver(early, facts.slice(0, facts.length / 2), one)
        // What it knew, it knows after a restart.
        const b = restart(early)
        deliver(b, facts, other)
        const nodes = [a, b]
        for (const each of nodes) {
          expect(stateOf(each)).toEqual(expected)
          expect(each.replica.vector).toEqual(vectorOf(facts))
          expect(each.store.client.query('SELECT count(*) AS n FROM parked').get()).toEqual({ n: 0 })
        }
        expect(registersOf(a)).toEqual(registersOf(b))
        const head = a.store.log.head
        expect(a.replica.apply(facts, true)).toEqual({ revocations: [], count: 0 })
        expect(a.store.log.head).toEqual(head)
        const again = restart(a)
        expect(stateOf(again)).toEqual(expected)
        expect(again.replica.vector).toEqual(vectorOf(facts))
        // What came by one is passed on by it.
        const third = node()
        third.pull(again, 500)
        expect(stateOf(third)).toEqual(expected)
        for (const each of [again, b, third]) removeFolder(close(each))
      },
    ),
    { numRuns: 30, endOnFailure: true },
  )
})

const issued = (by: ReplicatedNode, name: string, subject: string | null = null) =>
  by.issue(name, { subject, servers: ['s1'] })
const tokenAt = (one: ReplicatedNode, id: string) => {
  const token = one.tokens.get(id)
  if (!token) throw new Error('the token is not there')
  return token
}

test('what a selector names dies wherever it is, cut and told; what was issued by one who knew of it lives', () => {
  const [a, b] = [node(), node()]
  const here = issued(a, 'here', 'ada@x')
  b.pull(a)
  const stream = connect(b, tokenAt(b, here.id))
  const elsewhere = issued(b, 'elsewhere', 'Ada@X')
  const { id } = a.revoke({ subject: 'ada@x' })
  const after = issued(a, 'after', 'ada@x')
  const facts = a.replica.behind(b.replica.vector, Infinity).facts
  expect(b.replica.apply(facts, false)).toEqual({
    revocations: [{ origin: a.store.node, seq: 1, cut: 1, revocation: id }],
    count: 2,
  })
  expect(stream.cause()).toBe('token_revoked')
  expect(tokenAt(b, elsewhere.id)).toMatchObject({ revocationId: id })
  expect(tokenAt(b, after.id).revokedAt).toBeNull()
  // Its own list of the dead, and the place of the fact.
  expect(b.revocationStore.get(id)?.tokens.map(({ name }) => name)).toEqual(['here', 'elsewhere'])
  expect(b.revocationStore.factOf(id)).toEqual({ origin: a.store.node, stream: 'revocation', seq: 1 })
  expect(b.revocationStore.revocationOf({ origin: a.store.node, seq: 1 })).toBe(id)
  expect(b.revoked).toMatchObject([{ record: { id }, cut: 1 }])
  // Dead on arrival, though it was issued where nobody had heard of the revocation.
  a.pull(b)
  expect(tokenAt(a, elsewhere.id)).toMatchObject({ revocationId: id })
  expect(stateOf(restart(a))).toEqual(stateOf(b))
})

test('an id kills whatever its issuer knew, also when it comes before its token', () => {
  const [a, b] = [node(), node()]
  const token = issued(a, 'early')
  const record = a.revoke({ tokens: [token.id] })
  const [revocation, issue] = a.facts()
  if (revocation?.kind !== 'token.revoke' || !issue) throw new Error('revocations come first')
  expect(b.replica.apply([revocation], false).revocations).toMatchObject([{ cut: 0, revocation: record.id }])
  b.replica.apply([issue], false)
  expect(tokenAt(b, token.id)).toMatchObject({ revocationId: record.id })
  expect(auditOf(b).at(-1)).toMatchObject({ node: a.store.node, action: 'token.issue', target: token.id })
  expect(auditOf(b).at(-1)?.details).toContain(record.id)
})

test('a new secret ends what runs under the old, a policy all that runs; the older of two policies changes nothing', () => {
  const [a, b] = [node(), node()]
  const token = issued(a, 'rotated')
  b.pull(a)
  const [old, ruled] = [connect(b, tokenAt(b, token.id)), issued(a, 'ruled')]
  a.rotate(token)
  b.pull(a)
  expect(old.cause()).toBe('token_revoked')
  expect(tokenAt(b, token.id).secrets.map(({ diesAt }) => diesAt)).toEqual([-1_000, null])
  const other = connect(b, tokenAt(b, ruled.id))
  const beside = connect(b, tokenAt(b, token.id))
  a.rule(ruled, 5)
  b.rule(tokenAt(b, ruled.id), 7)
  expect(other.cause()).toBe('connection_killed')
  expect(beside.cause()).toBeNull()
  b.pull(a)
  a.pull(b)
  expect(tokenAt(a, ruled.id).policy).toEqual(tokenAt(b, ruled.id).policy)
  expect(stateOf(restart(a))).toEqual(stateOf(restart(b)))
})

test('the death of a secret that is not here yet waits for it', () => {
  const [a, b, c] = [node(), node(), node()]
  const token = issued(a, 'rotated')
  b.pull(a)
  a.rotate(token)
  const [issue, rotation] = a.facts() as [StoredFact, StoredFact]
  b.replica.apply([rotation], false)
  b.rotate(tokenAt(b, token.id))
  c.replica.apply([issue], false)
  c.replica.apply(
    b.facts().filter(({ origin }) => origin === b.store.node),
    false,
  )
  // Also over a restart.
  const again = restart(c)
  again.replica.apply([rotation], false)
  expect(stateOf(again)).toEqual(stateOf(b))
  expect(tokenAt(again, token.id).secrets.filter(({ diesAt }) => diesAt === null)).toHaveLength(1)
  expect(auditOf(again).filter(({ action }) => action === 'token.rotate')).toHaveLength(2)
})

test('what does not follow is passed over, and so is what is known', () => {
  const [a, b] = [node(), node()]
  for (const name of ['one', 'two', 'three']) issued(a, name)
  const [first, second, third] = a.facts() as [StoredFact, StoredFact, StoredFact]
  expect(b.replica.apply([third, second], false).count).toBe(0)
  expect(b.replica.vector).toEqual({})
  expect(b.replica.apply([first, first, third, second], false).count).toBe(2)
  expect(b.replica.vector).toEqual({ [a.store.node]: [0, 2] })
  expect(b.tokens.size).toBe(2)
})

test('pages hold so many bytes, or one fact; revocations of all origins come first', () => {
  const [a, b] = [node(), node()]
  for (const name of ['one', 'two']) a.revoke({ tokens: [issued(a, name).id] })
  b.pull(a)
  b.revoke({ tokens: [issued(b, 'three').id] })
  const all = b.replica.behind({}, Infinity)
  expect(all.more).toBe(false)
  expect(all.facts.map(({ stream }) => stream[0])).toEqual([...'rrrccc'])
  const [first, second] = all.facts as [StoredFact, StoredFact]
  expect(b.replica.behind({}, 1)).toEqual({ facts: [first], more: true })
  expect(b.replica.behind({}, first.payload.length + second.payload.length).facts).toEqual([first, second])
  expect(b.replica.behind(b.replica.vector, 1)).toEqual({ facts: [], more: false })
})

test('a kind that is not known is kept, passed on, told, and applied when it is known', () => {
  const [a, b] = [node(), node()]
  const gate = { stream: 'change', kind: 'gate.dance', payload: { id: 'x' } } as const
  const ban = { stream: 'revocation', kind: 'address.ban', payload: { address: '10.0.0.1' } } as const
  const event = { actor: 'local:0', action: 'address.ban' }
  a.store.log.changes([event], [gate, ban], () => undefined)
  expect(b.replica.apply(a.facts(), false)).toEqual({ revocations: [], count: 2 })
  const unknown = [{ origin: a.store.node, stream: 'revocation', seq: 1 }] as const
  expect(b.replica.unknown).toEqual([...unknown])
  const c = node()
  c.pull(restart(b))
  expect(c.replica.unknown).toEqual([...unknown])
  const banned: unknown[] = []
  const handler: Handler = {
    write: ({ payload }) => ({ event, after: () => banned.push(payload.address) }),
  }
  const knows = restart(c, { 'address.ban': handler })
  expect(banned).toEqual(['10.0.0.1'])
  expect(knows.replica.unknown).toEqual([])
  expect(auditOf(knows).at(-1)).toMatchObject({ node: a.store.node, action: 'address.ban' })
  restart(knows, { 'address.ban': handler })
  expect(banned).toHaveLength(1)
})

test('changes that are pulled many at once are one row of the audit log, up to the limit and revocations each their own', () => {
  const [a, b, c] = [node(), node(), node()]
  for (let n = 0; n < limits.catchUpRowsMax; n += 1) issued(a, `token ${n}`)
  b.pull(a)
  expect(auditOf(b).filter(({ action }) => action === 'token.issue')).toHaveLength(limits.catchUpRowsMax)
  a.revoke({ tokens: [issued(a, 'one more').id] })
  a.revoke({ tokens: [] })
  c.pull(a)
  expect(auditOf(c).map(({ action }) => action)).toEqual(['token.revoke', 'token.revoke', 'cluster.catch-up'])
  const count = limits.catchUpRowsMax + 1
  expect(JSON.parse(auditOf(c).at(-1)?.details ?? '')).toEqual({ count, kinds: { 'token.issue': count } })
  expect(auditOf(c).every(({ node: origin }) => origin === a.store.node)).toBe(true)
})

test('when the database refuses, nothing is stored, and a revocation denies and cuts all the same; then it is written', () => {
  const [a, b] = [node(), node()]
  const token = issued(a, 'leaked', 'ada@x')
  b.pull(a)
  const stream = connect(b, tokenAt(b, token.id))
  a.revoke({ subject: 'ada@x' })
  issued(a, 'other')
  const { vector } = b.replica
  b.store.client.run("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END")
  expect(() => b.replica.apply(a.facts(), false)).toThrow('disk full')
  expect(b.replica.vector).toEqual(vector)
  expect(stream.cause()).toBe('token_revoked')
  expect(tokenAt(b, token.id).revokedAt).toBe(1_000)
  expect(b.tokens.size).toBe(1)
  b.store.client.run('DROP TRIGGER full')
  expect(b.replica.apply(a.facts(), false).count).toBe(2)
  const again = restart(b)
  expect(tokenAt(again, token.id).revokedAt).toBe(1_000)
  expect(again.tokens.size).toBe(2)
})

const recordOf = (id: string, selector: Selector): RevocationRecord => ({
  ...{ id, at: 900, actor: 'operator:ada', reason: 'compromised', note: '', selector },
  tokens: [],
})

test('a revocation that another disk refused becomes a fact of this node, once', () => {
  const [a, b] = [node(), node()]
  const token = issued(b, 'leaked', 'ada@x')
  const stream = connect(b, token)
  const pushed: StoredFact[] = []
  b.store.log.onCommitted = (facts) => void pushed.push(...facts)
  const record = recordOf('rev_a', { subject: 'ada@x' })
  const facts = b.replica.adopt(record)
  expect(facts).toMatchObject([{ origin: b.store.node, stream: 'revocation', seq: 1, kind: 'token.revoke' }])
  expect(pushed).toEqual([...facts])
  expect(stream.cause()).toBe('token_revoked')
  expect(b.replica.adopt(record)).toEqual([])
  a.pull(b)
  expect(a.replica.adopt(record)).toEqual([])
  expect(tokenAt(a, token.id).revocationId).toBe('rev_a')
  expect(tokenAt(restart(b), token.id).revocationId).toBe('rev_a')
})

test('a fact that its handler can not take keeps out no other, is told and not acked, and is applied by who can', () => {
  const [a, broken] = [node(), { write: () => JSON.parse('of tomorrow') as never }]
  const b = node(tempFolder(), { 'token.policy': broken, 'operator.remove': broken })
  const [token, other] = [issued(a, 'leaked', 'ada@x'), issued(a, 'other')]
  a.rule(other, 3)
  const removed = fact('revocation', 'operator.remove', { id: 'op_1', by: 'x' })
  a.store.log.change({ actor: 'x', action: 'operator.remove' }, [removed], () => {})
  a.revoke({ subject: 'ada@x' })
  b.pull(a)
  expect(b.replica.vector).toEqual(a.replica.vector)
  expect(tokenAt(b, token.id).revokedAt).toBe(1_000)
  expect(tokenAt(b, other.id).policy).toBeNull()
  expect(b.replica.unknown).toMatchObject([{ origin: a.store.node, stream: 'revocation', seq: 1 }])
  expect(b.defects.toSorted()).toEqual(['operator.remove', 'token.policy'])
  expect(b.facts()).toEqual(a.facts())
  const again = restart(b, { 'operator.remove': { write: () => ({ event: null, after: () => 0 }) } })
  expect(tokenAt(again, other.id).policy?.callsPerMinute).toBe(3)
  expect(again.replica.unknown).toEqual([])
  expect(again.defects).toEqual([])
})

test('what one fact can not carry out keeps no other from being denied and cut', () => {
  const a = node()
  const after = () => {
    throw new TypeError('a defect')
  }
  const b = node(tempFolder(), { 'apikey.remove': { write: () => ({ event: null, after }) } })
  const token = issued(a, 'leaked', 'ada@x')
  b.pull(a)
  const stream = connect(b, tokenAt(b, token.id))
  a.store.log.change({ actor: 'x', action: 'x' }, [fact('revocation', 'apikey.remove', { id: 'key_1' })], () => {})
  a.revoke({ subject: 'ada@x' })
  expect(b.replica.apply(a.facts(), false).revocations).toHaveLength(2)
  expect(stream.cause()).toBe('token_revoked')
  expect(b.defects).toEqual(['apikey.remove'])
})

const REFUSE = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END"

test('what waits in the journal, and comes back from a peer first, is dead on the disk too', () => {
  const [a, b] = [node(), node()]
  const token = issued(a, 'leaked', 'ada@x')
  const other = issued(a, 'other', 'bob@x')
  b.pull(a)
  const names = ({ id, name, subject }: typeof token) => [{ id, name, subject }]
  const entry = (record: RevocationRecord) => ({ op: 'revocation' as const, record, issuedUntil: 1_000 })
  const record = { ...recordOf('rev_a', { subject: 'ada@x' }), tokens: names(token) }
  const lost = { ...recordOf('rev_lost', { subject: 'bob@x' }), tokens: names(other) }
  a.store.client.run(REFUSE)
  for (const one of [entry(record), entry(lost)]) {
    expect(() => a.revocationStore.applyEmergency(one, false)).toThrow('disk full')
    a.pending.push(one)
  }
  for (const one of [token, other]) one.revokedAt = 900
  const facts = b.replica.adopt({ ...record, tokens: [] })
  expect(() => a.replica.apply(facts, false)).toThrow('disk full')
  a.store.client.run('DROP TRIGGER full')
  // Of the same revocation, and of another that names who is dead in memory by one that is lost.
  b.revoke({ all: true })
  a.pull(b)
  expect(a.revocationStore.get('rev_a')?.tokens).toEqual(names(token))
  a.revocationStore.applyEmergency(entry(record), true)
  const again = restart(a)
  for (const { id } of [token, other]) expect(tokenAt(again, id).revokedAt).not.toBeNull()
})

test('a revocation that neither disk took is written when it comes, and its number is free for the next', () => {
  const [a, b, c] = [node(), node(), node()]
  const token = issued(c, 'leaked', 'ada@x')
  for (const one of [a, b]) one.pull(c)
  b.store.client.run(REFUSE)
  expect(() => b.replica.adopt(recordOf('rev_a', { subject: 'ada@x' }))).toThrow('disk full')
  expect(tokenAt(b, token.id).revocationId).toBe('rev_a')
  b.store.client.run('DROP TRIGGER full')
  b.revoke({ group: 'g' })
  const meanwhile = c.issue('meanwhile', { group: 'g', servers: ['s1'] })
  b.pull(c)
  expect(tokenAt(b, meanwhile.id).revokedAt).not.toBeNull()
  a.revoke({ subject: 'ada@x' }, 'rev_a')
  b.pull(a)
  expect(tokenAt(restart(b), token.id).revocationId).toBe('rev_a')
})

test('what waited in the journal kills on every node what was there when it was asked for, and nothing made since', () => {
  const [a, b] = [node(), node()]
  const record = { ...recordOf('rev_a', { subject: 'ada@x' }), at: 1_000 }
  const before = issued(b, 'before', 'ada@x')
  a.pull(b)
  const stream = connect(a, tokenAt(a, before.id))
  a.revocationStore.applyEmergency({ op: 'revocation', record, issuedUntil: 1_000 }, true)
  expect(stream.cause()).toBe('token_revoked')
  const later = { ...recordOf('rev_b', { group: 'g' }), at: 900 }
  const since = b.issue('since', { group: 'g', servers: ['s1'] })
  a.pull(b)
  a.revocationStore.applyEmergency({ op: 'revocation', record: later, issuedUntil: 999 }, true)
  b.pull(a)
  for (const one of [a, b]) {
    expect(tokenAt(one, before.id).revocationId).toBe('rev_a')
    expect(tokenAt(one, since.id).revokedAt).toBeNull()
  }
  expect(stateOf(restart(a))).toEqual(stateOf(restart(b)))
})

test('a clock that is behind writes later than what it has heard of', () => {
  const [a, b] = [node(), node()]
  const token = issued(a, 'one')
  a.rule(token, 5)
  const ahead = { ...(a.facts().at(-1) as StoredFact), hlc: nextHlc(null, 10_000_000) }
  b.replica.apply([...a.facts().slice(0, -1), ahead], false)
  b.rule(tokenAt(b, token.id), 9)
  expect((b.facts().at(-1) as StoredFact).hlc > ahead.hlc).toBe(true)
})
