import { Database } from 'bun:sqlite'
import type { NodeJson, ServerJson, TokenIssuedJson, TokenJson } from '../../src/server/api/schemas.ts'
import { limits } from '../../src/limits.ts'
import { filesOf } from '../../src/store/folder.ts'
import { postForm, setUp } from '../api/session.ts'
import { builtBinary } from '../support/binary.ts'
import { hasFaketime, settableClock } from '../support/faketime.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { Random } from '../support/random.ts'
import { ask, open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startMixed } from '../support/upstreams/mixed.ts'
import type { FaultPart, Size } from './fault.ts'

const DAY_MS = 24 * 3_600_000
/** Jumps of the long form beside those of the short one, and how far each. */
const JUMPS = { short: 0, long: 16 }
const FAR_MS = [-365, -30, -1, 0, 1, 30, 365].map((days) => days * DAY_MS)
/** A timer and a process may be late by so much. */
const LATE_MS = 5_000
const TALK_MS = 100
const CALLS_PER_MINUTE = 3
const CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}'
const PASSWORD = 'correct horse battery'

/** Ended as an answer, or by its socket. */
const isOver = ({ complete, ended }: RawClient): boolean => complete || ended !== 'open'

/** A node whose wall clock is set while it runs, and what is known of its tokens. */
class Scene {
  readonly data = tempFolder()
  readonly folder = tempFolder()
  readonly clock = settableClock(this.folder)
  readonly failures: string[] = []
  looks = 0
  node!: TestNode
  aheadMs = 0

  constructor(readonly command: string[]) {}

  async start(): Promise<void> {
    const args = ['--log-level', 'warn']
    this.node = await startNode({ data: this.data, command: this.command, args, env: this.clock.env })
  }

  set(aheadMs: number): void {
    this.aheadMs = aheadMs
    this.clock.set(aheadMs)
  }

  /** One thing that must hold. */
  hold(what: string, found: unknown, expected: unknown): void {
    this.looks += 1
    if (Bun.deepEquals(found, expected)) return
    const ahead = `clock ${this.aheadMs / DAY_MS} days ahead`
    this.failures.push(`${ahead}: ${what} is ${JSON.stringify(found)}, and not ${JSON.stringify(expected)}`)
  }

  async soon(what: string, withinMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
    const is = await eventually(holds, { timeoutMs: withinMs, everyMs: 20, what }).catch(() => false)
    this.hold(what, is, true)
  }

  async passes(what: string, secret: string, expected: number): Promise<void> {
    const { status } = await ask(this.node.gate, { target: '/s/up/x', headers: bearer(secret) })
    this.hold(`the answer to ${what}`, status, expected)
  }

  /** Status and Retry-After of one more call than the quota allows. */
  async call(secret: string): Promise<number> {
    const headers = { ...bearer(secret), 'Content-Type': 'application/json' }
    return (await ask(this.node.gate, { method: 'POST', target: '/s/up/mcp', headers, body: CALL })).status
  }

  stream(secret: string, kind: 'silent' | 'sse'): Promise<RawClient> {
    return open(this.node.gate, { target: `/s/up/${kind}`, headers: bearer(secret) })
  }

  /** A silent stream gets its comment within the usual time from now, and one that is opened now opens at once. */
  async keepsAlive(stream: RawClient, secret: string): Promise<void> {
    const before = stream.arrivals.length
    const opened = await this.stream(secret, 'silent')
    await this.soon('a new stream opens', LATE_MS, () => opened.status === 200)
    opened.close()
    const withinMs = limits.keepAliveMs + LATE_MS
    await this.soon('a silent stream gets a comment', withinMs, () => stream.arrivals.length > before)
    this.hold('a silent stream that is over', isOver(stream), false)
  }

  /** When a secret that was rotated out died is told as the time that it was. */
  async diedLately(secret: string): Promise<void> {
    const { json } = await this.node.api<{ secretDiesAt: string }>('POST', '/tokens/lookups', { secret })
    const agoMs = Math.abs(Date.parse(json.secretDiesAt) - Date.now())
    this.hold(`a secret that is said to have died at ${json.secretDiesAt}, lately`, agoMs < 2 * DAY_MS, true)
  }

  /** Every token once, page by page; the audit log whole and in order, and no age below zero. */
  async records(): Promise<void> {
    const { api } = this.node
    const all = (await api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')).json.items.map(({ id }) => id)
    const paged: string[] = []
    for (let after: string | null = ''; after !== null;) {
      const path: string = `/tokens?limit=2${after === '' ? '' : `&after=${after}`}`
      const page = (await api<{ items: TokenJson[]; next: string | null }>('GET', path)).json
      paged.push(...page.items.map(({ id }) => id))
      after = page.next
    }
    this.hold('the list of tokens, page by page,', paged, all)
    this.hold('the audit log', (await api<{ status: string }>('GET', '/audit/verification')).json.status, 'intact')
    const rows = (await api<{ items: { sequence: number }[] }>('GET', '/audit?limit=1000')).json.items
    this.hold(
      'the order of the audit log',
      rows.map(({ sequence }) => sequence),
      rows.map((_, index) => index + 1),
    )
    const { items } = (await api<{ items: { ageMs: number }[] }>('GET', '/connections')).json
    this.hold('ages below zero', items.filter(({ ageMs }) => ageMs < 0).length, 0)
    this.hold('readiness', (await api<NodeJson>('GET', '/node')).json.problems, [])
  }

  end(): void {
    this.node.kill('SIGKILL')
    removeFolder(this.data)
    removeFolder(this.folder)
  }
}

/** The clock of a running node goes forward a day, back two, and to the right time again. */
const play = async (scene: Scene, upstream: string, size: Size, random: Random): Promise<void> => {
  await scene.start()
  const { node } = scene
  const { api } = node
  await node.addServer('up', upstream)
  const steady = await node.createToken('steady', ['up'])
  const halfDay = await node.createToken('half a day', ['up'], { expires: '12h' })
  const revoked = await node.createToken('revoked', ['up'])
  const rotated = await node.createToken('rotated', ['up'])
  const graceful = await node.createToken('in grace', ['up'])
  const limited = await node.createToken('limited', ['up'], { policy: { callsPerMinute: CALLS_PER_MINUTE } })
  const revoke = (body: Record<string, unknown>) => node.revoke(body)
  const rotate = async (id: string, graceSeconds: number) =>
    (await api<TokenIssuedJson>('POST', `/tokens/${id}/rotations`, { graceSeconds })).json.token ?? ''
  await revoke({ tokens: [revoked.id] })
  await rotate(rotated.id, 0)
  const cookie = await setUp(node, 'Ada', PASSWORD)
  const signedIn = async () => (await fetch(`${node.console}/`, { headers: { cookie }, redirect: 'manual' })).status
  const signIn = async () => {
    const answer = await postForm(node, '/sign-in', { name: 'Ada', password: 'wrong horse battery' })
    return answer.status
  }
  for (let tries = 0; tries < limits.signInTriesMax; tries += 1) await signIn()

  const [silent, talking] = [await scene.stream(steady.token, 'silent'), await scene.stream(steady.token, 'sse')]
  const expiring = await scene.stream(halfDay.token, 'silent')
  const inGrace = await scene.stream(graceful.token, 'silent')
  const newSecret = await rotate(graceful.id, 3_600)
  for (const stream of [silent, talking, expiring, inGrace]) await stream.until(({ status }) => status === 200)

  /** What holds whatever the clock says. */
  const always = async () => {
    await scene.passes('a steady token', steady.token, 200)
    await scene.passes('a revoked token', revoked.token, 401)
    await scene.passes('a secret that was rotated out', rotated.token, 401)
    await scene.passes('the secret after a rotation', newSecret, 200)
    scene.hold('a session of the console', await signedIn(), 200)
    scene.hold('one more wrong sign-in', await signIn(), 429)
    const before = talking.arrivals.length
    await scene.soon('a stream that talks goes on', LATE_MS, () => talking.arrivals.length > before + 2)
    scene.hold('a silent stream that is over', isOver(silent), false)
  }
  const takeQuota = async () => {
    let status = 200
    for (let calls = 0; calls <= CALLS_PER_MINUTE && status === 200; calls += 1)
      status = await scene.call(limited.token)
    scene.hold('one call too many', status, 429)
  }

  await takeQuota()
  await always()

  scene.set(DAY_MS)
  scene.hold('one call too many, with the clock set forward', await scene.call(limited.token), 429)
  await scene.passes('an expired token', halfDay.token, 401)
  await scene.passes('the old secret after its grace', graceful.token, 401)
  await always()
  const cutMs = limits.deadlineTimerMs + LATE_MS
  await scene.soon('a stream of an expired token is cut', cutMs, () => expiring.text.includes('token_expired'))
  await scene.soon('a stream under a secret whose grace is over is cut', cutMs, () => isOver(inGrace))
  // Made by a clock that is wrong: what of this is dead must stay so when the clock is right again.
  const ahead = await node.createToken('made ahead', ['up'], { group: 'ahead' })
  const aheadToo = await node.createToken('made ahead too', ['up'], { group: 'ahead' })
  const aheadRotated = await node.createToken('rotated ahead', ['up'])
  const aheadRevoked = await node.createToken('revoked ahead', ['up'])
  await rotate(aheadRotated.id, 0)
  await revoke({ tokens: [aheadRevoked.id] })
  await scene.records()
  await takeQuota()

  scene.set(-DAY_MS)
  const dead = async () => {
    await scene.passes('a token revoked by a clock that was ahead', aheadRevoked.token, 401)
    await scene.passes('a secret rotated out by a clock that was ahead', aheadRotated.token, 401)
  }
  scene.hold('one call too many, with the clock set back', await scene.call(limited.token), 429)
  await dead()
  await always()
  // Expiry follows the clock, and so does its end.
  await scene.passes('a token that is not expired any more', halfDay.token, 200)
  await node.createToken('made behind', ['up'])
  await node.createToken('made behind too', ['up'])
  await scene.keepsAlive(silent, steady.token)
  await scene.records()

  for (let jump = 0; jump < JUMPS[size]; jump += 1) {
    scene.set(random.any(FAR_MS) ?? 0)
    await node.createToken(`made at jump ${jump}`, ['up'])
    await always()
    await dead()
    await scene.passes('a token of twelve hours', halfDay.token, scene.aheadMs > DAY_MS / 2 ? 401 : 200)
    await scene.keepsAlive(silent, steady.token)
    await scene.records()
    console.error(`jump ${jump + 1}: ${scene.aheadMs / DAY_MS} days, ${scene.looks} looks`)
  }
  if (size === 'long') {
    // Servers are looked at every five minutes, give or take a tenth, however the clock was set.
    scene.set(-DAY_MS)
    const lookedAt = async () => (await api<ServerJson>('GET', '/servers/up')).json.health.lookedAt
    const before = await lookedAt()
    const withinMs = limits.healthIntervalMs * 1.1 + 10 * LATE_MS
    await scene.soon('a server is looked at again', withinMs, async () => (await lookedAt()) !== before)
  }

  // Revoked into the journal by a clock that is behind; then kill -9.
  scene.set(-DAY_MS)
  const other = new Database(filesOf(scene.data).database)
  other.run('PRAGMA busy_timeout = 5000')
  other.run('BEGIN IMMEDIATE')
  for (const body of [{ tokens: [ahead.id] }, { group: 'ahead' }]) {
    const answer = await api<{ durable: boolean }>('POST', '/revocations', { ...body, reason: 'compromised' })
    scene.hold('a revocation that the database refuses', [answer.status, answer.json.durable], [507, false])
  }
  node.kill('SIGKILL')
  await node.stop()
  await scene.start()
  await scene.passes('a token of the future, revoked into the journal,', ahead.token, 401)
  await scene.passes('another one, by its group,', aheadToo.token, 401)
  other.run('ROLLBACK')
  other.close()
  const ready = async () => (await scene.node.api<NodeJson>('GET', '/node')).json.ready
  await scene.soon('the database takes what waited', LATE_MS, ready)
  await dead()
  await scene.node.createToken('made behind, after a restart', ['up'])
  await scene.records()

  scene.set(0)
  await dead()
  await scene.passes('a token of the future, revoked into the journal,', ahead.token, 401)
  await scene.passes('another one, by its group,', aheadToo.token, 401)
  await scene.passes('a token with hours to live', halfDay.token, 200)
  await scene.passes('a revoked token', revoked.token, 401)
  for (const { token } of [rotated, aheadRotated]) await scene.diedLately(token)
  await scene.records()
  scene.hold('the exit code', await scene.node.stop(), 0)
  const facts = new Database(filesOf(scene.data).database, { readonly: true })
  const hlcs = facts.query<{ hlc: string }, []>('SELECT hlc FROM facts ORDER BY rowid').all()
  facts.close()
  scene.hold(
    'the order of facts',
    hlcs.toSorted((a, b) => (a.hlc < b.hlc ? -1 : 1)),
    hlcs,
  )
}

/** `bun run faults clock`: the wall clock is set back and forward; expiry follows it, nothing else does. */
export const run: FaultPart = async (size, seed) => {
  if (!hasFaketime()) {
    console.log('SKIPPED LOUDLY: no libfaketime, so no clock can be set')
    return { counts: { looks: 0, jumps: 0 }, failures: [] }
  }
  const upstream = await startMixed(TALK_MS)
  const scene = new Scene([builtBinary()])
  try {
    await play(scene, upstream.url, size, new Random(seed))
  } catch (error) {
    scene.failures.push(String(error))
  } finally {
    scene.end()
    upstream.stop()
  }
  const failures = scene.failures.map((failure) => `--seed ${seed}: ${failure}`)
  return { counts: { looks: scene.looks, jumps: 4 + JUMPS[size] }, failures }
}
