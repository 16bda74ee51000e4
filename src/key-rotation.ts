import type { ApiKeys } from './apikey.ts'
import { conflict, notFound } from './error.ts'
import { type KeyRing, newRingKey, type RingKey } from './key.ts'
import { limits } from './limits.ts'
import { type Actor, requireRole } from './operator.ts'
import type { Receipt } from './revocation-record.ts'
import type { Revocations } from './revocation.ts'
import type { Clock } from './time.ts'
import type { TokenIndex } from './token-index.ts'
import type { Upstream, UpstreamIndex } from './upstream.ts'

export interface KeyStore {
  /** Writes the key file, whole or not at all. */
  saveRing(keys: RingKey[]): void
  /**
   * A key more, which is the current one: credentials are sealed under it, in one transaction with the audit row and the
   * fact, in which the key travels sealed under the one that was current before.
   */
  added(servers: Iterable<Upstream>, key: RingKey, under: string, actor: Actor): void
  /** A key less: credentials are sealed under the current one, and told anew; one transaction with audit row and facts. */
  removed(servers: Iterable<Upstream>, keyId: string, actor: Actor): void
}

export interface KeyRotationDeps {
  ring: KeyRing
  tokens: TokenIndex
  servers: UpstreamIndex
  apiKeys: ApiKeys
  revocations: Revocations
  store: KeyStore
  now: Clock
}

/** The keys of the ring: listing, rotating, removing. */
export class KeyRotation {
  /** A key that the database refused: the next rotation takes it. */
  #refused: RingKey | null = null

  constructor(readonly deps: KeyRotationDeps) {}

  /** Each with how many tokens live that have a secret in use under it. */
  async list(): Promise<{ id: string; current: boolean; createdAt: number; liveTokens: number }[]> {
    const { ring, tokens, now } = this.deps
    const live = await tokens.liveByKey(now(), limits.tokensHoldMs)
    return ring.data.keys.map(({ id, createdAt }) => ({
      id,
      createdAt,
      current: id === ring.current,
      liveTokens: live.get(id) ?? 0,
    }))
  }

  /** New secrets use the new key from now on; what is under old keys stays valid. */
  rotate(actor: Actor): RingKey {
    requireRole(actor, 'owner')
    const { ring, servers, store, now } = this.deps
    const again = this.#refused && ring.ids.includes(this.#refused.id) ? this.#refused : null
    const key = again ?? newRingKey(now())
    const before = ring.data.keys.filter(({ id }) => id !== key.id)
    if (before.length >= limits.keysMax)
      throw conflict(`the ring holds ${limits.keysMax} keys, the most it may: remove one first`)
    // The file first: what the database refers to must never be missing from it.
    store.saveRing([...before, key])
    ring.replace([...before, key])
    try {
      store.added(servers.byId.values(), key, before.at(-1)?.id ?? key.id, actor)
    } catch (error) {
      // A key that the audit log does not know of must make no secret. But it stays: after a crash SQLite may take the
      // refused commit for done, and what that sealed could not be opened without it.
      this.#refused = key
      ring.replace([key, ...before])
      store.saveRing([key, ...before])
      throw error
    }
    this.#refused = null
    return key
  }

  /** Removes a key. Refused while live tokens or API keys use it, unless they are to be revoked with it. */
  async remove(id: string, revoke: boolean, actor: Actor, arrivedAt: number): Promise<Receipt | null> {
    requireRole(actor, 'owner')
    const { ring, servers, apiKeys, revocations, store, now } = this.deps
    this.#checkRemovable(id)
    const tokens = [...this.deps.tokens.under(id, now())]
    const users = apiKeys.under(id)
    if (!revoke && tokens.length + users.length > 0) {
      throw conflict(
        `${tokens.length} live tokens and ${users.length} API keys use this key: rotate or revoke them first, or add --revoke`,
      )
    }
    let receipt: Receipt | null = null
    for (let start = 0; start < tokens.length; start += limits.revocationTokensMax) {
      const request = {
        tokens: tokens.slice(start, start + limits.revocationTokensMax),
        reason: 'rotation' as const,
        note: `key ${id} removed`,
      }
      receipt = await revocations.revoke(request, actor, arrivedAt)
    }
    // Somebody may have rotated meanwhile, or removed it.
    this.#checkRemovable(id)
    for (const key of users) apiKeys.remove(key.id, actor)
    store.removed(servers.byId.values(), id, actor)
    const rest = ring.data.keys.filter((key) => key.id !== id)
    store.saveRing(rest)
    ring.replace(rest)
    return receipt
  }

  #checkRemovable(id: string): void {
    const { ring } = this.deps
    if (!ring.ids.includes(id)) throw notFound('the ring has no key of that id')
    if (id === ring.current) throw conflict('that is the current key: rotate first')
  }
}
