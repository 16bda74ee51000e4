import { and, asc, desc, eq, gt, lt, or, sql } from 'drizzle-orm'
import type { AuditEvent, AuditRow, Folded, FoldStore } from '../audit.ts'
import type { AuditQuery } from '../node.ts'
import type { Store } from './open.ts'
import { audit } from './schema.ts'

/** The audit log on disk: rows are only ever added. */
export class AuditStore implements FoldStore {
  constructor(readonly store: Store) {}

  page({ limit, after, order, actor, action, target }: AuditQuery): AuditRow[] {
    const past = after === null ? undefined : order === 'asc' ? gt(audit.sequence, after) : lt(audit.sequence, after)
    const where = and(
      past,
      actor ? eq(audit.actor, actor) : undefined,
      action ? eq(audit.action, action) : undefined,
      target
        ? or(eq(audit.targetId, target), sql`instr(lower(${audit.targetName}), ${target.toLowerCase()}) > 0`)
        : undefined,
    )
    const by = order === 'asc' ? asc(audit.sequence) : desc(audit.sequence)
    return this.store.db.select().from(audit).where(where).orderBy(by).limit(limit).all()
  }

  /** Writes what is a change but of no other noun: sign-ins, settings. */
  append(events: readonly AuditEvent[]): void {
    if (events.length > 0) this.store.log.changes(events, [], () => {})
  }

  /** One row for each kind of thing that strangers did, with its count. */
  appendFolded(folded: readonly Folded[]): void {
    this.append(
      folded.map(({ action, source, targetId, targetName, count, firstAt, lastAt }) => ({
        actor: `address:${source}`,
        action,
        targetId,
        targetName,
        details: { count, firstAt, lastAt },
      })),
    )
  }
}
