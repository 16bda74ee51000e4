import type { AuditHead, Verification } from './audit.ts'
import type { Checkpoint } from './checkpoint.ts'
import { AppError } from './error.ts'
import type { Limits } from './limits.ts'
import type { Clock } from './time.ts'

/** The last verification of the audit log, whoever asked for it. */
export interface VerificationState extends Verification {
  checkedAt: number
  tookMs: number
}

export interface VerifierDeps {
  /** The heads that the log must reach: the node's own, and the given one. Throws `invalid` for one that is no good. */
  expected(given: Checkpoint | null): AuditHead[]
  /** Reads the whole log. */
  read(expected: AuditHead[]): Promise<Verification>
  limits: Limits
  now: Clock
  /** Told of every log that does not hold. */
  onBroken(found: VerificationState): void
  /** Told when nobody asked, and the log could not be read. */
  onFailed(error: unknown): void
}

const DONE_TO_IT = { altered: 'altered', truncated: 'cut off at its end', forked: 'forked' }

/** Verifies the audit log, one reading at a time: when somebody asks, and by itself once a day. */
export class Verifier {
  #last: VerificationState | null = null
  /** Readings under way and waiting, by what they expect. */
  readonly #asked = new Map<string, Promise<Verification>>()
  #before: Promise<unknown> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined

  constructor(readonly deps: VerifierDeps) {}

  get last(): VerificationState | null {
    return this.#last
  }

  /** Readings under way and waiting. */
  get waiting(): number {
    return this.#asked.size
  }

  /** Why the node is not ready: the log did not hold the last time; null when it did. */
  get problem(): string | null {
    if (!this.#last || this.#last.status === 'intact') return null
    return `the audit log was ${DONE_TO_IT[this.#last.status]}: ${this.#last.message}`
  }

  /** Soon, and then once a day. */
  start(): void {
    this.#verifyIn(this.deps.limits.verifyAfterStartMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** Whoever asks for what is being found out already gets the same answer. Throws `too_many`, `invalid`. */
  async verify(given: Checkpoint | null): Promise<Verification> {
    const expected = this.deps.expected(given)
    const key = JSON.stringify(expected)
    let reading = this.#asked.get(key)
    if (!reading) {
      if (this.#asked.size >= this.deps.limits.verificationsMax)
        throw new AppError('too_many', 'too many verifications wait for each other; try again')
      reading = this.#inTurn(expected, given === null).finally(() => this.#asked.delete(key))
      this.#asked.set(key, reading)
      this.#before = Promise.allSettled([reading])
    }
    return reading
  }

  async #inTurn(expected: AuditHead[], own: boolean): Promise<Verification> {
    await this.#before
    const startedAt = performance.now()
    const found = await this.deps.read(expected)
    const tookMs = Math.round((performance.now() - startedAt) * 1000) / 1000
    // What only a given checkpoint contradicts is told to who gave it: it may be from before a restore.
    if (!own && found.status !== 'intact' && found.status !== 'altered') return found
    this.#last = { ...found, checkedAt: this.deps.now(), tookMs }
    if (found.status !== 'intact') this.deps.onBroken(this.#last)
    return found
  }

  #verifyIn(waitMs: number): void {
    const verify = async () => {
      this.#verifyIn(this.deps.limits.verifyEveryMs)
      try {
        await this.verify(null)
      } catch (error) {
        this.deps.onFailed(error)
      }
    }
    this.#timer = setTimeout(() => void verify(), waitMs)
    this.#timer.unref()
  }
}
