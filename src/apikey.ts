import type { Fold } from './audit.ts'
import { conflict, notFound } from './error.ts'
import { newId } from './id.ts'
import type { KeyRing } from './key.ts'
import { type Actor, requireRole } from './operator.ts'
import { generateSecret, isSecret } from './secret.ts'
import { line } from './text.ts'
import type { Clock } from './time.ts'

/** What a program shows to use the console's API. Its role is never owner. */
export interface ApiKey {
  id: string
  name: string
  role: 'operator' | 'auditor'
  digest: string
  keyId: string
  createdAt: number
  createdBy: string
  expiresAt: number | null
  revokedAt: number | null
}

export interface ApiKeyStore {
  /** Those that are not removed. */
  all(): ApiKey[]
  insert(key: ApiKey, actor: Actor): void
  revoke(keys: readonly ApiKey[], at: number, actor: Actor): void
}

export interface ApiKeyDeps {
  store: ApiKeyStore
  ring: KeyRing
  fold: Fold
  now: Clock
}

/** API keys, in memory by digest. */
export class ApiKeys {
  readonly #byDigest: Map<string, ApiKey>
  readonly #usedAt = new Map<string, number>()

  constructor(readonly deps: ApiKeyDeps) {
    this.#byDigest = new Map(deps.store.all().map((key) => [key.digest, key]))
  }

  list(): (ApiKey & { lastUsedAt: number | null })[] {
    return [...this.#byDigest.values()].map((key) => ({ ...key, lastUsedAt: this.#usedAt.get(key.id) ?? null }))
  }

  /** Throws `conflict` for a name that is taken. */
  create(name: string, role: ApiKey['role'], expiresAt: number | null, actor: Actor): { key: ApiKey; secret: string } {
    requireRole(actor, 'owner')
    const { store, ring, now } = this.deps
    const checked = line(name, 'the name')
    if (this.list().some((key) => key.name === checked)) throw conflict('an API key has that name already')
    const secret = generateSecret('pca_')
    const made = { createdAt: now(), createdBy: actor.name, expiresAt, revokedAt: null }
    const key: ApiKey = { id: newId('key'), name: checked, role, ...ring.digest(secret), ...made }
    store.insert(key, actor)
    this.#byDigest.set(key.digest, key)
    return { key, secret }
  }

  remove(idOrName: string, actor: Actor): void {
    requireRole(actor, 'owner')
    const all = this.list()
    const withId = all.filter(({ id }) => id === idOrName)
    // Two nodes may each have made one of that name: both go.
    const removed = withId.length > 0 ? withId : all.filter(({ name }) => name === idOrName)
    if (removed.length === 0) throw notFound('no API key has that id or name')
    this.deps.store.revoke(removed, this.deps.now(), actor)
    for (const key of removed) this.#byDigest.delete(key.digest)
  }

  /** Made by another node. */
  came(key: ApiKey): void {
    this.#byDigest.set(key.digest, key)
  }

  /** Removed by another node. */
  went(id: string): void {
    for (const [digest, key] of this.#byDigest) if (key.id === id) this.#byDigest.delete(digest)
  }

  /** The key with that secret, also one that has expired; null for one that was removed, or never was. */
  find(secret: string): ApiKey | null {
    if (!isSecret('pca_', secret)) return null
    return this.deps.ring.findBy(secret, (digest) => this.#byDigest.get(Buffer.from(digest).toString('base64')) ?? null)
  }

  /** The actor behind a secret, or null; strangers' tries are counted. */
  actorOf(secret: string, address: string): Actor | null {
    const { now, fold } = this.deps
    const key = this.find(secret)
    if (key && (key.expiresAt === null || key.expiresAt > now())) {
      this.#usedAt.set(key.id, now())
      return { name: `apikey:${key.name}`, role: key.role }
    }
    fold.add('apikey.refused', address, null, now())
    return null
  }

  /** Those whose digest is under that key of the ring. */
  under(keyId: string): ApiKey[] {
    return this.list().filter((key) => key.keyId === keyId)
  }
}
