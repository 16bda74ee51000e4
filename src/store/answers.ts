import { and, desc, eq, lte } from 'drizzle-orm'
import type { KeptAnswer } from '../node.ts'
import type { Store } from './open.ts'
import { idempotency } from './schema.ts'

/** Answers to requests with an `Idempotency-Key`, without secrets. */
export class AnswerStore {
  constructor(
    readonly store: Store,
    readonly lifeMs: number,
    readonly keysMax: number,
  ) {}

  find(actor: string, key: string): KeptAnswer | null {
    const { db, now } = this.store
    const row = db
      .select()
      .from(idempotency)
      .where(and(eq(idempotency.actor, actor), eq(idempotency.key, key)))
      .get()
    return row && row.at > now() - this.lifeMs ? row : null
  }

  keep(actor: string, key: string, { request, status, response, location }: KeptAnswer): void {
    const row = { request, status, response, location, at: this.store.now() }
    this.store.log.write(() => {
      this.store.db
        .insert(idempotency)
        .values({ actor, key, ...row })
        .onConflictDoUpdate({ target: [idempotency.actor, idempotency.key], set: row })
        .run()
    })
  }

  /** Forgets what is too old, and the oldest of what is too much. */
  prune(): void {
    const { db, log, now } = this.store
    log.write(() => {
      const tooMuch = db
        .select({ at: idempotency.at })
        .from(idempotency)
        .orderBy(desc(idempotency.at))
        .offset(this.keysMax)
      const last = tooMuch.limit(1).get()
      db.delete(idempotency)
        .where(lte(idempotency.at, Math.max(now() - this.lifeMs, last?.at ?? 0)))
        .run()
    })
  }
}
