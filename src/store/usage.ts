import { inArray, lt, sql } from 'drizzle-orm'
import type { EvidenceAddress, EvidenceStore, Usage, UsageStore as Counts } from '../usage.ts'
import type { Store } from './open.ts'
import { evidence, usageMinutes, usageTotals } from './schema.ts'

const added = (table: typeof usageMinutes | typeof usageTotals) => ({
  requests: sql`${table.requests} + excluded.requests`,
  refusals: sql`${table.refusals} + excluded.refusals`,
  bytesIn: sql`${table.bytesIn} + excluded.bytes_in`,
  bytesOut: sql`${table.bytesOut} + excluded.bytes_out`,
  client: sql`coalesce(excluded.client, ${table.client})`,
})

/** Usage by the minute, totals, and who tried dead tokens. */
export class UsageStore implements Counts, EvidenceStore {
  constructor(readonly store: Store) {}

  addUsage(minute: number, usage: ReadonlyMap<string, Usage>): void {
    const { db, log } = this.store
    log.write(() => {
      for (const [tokenId, { lastUsedAt, ...counts }] of usage) {
        db.insert(usageMinutes)
          .values({ tokenId, minute, ...counts })
          .onConflictDoUpdate({ target: [usageMinutes.tokenId, usageMinutes.minute], set: added(usageMinutes) })
          .run()
        db.insert(usageTotals)
          .values({ tokenId, lastUsedAt, ...counts })
          .onConflictDoUpdate({
            target: usageTotals.tokenId,
            set: { ...added(usageTotals), lastUsedAt: sql`coalesce(excluded.last_used_at, ${usageTotals.lastUsedAt})` },
          })
          .run()
      }
    })
  }

  /** Forgets minutes before that time; totals stay. */
  prune(before: number): void {
    this.store.log.write(() => this.store.db.delete(usageMinutes).where(lt(usageMinutes.minute, before)).run())
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
