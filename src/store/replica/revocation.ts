import type { EmergencyEntry } from '../../emergency.ts'
import type { Fact, FactId } from '../../fact.ts'
import type { CutResult, Registry } from '../../registry.ts'
import { deny, matching } from '../../revocation.ts'
import { kills, reaches, type RevocationIndex, type Told } from '../../revocation-index.ts'
import type { RevocationRecord } from '../../revocation-record.ts'
import type { Token } from '../../token.ts'
import type { TokenIndex } from '../../token-index.ts'
import type { Store } from '../open.ts'
import { eventOf, factOf, type Shared } from '../revocation.ts'
import type { Batch, Handler, ReadFact } from './handler.ts'

export interface RevocationFactsDeps {
  store: Pick<Store, 'client' | 'log'>
  tokens: TokenIndex
  revocations: RevocationIndex
  registry: Registry
  /** What the disk has not taken yet. */
  pending(): readonly EmergencyEntry[]
  /** Told of a revocation of another node, after it was carried out here: for its receipt. */
  onRevoked(record: RevocationRecord, result: CutResult): void
}

/** `token.revoke`: the record without the list of the dead, which the selector says. */
type Revoked = Omit<RevocationRecord, 'tokens'> & { issuedUntil?: number }

interface StoredRevocation {
  origin: string
  seq: number
  payload: string
}

const toldOf = (
  { origin, seq }: Pick<ReadFact, 'origin' | 'seq'>,
  { id, at, selector, issuedUntil }: Revoked,
): Told => ({
  ...{ origin, seq, id, at, selector },
  issuedUntil,
})

/** Revocations that are made on other nodes, and this node's own as far as they hold against what comes from those. */
export class RevocationFacts implements Handler, Shared {
  /** By revocation: tokens that were denied when the database refused: dead in memory, and to be written when it takes them. */
  readonly #denied = new Map<string, Token[]>()
  #isLoaded = false
  readonly #find
  readonly #insert
  readonly #place
  readonly #revoke

  constructor(readonly deps: RevocationFactsDeps) {
    const { client } = deps.store
    this.#find = client.query<{ origin: string | null }, [string]>('SELECT origin FROM revocations WHERE id = ?')
    this.#insert = client.query<never, (string | number)[]>(
      `INSERT INTO revocations (id, at, actor, reason, note, selector, tokens, origin, seq)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#place = client.query<never, [string, number, string]>(
      'UPDATE revocations SET origin = ?, seq = ? WHERE id = ? AND origin IS NULL',
    )
    this.#revoke = client.query<never, [number, string, string]>(
      `UPDATE tokens SET revoked_at = coalesce(revoked_at, ?), revocation_id = coalesce(revocation_id, ?)
        WHERE id IN (SELECT value FROM json_each(?))`,
    )
  }

  /** Reads all revocations anew, in the order of their numbers: after they were said anew. */
  reload(): void {
    const { revocations, store } = this.deps
    revocations.clear()
    const rows = store.client.query<StoredRevocation, [string]>(
      `SELECT origin, seq, payload FROM facts
        WHERE origin = ? AND stream = 'revocation' AND kind = 'token.revoke' ORDER BY seq`,
    )
    for (const origin of Object.keys(store.log.vector))
      for (const row of rows.iterate(origin)) this.#index(toldOf(row, JSON.parse(row.payload) as Revoked))
    this.#isLoaded = true
  }

  /** All revocations by what they name. They are read when first a fact comes: who is alone needs none. */
  load(): RevocationIndex {
    if (!this.#isLoaded) this.reload()
    return this.deps.revocations
  }

  #index(told: Told): void {
    const { tokens, revocations } = this.deps
    revocations.add(told, (id) => tokens.has(id))
  }

  write(fact: ReadFact, batch: Batch) {
    const { registry, onRevoked } = this.deps
    const revoked = fact.payload as unknown as Revoked
    const { id, at, actor, reason, note, selector } = revoked
    const found = this.#find.get(id)
    // Said anew by a founding: whom it killed is known, and died.
    const dead =
      found?.origin === null ? [] : this.#named(toldOf(fact, revoked)).filter((token) => !batch.dead.has(token.id))
    for (const token of dead) batch.dead.add(token.id)
    const record = { ...{ id, at, actor, reason, note, selector }, tokens: dead.map(nameOf) }
    this.#index(toldOf(fact, revoked))
    if (found) this.#place.run(fact.origin, fact.seq, id)
    else {
      const lists = [JSON.stringify(selector), JSON.stringify(record.tokens)]
      this.#insert.run(...[id, at, actor, reason, note], ...lists, fact.origin, fact.seq)
    }
    if (dead.length > 0) this.#revoke.run(at, id, JSON.stringify(dead.map((token) => token.id)))
    return {
      event: eventOf(record),
      came: `revocation:${id}`,
      after: () => {
        this.#denied.delete(id)
        deny(dead, record)
        const result = registry.cut(registry.ofTokens(dead), 'token_revoked')
        if (!found) onRevoked(record, result)
        return result.cut
      },
    }
  }

  /**
   * Whom it kills of those that are here; also who is dead in memory alone, of the same or of another revocation: by what
   * the disk says they live.
   */
  #named(told: Told): Token[] {
    const named = matching(told.selector, this.deps.tokens).filter((token) => reaches(told, token))
    const unwritten = this.#unwritten()
    if (unwritten.size === 0) return named
    for (const { id } of named) unwritten.delete(id)
    return [...named, ...[...unwritten.values()].filter((token) => kills(told, token))]
  }

  #unwritten(): Map<string, Token> {
    const found = new Map<string, Token>()
    for (const denied of this.#denied.values()) for (const token of denied) found.set(token.id, token)
    for (const entry of this.deps.pending()) {
      for (const { id } of entry.op === 'revocation' ? entry.record.tokens : []) {
        const token = this.deps.tokens.get(id)
        if (token) found.set(id, token)
      }
    }
    return found
  }

  deny(fact: ReadFact): void {
    const { registry } = this.deps
    const revoked = fact.payload as unknown as Revoked
    const dead = this.#named(toldOf(fact, revoked))
    this.#denied.set(revoked.id, dead)
    deny(dead, revoked)
    registry.cut(registry.ofTokens(dead), 'token_revoked')
  }

  /** It was not written after all: what is indexed under its number would keep out the one that gets that number. */
  undo(fact: ReadFact): void {
    this.deps.revocations.clear()
    this.#isLoaded = false
    this.deny(fact)
  }

  /** What a revocation that another node could not store becomes here; null: it is known. */
  adoption(record: RevocationRecord): Fact | null {
    return this.#find.get(record.id) ? null : factOf(record)
  }

  reach(record: RevocationRecord, issuedUntil: number, id: Pick<Told, 'origin' | 'seq'>): Token[] {
    const told = toldOf(id, { ...record, issuedUntil })
    const listed = new Set(record.tokens.map((token) => token.id))
    return this.#named(told).filter((token) => !listed.has(token.id))
  }

  committed(record: RevocationRecord, issuedUntil: number | undefined, id: FactId, more: readonly Token[]): void {
    // Else it is read with all others when they are needed.
    if (this.#isLoaded) this.#index(toldOf(id, issuedUntil === undefined ? record : { ...record, issuedUntil }))
    deny(more, record)
    this.deps.registry.cut(this.deps.registry.ofTokens(more), 'token_revoked')
  }
}

const nameOf = ({ id, name, subject }: Token) => ({ id, name, subject })
