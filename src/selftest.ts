import type { AuditEvent } from './audit.ts'
import { AppError, messageOf } from './error.ts'
import { newId } from './id.ts'
import { type Actor, SYSTEM } from './operator.ts'
import { SelfTestMeasures } from './selftest-measures.ts'
import { type RunDeps, SelfTestRun, type SelfTestStore } from './selftest-run.ts'
import type { SelfTestResult, SelfTestStep } from './selftest-result.ts'
import { formatTime } from './time.ts'

export { SELFTEST_STEPS, type SelfTestResult, type SelfTestStep } from './selftest-result.ts'

/** What the node's own tests came to since the last row about them: a row a minute would drown what people did. */
interface Tally {
  since: number
  runs: number
  failures: Partial<Record<SelfTestStep, number>>
  /** The slowest end of a stream, as its client saw it. */
  slowestMs: number
  /** What the last row said. */
  ok: boolean
}

export interface TallyStore extends SelfTestStore {
  /** The value of the last commit, also of an earlier process. */
  read(): string | null
  /** The audit row and the value, in one transaction. Throws `storage`. */
  append(event: AuditEvent, value: string): void
}

export interface SelfTestDeps extends Omit<RunDeps, 'store'> {
  store: TallyStore
  /** How often by itself; null: only when asked. */
  everyMs: number | null
  /** Told when a test fails that passed before, and the other way round. */
  onTurned(result: SelfTestResult): void
  /** Told of a defect in a test that nobody asked for. */
  onError(error: unknown): void
}

/** The test of a revocation on the running node: when somebody asks, and by itself. One at a time. */
export class SelfTest {
  readonly counts = { runs: 0, failures: new Map<SelfTestStep, number>() }
  readonly measures = new SelfTestMeasures()
  #last: SelfTestResult | null = null
  #endedAt = 0
  #tally: Tally
  #run: SelfTestRun | null = null
  #before: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(readonly deps: SelfTestDeps) {
    this.#tally = tallyIn(deps.store.read()) ?? emptyTally(deps.now(), true)
  }

  get everyMs(): number | null {
    return this.deps.everyMs
  }

  get last(): SelfTestResult | null {
    return this.#last
  }

  /** Soon, and then again and again. */
  start(): void {
    const { everyMs, limits } = this.deps
    if (everyMs !== null) this.#runIn(Math.min(limits.selftestAfterStartMs, everyMs))
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#run?.stop()
  }

  /** Why the node is not ready: the last test failed. It is tried again first, but not more than once a second. */
  problem(): string | null {
    if (this.#last === null || this.#last.ok) return null
    const { selftestAgainMsMin } = this.deps.limits
    if (this.#waiting === 0 && performance.now() > this.#endedAt + selftestAgainMsMin) this.#runIn(0)
    const { step, message } = this.#last
    return `the test of a revocation failed at "${step}": ${message}`
  }

  /** Tests now, after a test that runs already, and leaves a row of its own. Throws `too_many`. */
  ask(actor: Actor): Promise<SelfTestResult> {
    if (this.#waiting >= this.deps.limits.selftestsMax)
      throw new AppError('too_many', 'too many tests wait for each other; try again')
    return this.#inTurn(actor)
  }

  #inTurn(actor: Actor): Promise<SelfTestResult> {
    this.#waiting += 1
    const result = this.#before.then(() => this.#test(actor)).finally(() => (this.#waiting -= 1))
    this.#before = Promise.allSettled([result])
    return result
  }

  async #test(actor: Actor): Promise<SelfTestResult> {
    clearTimeout(this.#timer)
    this.#refuseStopped()
    const { deps } = this
    const run = (this.#run = new SelfTestRun(deps))
    const at = deps.now()
    await run.run(JSON.stringify({ id: newId('rev'), at, ...this.#tally }))
    this.#run = null
    this.#refuseStopped()
    if (actor === SYSTEM) this.#countRun(run)
    if (actor !== SYSTEM || this.#isRowDue(run, at)) this.#leaveRow(run, actor, at)
    const result = run.result()
    this.#settle(result)
    return result
  }

  #settle(result: SelfTestResult): void {
    const { deps, counts } = this
    const turned = result.ok !== (this.#last?.ok ?? true)
    this.#last = result
    this.#endedAt = performance.now()
    counts.runs += 1
    this.measures.add(result)
    if (result.step) counts.failures.set(result.step, (counts.failures.get(result.step) ?? 0) + 1)
    if (turned) deps.onTurned(result)
    if (!result.ok) this.#runIn(deps.limits.selftestAgainMs)
    else if (deps.everyMs !== null) this.#runIn(deps.everyMs)
  }

  #countRun({ failure, timings }: SelfTestRun): void {
    const tally = this.#tally
    tally.runs += 1
    tally.slowestMs = Math.max(tally.slowestMs, timings.endSeenMs ?? 0)
    if (failure) tally.failures[failure.step] = (tally.failures[failure.step] ?? 0) + 1
  }

  /** When there is something to tell that the last row did not, and else now and then; never many rows. */
  #isRowDue({ failure }: SelfTestRun, at: number): boolean {
    const { selftestTurnMs, selftestRowMs } = this.deps.limits
    const { since, ok, failures } = this.#tally
    const isTurned = (failure === null) !== ok
    // It failed and passes again, and no row could be written in between, or not so soon.
    const isUntold = ok && Object.keys(failures).length > 0
    const age = at - since
    // A clock that was set back must not put the next row off.
    return age < 0 || age >= (isTurned || isUntold ? selftestTurnMs : selftestRowMs)
  }

  /** Looked for in the file like the rest, so that its own failure is one of the test. */
  #leaveRow(run: SelfTestRun, actor: Actor, at: number): void {
    const { store } = this.deps
    const { failure, timings } = run
    const verdict = { ok: failure === null, step: failure?.step ?? null, message: failure?.message ?? null, timings }
    const isOwn = actor === SYSTEM
    const { since, runs, failures, slowestMs } = this.#tally
    const details = isOwn ? { ...verdict, since: formatTime(since), runs, failures, slowestMs } : verdict
    const tally = isOwn ? emptyTally(at, verdict.ok) : this.#tally
    try {
      store.append({ actor: actor.name, action: 'node.selftest', details }, JSON.stringify(tally))
      this.#tally = tally
      const { head, follows } = store.look()
      const fits = follows && head.sequence === store.head.sequence && head.hash === store.head.hash
      run.note('audit', fits ? null : 'the row was written, but another connection does not find it at the end')
    } catch (error) {
      run.note('audit', messageOf(error))
      // Told with the node's own, once the database takes rows again.
      if (!isOwn) this.#countRun(run)
    }
  }

  #refuseStopped(): void {
    if (this.#isStopped) throw new AppError('unavailable', 'the node is stopping')
  }

  #runIn(waitMs: number): void {
    clearTimeout(this.#timer)
    if (this.#isStopped) return
    this.#timer = setTimeout(() => {
      this.#inTurn(SYSTEM).catch((error: unknown) => {
        if (this.#isStopped) return
        this.deps.onError(error)
        this.#runIn(this.deps.limits.selftestAgainMs)
      })
    }, waitMs)
    this.#timer.unref()
  }
}

const emptyTally = (since: number, ok: boolean): Tally => ({ since, runs: 0, failures: {}, slowestMs: 0, ok })

/** What an earlier process counted. Anything else that stands there is left alone, and counting begins anew. */
const tallyIn = (value: string | null): Tally | null => {
  if (value === null) return null
  try {
    const { since, runs, failures, slowestMs, ok } = JSON.parse(value) as Tally
    return typeof since === 'number' ? { since, runs, failures, slowestMs, ok } : null
  } catch {
    return null
  }
}
