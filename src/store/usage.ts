import { and, asc, eq, getTableColumns, gt, gte, inArray, lt, type SQL, sql } from 'drizzle-orm'
import type { EvidenceAddress, EvidenceStore, Usage, UsageBucket, UsageStore as Counts } from '../usage.ts'
import type { Store } from './open.ts'
import { evidence, usageMinutes, usageTotals } from './schema.ts'

const HOUR_MS = 3_600_000

/** Rows that are forgotten or put together in one transaction: a revocation waits no longer than that takes. */
const PRUNE_SLICE = 250

const COLUMNS = getTableColumns(usageMinutes)
const rowid = sql<number>`rowid`

const p = sql.placeholder
const COUNTS = {
  tokenId: p('tokenId'),
  requests: p('requests'),
  refusals: p('refusals'),
  bytesIn: p('bytesIn'),
  bytesOut: p('bytesOut'),
  client: p('client'),
}

const added = (table: typeof usageMinutes | typeof usageTotals) => ({
  requests: sql`${table.requests} + excluded.requests`,
  refusals: sql`${table.refusals} + excluded.refusals`,
  bytesIn: sql`${table.bytesIn} + excluded.bytes_in`,
  bytesOut: sql`${table.bytesOut} + excluded.bytes_out`,
  client: sql`coalesce(excluded.client, ${table.client})`,
})

/** Usage by the minute, totals, and who tried dead tokens. */
export class UsageStore implements Counts, EvidenceStore {
  readonly #addMinute
  readonly #addTotal
  readonly #buckets
  readonly #lastUses

  constructor(readonly store: Store) {
    // Prepared once: building a statement takes ten times as long as running it.
    const { db } = store
    this.#addMinute = db
      .insert(usageMinutes)
      .values({ ...COUNTS, minute: p('minute') })
      .onConflictDoUpdate({ target: [usageMinutes.tokenId, usageMinutes.minute], set: added(usageMinutes) })
      .prepare()
    this.#addTotal = db
      .insert(usageTotals)
      .values({ ...COUNTS, lastUsedAt: p('lastUsedAt') })
      .onConflictDoUpdate({
        target: usageTotals.tokenId,
        set: { ...added(usageTotals), lastUsedAt: sql`coalesce(excluded.last_used_at, ${usageTotals.lastUsedAt})` },
      })
      .prepare()
    const { tokenId, minute, requests, refusals, bytesIn, bytesOut } = usageMinutes
    this.#buckets = db
      .select({
        at: sql<number>`${p('since')} + (${minute} - ${p('since')}) / ${p('bucketMs')} * ${p('bucketMs')}`,
        requests: sql<number>`sum(${requests})`,
        refusals: sql<number>`sum(${refusals})`,
        bytesIn: sql<number>`sum(${bytesIn})`,
        bytesOut: sql<number>`sum(${bytesOut})`,
      })
      .from(usageMinutes)
      .where(and(eq(tokenId, p('tokenId')), gte(minute, p('since'))))
      .groupBy(sql`1`)
      .prepare()
    this.#lastUses = db
      .select({ tokenId: usageTotals.tokenId, lastUsedAt: usageTotals.lastUsedAt })
      .from(usageTotals)
      .where(gt(usageTotals.tokenId, p('after')))
      .orderBy(asc(usageTotals.tokenId))
      .limit(p('slice'))
      .prepare()
  }

  addUsage(minute: number, usage: ReadonlyMap<string, Usage>): void {
    this.store.log.write(() => {
      for (const [tokenId, counts] of usage) {
        this.#addMinute.run({ tokenId, minute, ...counts })
        this.#addTotal.run({ tokenId, ...counts })
      }
    })
  }

  /** What a token did since then, in buckets that hold anything. */
  bucketsOf(tokenId: string, since: number, bucketMs: number): UsageBucket[] {
    return this.#buckets.all({ tokenId, since, bucketMs })
  }

  /** When tokens were last used, by id, a slice at a time. */
  *lastUses(slice: number): Generator<{ tokenId: string; lastUsedAt: number | null }[]> {
    for (let after = ''; ;) {
      const rows = this.#lastUses.all({ after, slice })
      const last = rows.at(-1)
      if (!last) return
      yield rows
      after = last.tokenId
    }
  }

  /**
   * Forgets minutes before `before`, and puts those older than `hoursBefore` together to hours: a few rows in
   * each transaction, with a pause after each. Totals stay.
   */
  *prune(before: number, hoursBefore: number): Generator<void> {
    while (this.#take(lt(usageMinutes.minute, before), null)) yield
    // An hour that has begun before `before` stays as it is: as a whole it would be too old.
    for (let hour = Math.ceil(before / HOUR_MS) * HOUR_MS; hour + HOUR_MS <= hoursBefore; hour += HOUR_MS) {
      while (this.#take(and(gt(usageMinutes.minute, hour), lt(usageMinutes.minute, hour + HOUR_MS)), hour)) yield
      yield
    }
  }

  /** Takes a slice of those rows out, into an hour if one is given. Returns whether there were any. */
  #take(which: SQL | undefined, hour: number | null): boolean {
    const { db, log } = this.store
    const rows = db
      .select({ ...COLUMNS, rowid })
      .from(usageMinutes)
      .where(which)
      .limit(PRUNE_SLICE)
      .all()
    if (rows.length === 0) return false
    log.write(() => {
      if (hour !== null) for (const row of rows) this.#addMinute.run({ ...row, minute: hour })
      const taken = rows.map((row) => row.rowid)
      db.delete(usageMinutes).where(inArray(rowid, taken)).run()
    })
    return true
  }

  totalsOf(tokenIds: string[]): Map<string, Usage> {
    if (tokenIds.length === 0) return new Map()
    const rows = this.store.db.select().from(usageTotals).where(inArray(usageTotals.tokenId, tokenIds)).all()
    return new Map(rows.map(({ tokenId, ...usage }) => [tokenId, usage]))
  }

  evidenceOf(tokenIds: string[]): Map<string, EvidenceAddress[]> {
    const found = new Map<string, EvidenceAddress[]>()
    if (tokenIds.length === 0) return found
    const rows = this.store.db.select().from(evidence).where(inArray(evidence.tokenId, tokenIds)).all()
    for (const { tokenId, ...entry } of rows) {
      const known = found.get(tokenId)
      if (known) known.push(entry)
      else found.set(tokenId, [entry])
    }
    return found
  }

  putEvidence(rows: Iterable<readonly [string, EvidenceAddress]>): void {
    const { db, log } = this.store
    log.write(() => {
      for (const [tokenId, entry] of rows) {
        db.insert(evidence)
          .values({ tokenId, ...entry })
          .onConflictDoUpdate({
            target: [evidence.tokenId, evidence.address],
            set: { count: entry.count, lastAt: entry.lastAt },
          })
          .run()
      }
    })
  }
}
