import { NONE, Numbers, Times } from './column.ts'
import { Digests } from './digests.ts'
import { isSameSeen, type Seen, seenText } from './fact.ts'
import type { Policy } from './policy.ts'
import { SharedTexts } from './shared-texts.ts'
import { Texts } from './texts.ts'
import type { NewSecret, NewToken } from './token.ts'

/**
 * All tokens and their secrets, column by column: a million take 180 bytes each, where objects took 2,500, and are
 * nothing for the garbage collector to walk through. A token's row is the number of its id; rows are never taken out,
 * and what can change (a death, a policy) stands here and nowhere else.
 */
export class TokenTable {
  readonly ids = new Texts()
  readonly #names = new Texts()
  readonly #name = new Numbers(NONE)
  /** By the number of a name: the last row that got it. */
  readonly #lastNamed = new Numbers(NONE)
  /** The row that got the same name before this one. */
  readonly #namedBefore = new Numbers(NONE)
  readonly subject = new SharedTexts()
  readonly group = new SharedTexts()
  /** Which servers tokens reach: few different sets, by number. */
  readonly reaches: ReadonlySet<string>[] = []
  readonly #reachBy = new Map<string, number>()
  readonly reach = new Numbers(0)
  readonly #creators = new Texts()
  readonly #createdBy = new Numbers(0)
  readonly createdAt = new Times()
  readonly expiresAt = new Times()
  readonly revokedAt = new Times()
  readonly #revocations = new Texts()
  readonly #revocation = new Numbers(NONE)
  /** What issuers knew: few different ones, by number. */
  readonly #seen: Seen[] = []
  readonly #seenBy = new Map<string, number>()
  readonly #seenAt = new Numbers(NONE)
  #lastSeen = -1
  /** Few have one. */
  readonly #policies = new Map<number, Policy>()
  readonly #lastSecret = new Numbers(NONE)
  #found = -1

  readonly digests = new Digests()
  /** Of a secret, by the row of its digest. */
  readonly secretToken = new Numbers(NONE)
  readonly secretDiesAt = new Times()
  readonly #secretBefore = new Numbers(NONE)
  readonly #keyIds: string[] = []
  readonly #secretKey = new Numbers(0)

  get size(): number {
    return this.ids.size
  }

  /** The row of a token that is not there yet; its secrets are added too. */
  add(token: NewToken): number {
    const row = this.ids.add(token.id)
    const name = this.#names.intern(token.name)
    this.#name.set(row, name)
    this.#namedBefore.set(row, this.#lastNamed.get(name))
    this.#lastNamed.set(name, row)
    this.subject.set(row, token.subject)
    this.group.set(row, token.group)
    this.reach.set(row, this.#reachOf(token.servers))
    this.#createdBy.set(row, this.#creators.intern(token.createdBy))
    this.createdAt.set(row, token.createdAt)
    this.expiresAt.set(row, token.expiresAt)
    this.revoke(row, token.revokedAt)
    this.setRevocation(row, token.revocationId)
    this.setSeen(row, token.seen ?? null)
    if (token.policy !== null) this.#policies.set(row, token.policy)
    for (const secret of token.secrets) this.addSecret(row, secret)
    return row
  }

  /** The row of the token with that id, or `NONE`. Whoever reads tokens in their order finds it behind the last one. */
  find(id: string): number {
    const next = this.#found + 1
    const row = next < this.size && this.ids.at(next) === id ? next : this.ids.find(id)
    if (row !== NONE) this.#found = row
    return row
  }

  /** The row of its digest. */
  addSecret(token: number, { digest, keyId, diesAt }: Pick<NewSecret, 'digest' | 'keyId' | 'diesAt'>): number {
    const row = this.digests.add(digest)
    this.secretToken.set(row, token)
    this.#secretBefore.set(row, this.#lastSecret.get(token))
    this.#lastSecret.set(token, row)
    let key = this.#keyIds.indexOf(keyId)
    if (key < 0) key = this.#keyIds.push(keyId) - 1
    this.#secretKey.set(row, key)
    this.secretDiesAt.set(row, diesAt)
    return row
  }

  /** Revoked is absorbing: what is dead stays dead as it died. */
  revoke(row: number, at: number | null): void {
    if (at !== null && this.revokedAt.get(row) === Infinity) this.revokedAt.set(row, at)
  }

  setRevocation(row: number, id: string | null): void {
    if (id !== null && this.#revocation.get(row) === NONE) this.#revocation.set(row, this.#revocations.intern(id))
  }

  seenAt(row: number): Seen | null {
    return this.#seen[this.#seenAt.get(row)] ?? null
  }

  setSeen(row: number, seen: Seen | null): void {
    if (seen === null) return
    // Tokens that are made one after the other mostly have the same.
    const last = this.#seen[this.#lastSeen]
    if (!last || !isSameSeen(last, seen)) {
      const key = seenText(seen)
      const known = this.#seenBy.get(key)
      this.#lastSeen = known ?? this.#seen.push(seen) - 1
      if (known === undefined) this.#seenBy.set(key, this.#lastSeen)
    }
    this.#seenAt.set(row, this.#lastSeen)
  }

  isActive(row: number, now: number): boolean {
    return this.revokedAt.get(row) === Infinity && this.expiresAt.get(row) > now
  }

  nameAt(row: number): string {
    return this.#names.at(this.#name.get(row))
  }

  createdByAt(row: number): string {
    return this.#creators.at(this.#createdBy.get(row))
  }

  revocationIdAt(row: number): string | null {
    const number = this.#revocation.get(row)
    return number === NONE ? null : this.#revocations.at(number)
  }

  serversAt(row: number): ReadonlySet<string> {
    return this.reaches[this.reach.get(row)] as ReadonlySet<string>
  }

  policyAt(row: number): Policy | null {
    return this.#policies.get(row) ?? null
  }

  setPolicy(row: number, policy: Policy | null): void {
    if (policy === null) this.#policies.delete(row)
    else this.#policies.set(row, policy)
  }

  keyIdAt(secret: number): string {
    return this.#keyIds[this.#secretKey.get(secret)] as string
  }

  /** The keys under which a token has secrets in use, each once. */
  keysInUse(row: number, now: number): string[] {
    const keys: string[] = []
    if (!this.isActive(row, now)) return keys
    for (let secret = this.#lastSecret.get(row); secret !== NONE; secret = this.#secretBefore.get(secret)) {
      const key = this.keyIdAt(secret)
      if (this.secretDiesAt.get(secret) > now && !keys.includes(key)) keys.push(key)
    }
    return keys
  }

  /** Rows of the tokens that have or had the name, the first one first. */
  named(name: string): number[] {
    const rows: number[] = []
    const number = this.#names.find(name)
    if (number === NONE) return rows
    for (let row = this.#lastNamed.get(number); row !== NONE; row = this.#namedBefore.get(row)) rows.push(row)
    return rows.reverse()
  }

  /** Rows of a token's secrets, the first one first. */
  secretsOf(token: number): number[] {
    const rows: number[] = []
    for (let row = this.#lastSecret.get(token); row !== NONE; row = this.#secretBefore.get(row)) rows.push(row)
    return rows.reverse()
  }

  #reachOf(servers: ReadonlySet<string>): number {
    const key = [...servers].join(' ')
    let number = this.#reachBy.get(key)
    if (number === undefined) {
      number = this.reaches.push(new Set(servers)) - 1
      this.#reachBy.set(key, number)
    }
    return number
  }
}
