import { eq } from 'drizzle-orm'
import type { AuditEvent, AuditRow, Folded, FoldStore } from '../audit.ts'
import type { Store } from './open.ts'
import { audit } from './schema.ts'

/** The audit log on disk: rows are only ever added. */
export class AuditStore implements FoldStore {
  constructor(readonly store: Store) {}

  row(sequence: number): AuditRow | null {
    return this.store.db.select().from(audit).where(eq(audit.sequence, sequence)).get() ?? null
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
