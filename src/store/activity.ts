import { and, asc, eq, getTableColumns, gt, gte, inArray, lt, type SQL, sql } from 'drizzle-orm'
import type { ActivityRow, ActivityStore as Rows } from '../activity.ts'
import type { Sighting } from '../sightings.ts'
import type { Store } from './open.ts'
import { activity } from './schema.ts'

const HOUR_MS = 3_600_000

/** Rows that are forgotten or put together in one transaction: a revocation waits no longer than that takes. */
const PRUNE_SLICE = 250

const COLUMNS = getTableColumns(activity)
const rowid = sql<number>`rowid`

const p = sql.placeholder
const ROW = {
  tokenId: p('tokenId'),
  minute: p('minute'),
  serverId: p('serverId'),
  method: p('method'),
  name: p('name'),
  address: p('address'),
  client: p('client'),
  calls: p('calls'),
  errors: p('errors'),
  refused: p('refused'),
  argumentBytes: p('argumentBytes'),
  firstAt: p('firstAt'),
  lastAt: p('lastAt'),
}

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
  readonly #add
  readonly #sightings

  constructor(readonly store: Store) {
    // Prepared once: building the statement takes ten times as long as running it.
    this.#add = store.db.insert(activity).values(ROW).onConflictDoUpdate({ target: KEY, set: ADDED }).prepare()
    const { tokenId, address, lastAt, minute } = activity
    this.#sightings = store.db
      .select({ tokenId, address, lastAt, minute, rowid })
      .from(activity)
      .where(sql`(${minute}, ${rowid}) > (${p('minute')}, ${p('rowid')})`)
      .orderBy(asc(minute), asc(rowid))
      .limit(p('slice'))
      .prepare()
  }

  addActivity(minute: number, rows: Iterable<ActivityRow>): void {
    this.store.log.write(() => {
      for (const row of rows) this.#add.run({ ...row, minute })
    })
  }

  /** Rows of a token that reach into the time since then, the oldest first, a slice at a time. */
  *rowsOf(tokenId: string, since: number, slice: number): Generator<ActivityRow[]> {
    let after = { minute: since - HOUR_MS, rowid: -1 }
    for (;;) {
      const rows = this.store.db
        .select({ ...COLUMNS, rowid })
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

  /** From where tokens were used since then, a slice of rows at a time. */
  *sightingsSince(since: number, slice: number): Generator<Sighting[]> {
    // A row holds a minute, or an hour.
    let after = { minute: since - HOUR_MS, rowid: -1 }
    for (;;) {
      const rows = this.#sightings.all({ ...after, slice })
      const last = rows.at(-1)
      if (!last) return
      yield rows
      after = last
    }
  }

  /**
   * Forgets what is older than `before`, and puts minutes older than `hoursBefore` together to hours: a few
   * rows in each transaction, with a pause after each.
   */
  *prune(before: number, hoursBefore: number): Generator<void> {
    while (this.#take(lt(activity.minute, before), null)) yield
    // An hour that has begun before `before` stays as it is: as a whole it would be too old.
    for (let hour = Math.ceil(before / HOUR_MS) * HOUR_MS; hour + HOUR_MS <= hoursBefore; hour += HOUR_MS) {
      while (this.#take(and(gt(activity.minute, hour), lt(activity.minute, hour + HOUR_MS)), hour)) yield
      yield
    }
  }

  /** Takes a slice of those rows out, into an hour if one is given. Returns whether there were any. */
  #take(which: SQL | undefined, hour: number | null): boolean {
    const { db, log } = this.store
    const rows = db
      .select({ ...COLUMNS, rowid })
      .from(activity)
      .where(which)
      .limit(PRUNE_SLICE)
      .all()
    if (rows.length === 0) return false
    log.write(() => {
      if (hour !== null) for (const row of rows) this.#add.run({ ...row, minute: hour })
      const taken = rows.map((row) => row.rowid)
      db.delete(activity).where(inArray(rowid, taken)).run()
    })
    return true
  }
}
