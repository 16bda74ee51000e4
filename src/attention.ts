import type { Limits } from './limits.ts'
import type { Sightings } from './sightings.ts'
import type { Clock } from './time.ts'
import { statusOf, type Token, type TokenIndex } from './token.ts'
import type { UpstreamIndex } from './upstream.ts'
import type { UsageMeter } from './usage.ts'

/** Why a live token needs a look. */
export const ATTENTION_KINDS = ['unused', 'never-expires', 'expires-soon', 'many-addresses', 'no-server'] as const
export type AttentionKind = (typeof ATTENTION_KINDS)[number]

/** The ids of live tokens that need a look, by why. */
export type Attention = Readonly<Record<AttentionKind, ReadonlySet<string>>>

export interface AttentionDeps {
  tokens: TokenIndex
  servers: UpstreamIndex
  usage: UsageMeter
  sightings: Sightings
  /** When tokens were last used, as far as it is written, a slice at a time. */
  lastUses(slice: number): Generator<{ tokenId: string; lastUsedAt: number | null }[]>
  /** Grows with every change: a token may have been issued or revoked, a server removed. */
  changes(): number
  limits: Limits
  now: Clock
  /** Told of a round that nobody waits for. */
  onFailed(error: unknown): void
}

type Sets = Record<Exclude<AttentionKind, 'many-addresses'>, Set<string>>

interface Round {
  sets: Sets
  at: number
  /** What `changes` said when it was begun, and when the dead were last taken out. */
  begunAfter: number
  cleanAfter: number
  /** When the next of its tokens expires. */
  nextExpiry: number
}

/** Which live tokens need a look. It is found out when somebody asks, and not more than once a minute. */
export class AttentionRounds {
  #last: Round | null = null
  #running: Promise<Round> | null = null

  constructor(readonly deps: AttentionDeps) {}

  /** The last round without what died since, at once, while another is under way; only the first is waited for. */
  async find(): Promise<Attention> {
    if (this.#last && !this.#running && !this.#isFresh(this.#last)) {
      this.#running = this.#begin()
      this.#running.catch(this.deps.onFailed)
    }
    const round = this.#last ?? (await (this.#running ??= this.#begin()))
    await this.#takeOutTheDead(round)
    const many = new Set<string>()
    await this.#inSlices(this.deps.sightings.fromMany(), (id) => {
      if (this.#isLive(id)) many.add(id)
    })
    return { ...round.sets, 'many-addresses': many }
  }

  #isFresh({ at, begunAfter }: Round): boolean {
    const { limits, now, changes } = this.deps
    return now() < at + (changes() === begunAfter ? limits.attentionMs : limits.attentionAfterChangeMs)
  }

  async #begin(): Promise<Round> {
    try {
      return (this.#last = await this.#round())
    } finally {
      this.#running = null
    }
  }

  async #round(): Promise<Round> {
    const { tokens, changes, lastUses, limits, now } = this.deps
    const at = now()
    const begunAfter = changes()
    const sets: Sets = {
      unused: new Set(),
      'never-expires': new Set(),
      'expires-soon': new Set(),
      'no-server': new Set(),
    }
    let nextExpiry = Infinity
    await this.#inSlices(tokens.byId.values(), (token) => {
      if (statusOf(token, now()) !== 'active') return
      this.#look(token, sets, at)
      nextExpiry = Math.min(nextExpiry, token.expiresAt ?? Infinity)
    })
    // Read after what is not written yet was looked at: a flush in between must not hide a use.
    for (const rows of lastUses(limits.tokensSlice)) {
      for (const { tokenId, lastUsedAt } of rows)
        if ((lastUsedAt ?? 0) >= at - limits.unusedMs) sets.unused.delete(tokenId)
      await Bun.sleep(0)
    }
    return { sets, at, begunAfter, cleanAfter: begunAfter, nextExpiry }
  }

  #look({ id, createdAt, expiresAt, servers }: Token, sets: Sets, at: number): void {
    const { usage, limits } = this.deps
    if (createdAt < at - limits.unusedMs && usage.pending(id).lastUsedAt === null) sets.unused.add(id)
    if (expiresAt === null) sets['never-expires'].add(id)
    else if (expiresAt <= at + limits.expiresSoonMs) sets['expires-soon'].add(id)
    const isLeft = (serverId: string) => this.deps.servers.byId.get(serverId)?.removedAt === null
    if (![...servers].some(isLeft)) sets['no-server'].add(id)
  }

  /** Nothing dies without a change, but by the clock. */
  async #takeOutTheDead(round: Round): Promise<void> {
    const { tokens, changes, now } = this.deps
    const cleanAfter = changes()
    if (cleanAfter === round.cleanAfter && now() < round.nextExpiry) return
    let nextExpiry = Infinity
    for (const set of Object.values(round.sets)) {
      await this.#inSlices(set, (id) => {
        if (this.#isLive(id)) nextExpiry = Math.min(nextExpiry, tokens.byId.get(id)?.expiresAt ?? Infinity)
        else set.delete(id)
      })
    }
    Object.assign(round, { cleanAfter, nextExpiry })
  }

  #isLive(id: string): boolean {
    const token = this.deps.tokens.byId.get(id)
    return token !== undefined && statusOf(token, this.deps.now()) === 'active'
  }

  /** With pauses, so that the loop stays free. */
  async #inSlices<T>(all: Iterable<T>, look: (one: T) => void): Promise<void> {
    let looked = 0
    for (const one of all) {
      look(one)
      looked += 1
      if (looked % this.deps.limits.tokensSlice === 0) await Bun.sleep(0)
    }
  }
}
