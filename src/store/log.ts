import type { Database } from 'bun:sqlite'
import { desc, sql, TransactionRollbackError } from 'drizzle-orm'
import type { BunSQLiteDatabase } from 'drizzle-orm/bun-sqlite'
import { type AuditEvent, type AuditHead, GENESIS, hashRow } from '../audit.ts'
import { AppError, messageOf } from '../error.ts'
import {
  type Fact,
  type FactId,
  type FactStream,
  nextHlc,
  reachOf,
  type Seen,
  seenIn,
  stampOf,
  type StoredFact,
  STREAMS,
  type Vector,
} from '../fact.ts'
import { Histogram } from '../histogram.ts'
import type { OnCommitted } from '../replica.ts'
import type { Clock } from '../time.ts'
import { Registers } from './registers.ts'
import type * as schema from './schema.ts'
import { audit, meta } from './schema.ts'
import { SeenStore } from './seen.ts'

const RETRY_MS = 1_000

/** From a fast disk to one that a revocation should not wait for. */
const WRITE_BOUNDS_MS = [0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 100, 250, 1_000]

/** What a fact needs besides its number. */
export const fact = (
  stream: FactStream,
  kind: string,
  payload: Record<string, unknown>,
  registers: readonly string[] = [],
): Fact => ({ stream, kind, payload, registers })

/** The audit row of a change; `node`: where it was made, where that is another. */
export interface LoggedEvent extends AuditEvent {
  node?: string
}

interface Newest {
  seq: number
  hlc: string
}

/** Writes changes: each with its audit row and its facts in one transaction, or not at all. */
export class Log {
  #head: AuditHead
  #hlc: string | null = null
  #vector: Vector = {}
  #seen: Seen | null = null
  #problem: string | null = null
  /** `performance.now()` */
  #triedAt = -Infinity
  /** What transactions took in all, what of it their commit did, and how many the database refused: since the start. */
  readonly writes = { durations: new Histogram(WRITE_BOUNDS_MS), commits: new Histogram(WRITE_BOUNDS_MS), failures: 0 }
  /** Told of this node's own facts in the run that committed them. */
  onCommitted: OnCommitted | null = null
  #registers: Registers | null = null
  #seenIds: SeenStore | null = null
  readonly #insertAudit
  readonly #insertFact

  constructor(
    readonly client: Database,
    readonly db: BunSQLiteDatabase<typeof schema>,
    readonly node: string,
    readonly now: Clock,
  ) {
    const last = db.select().from(audit).orderBy(desc(audit.sequence)).limit(1).get()
    this.#head = last ? { sequence: last.sequence, hash: last.hash } : { sequence: 0, hash: GENESIS }
    this.restart()
    const p = sql.placeholder
    this.#insertAudit = db
      .insert(audit)
      .values({
        sequence: p('sequence'),
        at: p('at'),
        node: p('node'),
        actor: p('actor'),
        action: p('action'),
        targetId: p('targetId'),
        targetName: p('targetName'),
        reason: p('reason'),
        details: p('details'),
        previousHash: p('previousHash'),
        hash: p('hash'),
      })
      .prepare()
    this.#insertFact = client.query<never, [string, string, number, string, string, string]>(
      'INSERT INTO facts (origin, stream, seq, kind, hlc, payload) VALUES (?, ?, ?, ?, ?, ?)',
    )
  }

  /** Reads how far facts are stored: at the start, and after they were said anew. */
  restart(): void {
    const vector: Record<string, [number, number]> = {}
    const next = this.client.query<{ origin: string }, [string]>(
      'SELECT origin FROM facts WHERE origin > ? ORDER BY origin LIMIT 1',
    )
    // The last of each stream, by the table's key: both numbers only grow, and there is a fact for each token.
    const newest = this.client.query<Newest, [string, FactStream]>(
      'SELECT seq, hlc FROM facts WHERE origin = ? AND stream = ? ORDER BY seq DESC LIMIT 1',
    )
    for (let row = next.get(''); row; row = next.get(row.origin)) {
      const { origin } = row
      const last = STREAMS.map((stream) => newest.get(origin, stream))
      vector[origin] = [last[0]?.seq ?? 0, last[1]?.seq ?? 0]
      for (const known of last) if (known && (this.#hlc === null || known.hlc > this.#hlc)) this.#hlc = known.hlc
    }
    this.#reached(vector)
  }

  // Made when they are asked for: a database that is left at the schema of an older version has no tables for them.
  get registers(): Registers {
    return (this.#registers ??= new Registers(this.client))
  }

  get seenIds(): SeenStore {
    return (this.#seenIds ??= new SeenStore(this.client))
  }

  /** How far facts are stored, by origin. */
  get vector(): Vector {
    return this.#vector
  }

  /** Which revocations are known here: what a token that is issued now says of its issuer; null: none. */
  get seen(): Seen | null {
    return this.#seen
  }

  #reached(vector: Vector): void {
    this.#vector = vector
    const seen = seenIn(vector)
    this.#seen = Object.keys(seen).length > 0 ? seen : null
  }

  /** What the next fact of this node will be. */
  nextId(stream: FactStream): FactId {
    return { origin: this.node, stream, seq: reachOf(this.#vector, this.node, stream) + 1 }
  }

  /** The last row that was committed. */
  get head(): AuditHead {
    return this.#head
  }

  /** Throws `storage` when the database refuses; nothing is written then. */
  change<T>(event: AuditEvent, changes: readonly Fact[], write: () => T): T {
    return this.changes([event], changes, write)
  }

  changes<T>(events: readonly AuditEvent[], changes: readonly Fact[], write: () => T): T {
    const { value, head, stored } = this.write(() => this.#apply(events, changes, write))
    // Only what was committed is remembered: a failed commit leaves the numbers free.
    this.#head = head
    if (stored.length > 0) {
      this.#follow(stored)
      this.onCommitted?.(stored)
    }
    return value
  }

  /**
   * Facts of other nodes, each behind the one before it of its stream, with what they write here and their audit rows.
   * Throws `storage`; nothing is written then.
   */
  merge(merged: readonly StoredFact[], write: () => readonly LoggedEvent[]): void {
    const head = this.write(() => {
      for (const stored of merged) this.#insert(stored)
      let last = this.#head
      for (const event of write()) last = this.#append(event, last)
      return last
    })
    this.#head = head
    this.#follow(merged)
  }

  #insert({ origin, stream, seq, kind, hlc, payload }: StoredFact): void {
    this.#insertFact.run(origin, stream, seq, kind, hlc, payload)
  }

  #follow(stored: readonly StoredFact[]): void {
    const vector: Record<string, readonly [number, number]> = { ...this.#vector }
    for (const { origin, stream, seq, hlc } of stored) {
      const [revocation, change] = vector[origin] ?? [0, 0]
      vector[origin] = stream === 'revocation' ? [seq, change] : [revocation, seq]
      if (this.#hlc === null || hlc > this.#hlc) this.#hlc = hlc
    }
    this.#reached(vector)
  }

  /** Does all of a change but its commit, so that the first real one finds its code and its pages loaded. */
  rehearse(event: AuditEvent, changes: readonly Fact[], write: () => void): void {
    try {
      this.db.transaction(
        (tx) => {
          this.#apply([event], changes, write)
          tx.rollback()
        },
        { behavior: 'immediate' },
      )
    } catch (error) {
      this.#seenIds?.forget()
      if (!(error instanceof TransactionRollbackError)) throw error
    }
  }

  #apply<T>(events: readonly AuditEvent[], changes: readonly Fact[], write: () => T) {
    let head = this.#head
    let hlc = this.#hlc
    const value = write()
    const stored: StoredFact[] = []
    const seq = { revocation: this.nextId('revocation').seq, change: this.nextId('change').seq }
    for (const { stream, kind, payload, registers = [] } of changes) {
      hlc = nextHlc(hlc, this.now())
      const made = { origin: this.node, stream, seq: seq[stream], kind, hlc, payload: JSON.stringify(payload) }
      seq[stream] += 1
      this.#insert(made)
      for (const key of registers) this.registers.take(key, stampOf(hlc, this.node))
      stored.push(made)
    }
    for (const event of events) head = this.#append(event, head)
    return { value, head, stored }
  }

  /** One transaction without an audit row: for counters and figures, which are no changes. */
  write<T>(write: () => T): T {
    const startedAt = performance.now()
    try {
      let writtenAt = startedAt
      const result = this.db.transaction(
        () => {
          const value = write()
          writtenAt = performance.now()
          return value
        },
        { behavior: 'immediate' },
      )
      const committedAt = performance.now()
      this.writes.durations.observe(committedAt - startedAt)
      this.writes.commits.observe(committedAt - writtenAt)
      this.#problem = null
      return result
    } catch (error) {
      this.#seenIds?.forget()
      if (error instanceof AppError) throw error
      this.writes.failures += 1
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
      this.#problem = `the database can't be written: ${messageOf(cause)}`
      throw new AppError('storage', this.#problem, 'storage', { cause })
    }
  }

  /** Why the last write failed; it is tried again first, but not more than once a second. */
  problem(): string | null {
    if (this.#problem === null || performance.now() < this.#triedAt + RETRY_MS) return this.#problem
    this.#triedAt = performance.now()
    try {
      this.write(() =>
        this.db
          .insert(meta)
          .values({ key: 'tried', value: '' })
          .onConflictDoUpdate({ target: meta.key, set: { value: String(this.now()) } })
          .run(),
      )
    } catch (error) {
      return messageOf(error)
    }
    return null
  }

  #append(event: LoggedEvent, { sequence, hash }: AuditHead): AuditHead {
    const row = {
      sequence: sequence + 1,
      at: this.now(),
      node: event.node ?? this.node,
      actor: event.actor,
      action: event.action,
      targetId: event.targetId ?? null,
      targetName: event.targetName ?? null,
      reason: event.reason ?? null,
      details: JSON.stringify(event.details ?? {}),
      previousHash: hash,
    }
    const next = { sequence: row.sequence, hash: hashRow(row) }
    this.#insertAudit.run({ ...row, hash: next.hash })
    return next
  }
}
