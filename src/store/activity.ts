import { and, asc, eq, getTableColumns, gt, gte, inArray, lt, type SQL, sql } from 'drizzle-orm'
import type { ActivityRow, ActivityStore as Rows } from '../activity.ts'
import type { Store } from './open.ts'
import { activity } from './schema.ts'

const HOUR_MS = 3_600_000

/** Tokens whose hour is put together in one transaction: some thousand rows, some milliseconds. */
const PRUNE_SLICE = 10

const KEY = [
  activity.tokenId,
  activity.minute,
  activity.serverId,
  activity.method,
  activity.name,
  activity.address,
  activity.client,
]

const ADDED = {
  calls: sql`${activity.calls} + excluded.calls`,
  errors: sql`${activity.errors} + excluded.errors`,
  refused: sql`${activity.refused} + excluded.refused`,
  argumentBytes: sql`${activity.argumentBytes} + excluded.argument_bytes`,
  firstAt: sql`min(${activity.firstAt}, excluded.first_at)`,
  lastAt: sql`max(${activity.lastAt}, excluded.last_at)`,
}

/** What tokens did, by the minute; what is older, by the hour. */
export class ActivityStore implements Rows {
  constructor(readonly store: Store) {}

  addActivity(minute: number, rows: Iterable<ActivityRow>): void {
    const { db, log } = this.store
    log.write(() => {
      for (const row of rows) {
        db.insert(activity)
          .values({ minute, ...row })
          .onConflictDoUpdate({ target: KEY, set: ADDED })
          .run()
      }
    })
  }

  /** Rows of a token that reach into the time since then, the oldest first, a slice at a time. */
  *rowsOf(tokenId: string, since: number, slice: number): Generator<ActivityRow[]> {
    const rowid = sql<number>`rowid`
    let after = { minute: since - HOUR_MS, rowid: -1 }
    for (;;) {
      const rows = this.store.db
        .select({ ...getTableColumns(activity), rowid })
        .from(activity)
        .where(
          and(
            eq(activity.tokenId, tokenId),
            gte(activity.lastAt, since),
            sql`(${activity.minute}, ${rowid}) > (${after.minute}, ${after.rowid})`,
          ),
        )
        .orderBy(asc(activity.minute), asc(rowid))
        .limit(slice)
        .all()
      const last = rows.at(-1)
      if (!last) return
      yield rows
      after = last
    }
  }

  /**
   * Forgets what is older than `before`, and puts minutes older than `hoursBefore` together to hours: a few
   * tokens in each transaction, with a pause after each.
   */
  *prune(before: number, hoursBefore: number): Generator<void> {
    const { db, log } = this.store
    log.write(() => db.delete(activity).where(lt(activity.minute, before)).run())
    for (let hour = before - (before % HOUR_MS); hour + HOUR_MS <= hoursBefore; hour += HOUR_MS) {
      const inHour = and(gt(activity.minute, hour), lt(activity.minute, hour + HOUR_MS))
      for (;;) {
        const found = db.selectDistinct({ id: activity.tokenId }).from(activity).where(inHour).limit(PRUNE_SLICE).all()
        if (found.length === 0) break
        const tokens = found.map(({ id }) => id)
        log.write(() => this.#toHour(hour, and(inHour, inArray(activity.tokenId, tokens))))
        yield
      }
    }
  }

  #toHour(hour: number, minutes: SQL | undefined): void {
    const { db } = this.store
    for (const { minute: _, ...row } of db.select().from(activity).where(minutes).all()) {
      db.insert(activity)
        .values({ ...row, minute: hour })
        .onConflictDoUpdate({ target: KEY, set: ADDED })
        .run()
    }
    db.delete(activity).where(minutes).run()
  }
}
