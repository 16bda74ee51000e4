import type { AttentionKind } from '../../attention.ts'
import { NONE } from '../../column.ts'
import type { Node } from '../../node.ts'
import { fold } from '../../text.ts'
import { inTurns } from '../../turns.ts'
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

/** Whether a row is let through, out of its columns: a million are asked each time that somebody looks. */
type RowFilter = (row: number) => boolean

/** Whether a subject or group is that one, folded. */
const sharedFilter = ({ tokens: { table } }: Node, field: 'subject' | 'group', wanted: string): RowFilter => {
  if (wanted === '') return () => true
  const key = table[field].find(fold(wanted))
  return (row) => key !== NONE && table[field].keyAt(row) === key
}

const stateFilter = ({ tokens: { table }, now }: Node, wanted: TokenState): RowFilter => {
  if (wanted === 'all') return () => true
  const at = now()
  if (wanted === 'active') return (row) => table.isActive(row, at)
  const isRevoked = (row: number) => table.revokedAt.get(row) !== Infinity
  return wanted === 'revoked' ? isRevoked : (row) => !isRevoked(row) && table.expiresAt.get(row) <= at
}

const serverFilter = ({ tokens: { table }, servers }: Node, wanted: string): RowFilter => {
  if (wanted === '') return () => true
  const ids = servers.named(wanted).map(({ id }) => id)
  return (row) => ids.some((id) => table.serversAt(row).has(id))
}

const lookFilter = async (node: Node, wanted: TokenQuery['look']): Promise<RowFilter> => {
  if (wanted === '') return () => true
  const found = (await node.attention())[KIND_OF[wanted]]
  return (row) => found.has({ row })
}

const filterOf = async (node: Node, { q, state, server, look, subject, group }: TokenQuery): Promise<RowFilter> => {
  const isSo = [
    stateFilter(node, state),
    await lookFilter(node, look),
    serverFilter(node, server),
    sharedFilter(node, 'subject', subject),
    sharedFilter(node, 'group', group),
    await node.names.filter(q),
  ]
  return (row) => isSo.every((holds) => holds(row))
}

/** One page of what the filter lets through, behind the token whose id is `after`. */
export const tokenListOf = async (node: Node, query: TokenQuery, after: string | null): Promise<TokenList> => {
  const { tokens, names, limits } = node
  const isWanted = await filterOf(node, query)
  const last = tokens.get(after ?? '')?.row
  const page: number[] = []
  let found = 0
  let isBehind = last === undefined
  await inTurns(await names.inOrder(), limits.tokensHoldMs, (row) => {
    if (isWanted(row)) {
      found += 1
      // One more than the page holds, to know whether there is a next.
      if (isBehind && page.length <= limits.rowsShownMax) page.push(row)
    }
    if (row === last) isBehind = true
  })
  const rows = page.slice(0, limits.rowsShownMax).map((row) => tokens.at(row))
  const next = page.length > rows.length ? (rows.at(-1)?.id ?? null) : null
  return { rows: tokensJson(node, rows), found, total: tokens.size, next }
}
