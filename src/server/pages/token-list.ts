import type { AttentionKind } from '../../attention.ts'
import type { Node } from '../../node.ts'
import { tokenFilter } from '../../search.ts'
import { fold } from '../../text.ts'
import { statusOf, type Token, type TokenIndex } from '../../token.ts'
import { type Look, LOOKS, STATES, type TokenQuery, type TokenState } from '../../views/token-filter.tsx'
import type { TokenList } from '../../views/tokens.tsx'
import { tokensJson } from '../api/present.ts'
import { textOf } from './filter.ts'

const KIND_OF: Record<Look, AttentionKind> = {
  unused: 'unused',
  'never-expires': 'never-expires',
  expiring: 'expires-soon',
  'many-addresses': 'many-addresses',
  'no-servers': 'no-server',
}

const isOneOf = <T extends string>(text: string, known: Readonly<Record<T, unknown>>): text is T =>
  Object.hasOwn(known, text)

/** A filter out of an address or a form; a secret that was put into it is left out. */
export const tokenQueryOf = (fields: URLSearchParams, lengthMax: number): TokenQuery => {
  const text = (name: string): string => textOf(fields, name, lengthMax)
  const [state, look] = [text('state'), text('look')]
  return {
    q: text('q'),
    state: isOneOf<TokenState>(state, STATES) ? state : 'active',
    server: text('server'),
    look: isOneOf<Look>(look, LOOKS) ? look : '',
    subject: text('subject'),
    group: text('group'),
  }
}

/** Whether a subject or group is that one. The cheap test comes first: folding each would take ten times as long. */
const sharedFilter = (field: 'subject' | 'group', wanted: string): ((token: Token) => boolean) => {
  if (wanted === '') return () => true
  const mayBe = tokenFilter(wanted)
  const folded = fold(wanted)
  return (token) => {
    const text = token[field]
    return text !== null && mayBe(token) && (text === wanted || fold(text) === folded)
  }
}

const stateFilter = (node: Node, wanted: TokenState): ((token: Token) => boolean) => {
  if (wanted === 'all') return () => true
  const now = node.now()
  return (token) => statusOf(token, now) === wanted
}

const filterOf = async (node: Node, query: TokenQuery): Promise<(token: Token) => boolean> => {
  const { q, state, server, look, subject, group } = query
  const isSo = [tokenFilter(q), sharedFilter('subject', subject), sharedFilter('group', group)]
  if (server !== '') {
    const id = node.servers.byName.get(server)?.id ?? ''
    isSo.unshift((token) => token.servers.has(id))
  }
  if (look !== '') {
    const ids = (await node.attention())[KIND_OF[look]]
    isSo.unshift(({ id }) => ids.has(id))
  }
  isSo.unshift(stateFilter(node, state))
  return (token) => isSo.every((holds) => holds(token))
}

/** Tokens by name: in one order that stays, since no name changes and no token is forgotten. */
export class TokensByName {
  #keyed: readonly { key: string; token: Token }[] = []

  constructor(readonly tokens: TokenIndex) {}

  /** Sorted anew only after a token was made: every open list asks every two seconds. */
  *all(): Generator<Token> {
    const { byId } = this.tokens
    if (this.#keyed.length !== byId.size) {
      const made = byId.values().drop(this.#keyed.length)
      const keyed = made.map((token) => ({ key: `${fold(token.name)}\n${token.id}`, token }))
      this.#keyed = [...this.#keyed, ...keyed].toSorted((a, b) => (a.key < b.key ? -1 : 1))
    }
    for (const { token } of this.#keyed) yield token
  }
}

/** One page of what the filter lets through, behind the token whose id is `after`. */
export const tokenListOf = async (
  node: Node,
  byName: TokensByName,
  query: TokenQuery,
  after: string | null,
): Promise<TokenList> => {
  const { tokens, limits } = node
  const isWanted = await filterOf(node, query)
  const last = tokens.byId.get(after ?? '')
  const page: Token[] = []
  let found = 0
  let isBehind = last === undefined
  for (const token of byName.all()) {
    if (isWanted(token)) {
      found += 1
      // One more than the page holds, to know whether there is a next.
      if (isBehind && page.length <= limits.rowsShownMax) page.push(token)
    }
    if (token === last) isBehind = true
  }
  const rows = page.slice(0, limits.rowsShownMax)
  const next = page.length > rows.length ? (rows.at(-1)?.id ?? null) : null
  return { rows: tokensJson(node, rows), found, total: tokens.byId.size, next }
}
