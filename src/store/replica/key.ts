import { stampOf } from '../../fact.ts'
import { type RingKey, sealedUnder } from '../../key.ts'
import type { Registry } from '../../registry.ts'
import type { Clock } from '../../time.ts'
import type { TokenIndex } from '../../token-index.ts'
import { KeyStore, purposeOf, RING } from '../key-rotation.ts'
import type { Store } from '../open.ts'
import type { Handlers, ReadFact, Written } from './handler.ts'

export interface KeyServices {
  store: Store
  tokens: TokenIndex
  registry: Pick<Registry, 'cut' | 'ofToken'>
  now: Clock
}

const NOTHING = { event: null, after: () => 0 }

/** What other nodes did with the ring that all of them share. */
export const keyHandlers = ({ store, tokens, registry, now }: KeyServices): Handlers => {
  const { keys } = store
  const ring = new KeyStore(store)
  const registers = store.log.registers

  const add = ({ payload, hlc, origin }: ReadFact): Written => {
    const { id, createdAt, sealed, by } = payload as { id: string; createdAt: number; sealed: string; by: string }
    if (registers.hasEnded(`key:${id}`)) return NOTHING
    const isHere = keys.ids.includes(id)
    const under = sealedUnder(sealed)
    if (!isHere && !keys.ids.includes(under)) return { missing: `key:${under}` }
    const isCurrent = registers.take(RING, stampOf(hlc, origin))
    const key: RingKey = isHere
      ? (keys.data.keys.find((one) => one.id === id) as RingKey)
      : { id, createdAt, secret: new Uint8Array(Buffer.from(keys.decrypt(sealed, purposeOf(id)), 'base64')) }
    const others = keys.data.keys.filter((one) => one.id !== id)
    const current = others.at(-1)
    const next = isCurrent || !current ? [...others, key] : [...others.slice(0, -1), key, current]
    const came = `key:${id}`
    if (isHere && next.every((one, index) => one.id === keys.ids[index])) return { ...NOTHING, came }
    // The file first: what the database refers to must never be missing from it. Should the database refuse, a key more
    // in it does no harm.
    ring.saveRing(next)
    keys.replace(next)
    if (isCurrent) ring.reseal(ring.servers.all())
    return { event: { actor: by, action: 'key.rotate', targetId: id }, came, after: () => 0 }
  }

  const remove = ({ payload }: ReadFact): Written => {
    const { id, current, by } = payload as { id: string; current: string; by: string }
    if (registers.hasEnded(`key:${id}`)) return NOTHING
    // What took its place comes first: else nothing could be opened that was told since.
    if (!keys.ids.includes(current) && !registers.hasEnded(`key:${current}`)) return { missing: `key:${current}` }
    const rest = keys.data.keys.filter((one) => one.id !== id)
    const gone = keys.data.keys.find((one) => one.id === id)
    ring.drop(id)
    if (!gone || rest.length === 0) return { ...NOTHING, came: `key:${id}` }
    if (keys.current === id) {
      keys.replace([gone, ...rest])
      ring.saveRing([gone, ...rest])
    }
    ring.reseal(ring.servers.all())
    return {
      event: { actor: by, action: 'key.remove', targetId: id },
      plain: true,
      came: `key:${id}`,
      after() {
        keys.replace(rest)
        ring.saveRing(rest)
        // Of tokens that its remover did not know: nobody can check their secrets any more.
        const orphans = [...tokens.under(id, now())].flatMap((token) =>
          [...registry.ofToken(token)].filter(({ secret }) => secret.keyId === id),
        )
        return registry.cut(orphans, 'token_revoked').cut
      },
    }
  }

  return { 'key.add': { write: add }, 'key.remove': { write: remove } }
}
