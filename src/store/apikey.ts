import { asc, eq, isNull } from 'drizzle-orm'
import type { ApiKey, ApiKeyStore as Keys } from '../apikey.ts'
import type { Actor } from '../operator.ts'
import { fact } from './log.ts'
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
    this.store.log.change(event, [fact('change', 'apikey.put', { ...key })], () => {
      this.store.db.insert(apiKeys).values(key).run()
    })
  }

  revoke(key: ApiKey, at: number, actor: Actor): void {
    const event = { actor: actor.name, action: 'apikey.remove', targetId: key.id, targetName: key.name }
    this.store.log.change(event, [fact('revocation', 'apikey.remove', { id: key.id, at })], () => {
      this.store.db.update(apiKeys).set({ revokedAt: at }).where(eq(apiKeys.id, key.id)).run()
    })
  }
}
