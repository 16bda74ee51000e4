import { AppError, invalid, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import { type Receipt, type Selector, serversOf } from '../../revocation-record.ts'
import { matches, type RevocationRequest } from '../../revocation.ts'
import { holdsSecret } from '../../secret.ts'
import { fold, partsOf } from '../../text.ts'
import { formatTime, parseTime } from '../../time.ts'
import { statusOf } from '../../token.ts'
import { inTurns } from '../../turns.ts'
import type { KnownNames, RevocationFailures, RevocationTyped } from '../../views/revocation-form.tsx'
import type { SelectorCard } from '../../views/revocation-words.tsx'
import type { DoomedCard } from '../../views/revocation.tsx'
import { sentenceOf } from './failure.tsx'

/** Which tokens are meant, as the domain takes it. */
export type Wanted = Pick<RevocationRequest, 'tokens' | 'subject' | 'group' | 'server' | 'issuedBefore' | 'all'>

export interface Asked {
  wanted: Wanted
  typed: RevocationTyped
  failures: RevocationFailures
}

const TEXTS = ['subject', 'group', 'server'] as const

/** A refusal as it stands beside its field, whose name need not be said again. */
const besideField = ({ kind, message }: AppError): string =>
  sentenceOf(new AppError(kind, message.replace(/^\w+: /, ''))).sentence

/** Tokens by id alone: a link or a form of ours names no other. Ids of many are joined by commas, to be short. */
const idsOf = (node: Node, fields: URLSearchParams): string[] => {
  const ids = [...new Set(fields.getAll('token').flatMap(partsOf))]
  const { revocationTokensMax } = node.limits
  if (ids.length > revocationTokensMax) throw invalid(`more than ${revocationTokensMax} tokens at once`)
  if (!ids.every((id) => node.tokens.has(id))) throw notFound('no token has that id')
  return ids
}

/** Without a zone it is UTC; a script sends the reader's own time with its zone. */
const timeOf = (text: string, now: number): number => {
  const isDate = /^[\d-]+$/.test(text)
  const at = parseTime(/^[\d-]+[T ][\d:.]+$/.test(text) ? `${text}Z` : text, 'issuedBefore')
  // The end of today is to come, and everybody knows what is meant by it.
  if (at > now && !isDate) throw invalid('issuedBefore: that is in the future')
  return at
}

/** What an address or a form names; an empty field names nothing. Throws for ids that nothing has. */
export const askedOf = (node: Node, fields: URLSearchParams): Asked => {
  const failures: RevocationFailures = {}
  const typed: RevocationTyped = { subject: '', group: '', server: '', issuedBefore: '' }
  const wanted: Wanted = {}
  const read = (field: keyof RevocationTyped, take: (text: string) => void) => {
    const text = fields.get(field)?.trim() ?? ''
    if (text === '') return
    try {
      // It must not come back in a page; nor is any of these ever a secret.
      if (holdsSecret(text))
        throw invalid('that holds a secret: paste it under "Find and kill", which shows whose it is')
      typed[field] = text
      take(text)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      failures[field] = besideField(error)
    }
  }
  const ids = idsOf(node, fields)
  if (ids.length > 0) wanted.tokens = ids
  for (const field of TEXTS) read(field, (text) => void (wanted[field] = text))
  read('issuedBefore', (text) => {
    wanted.issuedBefore = timeOf(text, node.now())
    typed.issuedBefore = formatTime(wanted.issuedBefore)
  })
  if (fields.get('all') === 'yes') wanted.all = true
  return { wanted, typed, failures }
}

/** The same as fields of an address or a form. */
export const fieldsOf = ({ tokens, subject, group, server, issuedBefore, all }: Wanted): [string, string][] => {
  const fields: [string, string | null | undefined][] = [
    ['token', tokens?.join(',')],
    ['subject', subject],
    ['group', group],
    ['server', server],
    ['issuedBefore', issuedBefore == null ? null : formatTime(issuedBefore)],
    ['all', all ? 'yes' : null],
  ]
  return fields.flatMap(([name, value]) => (value == null ? [] : [[name, value]]))
}

/** A refusal by the domain beside the field that it is about, or null where it is about none. */
export const failuresOf = (error: AppError): RevocationFailures | null => {
  const field = /\b(?:subject|group|server|issuedBefore)\b/.exec(error.message)?.[0]
  return field === undefined ? null : { [field]: besideField(error) }
}

/** The selector for people: subject and group as they are written with one of the tokens, not folded. */
export const selectorCard = (node: Node, { selector, tokens }: Pick<Receipt, 'selector' | 'tokens'>): SelectorCard => {
  const { subject, group, issuedBefore, all } = selector
  // Several are named only where all of them have one name.
  const [server] = serversOf(selector) ?? []
  const [first] = tokens
  const token = node.tokens.get(first?.id ?? '')
  return {
    named: selector.tokens?.length ?? null,
    subject: subject === undefined ? null : (first?.subject ?? subject),
    group: group === undefined ? null : (token?.group ?? group),
    server: server === undefined ? null : (node.servers.byId.get(server)?.name ?? server),
    issuedBefore: issuedBefore === undefined ? null : formatTime(issuedBefore),
    all: all === true,
  }
}

const deadAlready = async (node: Node, selector: Selector): Promise<number> => {
  const { tokens, limits } = node
  // Who says "all" names nobody.
  if (selector.all) return 0
  let dead = 0
  const named = selector.tokens?.flatMap((id) => tokens.get(id) ?? [])
  await inTurns(named ?? tokens, limits.tokensHoldMs, (token) => {
    if (token.revokedAt !== null && (named || matches(selector, token))) dead += 1
  })
  return dead
}

/** What would die; asked of the domain, which selects again when it is done. */
export const doomedOf = async (node: Node, wanted: Wanted, actor: Actor): Promise<DoomedCard> => {
  const asked = await node.revocations.revoke({ ...wanted, reason: 'other', dryRun: true }, actor, 0)
  const now = node.now()
  const { table } = node.tokens
  const connectionsOf = (id: string) => node.registry.ofToken(id).size
  // Those in use first; of many, only they are looked for.
  const inUse = asked.tokens.filter(({ id }) => connectionsOf(id) > 0)
  const first = [
    ...inUse.toSorted((a, b) => connectionsOf(b.id) - connectionsOf(a.id)),
    ...asked.tokens
      .values()
      .filter(({ id }) => connectionsOf(id) === 0)
      .take(node.limits.rowsShownMax),
  ].slice(0, node.limits.rowsShownMax)
  return {
    selector: selectorCard(node, asked),
    tokens: asked.tokens.length,
    connections: asked.cut,
    first: first.flatMap(({ id }) => {
      const token = node.tokens.get(id)
      if (!token) return []
      const { name, subject } = token
      return [{ id, name, subject, status: statusOf(token, now), connections: connectionsOf(id) }]
    }),
    deadAlready: await deadAlready(node, asked.selector),
    reachMore: asked.selector.server
      ? asked.tokens.filter(({ id }) => table.serversAt(table.find(id)).size > 1).length
      : 0,
  }
}

/** What the fields of the form offer, and how much there is in all. */
export const offeredBy = async (
  node: Node,
): Promise<{ known: KnownNames; total: { tokens: number; connections: number } }> => {
  const max = node.limits.namesOfferedMax
  const subjects = new Map<string, string>()
  const groups = new Map<string, string>()
  const offer = (into: Map<string, string>, text: string | null) => {
    if (text !== null) into.set(fold(text), text)
  }
  let tokens = 0
  await inTurns(node.tokens, node.limits.tokensHoldMs, (token) => {
    if (token.revokedAt !== null) return
    tokens += 1
    if (subjects.size < max) offer(subjects, token.subject)
    if (groups.size < max) offer(groups, token.group)
  })
  const connections = [...node.registry.all()].filter(({ secret }) => secret.token.revokedAt === null).length
  const server = node.servers
    .sorted()
    .slice(0, max)
    .map(({ name }) => name)
  const sorted = (texts: Map<string, string>) => [...texts.values()].toSorted()
  return { known: { subject: sorted(subjects), group: sorted(groups), server }, total: { tokens, connections } }
}
