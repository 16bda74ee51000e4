import { NONE } from './column.ts'
import type { Limits } from './limits.ts'
import type { Sightings } from './sightings.ts'
import type { Clock, Stopwatch } from './time.ts'
import { statusOf } from './token.ts'
import type { TokenIndex, TokenRow } from './token-index.ts'
import { TokenSet } from './token-set.ts'
import { inTurns } from './turns.ts'
import type { UpstreamIndex } from './upstream.ts'
import type { UsageMeter } from './usage.ts'

/** Why a live token needs a look. */
export const ATTENTION_KINDS = ['unused', 'never-expires', 'expires-soon', 'many-addresses', 'no-server'] as const
export type AttentionKind = (typeof ATTENTION_KINDS)[number]

/** The live tokens that need a look, by why. */
export type Attention = Readonly<Record<AttentionKind, TokenSet>>

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
  /** How old a round is. */
  stopwatch: Stopwatch
  /** Told of a round that nobody waits for. */
  onFailed(error: unknown): void
}

type Sets = Record<Exclude<AttentionKind, 'many-addresses'>, TokenSet>

interface Round {
  sets: Sets
  /** By the stopwatch. */
  begunAt: number
  tookMs: number
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
    const { tokens, sightings, limits, now } = this.deps
    const many = new TokenSet(tokens)
    await inTurns(sightings.fromMany(), limits.tokensHoldMs, (id) => {
      const token = tokens.get(id)
      if (token && statusOf(token, now()) === 'active') many.add(token)
    })
    return { ...round.sets, 'many-addresses': many }
  }

  #isFresh({ begunAt, begunAfter, tookMs }: Round): boolean {
    const { limits, stopwatch, changes } = this.deps
    const goodForMs = changes() === begunAfter ? limits.attentionMs : limits.attentionAfterChangeMs
    return stopwatch() < begunAt + Math.max(goodForMs, tookMs * limits.attentionRestTimes)
  }

  async #begin(): Promise<Round> {
    try {
      return (this.#last = await this.#round())
    } finally {
      this.#running = null
    }
  }

  async #round(): Promise<Round> {
    const { tokens, changes, lastUses, limits, now, stopwatch } = this.deps
    const at = now()
    const begunAt = stopwatch()
    const begunAfter = changes()
    const sets: Sets = {
      unused: new TokenSet(tokens),
      'never-expires': new TokenSet(tokens),
      'expires-soon': new TokenSet(tokens),
      'no-server': new TokenSet(tokens),
    }
    let nextExpiry = Infinity
    await inTurns(tokens, limits.tokensHoldMs, (token) => {
      if (statusOf(token, now()) !== 'active') return
      this.#look(token, sets, at)
      nextExpiry = Math.min(nextExpiry, token.expiresAt ?? Infinity)
    })
    // Read after what is not written yet was looked at: a flush in between must not hide a use.
    for (const rows of lastUses(limits.tokensSlice)) {
      for (const { tokenId, lastUsedAt } of rows) {
        const row = tokens.table.find(tokenId)
        if (row !== NONE && (lastUsedAt ?? 0) >= at - limits.unusedMs) sets.unused.delete({ row })
      }
      await Bun.sleep(0)
    }
    return { sets, begunAt, tookMs: stopwatch() - begunAt, begunAfter, cleanAfter: begunAfter, nextExpiry }
  }

  #look(token: TokenRow, sets: Sets, at: number): void {
    const { usage, limits } = this.deps
    const { createdAt, expiresAt, servers } = token
    if (createdAt < at - limits.unusedMs && usage.pending(token.id).lastUsedAt === null) sets.unused.add(token)
    if (expiresAt === null) sets['never-expires'].add(token)
    else if (expiresAt <= at + limits.expiresSoonMs) sets['expires-soon'].add(token)
    const isLeft = (serverId: string) => this.deps.servers.byId.get(serverId)?.removedAt === null
    if (!servers.values().some(isLeft)) sets['no-server'].add(token)
  }

  /** Nothing dies without a change, but by the clock. */
  async #takeOutTheDead(round: Round): Promise<void> {
    const { changes, limits, now } = this.deps
    const cleanAfter = changes()
    if (cleanAfter === round.cleanAfter && now() < round.nextExpiry) return
    let nextExpiry = Infinity
    for (const set of Object.values(round.sets)) {
      await inTurns(set, limits.tokensHoldMs, (token) => {
        if (statusOf(token, now()) === 'active') nextExpiry = Math.min(nextExpiry, token.expiresAt ?? Infinity)
        else set.delete(token)
      })
    }
    Object.assign(round, { cleanAfter, nextExpiry })
  }
}
