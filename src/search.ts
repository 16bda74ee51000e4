import type { ApiKey, ApiKeys } from './apikey.ts'
import type { KeyRing } from './key.ts'
import type { Limits } from './limits.ts'
import type { Registry } from './registry.ts'
import { isSecret, SECRET_SHAPE } from './secret.ts'
import { fold } from './text.ts'
import type { Clock } from './time.ts'
import { type Secret, statusOf, type Token } from './token.ts'
import type { TokenIndex } from './token-index.ts'
import { holdsAll, type TokenNames, wordsOf } from './token-names.ts'
import { inTurns } from './turns.ts'
import type { Upstream, UpstreamIndex } from './upstream.ts'

/** Whether name, subject and group of a token hold every word of the query; an empty one is in all. */
export const tokenFilter = (query: string): ((token: Token) => boolean) => {
  const words = wordsOf(query)
  if (words.length === 0) return () => true
  return ({ name, subject, group }) =>
    holdsAll([name, subject, group].map((text) => fold(text ?? '')).join('\n'), words)
}

/** Several tokens that one word revokes. */
export interface Shared {
  /** The subject or group, as it is written with the first of them. */
  text: string
  tokens: number
  connections: number
}

export interface Found {
  /** Live ones first; of those, the ones in use. */
  tokens: Token[]
  subjects: Shared[]
  groups: Shared[]
  servers: Upstream[]
  /** How many tokens there are beyond those listed. */
  more: number
}

/** What a pasted text turned out to be: the secret of a token, an API key, or a secret that nobody has. */
export type PastedSecret = { secret: Secret } | { apiKey: ApiKey } | { why: 'unknown' | 'malformed' }

export interface SearchDeps {
  tokens: TokenIndex
  names: TokenNames
  servers: UpstreamIndex
  registry: Registry
  ring: KeyRing
  apiKeys: ApiKeys
  limits: Limits
  now: Clock
}

/** Finds what can be killed: by a part of its name, or by a leaked secret. */
export class Search {
  constructor(readonly deps: SearchDeps) {}

  /** The secret of ours that stands in the text, alone, in a header or in an address; null: none does. */
  pasted(text: string): PastedSecret | null {
    const shown = SECRET_SHAPE.exec(text)?.[0]
    if (!shown) return null
    if (!isSecret('pcl_', shown) && !isSecret('pca_', shown)) return { why: 'malformed' }
    const secret = this.deps.tokens.findSecret(shown, this.deps.ring)
    if (secret) return { secret }
    const apiKey = this.deps.apiKeys.find(shown)
    return apiKey ? { apiKey } : { why: 'unknown' }
  }

  /** At most `max` of each kind; for an empty query, what is in use. */
  async find(query: string, max: number): Promise<Found> {
    const { servers } = this.deps
    const words = wordsOf(query)
    const { tokens, subjects, groups, count } = await (words.length === 0
      ? this.#inUse(max)
      : this.#holding(query, words, max))
    const byUse = (all: Map<number, Shared>) =>
      [...all.values()].toSorted((a, b) => b.connections - a.connections || b.tokens - a.tokens).slice(0, max)
    return {
      tokens,
      subjects: byUse(subjects),
      groups: byUse(groups),
      servers: servers
        .sorted()
        .filter(({ name }) => holdsAll(name, words))
        .slice(0, max),
      more: Math.max(0, count - max),
    }
  }

  #inUse(max: number) {
    const at = this.deps.now()
    const best = new Best(max)
    for (const [token, connections] of connectionsByToken(this.deps.registry))
      best.add(token, rankOf(statusOf(token, at) === 'active', false, connections))
    return {
      tokens: best.tokens,
      count: best.count,
      subjects: new Map<number, Shared>(),
      groups: new Map<number, Shared>(),
    }
  }

  async #holding(query: string, words: readonly string[], max: number) {
    const { tokens, names, registry, limits, now } = this.deps
    const { table } = tokens
    const at = now()
    const [first] = words as [string]
    const inUse = connectionsByToken(registry)
    const isFound = await names.filter(query)
    const subjectKeys = table.subject.keysWith(words)
    const groupKeys = table.group.keysWith(words)
    const subjects = new Map<number, Shared>()
    const groups = new Map<number, Shared>()
    const best = new Best(max)
    await inTurns(tokens, limits.tokensHoldMs, (token) => {
      const { row } = token
      if (!isFound(row)) return
      const connections = inUse.get(token) ?? 0
      const isLive = table.isActive(row, at)
      best.add(token, rankOf(isLive, names.at(row).startsWith(first), connections))
      if (!isLive) return
      const subject = table.subject.keyAt(row)
      if (subjectKeys.has(subject)) share(subjects, subject, token.subject, connections)
      const group = table.group.keyAt(row)
      if (groupKeys.has(group)) share(groups, group, token.group, connections)
    })
    return { tokens: best.tokens, count: best.count, subjects, groups }
  }
}

/** The best of many, of which only a few are kept. */
class Best {
  #ranked: { token: Token; rank: number }[] = []
  count = 0

  constructor(readonly max: number) {}

  add(token: Token, rank: number): void {
    this.count += 1
    const last = this.#ranked[this.max - 1]
    if (last && rank < last.rank) return
    this.#ranked.push({ token, rank })
    this.#ranked.sort((a, b) => b.rank - a.rank || (a.token.name < b.token.name ? -1 : 1))
    this.#ranked.length = Math.min(this.#ranked.length, this.max)
  }

  get tokens(): Token[] {
    return this.#ranked.map(({ token }) => token)
  }
}

const connectionsByToken = (registry: Registry): Map<Token, number> => {
  const found = new Map<Token, number>()
  for (const { secret } of registry.all()) found.set(secret.token, (found.get(secret.token) ?? 0) + 1)
  return found
}

/** Live before dead, then the name that begins so, then what is in use. */
const rankOf = (isLive: boolean, begins: boolean, connections: number): number =>
  (isLive ? 1_000_000_000 : 0) + (begins ? 100_000_000 : 0) + connections

const share = (into: Map<number, Shared>, key: number, text: string | null, connections: number): void => {
  const known = into.get(key)
  if (known) {
    known.tokens += 1
    known.connections += connections
  } else into.set(key, { text: text ?? '', tokens: 1, connections })
}
