import { createHash } from 'node:crypto'
import type { Limits } from './limits.ts'
import type { Clock } from './time.ts'

/** A signed-in operator's browser. */
export interface OperatorSession {
  operatorId: string
  createdAt: number
  usedAt: number
  /** Signed in while the database could not be written. */
  restricted: boolean
}

const hash = (secret: string) => createHash('sha256').update(secret).digest('base64')

/** Sessions of the console: in memory, by hash. A restart signs everybody out. */
export class OperatorSessions {
  readonly #byHash = new Map<string, OperatorSession>()

  constructor(
    readonly now: Clock,
    readonly limits: Limits,
  ) {}

  /** Opens a session and gives its secret, which is in the cookie alone. */
  open(operatorId: string, restricted: boolean): string {
    this.#prune()
    const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url')
    this.#byHash.set(hash(secret), { operatorId, createdAt: this.now(), usedAt: this.now(), restricted })
    return secret
  }

  find(secret: string): OperatorSession | null {
    const session = this.#byHash.get(hash(secret))
    if (!session || !this.#lives(session)) return null
    session.usedAt = this.now()
    return session
  }

  close(secret: string): void {
    this.#byHash.delete(hash(secret))
  }

  closeAllOf(operatorId: string): void {
    for (const [key, session] of this.#byHash) if (session.operatorId === operatorId) this.#byHash.delete(key)
  }

  #lives({ createdAt, usedAt }: OperatorSession): boolean {
    return this.now() < Math.min(createdAt + this.limits.sessionMs, usedAt + this.limits.sessionIdleMs)
  }

  #prune(): void {
    for (const [key, session] of this.#byHash) if (!this.#lives(session)) this.#byHash.delete(key)
    const oldest = this.#byHash.keys().next()
    if (this.#byHash.size >= this.limits.operatorSessionsMax && !oldest.done) this.#byHash.delete(oldest.value)
  }
}
