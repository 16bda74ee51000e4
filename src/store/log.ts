import type { Database } from 'bun:sqlite'
import { and, desc, eq, sql, TransactionRollbackError } from 'drizzle-orm'
import type { BunSQLiteDatabase } from 'drizzle-orm/bun-sqlite'
import { type AuditEvent, type AuditHead, GENESIS, hashRow } from '../audit.ts'
import { AppError, messageOf } from '../error.ts'
import { type Fact, type FactStream, nextHlc } from '../fact.ts'
import { Histogram } from '../histogram.ts'
import type { Clock } from '../time.ts'
import type * as schema from './schema.ts'
import { audit, facts, meta } from './schema.ts'

const RETRY_MS = 1_000

/** From a fast disk to one that a revocation should not wait for. */
const WRITE_BOUNDS_MS = [0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 100, 250, 1_000]

/** What a fact needs besides its number. */
export const fact = (stream: FactStream, kind: string, payload: Record<string, unknown>): Fact => ({
  stream,
  kind,
  payload,
})

/** Writes changes: each with its audit row and its facts in one transaction, or not at all. */
export class Log {
  #head: AuditHead
  #hlc: string | null
  readonly #seq: Record<FactStream, number>
  #problem: string | null = null
  /** `performance.now()` */
  #triedAt = -Infinity
  /** What transactions took in all, what of it their commit did, and how many the database refused: since the start. */
  readonly writes = { durations: new Histogram(WRITE_BOUNDS_MS), commits: new Histogram(WRITE_BOUNDS_MS), failures: 0 }
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
    this.#seq = { revocation: 0, change: 0 }
    this.#hlc = null
    // The last of each stream, by the table's key: both numbers only grow, and there is a fact for each token.
    for (const stream of ['revocation', 'change'] as const) {
      const newest = db
        .select({ seq: facts.seq, hlc: facts.hlc })
        .from(facts)
        .where(and(eq(facts.origin, node), eq(facts.stream, stream)))
        .orderBy(desc(facts.seq))
        .limit(1)
        .get()
      if (!newest) continue
      this.#seq[stream] = newest.seq
      if (this.#hlc === null || newest.hlc > this.#hlc) this.#hlc = newest.hlc
    }
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
    this.#insertFact = db
      .insert(facts)
      .values({
        origin: p('origin'),
        stream: p('stream'),
        seq: p('seq'),
        kind: p('kind'),
        hlc: p('hlc'),
        payload: p('payload'),
      })
      .prepare()
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
    const { value, head, hlc, seq } = this.write(() => this.#apply(events, changes, write))
    // Only what was committed is remembered: a failed commit leaves the numbers free.
    this.#head = head
    this.#hlc = hlc
    Object.assign(this.#seq, seq)
    return value
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
      if (!(error instanceof TransactionRollbackError)) throw error
    }
  }

  #apply<T>(events: readonly AuditEvent[], changes: readonly Fact[], write: () => T) {
    let head = this.#head
    let hlc = this.#hlc
    const seq = { ...this.#seq }
    const value = write()
    for (const { stream, kind, payload } of changes) {
      hlc = nextHlc(hlc, this.now())
      seq[stream] += 1
      this.#insertFact.run({ origin: this.node, stream, seq: seq[stream], kind, hlc, payload: JSON.stringify(payload) })
    }
    for (const event of events) head = this.#append(event, head)
    return { value, head, hlc, seq }
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

  #append(event: AuditEvent, { sequence, hash }: AuditHead): AuditHead {
    const row = {
      sequence: sequence + 1,
      at: this.now(),
      node: this.node,
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
