import type { AuditHead } from './audit.ts'
import { NOBODY } from './cluster-view.ts'
import { messageOf } from './error.ts'
import { newId } from './id.ts'
import type { KeyRing } from './key.ts'
import type { Limits } from './limits.ts'
import type { Registry } from './registry.ts'
import { NOT_MEASURED } from './revocation-record.ts'
import { carryOut } from './revocation.ts'
import { generateSecret } from './secret.ts'
import {
  SELFTEST_STEPS,
  type SelfTestResult,
  type SelfTestStep,
  type SelfTestTimings,
  type StepResult,
} from './selftest-result.ts'
import type { Clock } from './time.ts'
import { TokenIndex } from './token-index.ts'
import type { NewSecret, NewToken, Token } from './token.ts'
import type { Upstream } from './upstream.ts'

/** A tiny server on the loopback. */
export interface TestUpstream {
  url: string
  /** Says an event on its open stream; nothing where none is open. */
  say(data: string): void
  /** The gate has given its request up. */
  gone: Promise<void>
  stop(): void
}

/** One request at the gate's own listener, on a connection of its own. */
export interface TestClient {
  /** Null: no answer yet. */
  readonly status: number | null
  readonly headers: Headers
  /** The body so far. */
  readonly body: string
  /** Whole: as its own framing says; broken: the connection ended before. */
  readonly ended: { how: 'whole' | 'broken'; at: number } | null
  /** Resolves when the condition holds, or never can: the answer has ended. */
  until(condition: () => boolean): Promise<void>
  close(): void
}

export interface SelfTestStore {
  /** The last row of the audit log, as the node remembers it. */
  readonly head: AuditHead
  /**
   * One transaction: the statements of a revocation, taken back again, and a value in place of the last one.
   * Returns how many milliseconds its last part took, the write and the sync. Throws `storage`.
   */
  commit(value: string): number
  /** How the connection that writes syncs, as SQLite names it. */
  synchronous(): 'OFF' | 'NORMAL' | 'FULL' | 'EXTRA'
  /** What another connection, which may only read, finds in the file: the value, the last row, and whether it follows. */
  look(): { value: string | null; head: AuditHead; follows: boolean }
}

export interface RunDeps {
  registry: Registry
  keys: KeyRing
  store: SelfTestStore
  limits: Limits
  now: Clock
  /** Says `first` on every stream, and then waits. */
  startUpstream(first: string): TestUpstream
  /** Lets the gate answer for this server and these tokens, which nothing else knows; returns what ends that. */
  lend(server: Upstream, tokens: TokenIndex): () => void
  connect(path: string, secret: string): Promise<TestClient>
}

const STEPS = Object.keys(SELFTEST_STEPS) as SelfTestStep[]

const FIRST = 'before the revocation'
const LATE = 'after the revocation'

const hiddenServer = (url: string, now: number): Upstream => ({
  id: newId('srv'),
  // No server can be named so, and nobody can guess it.
  name: `~${generateSecret('pcl_').slice(4)}`,
  url: new URL(url),
  kind: 'auto',
  path: '',
  headers: [],
  stdio: null,
  state: 'open',
  reason: null,
  createdAt: now,
  removedAt: null,
  hidden: true,
})

const hiddenToken = ({ id }: Upstream, secret: NewSecret, now: number): NewToken => ({
  id: newId('tok'),
  name: '',
  subject: null,
  group: null,
  policy: null,
  servers: new Set([id]),
  createdAt: now,
  createdBy: 'system',
  expiresAt: null,
  revokedAt: null,
  revocationId: null,
  secrets: [secret],
})

/** Why a step failed; it ends what depends on it. */
class Failed extends Error {}

class OutOfTime extends Error {}

const rounded = (ms: number): number => Math.round(ms * 1_000) / 1_000

/** The events of a stream, without its comments. */
const eventsIn = (body: string): string[] =>
  body
    .split('\n\n')
    .map((event) => event.replaceAll(/^:.*\n?/gm, '').trim())
    .filter(Boolean)

const holdsTo = (events: string[]): string | null => {
  if (events.some((event) => event.includes(LATE))) return 'an event of the server passed after the cut'
  const [first, last, ...more] = events
  if (first !== `data: ${FIRST}` || more.length > 0) return 'the stream held other events than it was given'
  return last?.startsWith('event: disconnect\n') && last.includes('token_revoked') ? null : 'no farewell was said'
}

/** One test: issue, open a stream, revoke, and look whether all is as it must be. Its tracks are gone when it ends. */
export class SelfTestRun {
  readonly timings: SelfTestTimings = { ...NOT_MEASURED, syncMs: null, endSeenMs: null }
  readonly remarks: string[] = []
  readonly #steps = new Map<SelfTestStep, StepResult>()
  readonly #at: number
  readonly #startedAt = performance.now()
  readonly #over = Promise.withResolvers<never>()
  #revokedAt = 0
  #isOver = false
  readonly #undo: (() => void)[] = []

  constructor(readonly deps: RunDeps) {
    this.#at = deps.now()
    // Whoever waits for it at that moment is told; nobody may.
    this.#over.promise.catch(() => undefined)
  }

  /** Ends the test, wherever it is. */
  stop(): void {
    this.#over.reject(new OutOfTime())
  }

  /** `value` is what the revocation commits. Never throws. */
  async run(value: string): Promise<void> {
    const { selftestMs } = this.deps.limits
    const timer = setTimeout(() => this.stop(), selftestMs)
    try {
      await this.#test(value)
    } catch (error) {
      const running = STEPS.find((step) => !this.#steps.has(step)) ?? 'timeout'
      if (error instanceof OutOfTime) this.note('timeout', `it took longer than ${selftestMs} ms, at "${running}"`)
      else if (!(error instanceof Failed)) this.note(running, messageOf(error))
    } finally {
      clearTimeout(timer)
      this.#isOver = true
      for (const undo of this.#undo.toReversed()) undo()
    }
  }

  /** What became of a step; `problem` null: it passed. */
  note(step: SelfTestStep, problem: string | null): void {
    this.#steps.set(step, { step, state: problem === null ? 'passed' : 'failed', message: problem })
  }

  /** Nothing can be said of it, since the commit failed. */
  #skip(step: SelfTestStep): void {
    this.#steps.set(step, { step, state: 'skipped', message: null })
  }

  get failure(): StepResult | null {
    return STEPS.map((step) => this.#steps.get(step)).find((result) => result?.state === 'failed') ?? null
  }

  result(): SelfTestResult {
    const { failure } = this
    return {
      at: this.#at,
      ok: failure === null,
      step: failure?.step ?? null,
      message: failure?.message ?? null,
      tookMs: rounded(performance.now() - this.#startedAt),
      timings: this.timings,
      steps: STEPS.filter((step) => step !== 'timeout' || this.#steps.has(step)).map(
        (step) => this.#steps.get(step) ?? { step, state: 'skipped', message: null },
      ),
      remarks: this.remarks,
    }
  }

  async #test(value: string): Promise<void> {
    const { store, limits } = this.deps
    const upstream = this.deps.startUpstream(FIRST)
    this.#atEnd(() => upstream.stop())
    this.note('upstream', null)

    const { server, token, text } = this.#issue(upstream.url)
    const path = `/s/${server.name}/events`
    const stream = await this.#connect(path, text)
    await this.#inTime(stream.until(() => stream.body.includes(FIRST)))
    if (stream.status !== 200 || !stream.body.includes(FIRST)) {
      this.note('open', `the gate answered ${stream.status ?? 'nothing'} to a live token`)
      throw new Failed()
    }
    this.note('open', null)

    const durable = await this.#revoke(token, value, upstream)
    await this.#atMost(
      limits.selftestEndMs,
      stream.until(() => false),
    )
    const { ended } = stream
    this.timings.endSeenMs = ended && rounded(ended.at - this.#revokedAt)
    this.note('end', ended ? null : `it was still open after ${limits.selftestEndMs} ms`)
    this.note('farewell', ended?.how === 'broken' ? 'the stream was broken off' : holdsTo(eventsIn(stream.body)))
    await this.#refuse(path, text)
    const found = store.look()
    if (!durable) this.#skip('row')
    else this.note('row', found.value === value ? null : 'another connection does not find it')
    const { head } = store
    const fits = found.follows && found.head.sequence === head.sequence && found.head.hash === head.hash
    const seen = found.follows ? `ends with row ${found.head.sequence}` : 'ends with a row that does not hold'
    this.note('chain', fits ? null : `the file ${seen}; the node wrote row ${head.sequence} last`)
    await this.#release(upstream, token)
  }

  #issue(url: string): { server: Upstream; token: Token; text: string } {
    const { keys, now, lend } = this.deps
    const server = hiddenServer(url, now())
    const text = generateSecret('pcl_')
    const tokens = new TokenIndex()
    const token = tokens.add(hiddenToken(server, { ...keys.digest(text), createdAt: now(), diesAt: null }, now()))
    this.#atEnd(lend(server, tokens))
    return { server, token, text }
  }

  async #connect(path: string, text: string): Promise<TestClient> {
    const connecting = this.deps.connect(path, text).then((client) => {
      this.#atEnd(() => client.close())
      return client
    })
    return this.#inTime(connecting)
  }

  /** The sequence of every revocation; what it commits is the test's own, and never goes to the journal. */
  async #revoke(token: Token, value: string, upstream: TestUpstream): Promise<boolean> {
    const { store, registry, limits, now } = this.deps
    let refused: string | null = null
    const commit = (): boolean => {
      try {
        this.timings.syncMs = rounded(store.commit(value))
      } catch (error) {
        refused = messageOf(error)
      }
      return refused === null
    }
    this.#revokedAt = performance.now()
    const revocation = { id: newId('rev'), at: now() }
    const { durable, result, timings, answered, released } = carryOut(
      [token],
      revocation,
      commit,
      NOBODY.push,
      registry,
      this.#revokedAt,
    )
    upstream.say(LATE)
    await this.#inTime(answered)
    void released.then(() => Object.assign(this.timings, timings))
    Object.assign(this.timings, timings)
    this.note('commit', refused)
    const synchronous = store.synchronous()
    if (refused !== null) this.#skip('sync')
    else this.note('sync', synchronous === 'FULL' || synchronous === 'EXTRA' ? null : `synchronous is ${synchronous}`)
    this.note('cut', result.cut === 1 ? null : `${result.cut} connections were cut in place of 1`)
    const { syncMs } = this.timings
    if (syncMs !== null && syncMs < limits.selftestSyncMsMin) {
      this.remarks.push(
        `the commit was synced in ${syncMs} ms, faster than a disk can: the folder is in memory, or syncs are ignored`,
      )
    }
    return durable
  }

  async #refuse(path: string, text: string): Promise<void> {
    const again = await this.#connect(path, text)
    await this.#inTime(again.until(() => again.status !== null && again.status !== 401))
    const said = again.headers.get('www-authenticate') ?? ''
    const refused = again.status === 401 && said.includes('invalid_token') && again.body.includes('token-revoked')
    this.note('refusal', refused ? null : `the gate answered ${again.status ?? 'nothing'} to the dead token`)
  }

  async #release({ gone }: TestUpstream, { id }: Token): Promise<void> {
    const { registry, limits } = this.deps
    let isGone = false
    await this.#atMost(
      limits.selftestEndMs,
      gone.then(() => void (isGone = true)),
    )
    const left = registry.ofToken(id).size
    if (left > 0) this.note('release', `${left} connections are still in the registry`)
    else this.note('release', isGone ? null : `it still ran after ${limits.selftestEndMs} ms`)
  }

  /** Tidies up when the test ends, or now, when it has: a connection may come too late. */
  #atEnd(undo: () => void): void {
    if (this.#isOver) undo()
    else this.#undo.push(undo)
  }

  #inTime<T>(step: Promise<T>): Promise<T> {
    return Promise.race([step, this.#over.promise])
  }

  /** Until the step is done, but not longer than that. */
  async #atMost(ms: number, step: Promise<void>): Promise<void> {
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, ms)
    await this.#inTime(Promise.race([step, late.promise])).finally(() => clearTimeout(timer))
  }
}
