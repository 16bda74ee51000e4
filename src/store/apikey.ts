import { and, asc, eq, isNull } from 'drizzle-orm'
import type { ApiKey, ApiKeyStore as Keys } from '../apikey.ts'
import type { Fact } from '../fact.ts'
import type { Actor } from '../operator.ts'
import type { Store } from './open.ts'
import { apiKeys } from './schema.ts'

/** API keys on disk: digests, never a secret. */
export class ApiKeyStore implements Keys {
  constructor(readonly store: Store) {}

  all(): ApiKey[] {
    return this.store.db.select().from(apiKeys).where(isNull(apiKeys.revokedAt)).orderBy(asc(apiKeys.id)).all()
  }

  insert(key: ApiKey, actor: Actor): void {
    const { role, expiresAt } = key
    const event = {
      actor: actor.name,
      action: 'apikey.create',
      targetId: key.id,
      targetName: key.name,
      details: { role, expiresAt },
    }
    this.store.log.change(event, [apiKeyFact(key)], () => this.put(key))
  }

  revoke(keys: readonly ApiKey[], at: number, actor: Actor): void {
    const events = keys.map(({ id, name }) => ({
      actor: actor.name,
      action: 'apikey.remove',
      targetId: id,
      targetName: name,
    }))
    const facts = keys.map(({ id }) => apiKeyRemoved(id, at, actor.name))
    this.store.log.changes(events, facts, () => {
      for (const { id } of keys) this.drop(id, at)
    })
  }

  withId(id: string): ApiKey | null {
    return this.store.db.select().from(apiKeys).where(eq(apiKeys.id, id)).get() ?? null
  }

  /** Within the caller's transaction, like what follows. */
  put(key: ApiKey): void {
    this.store.db.insert(apiKeys).values(key).run()
  }

  /** It stays dead, also where it was not known yet. */
  drop(id: string, at: number): void {
    this.store.db
      .update(apiKeys)
      .set({ revokedAt: at })
      .where(and(eq(apiKeys.id, id), isNull(apiKeys.revokedAt)))
      .run()
    this.store.log.registers.end(`apikey:${id}`)
  }
}

export const apiKeyFact = (key: ApiKey): Fact => {
  const { revokedAt: _, ...payload } = key
  return { stream: 'change', kind: 'apikey.put', payload }
}

/** It overtakes all else, like a revocation. */
export const apiKeyRemoved = (id: string, at: number, by: string): Fact => ({
  stream: 'revocation',
  kind: 'apikey.remove',
  payload: { id, at, by },
})
