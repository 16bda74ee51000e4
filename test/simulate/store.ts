import {
  type FactStream,
  type Seen,
  type StoredFact,
  STREAMS,
  type Vector,
  hadSeen,
  nextHlc,
  reachOf,
  seenIn,
  stampOf,
} from '../../src/fact.ts'
import type { FactId } from '../../src/fact.ts'
import type { Applied, Replica } from '../../src/replica.ts'
import { matches } from '../../src/revocation.ts'
import type { RevocationRecord, Selector } from '../../src/revocation-record.ts'
import { type Disk, Crash } from './disk.ts'

/** A token as every node that knows of it has it. */
export interface SimToken {
  id: string
  name: string
  subject: string | null
  group: string | null
  policy: null
  servers: ReadonlySet<string>
  createdAt: number
  createdBy: string
  expiresAt: null
  revokedAt: null
  revocationId: null
  secrets: []
  seen: Seen
}

/** A revocation as it was applied, by whichever kind of fact. */
export interface SimRevocation extends FactId {
  id: string
  selector: Selector
}

/** What a program of today knows; the second is of one to come. */
export const KNOWN: Readonly<Record<'old' | 'new', ReadonlySet<string>>> = {
  old: new Set(['token.issue', 'token.revoke', 'token.rotate', 'gate.put', 'apikey.remove']),
  new: new Set([
    'token.issue',
    'token.revoke',
    'token.rotate',
    'gate.put',
    'apikey.remove',
    'token.quench',
    'gate.tint',
  ]),
}

/** What is looked at from outside; `kills` may be broken to see that somebody notices. */
export interface StoreEvents {
  stored(fact: StoredFact): void
  /** A token became usable here, or ended. */
  lives(store: Store, token: SimToken): void
  dies(store: Store, token: string): void
}

export const keyOf = ({ origin, seq }: Pick<FactId, 'origin' | 'seq'>): string => `${origin}/${seq}`

/** `arriving`: the token came after the revocation. */
export type Kills = (revocation: SimRevocation, token: SimToken, arriving: boolean) => boolean

/** Which tokens a revocation kills: the one rule, by the project's own predicates. */
export const kills: Kills = (revocation, token) =>
  matches(revocation.selector, token) && (!!revocation.selector.tokens || !hadSeen(token.seen, revocation))

/**
 * What the database and the memory behind it do with facts, in the fewest words: tokens, revocations, secrets that a
 * rotation ends, registers that the last writer wins. The real one has a property test of its own.
 */
export class Store implements Replica {
  vector: Vector = {}
  unknown: FactId[] = []
  /** Whether it knows the kinds of all facts that it has. */
  understands = true
  readonly live = new Map<string, SimToken>()
  readonly dead = new Set<string>()
  /** Live here, and named by a revocation that some node called complete: kept by the checks. */
  readonly doomed = new Set<string>()
  readonly revocations: SimRevocation[] = []
  readonly registers = new Map<string, { stamp: string; value: string }>()
  /** When each secret ends: the earliest that anybody said. */
  readonly deaths = new Map<string, number>()
  readonly removed = new Set<string>()
  #hlc: string | null = null
  readonly #kills: Kills

  constructor(
    readonly disk: Disk,
    readonly knows: ReadonlySet<string>,
    readonly events: StoreEvents,
    killsAs: Kills = kills,
  ) {
    this.#kills = killsAs
    for (const stream of STREAMS) {
      for (const streams of disk.facts.values()) {
        for (const fact of streams[stream]) {
          // It may have died between the write and whatever came next.
          events.stored(fact)
          this.#take(fact)
        }
      }
    }
    for (const { record } of disk.journal) this.deny(record)
  }

  behind(vector: Vector, bytesMax: number): { facts: StoredFact[]; more: boolean } {
    const facts: StoredFact[] = []
    let bytes = 0
    for (const stream of STREAMS) {
      for (const [origin, streams] of this.disk.facts) {
        for (const fact of streams[stream].slice(reachOf(vector, origin, stream))) {
          if (facts.length > 0 && bytes + fact.payload.length > bytesMax) return { facts, more: true }
          facts.push(fact)
          bytes += fact.payload.length
        }
      }
    }
    return { facts, more: false }
  }

  apply(facts: readonly StoredFact[]): Applied {
    const reached = new Map<string, number>()
    const fresh = facts.filter(({ origin, stream, seq }) => {
      const key = `${origin} ${stream}`
      const last = reached.get(key) ?? reachOf(this.vector, origin, stream)
      if (seq === last + 1) reached.set(key, seq)
      return seq === last + 1
    })
    if (fresh.length === 0) return { revocations: [], count: 0 }
    try {
      this.disk.write(() => {
        for (const fact of fresh) this.disk.streamsOf(fact.origin)[fact.stream].push(fact)
      })
    } catch (error) {
      if (error instanceof Crash) throw error
      // Nothing was stored, but what is revoked is denied all the same.
      for (const fact of fresh) if (fact.stream === 'revocation') this.#denyFact(fact)
      throw error
    }
    const revocations = fresh.flatMap((fact) => {
      this.events.stored(fact)
      const before = this.live.size
      this.#take(fact)
      if (fact.stream !== 'revocation' || !this.knows.has(fact.kind)) return []
      return [{ origin: fact.origin, seq: fact.seq, cut: before - this.live.size, revocation: null }]
    })
    return { revocations, count: fresh.length }
  }

  /** A change of this node's own. Throws what the disk throws. */
  commit(stream: FactStream, kind: string, payload: Record<string, unknown>, wallNow: number): StoredFact {
    const origin = this.disk.identity
    const hlc = nextHlc(this.#hlc, wallNow)
    const seq = reachOf(this.vector, origin, stream) + 1
    const fact: StoredFact = { origin, stream, seq, kind, hlc, payload: JSON.stringify(payload) }
    this.disk.write(() => void this.disk.streamsOf(origin)[stream].push(fact))
    this.events.stored(fact)
    this.#take(fact)
    return fact
  }

  /** A revocation that another node's disk refused becomes a fact of this one, unless the record is known. */
  adopt(record: RevocationRecord, wallNow: number): StoredFact[] {
    if (this.revocations.some(({ id }) => id === record.id)) return []
    return [this.commit('revocation', 'token.revoke', { ...record }, wallNow)]
  }

  deny({ selector }: Pick<RevocationRecord, 'selector'>): void {
    for (const token of this.live.values()) if (matches(selector, token)) this.#kill(token.id)
  }

  get seen(): Seen {
    return seenIn(this.vector)
  }

  /** All that must be the same everywhere in the end. */
  fingerprint(): string {
    const sorted = (entries: Iterable<unknown>) =>
      JSON.stringify([...entries].map((entry) => JSON.stringify(entry)).toSorted())
    return [
      sorted(Object.entries(this.vector)),
      sorted(this.live.keys()),
      sorted(this.dead),
      sorted(this.registers),
      sorted(this.deaths),
      sorted(this.removed),
    ].join('\n')
  }

  #take(fact: StoredFact): void {
    const { origin, stream, seq, hlc } = fact
    const [revocation, change] = this.vector[origin] ?? [0, 0]
    this.vector = { ...this.vector, [origin]: stream === 'revocation' ? [seq, change] : [revocation, seq] }
    if (this.#hlc === null || hlc > this.#hlc) this.#hlc = hlc
    if (!this.knows.has(fact.kind)) this.understands = false
    if (this.knows.has(fact.kind)) this.#mean(fact, JSON.parse(fact.payload) as Record<string, unknown>)
    else if (stream === 'revocation') this.unknown = [...this.unknown, { origin, stream, seq }]
  }

  #mean(fact: StoredFact, payload: Record<string, unknown>): void {
    switch (fact.kind) {
      case 'token.issue':
        return this.#issue(payload as unknown as SimToken)
      case 'token.revoke':
      case 'token.quench':
        return this.#revoke({ ...fact, ...(payload as { id: string; selector: Selector }) })
      case 'token.rotate': {
        for (const [secret, diesAt] of Object.entries(payload['deaths'] as Record<string, number>)) {
          this.deaths.set(secret, Math.min(this.deaths.get(secret) ?? Infinity, diesAt))
        }
        return
      }
      case 'apikey.remove':
        this.removed.add(payload['id'] as string)
        return
      default: {
        const [register, value] = [payload['register'] as string, payload['value'] as string]
        const stamp = stampOf(fact.hlc, fact.origin)
        const last = this.registers.get(register)
        if (!last || last.stamp < stamp) this.registers.set(register, { stamp, value })
      }
    }
  }

  #issue(plain: SimToken): void {
    const token = { ...plain, servers: new Set(plain.servers as unknown as string[]) }
    if (this.revocations.some((revocation) => this.#kills(revocation, token, true))) {
      this.dead.add(token.id)
      return
    }
    this.live.set(token.id, token)
    this.events.lives(this, token)
  }

  #revoke(revocation: SimRevocation): void {
    this.revocations.push(revocation)
    for (const token of this.live.values()) if (this.#kills(revocation, token, false)) this.#kill(token.id)
  }

  #denyFact(fact: StoredFact): void {
    if (!this.knows.has(fact.kind)) return
    const { selector } = JSON.parse(fact.payload) as { selector?: Selector }
    if (!selector) return
    const { origin, stream, seq } = fact
    for (const token of this.live.values()) {
      if (this.#kills({ origin, stream, seq, id: '', selector }, token, false)) this.#kill(token.id)
    }
  }

  #kill(id: string): void {
    this.live.delete(id)
    this.dead.add(id)
    this.events.dies(this, id)
  }
}
