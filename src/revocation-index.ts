import { type FactId, hadSeen, type Seen } from './fact.ts'
import { matches } from './revocation.ts'
import { type RevocationRecord, serversOf } from './revocation-record.ts'
import { fold } from './text.ts'
import type { Token } from './token.ts'

/** A revocation as it is held against tokens. */
export interface Told extends Pick<FactId, 'origin' | 'seq'>, Pick<RevocationRecord, 'id' | 'at' | 'selector'> {
  /** It stands for tokens that were made until then: it was written later than it was asked for. */
  issuedUntil?: number | undefined
}

type Named = Omit<Token, 'secrets'>

/** Whether it holds for a token that its selector names. */
export const reaches = ({ origin, seq, selector, issuedUntil = Infinity }: Told, { seen, createdAt }: Named): boolean =>
  selector.tokens !== undefined || (!hadSeen(seen, { origin, seq }) && createdAt <= issuedUntil)

/** Whether a revocation kills a token, whichever of the two came first. An id names a token whatever its issuer knew. */
export const kills = (told: Told, token: Named): boolean => reaches(told, token) && matches(told.selector, token)

const put = <K>(map: Map<K, Told[]>, key: K, told: Told): void => {
  const list = map.get(key)
  if (list) list.push(told)
  else map.set(key, [told])
}

/**
 * All revocations that are known, by what they name: each token that comes from another node is held against those that
 * its issuer had not seen. Those of one origin stand in their order, so that the ones it had seen are not walked through.
 */
export class RevocationIndex {
  readonly #known = new Map<string, number>()
  readonly #byToken = new Map<string, Told[]>()
  readonly #bySubject = new Map<string, Told[]>()
  readonly #byGroup = new Map<string, Told[]>()
  readonly #byServer = new Map<string, Told[]>()
  /** All tokens, or those made before a time. */
  readonly #broad = new Map<string, Told[]>()

  get size(): number {
    return this.#known.size
  }

  /** `isHere`: tokens that need no entry, since they have died of it already. */
  add(told: Told, isHere: (token: string) => boolean = () => false): void {
    const { origin, seq, selector } = told
    const key = `${origin} ${seq}`
    if (this.#known.has(key)) return
    this.#known.set(key, seq)
    const servers = serversOf(selector)
    if (selector.tokens) {
      for (const id of selector.tokens) if (!isHere(id)) put(this.#byToken, id, told)
    } else if (selector.subject !== undefined) put(this.#bySubject, selector.subject, told)
    else if (selector.group !== undefined) put(this.#byGroup, selector.group, told)
    else if (servers) for (const id of servers) put(this.#byServer, id, told)
    else put(this.#broad, origin, told)
  }

  clear(): void {
    for (const map of [this.#known, this.#byToken, this.#bySubject, this.#byGroup, this.#byServer, this.#broad])
      map.clear()
  }

  /** The first revocation that kills a token which comes now; null: none. */
  killerOf(token: Named): Told | null {
    let first: Told | null = null
    const look = (list: readonly Told[] | undefined, seen: Seen | null, origin?: string) => {
      if (!list) return
      // Of one origin, in its order: those behind what was seen.
      const from = origin === undefined ? 0 : behind(list, seen?.[origin] ?? 0)
      for (let at = from; at < list.length; at += 1) {
        const told = list[at] as Told
        if ((first === null || isBefore(told, first)) && kills(told, token)) first = told
      }
    }
    look(this.#byToken.get(token.id), token.seen)
    if (this.#bySubject.size > 0 && token.subject !== null) look(this.#bySubject.get(fold(token.subject)), token.seen)
    if (this.#byGroup.size > 0 && token.group !== null) look(this.#byGroup.get(fold(token.group)), token.seen)
    if (this.#byServer.size > 0) for (const id of token.servers) look(this.#byServer.get(id), token.seen)
    for (const [origin, list] of this.#broad) look(list, token.seen, origin)
    return first
  }
}

/** The same one on every node that knows both. */
const isBefore = (a: Told, b: Told): boolean => (a.at === b.at ? a.id < b.id : a.at < b.at)

/** Where those above a number begin. */
const behind = (list: readonly Told[], seq: number): number => {
  let from = list.length
  while (from > 0 && (list[from - 1] as Told).seq > seq) from -= 1
  return from
}
