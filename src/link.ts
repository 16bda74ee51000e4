import { createHash } from 'node:crypto'
import type { Clock } from './time.ts'

/** What a one-time link lets a person do. */
export type LinkPurpose =
  | { kind: 'setup' }
  | { kind: 'password'; operatorId: string }
  | { kind: 'sign-in'; operatorId: string }

interface Entry {
  purpose: LinkPurpose
  expiresAt: number
}

const hash = (code: string) => createHash('sha256').update(code).digest('base64')

/** Codes of one-time links: in memory, by hash; a restart voids them, and a new one is a command away. */
export class Links {
  readonly #entries = new Map<string, Entry>()

  constructor(
    readonly now: Clock,
    readonly lifeMs: number,
  ) {}

  /** A new code; earlier ones of the same purpose die with it. */
  make(purpose: LinkPurpose): { code: string; expiresAt: number } {
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt <= this.now() || Bun.deepEquals(entry.purpose, purpose)) this.#entries.delete(key)
    }
    const code = Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url')
    const expiresAt = this.now() + this.lifeMs
    this.#entries.set(hash(code), { purpose, expiresAt })
    return { code, expiresAt }
  }

  /** What a code is good for, without using it up. */
  peek(code: string): LinkPurpose | null {
    const entry = this.#entries.get(hash(code))
    return entry && entry.expiresAt > this.now() ? entry.purpose : null
  }

  /** Uses a code up. */
  take(code: string): LinkPurpose | null {
    const purpose = this.peek(code)
    this.#entries.delete(hash(code))
    return purpose
  }
}
