import type { ApiKeys } from './apikey.ts'
import { conflict, notFound } from './error.ts'
import { type KeyRing, newRingKey, type RingKey } from './key.ts'
import { limits } from './limits.ts'
import { type Actor, requireRole } from './operator.ts'
import type { Receipt } from './revocation-record.ts'
import type { Revocations } from './revocation.ts'
import type { Clock } from './time.ts'
import type { Upstream, UpstreamIndex } from './upstream.ts'

export interface KeyStore {
  /** Writes the key file, whole or not at all. */
  saveRing(keys: RingKey[]): void
  /** Tokens that live and have a secret in use under each key. */
  liveByKey(now: number): Map<string, Set<string>>
  /** Seals credentials under the current key; one transaction with the audit row. */
  reseal(servers: Iterable<Upstream>, action: 'key.rotate' | 'key.remove', keyId: string, actor: Actor): void
}

export interface KeyRotationDeps {
  ring: KeyRing
  servers: UpstreamIndex
  apiKeys: ApiKeys
  revocations: Revocations
  store: KeyStore
  now: Clock
}

/** The keys of the ring: listing, rotating, removing. */
export class KeyRotation {
  constructor(readonly deps: KeyRotationDeps) {}

  list(): { id: string; current: boolean; createdAt: number; liveTokens: number }[] {
    const { ring, store, now } = this.deps
    const live = store.liveByKey(now())
    return ring.data.keys.map(({ id, createdAt }) => ({
      id,
      createdAt,
      current: id === ring.current,
      liveTokens: live.get(id)?.size ?? 0,
    }))
  }

  /** New secrets use the new key from now on; what is under old keys stays valid. */
  rotate(actor: Actor): RingKey {
    requireRole(actor, 'owner')
    const { ring, servers, store, now } = this.deps
    if (ring.ids.length >= limits.keysMax)
      throw conflict(`the ring holds ${limits.keysMax} keys, the most it may: remove one first`)
    const key = newRingKey(now())
    const before = ring.data.keys
    // The file first: what the database refers to must never be missing from it.
    store.saveRing([...before, key])
    ring.replace([...before, key])
    try {
      store.reseal(servers.byId.values(), 'key.rotate', key.id, actor)
    } catch (error) {
      // A key that the audit log does not know of must make no secret.
      ring.replace(before)
      store.saveRing(before)
      throw error
    }
    return key
  }

  /** Removes a key. Refused while live tokens or API keys use it, unless they are to be revoked with it. */
  async remove(id: string, revoke: boolean, actor: Actor, arrivedAt: number): Promise<Receipt | null> {
    requireRole(actor, 'owner')
    const { ring, servers, apiKeys, revocations, store, now } = this.deps
    if (!ring.ids.includes(id)) throw notFound('the ring has no key of that id')
    if (id === ring.current) throw conflict('that is the current key: rotate first')
    const tokens = [...(store.liveByKey(now()).get(id) ?? [])]
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
    for (const key of users) apiKeys.remove(key.id, actor)
    store.reseal(servers.byId.values(), 'key.remove', id, actor)
    const rest = ring.data.keys.filter((key) => key.id !== id)
    store.saveRing(rest)
    ring.replace(rest)
    return receipt
  }
}
