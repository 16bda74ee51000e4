import { createHash } from 'node:crypto'
import type { Limits } from './limits.ts'
import type { Clock, Stopwatch } from './time.ts'

/** Where a request of a person comes from. */
export interface Visitor {
  address: string
  /** What the browser calls itself, as it came. */
  client: string | null
}

/** A signed-in operator's browser. */
export interface OperatorSession {
  /** Names it to people; opens nothing. */
  id: string
  operatorId: string
  /** The browser that it was opened with, as it calls itself. */
  client: string | null
  openedFrom: string
  /** The address of the last request, live updates included. */
  lastFrom: string
  createdAt: number
  /** When a person last did something: live updates alone keep no session alive. */
  usedAt: number
  /** Signed in while the database could not be written. */
  restricted: boolean
  /** By the stopwatch: when it began, and was last used. What the wall clock says is only told. */
  life: { beganAt: number; usedAt: number }
}

const hash = (secret: string) => createHash('sha256').update(secret).digest('base64')

/** Sessions of the console: in memory, by hash. A restart signs everybody out. */
export class OperatorSessions {
  readonly #byHash = new Map<string, OperatorSession>()

  constructor(
    readonly now: Clock,
    readonly stopwatch: Stopwatch,
    readonly limits: Limits,
  ) {}

  /** Opens a session and gives its secret, which is in the cookie alone. */
  open(opened: Pick<OperatorSession, 'id' | 'operatorId' | 'restricted'> & Visitor): string {
    this.#prune()
    const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url')
    const { address, ...rest } = opened
    const at = this.now()
    const beganAt = this.stopwatch()
    this.#byHash.set(hash(secret), {
      ...rest,
      openedFrom: address,
      lastFrom: address,
      createdAt: at,
      usedAt: at,
      life: { beganAt, usedAt: beganAt },
    })
    return secret
  }

  /** The live session with that secret. */
  find(secret: string): OperatorSession | null {
    const session = this.#byHash.get(hash(secret))
    return session && this.#lives(session) ? session : null
  }

  /** A person did something. */
  touch(session: OperatorSession): void {
    session.usedAt = this.now()
    session.life.usedAt = this.stopwatch()
  }

  /** The live ones, the oldest first. */
  list(): OperatorSession[] {
    return [...this.#byHash.values()].filter((session) => this.#lives(session))
  }

  close(id: string): void {
    for (const [key, session] of this.#byHash) if (session.id === id) this.#byHash.delete(key)
  }

  closeAllOf(operatorId: string): void {
    for (const [key, session] of this.#byHash) if (session.operatorId === operatorId) this.#byHash.delete(key)
  }

  #lives({ life: { beganAt, usedAt } }: OperatorSession): boolean {
    return this.stopwatch() < Math.min(beganAt + this.limits.sessionMs, usedAt + this.limits.sessionIdleMs)
  }

  #prune(): void {
    for (const [key, session] of this.#byHash) if (!this.#lives(session)) this.#byHash.delete(key)
    const oldest = this.#byHash.keys().next()
    if (this.#byHash.size >= this.limits.operatorSessionsMax && !oldest.done) this.#byHash.delete(oldest.value)
  }
}
