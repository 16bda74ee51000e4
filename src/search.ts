import type { ApiKey, ApiKeys } from './apikey.ts'
import type { KeyRing } from './key.ts'
import type { Registry } from './registry.ts'
import { isSecret, SECRET_SHAPE } from './secret.ts'
import { fold } from './text.ts'
import type { Clock } from './time.ts'
import { type Secret, statusOf, type Token, type TokenIndex } from './token.ts'
import type { Upstream, UpstreamIndex } from './upstream.ts'

/** Folding costs a microsecond a token, and none of the three ever changes. */
const folded = new WeakMap<Token, string>()

const foldedOf = (token: Token): string => {
  let text = folded.get(token)
  if (text === undefined) {
    text = [token.name, token.subject, token.group].map((part) => fold(part ?? '')).join('\n')
    folded.set(token, text)
  }
  return text
}

/** The words of a query, folded: all of them must be found, in any order. */
const wordsOf = (query: string): string[] => fold(query).split(/\s+/).filter(Boolean)

const holdsAll = (text: string, words: readonly string[]): boolean => words.every((word) => text.includes(word))

/** Whether name, subject and group of a token hold every word of the query; an empty one is in all. */
export const tokenFilter = (query: string): ((token: Token) => boolean) => {
  const words = wordsOf(query)
  return words.length === 0 ? () => true : (token) => holdsAll(foldedOf(token), words)
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
  servers: UpstreamIndex
  registry: Registry
  ring: KeyRing
  apiKeys: ApiKeys
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
    const secret = this.deps.tokens.find(this.deps.ring.candidates(shown))
    if (secret) return { secret }
    const apiKey = this.deps.apiKeys.find(shown)
    return apiKey ? { apiKey } : { why: 'unknown' }
  }

  /** At most `max` of each kind; for an empty query, what is in use. */
  find(query: string, max: number): Found {
    const { tokens, servers, registry, now } = this.deps
    const at = now()
    const words = wordsOf(query)
    const isEmpty = words.length === 0
    const subjects = new Map<string, Shared>()
    const groups = new Map<string, Shared>()
    const found: { token: Token; rank: number }[] = []
    for (const token of tokens.byId.values()) {
      const connections = registry.ofToken(token.id).size
      if (isEmpty && connections === 0) continue
      if (!isEmpty && !holdsAll(foldedOf(token), words)) continue
      const isLive = statusOf(token, at) === 'active'
      found.push({ token, rank: rankOf(token, words, isLive, connections) })
      if (!isLive || isEmpty) continue
      count(subjects, token.subject, words, connections)
      count(groups, token.group, words, connections)
    }
    const byUse = (all: Map<string, Shared>) =>
      [...all.values()].toSorted((a, b) => b.connections - a.connections || b.tokens - a.tokens).slice(0, max)
    return {
      tokens: found
        .toSorted((a, b) => b.rank - a.rank || (a.token.name < b.token.name ? -1 : 1))
        .slice(0, max)
        .map(({ token }) => token),
      subjects: byUse(subjects),
      groups: byUse(groups),
      servers: servers
        .sorted()
        .filter(({ name }) => holdsAll(name, words))
        .slice(0, max),
      more: Math.max(0, found.length - max),
    }
  }
}

/** Live before dead, then the name that begins so, then what is in use. */
const rankOf = ({ name }: Token, words: readonly string[], isLive: boolean, connections: number): number => {
  const [first] = words
  const begins = first !== undefined && fold(name).startsWith(first)
  return (isLive ? 1_000_000_000 : 0) + (begins ? 100_000_000 : 0) + connections
}

const count = (into: Map<string, Shared>, text: string | null, words: readonly string[], connections: number): void => {
  if (text === null) return
  const key = fold(text)
  if (!holdsAll(key, words)) return
  const known = into.get(key)
  if (known) {
    known.tokens += 1
    known.connections += connections
  } else into.set(key, { text, tokens: 1, connections })
}
