import { setImmediate as turn } from 'node:timers/promises'
import { NONE } from './column.ts'
import type { Seen } from './fact.ts'
import type { KeyRing } from './key.ts'
import type { Policy } from './policy.ts'
import type { NewSecret, NewToken, Secret, Token } from './token.ts'
import { TokenTable } from './token-table.ts'
import { inTurns } from './turns.ts'

/** A row of the table as a token: what it says and what is set go to the columns. */
export class TokenRow implements Token {
  #id: string | undefined

  constructor(
    readonly index: TokenIndex,
    readonly row: number,
  ) {}

  /** Kept, since a request asks for it six times. */
  get id(): string {
    return (this.#id ??= this.index.table.ids.at(this.row))
  }

  get name(): string {
    return this.index.table.nameAt(this.row)
  }

  get subject(): string | null {
    return this.index.table.subject.at(this.row)
  }

  get group(): string | null {
    return this.index.table.group.at(this.row)
  }

  get servers(): ReadonlySet<string> {
    return this.index.table.serversAt(this.row)
  }

  get createdAt(): number {
    return this.index.table.createdAt.get(this.row)
  }

  get createdBy(): string {
    return this.index.table.createdByAt(this.row)
  }

  get expiresAt(): number | null {
    return this.index.table.expiresAt.getOrNull(this.row)
  }

  get revokedAt(): number | null {
    return this.index.table.revokedAt.getOrNull(this.row)
  }

  set revokedAt(at: number | null) {
    this.index.table.revoke(this.row, at)
  }

  get revocationId(): string | null {
    return this.index.table.revocationIdAt(this.row)
  }

  set revocationId(id: string | null) {
    this.index.table.setRevocation(this.row, id)
  }

  get seen(): Seen | null {
    return this.index.table.seenAt(this.row)
  }

  set seen(seen: Seen | null) {
    this.index.table.setSeen(this.row, seen)
  }

  get policy(): Policy | null {
    return this.index.table.policyAt(this.row)
  }

  set policy(policy: Policy | null) {
    this.index.table.setPolicy(this.row, policy)
  }

  get secrets(): readonly Secret[] {
    return this.index.secretsOf(this.row)
  }
}

class SecretRow implements Secret {
  constructor(
    readonly token: Token,
    readonly table: TokenTable,
    readonly row: number,
  ) {}

  get digest(): string {
    return this.table.digests.at(this.row)
  }

  get keyId(): string {
    return this.table.keyIdAt(this.row)
  }

  get diesAt(): number | null {
    return this.table.secretDiesAt.getOrNull(this.row)
  }

  set diesAt(at: number | null) {
    this.table.secretDiesAt.set(this.row, at)
  }
}

/** Rows counted between two turns of the loop: a millisecond. */
const COUNTED_AT_ONCE = 100_000

/** Which tokens; all that is given must hold. Subject and group are folded, the server is an id. */
export interface Having {
  subject?: string
  group?: string
  /** One of several, where several have the name that was meant. */
  server?: string | readonly string[]
  issuedBefore?: number
}

/**
 * All tokens and their secrets in memory: every check is one look-up by digest. What is found by a digest, an id or a
 * name is one object for ever, so that two can be compared; what a walk through all of them shows is for the look at
 * it alone.
 */
export class TokenIndex {
  readonly table = new TokenTable()
  /** Of the rows that were ever asked for. */
  readonly #tokens = new Map<number, TokenRow>()
  readonly #secrets = new Map<number, Secret>()
  readonly #find = (digest: Uint8Array) => this.find(digest)

  get size(): number {
    return this.table.size
  }

  /** Takes over what was made or stored; what is returned is the token from then on. */
  add(token: NewToken): TokenRow {
    return this.#tokenAt(this.table.add(token))
  }

  /** The same without the token, for a million at a start. */
  load(token: NewToken): void {
    this.table.add(token)
  }

  /** A secret more. Returns whether there is such a token. */
  addSecret(tokenId: string, secret: Pick<NewSecret, 'digest' | 'keyId' | 'diesAt'>): boolean {
    const row = this.table.find(tokenId)
    if (row !== NONE) this.table.addSecret(row, secret)
    return row !== NONE
  }

  /** The secret of that digest. */
  find(digest: Uint8Array): Secret | null {
    const row = this.table.digests.find(digest)
    return row === NONE ? null : this.#secretAt(row)
  }

  /** The secret behind a text from outside, under whichever key of the ring. */
  findSecret(text: string, keys: KeyRing): Secret | null {
    return keys.findBy(text, this.#find)
  }

  get(id: string): TokenRow | undefined {
    const row = this.table.ids.find(id)
    return row === NONE ? undefined : this.#tokenAt(row)
  }

  has(id: string): boolean {
    return this.table.ids.find(id) !== NONE
  }

  /** Tokens of that name: the live ones, or, when none lives, those that did. */
  named(name: string, now: number): TokenRow[] {
    const rows = this.table.named(name)
    const live = rows.filter((row) => this.table.isActive(row, now))
    return (live.length > 0 ? live : rows).map((row) => this.#tokenAt(row))
  }

  /** Tokens by id, or else by name. */
  resolve(idOrName: string, now: number): TokenRow[] {
    const token = this.get(idOrName)
    return token ? [token] : this.named(idOrName, now)
  }

  /** In the order in which they came, which is that of their ids. */
  [Symbol.iterator](): Generator<TokenRow> {
    return this.#from(0)
  }

  /** Those behind the one with that id; null: all. */
  behind(id: string | null): IteratorObject<TokenRow> {
    if (id === null) return this.#from(0)
    const row = this.table.find(id)
    return row === NONE ? this.#from(0).filter((token) => token.id > id) : this.#from(row + 1)
  }

  *#from(first: number): Generator<TokenRow> {
    // Those that are made meanwhile too
    for (let row = first; row < this.size; row += 1) yield this.at(row)
  }

  /** Whether any token has or had that subject or group, folded. */
  isKnown(field: 'subject' | 'group', folded: string): boolean {
    return this.table[field].find(folded) !== NONE
  }

  /** Tokens that are not revoked: those of a subject or a group at once, and of a million a walk of some milliseconds. */
  notRevoked({ subject, group, server, issuedBefore = Infinity }: Having): TokenRow[] {
    const { table } = this
    const subjectKey = subject === undefined ? null : table.subject.find(subject)
    const groupKey = group === undefined ? null : table.group.find(group)
    const wanted = server === undefined ? null : typeof server === 'string' ? [server] : server
    const reaches = wanted && table.reaches.map((servers) => wanted.some((id) => servers.has(id)))
    const found: TokenRow[] = []
    // Whoever has no group has the key of one that nobody has.
    if (subjectKey === NONE || groupKey === NONE) return found
    const look = (row: number) => {
      if (table.revokedAt.get(row) !== Infinity || table.createdAt.get(row) >= issuedBefore) return
      if (groupKey !== null && table.group.keyAt(row) !== groupKey) return
      if (reaches === null || reaches[table.reach.get(row)]) found.push(this.at(row))
    }
    if (subjectKey !== null) for (const row of table.subject.rowsWith(subjectKey)) look(row)
    else if (groupKey !== null) for (const row of table.group.rowsWith(groupKey)) look(row)
    else for (let row = 0; row < this.size; row += 1) look(row)
    return found
  }

  /** How many may pass now, of those whose servers are as wanted. */
  async countActive(now: number, isWanted: (servers: ReadonlySet<string>) => boolean = () => true): Promise<number> {
    const { table } = this
    // One for each set of servers, of which there are few.
    const wanted = table.reaches.map(isWanted)
    let count = 0
    for (let row = 0; row < this.size; row += 1) {
      if (table.isActive(row, now) && wanted[table.reach.get(row)]) count += 1
      if (row % COUNTED_AT_ONCE === COUNTED_AT_ONCE - 1) await turn()
    }
    return count
  }

  /** How many tokens that may pass now have a secret in use under each key. */
  async liveByKey(now: number, holdMs: number): Promise<Map<string, number>> {
    const live = new Map<string, number>()
    await inTurns(this, holdMs, ({ row }) => {
      for (const key of this.table.keysInUse(row, now)) live.set(key, (live.get(key) ?? 0) + 1)
    })
    return live
  }

  /** The ids of those under one key. */
  *under(keyId: string, now: number): Generator<string> {
    for (const token of this) if (this.table.keysInUse(token.row, now).includes(keyId)) yield token.id
  }

  secretsOf(row: number): readonly Secret[] {
    return this.table.secretsOf(row).map((secret) => this.#secretAt(secret))
  }

  #tokenAt(row: number): TokenRow {
    let token = this.#tokens.get(row)
    if (!token) this.#tokens.set(row, (token = new TokenRow(this, row)))
    return token
  }

  /** For a look at it alone. */
  at(row: number): TokenRow {
    return this.#tokens.get(row) ?? new TokenRow(this, row)
  }

  #secretAt(row: number): Secret {
    let secret = this.#secrets.get(row)
    if (!secret) {
      const token = this.#tokenAt(this.table.secretToken.get(row))
      this.#secrets.set(row, (secret = new SecretRow(token, this.table, row)))
    }
    return secret
  }
}
