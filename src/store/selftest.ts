import { Database } from 'bun:sqlite'
import { eq } from 'drizzle-orm'
import { type AuditEvent, type AuditHead, type AuditRow, GENESIS, hashRow } from '../audit.ts'
import type { TallyStore } from '../selftest.ts'
import type { Store } from './open.ts'
import type { RevocationStore } from './revocation.ts'
import { meta } from './schema.ts'

const KEY = 'selftest'
const LEVELS = ['OFF', 'NORMAL', 'FULL', 'EXTRA'] as const
const LAST_ROWS = `SELECT sequence, at, node, actor, action, target_id AS targetId, target_name AS targetName, reason,
  details, previous_hash AS previousHash, hash FROM audit ORDER BY sequence DESC LIMIT 2`

/** What the test of a revocation leaves in the database: one value, which replaces the one before. */
export class SelfTestStore implements TallyStore {
  constructor(
    readonly store: Store,
    readonly revocations: RevocationStore,
    readonly file: string,
  ) {}

  get head(): AuditHead {
    return this.store.log.head
  }

  read(): string | null {
    return this.store.db.select().from(meta).where(eq(meta.key, KEY)).get()?.value ?? null
  }

  commit(value: string): number {
    let writtenAt = 0
    this.store.log.write(() => {
      this.revocations.rehearseRevocation()
      this.#put(value)
      writtenAt = performance.now()
    })
    return performance.now() - writtenAt
  }

  append(event: AuditEvent, value: string): void {
    this.store.log.change({ ...event, targetId: this.store.node }, [], () => this.#put(value))
  }

  synchronous(): (typeof LEVELS)[number] {
    const { synchronous } = this.store.client.query('PRAGMA synchronous').get() as { synchronous: number }
    return LEVELS[synchronous] ?? 'OFF'
  }

  look(): { value: string | null; head: AuditHead; follows: boolean } {
    // Opened anew each time: a file that was moved away, or put in the place of another, is found out.
    const client = new Database(this.file, { readonly: true })
    try {
      using values = client.prepare('SELECT value FROM meta WHERE key = ?')
      using rows = client.prepare(LAST_ROWS)
      const { value } = (values.get(KEY) as { value: string } | null) ?? { value: null }
      const [last, before] = rows.all() as AuditRow[]
      if (!last) return { value, head: { sequence: 0, hash: GENESIS }, follows: true }
      const follows = last.previousHash === (before?.hash ?? GENESIS) && hashRow(last) === last.hash
      return { value, head: { sequence: last.sequence, hash: last.hash }, follows }
    } finally {
      client.close()
    }
  }

  #put(value: string): void {
    this.store.db
      .insert(meta)
      .values({ key: KEY, value })
      .onConflictDoUpdate({ target: meta.key, set: { value } })
      .run()
  }
}
