import { call } from '../support/call.ts'
import { afterEach, expect, test } from 'bun:test'
import { Activity } from '../../src/activity.ts'
import { alone } from '../../src/alone.ts'
import { type AuditEvent, type AuditHead, Fold } from '../../src/audit.ts'
import { Gate, type GateOptions } from '../../src/gate/gate.ts'
import { KeyRing, newRingKey } from '../../src/key.ts'
import { limits } from '../../src/limits.ts'
import { SYSTEM } from '../../src/operator.ts'
import { Placement } from '../../src/placement.ts'
import { Registry } from '../../src/registry.ts'
import { connectTo } from '../../src/selftest/client.ts'
import { startTestUpstream } from '../../src/selftest/upstream.ts'
import { SelfTest, type SelfTestDeps, type SelfTestResult, type TallyStore } from '../../src/selftest.ts'
import { Standing } from '../../src/standing.ts'
import { TokenIndex } from '../../src/token-index.ts'
import { UpstreamIndex } from '../../src/upstream.ts'
import { Evidence, UsageMeter } from '../../src/usage.ts'
import { eventually } from '../support/poll.ts'

const ADA = { name: 'operator:ada', role: 'operator' } as const
const SMALL = { ...limits, selftestMs: 1_500, selftestEndMs: 200, selftestAgainMs: 60_000 }

/** A database in memory. */
class MemoryStore implements TallyStore {
  head: AuditHead = { sequence: 7, hash: 'h7' }
  value: string | null = null
  events: AuditEvent[] = []
  commit(value: string): number {
    this.value = value
    return 1
  }
  synchronous(): ReturnType<TallyStore['synchronous']> {
    return 'FULL'
  }
  look() {
    return { value: this.value, head: this.head, follows: true }
  }
  read() {
    return this.value
  }
  append(event: AuditEvent, value: string) {
    this.events.push(event)
    this.head = { sequence: this.head.sequence + 1, hash: `h${this.head.sequence + 1}` }
    this.value = value
  }
}

interface Broken {
  registry?: Registry
  store?: MemoryStore
  /** Of the gate that the test goes through. */
  gate?: (tokens: TokenIndex) => Partial<GateOptions>
  deps?: Partial<SelfTestDeps>
}

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})

/** The real gate on a real port, and what is broken in its place. */
const setUp = (broken: Broken = {}) => {
  const registry = broken.registry ?? new Registry(SMALL, Date.now)
  const store = broken.store ?? new MemoryStore()
  const keys = new KeyRing({ database: 'db', keys: [newRingKey(0)] })
  const usage = new UsageMeter()
  const listener = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    development: false,
    fetch: () => new Response(null, { status: 503 }),
  })
  const options = (): GateOptions => ({
    tokens: new TokenIndex(),
    servers: new UpstreamIndex(),
    registry,
    keys,
    usage: new UsageMeter(),
    evidence: new Evidence({ evidenceOf: () => new Map(), putEvidence() {} }, SMALL),
    activity: new Activity(SMALL),
    fold: new Fold(10),
    limits: SMALL,
    now: Date.now,
    standing: new Standing(() => performance.now()),
    hosts: [],
    origins: [],
    trustedProxies: [],
    publicUrl: new URL(`http://127.0.0.1:${listener.port}`),
    call,
    placement: new Placement({ node: 'node_1', formerly: [], cluster: alone }),
    onUpstreamError() {},
    onAnswered() {},
  })
  const gate = new Gate({ ...options(), usage })
  listener.reload(gate.handlers)
  const turns: SelfTestResult[] = []
  const lent: string[] = []
  const clock = { now: Date.now() }
  const upstreams: ReturnType<typeof startTestUpstream>[] = []
  const deps: SelfTestDeps = {
    registry,
    keys,
    store,
    limits: SMALL,
    now: () => clock.now,
    everyMs: null,
    startUpstream(first) {
      const upstream = startTestUpstream(first)
      upstreams.push(upstream)
      return upstream
    },
    connect: (path, secret) => {
      lent.push(secret)
      return connectTo({ hosts: ['127.0.0.1'], port: listener.port as number, tls: false }, path, secret)
    },
    lend(server, tokens) {
      const own = { tokens, servers: new UpstreamIndex([server]), ...broken.gate?.(tokens) }
      const hidden = new Gate({ ...options(), ...own })
      gate.hide(`/s/${server.name}/`, hidden)
      return () => {
        gate.unhide()
        hidden.stop()
      }
    },
    onTurned: (result) => turns.push(result),
    onError: (error) => {
      throw error
    },
    ...broken.deps,
  }
  const make = () => {
    const made = new SelfTest(deps)
    ends.push(() => made.stop())
    return made
  }
  ends.push(() => listener.stop(true))
  ends.push(() => gate.stop())
  return { selfTest: make(), make, gate, registry, store, usage, turns, lent, clock, deps, upstreams, listener }
}

const stateOf = ({ steps }: SelfTestResult, name: string) => steps.find(({ step }) => step === name)?.state

test('a gate that revokes: every step passes, and nothing of it is left', async () => {
  const { selfTest, gate, registry, store, usage, lent, upstreams } = setUp()
  const result = await selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: true, step: null, message: null, remarks: [] })
  expect(result.steps.map(({ step, state }) => `${step} ${state}`)).toEqual(
    ['upstream', 'open', 'commit', 'sync', 'cut', 'end', 'farewell', 'refusal', 'row', 'chain', 'release', 'audit'].map(
      (step) => `${step} passed`,
    ),
  )
  const { timings } = result
  const order = [timings.commitMs, timings.deniedMs, timings.firstCutMs, timings.lastCutMs, timings.endSeenMs]
  expect(order.every((ms) => typeof ms === 'number' && ms >= 0)).toBe(true)
  expect(order.slice(0, 4)).toEqual(order.slice(0, 4).toSorted((a, b) => Number(a) - Number(b)))

  expect([registry.size, [...registry.all()], registry.live, registry.cuts.token_revoked]).toEqual([
    0,
    [],
    { sse: 0, stream: 0, request: 0, session: 0, process: 0 },
    0,
  ])
  expect([gate.counts.requests, [...gate.counts.refusals], gate.counts.deadTries]).toEqual([0, [], 0])
  let flushed = 0
  usage.flush({ addUsage: () => void (flushed += 1) }, 0)
  expect(flushed).toBe(0)
  // Its server has gone, and its token with the gate that knew it.
  await expect(fetch(`${upstreams[0]?.url}/events`, { proxy: '' }).then(({ status }) => status)).rejects.toThrow()
  const [secret = ''] = lent
  expect(secret).toMatch(/^pcl_/)
  expect(JSON.stringify([result, store.value, store.events])).not.toContain(secret.slice(4))
})

test('it is in no list while it runs, and in no limit', async () => {
  const seen: unknown[] = []
  const registry = new Registry({ ...SMALL, connectionsPerTokenMax: 0 }, Date.now, 0)
  const store = new MemoryStore()
  const { selfTest, gate } = setUp({ registry, store })
  store.commit = (value) => {
    seen.push(registry.size, [...registry.all()], { ...registry.live }, registry.get('c1'), gate.counts.requests)
    store.value = value
    return 1
  }
  expect((await selfTest.ask(ADA)).ok).toBe(true)
  expect(seen).toEqual([0, [], { sse: 0, stream: 0, request: 0, session: 0, process: 0 }, undefined, 0])
})

/** What a cut that was done has to tell. */
const pretended = (connections: Iterable<unknown>) => ({
  cut: [...connections].length,
  connections: [],
  firstCutAt: performance.now(),
  lastCutAt: Promise.resolve(performance.now()),
  releasedAt: Promise.resolve(performance.now()),
})

test('a cut that does nothing is noticed: the stream does not end', async () => {
  class Idle extends Registry {
    override cut(connections: Iterable<never>) {
      return pretended(connections)
    }
  }
  const registry = new Idle(SMALL, Date.now)
  const { selfTest } = setUp({ registry })
  const result = await selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'end', message: expect.stringContaining('still open') })
  // The predicate works all the same, and is told apart.
  expect(stateOf(result, 'refusal')).toBe('passed')
  // What could not be cut went with its client.
  await eventually(() => registry.ofToken('').size === 0)
})

test('a revocation that finds no stream is noticed, though the predicate ends it a moment later', async () => {
  class Blind extends Registry {
    override ofTokens() {
      return []
    }
  }
  const result = await setUp({ registry: new Blind(SMALL, Date.now) }).selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'cut', message: '0 connections were cut in place of 1' })
})

test('a cut for another cause is noticed: the client is told something else', async () => {
  class Wrong extends Registry {
    override cut(connections: Iterable<never>) {
      return super.cut(connections, 'connection_killed')
    }
  }
  const result = await setUp({ registry: new Wrong(SMALL, Date.now) }).selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'farewell', message: 'no farewell was said' })
})

/** A gate whose predicate always passes: no secret of it ever dies. */
const immortal = (tokens: TokenIndex) => ({
  tokens: Object.assign(Object.create(tokens) as TokenIndex, {
    findSecret: (...shown: Parameters<TokenIndex['findSecret']>) => {
      const secret = tokens.findSecret(...shown)
      if (!secret) return null
      const { id, servers, policy } = secret.token
      const token = { id, servers, policy, expiresAt: null, revokedAt: null, secrets: [] }
      return { digest: secret.digest, keyId: secret.keyId, diesAt: null, token }
    },
  }),
})

test('a predicate that always passes is noticed: no 401', async () => {
  const result = await setUp({ gate: immortal }).selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'refusal', message: 'the gate answered 200 to the dead token' })
  expect(stateOf(result, 'end')).toBe('passed')
})

test('a byte that passes after the cut is noticed', async () => {
  class Late extends Registry {
    override cut(connections: Iterable<never>, cause: 'token_revoked') {
      const all = [...connections]
      setTimeout(() => super.cut(all, cause), 50)
      return pretended(all)
    }
  }
  const result = await setUp({ registry: new Late(SMALL, Date.now), gate: immortal }).selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'farewell', message: expect.stringContaining('after the cut') })
})

const storeWith = (own: Partial<MemoryStore>) => Object.assign(new MemoryStore(), own)

test.each([
  [
    'commit',
    {
      commit: () => {
        throw new Error('database or disk is full')
      },
    },
    'database or disk is full',
  ],
  ['sync', { synchronous: () => 'NORMAL' as const }, 'synchronous is NORMAL'],
  ['row', { look: () => ({ value: null, head: { sequence: 7, hash: 'h7' }, follows: true }) }, 'does not find it'],
  [
    'chain',
    {
      look() {
        return { value: (this as MemoryStore).value, head: { sequence: 6, hash: 'h6' }, follows: true }
      },
    },
    'ends with row 6; the node wrote row 7 last',
  ],
  [
    'chain',
    {
      look() {
        return { value: (this as MemoryStore).value, head: { sequence: 7, hash: 'h7' }, follows: false }
      },
    },
    'does not hold',
  ],
])('a database that fails at %s is noticed, and the stream is dead all the same', async (step, own, message) => {
  const result = await setUp({ store: storeWith(own) }).selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step, message: expect.stringContaining(message) })
  for (const name of ['cut', 'end', 'farewell', 'refusal', 'release']) expect(stateOf(result, name)).toBe('passed')
})

test('a server that is not let go is noticed', async () => {
  const { promise: never } = Promise.withResolvers<void>()
  const startUpstream = (first: string) => ({ ...startTestUpstream(first), gone: never })
  const result = await setUp({ deps: { startUpstream } }).selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'release', message: expect.stringContaining('still ran') })
})

test('a listener that is not there is noticed, and one that says nothing', async () => {
  const connect = () => Promise.reject(new Error('Failed to connect'))
  expect(await setUp({ deps: { connect } }).selfTest.ask(ADA)).toMatchObject({
    ok: false,
    step: 'open',
    message: 'Failed to connect',
  })
  let closed = 0
  const late = Promise.withResolvers<never>()
  const silent = setUp({ deps: { connect: () => late.promise, limits: { ...SMALL, selftestMs: 100 } } })
  const result = await silent.selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'timeout', message: 'it took longer than 100 ms, at "open"' })
  expect(stateOf(result, 'open')).toBe('skipped')
  // What comes too late is closed.
  late.resolve({ close: () => (closed += 1) } as never)
  await eventually(() => closed === 1)
})

test('a sync that no disk is as fast at is worth a remark, and no failure', async () => {
  const store = new MemoryStore()
  store.commit = (value) => {
    store.value = value
    return 0.01
  }
  const result = await setUp({ store }).selfTest.ask(ADA)
  expect([result.ok, result.remarks]).toEqual([true, [expect.stringContaining('0.01 ms')]])
})

test('who asks leaves a row with the verdict', async () => {
  const { selfTest, store, turns, clock } = setUp()
  const passed = await selfTest.ask(ADA)
  const [row] = store.events
  expect(row).toEqual({
    actor: 'operator:ada',
    action: 'node.selftest',
    details: { ok: true, step: null, message: null, timings: passed.timings },
  })
  expect(turns).toEqual([])
  expect(selfTest.problem()).toBeNull()
  store.synchronous = () => 'OFF'
  await selfTest.ask(ADA)
  expect(store.events[1]).toMatchObject({ details: { ok: false, step: 'sync', message: 'synchronous is OFF' } })
  expect(selfTest.problem()).toBe('the test of a revocation failed at "sync": synchronous is OFF')
  expect(turns).toMatchObject([{ ok: false, step: 'sync' }])
  store.synchronous = () => 'FULL'
  clock.now += 1
  const again = await selfTest.ask(ADA)
  expect(selfTest.problem()).toBeNull()
  expect(turns).toHaveLength(2)
  expect(selfTest.last).toBe(again)
  expect(selfTest.counts).toEqual({ runs: 3, failures: new Map([['sync', 1]]) })
})

test('a row that can not be written fails the test that asked for it', async () => {
  const store = new MemoryStore()
  store.append = () => {
    throw new Error('full')
  }
  const result = await setUp({ store }).selfTest.ask(ADA)
  expect(result).toMatchObject({ ok: false, step: 'audit', message: 'full' })
})

test("the node's own leave one row a day, and one when the verdict turns", async () => {
  const { selfTest, make, store, clock, deps } = setUp()
  const rows = () => store.events.map(({ actor, details }) => [actor, details] as const)
  const ran = async (own: SelfTest, pass = true) => {
    store.synchronous = () => (pass ? 'FULL' : 'OFF')
    await own.ask(SYSTEM)
  }
  await ran(selfTest)
  clock.now += 60_000
  await ran(selfTest)
  expect(rows()).toEqual([])
  // A new process counts on, but for the last: its verdict was not known yet when it was committed.
  const next = make()
  clock.now += deps.limits.selftestRowMs - 60_000
  await ran(next)
  expect(rows()).toMatchObject([['system', { ok: true, runs: 2, failures: {} }]])
  clock.now += deps.limits.selftestTurnMs
  await ran(next, false)
  expect(rows()).toHaveLength(2)
  expect(rows()[1]).toMatchObject(['system', { ok: false, step: 'sync', runs: 1, failures: { sync: 1 } }])
  // However often it turns, it is no more than a row a minute.
  for (let second = 1; second < 60; second += 1) {
    clock.now += 1_000
    await ran(next, second % 2 === 0)
  }
  expect(rows()).toHaveLength(2)
  clock.now += 1_000
  await ran(next)
  expect(rows()).toHaveLength(3)
  expect(rows()[2]).toMatchObject(['system', { ok: true, runs: 60, failures: { sync: 30 } }])
})

test('what failed while the database could not take it is told when it can', async () => {
  const store = new MemoryStore()
  const { selfTest, clock, deps, turns } = setUp({ store })
  clock.now += deps.limits.selftestTurnMs
  const full = () => {
    throw new Error('full')
  }
  const [commit, append] = [store.commit.bind(store), store.append.bind(store)]
  Object.assign(store, { commit: full, append: full })
  await selfTest.ask(SYSTEM)
  await selfTest.ask(SYSTEM)
  // Who asked gets no row of their own: none could be written.
  await selfTest.ask(ADA)
  expect(turns).toHaveLength(1)
  expect(selfTest.last).toMatchObject({ step: 'commit' })
  Object.assign(store, { commit, append })
  await selfTest.ask(SYSTEM)
  await selfTest.ask(SYSTEM)
  expect(store.events.map(({ details }) => details)).toMatchObject([{ ok: true, runs: 4, failures: { commit: 3 } }])
})

test('one at a time, and not for ever more of them', async () => {
  const { selfTest, deps, gate } = setUp()
  let [running, most] = [0, 0]
  const { hide, unhide } = gate
  gate.hide = (...given) => {
    running += 1
    most = Math.max(most, running)
    hide.apply(gate, given)
  }
  gate.unhide = () => {
    running -= 1
    unhide.apply(gate)
  }
  const asked = Array.from({ length: deps.limits.selftestsMax }, () => selfTest.ask(ADA))
  expect(() => selfTest.ask(ADA)).toThrow('too many')
  expect((await Promise.all(asked)).every(({ ok }) => ok)).toBe(true)
  expect([running, most]).toEqual([0, 1])
})

test('by itself soon after the start, and sooner again after a failure', async () => {
  const store = new MemoryStore()
  store.synchronous = () => 'OFF'
  const own = { ...SMALL, selftestAfterStartMs: 10, selftestAgainMs: 10, selftestTurnMs: 0 }
  const { selfTest } = setUp({ store, deps: { everyMs: 60_000, limits: own } })
  selfTest.start()
  await eventually(() => (selfTest.counts.failures.get('sync') ?? 0) > 2)
  store.synchronous = () => 'FULL'
  await eventually(() => selfTest.last?.ok === true)
  expect(selfTest.problem()).toBeNull()
})

test('who asks whether the node is ready starts the next test, once a second at the most', async () => {
  const store = new MemoryStore()
  store.synchronous = () => 'OFF'
  const { selfTest } = setUp({ store, deps: { limits: { ...SMALL, selftestAgainMsMin: 100 } } })
  await selfTest.ask(ADA)
  store.synchronous = () => 'FULL'
  await eventually(() => selfTest.problem() === null)
  expect(selfTest.counts.runs).toBe(2)
})

test('a node that stops ends what runs, and starts nothing more', async () => {
  const { promise: never } = Promise.withResolvers<never>()
  let isRunning = false
  const connect = () => {
    isRunning = true
    return never
  }
  const { selfTest, registry } = setUp({ deps: { connect } })
  const asked = selfTest.ask(ADA)
  await eventually(() => isRunning)
  selfTest.stop()
  await expect(asked).rejects.toThrow('stopping')
  await expect(selfTest.ask(ADA)).rejects.toThrow('stopping')
  expect([selfTest.last, registry.size]).toEqual([null, 0])
})
