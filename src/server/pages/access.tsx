/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import type { Actor, Operator } from '../../operator.ts'
import { type AccessCard, type AccessList, AccessListPage, AccessPage, type Listed } from '../../views/access.tsx'
import type { ApiKeyCard } from '../../views/api-keys.tsx'
import type { OperatorCard } from '../../views/operators.tsx'
import type { SessionCard } from '../../views/sessions.tsx'
import { apiKeyJson, operatorJson, sessionJson } from '../api/present.ts'
import { visitOf } from '../context.ts'
import { frameOf, page } from './page.ts'
import { personOf } from './person.ts'

/** Whether somebody may manage people and keys. */
export const mayManage = ({ role, restricted }: Actor): boolean => role === 'owner' && !restricted

const isOf = (operator: Operator, actor: Actor): boolean => actor.name === `operator:${operator.name}`

export const operatorCards = (node: Node, actor: Actor): OperatorCard[] => {
  const operators = node.access.operators()
  const owners = operators.filter(({ role, passwordHash }) => role === 'owner' && passwordHash !== null)
  return operators.map((operator) => ({
    ...operatorJson(operator),
    isSelf: isOf(operator, actor),
    isLastOwner: owners.length === 1 && owners[0]?.id === operator.id,
  }))
}

export const apiKeyCards = (node: Node): ApiKeyCard[] =>
  node.apiKeys
    .list()
    .map((key) => ({ ...apiKeyJson(key), isExpired: key.expiresAt !== null && key.expiresAt <= node.now() }))

/** The sessions that somebody may see, the newest first and the one that looks before all. */
export const sessionCards = (node: Node, request: Request): SessionCard[] => {
  const { actor } = personOf(request)
  const { session } = visitOf(request)
  const current = session === null ? null : (node.access.sessions.find(session)?.id ?? null)
  return node.access
    .sessionsFor(actor)
    .map((found) => ({ ...sessionJson(found, current), isOwn: isOf(found.operator, actor) }))
    .toSorted((a, b) => Number(b.current) - Number(a.current) || (a.id < b.id ? 1 : -1))
}

/** Of those behind the page before, the first. A row that comes or goes meanwhile moves no other to another page. */
const listed = <T extends { id: string }>(behind: T[], total: number, max: number): Listed<T> => {
  const items = behind.slice(0, max)
  return { items, next: behind.length > max ? (items.at(-1)?.id ?? null) : null, total }
}

const DONE = {
  op: 'The person is removed, and signed out everywhere.',
  key: 'The API key is removed: what shows it is refused.',
  ses: 'The session is ended.',
  others: 'All your other sessions are ended.',
}

/** Said of what is gone: anybody could have written the address. */
const noticeOf = (gone: string | null, card: Omit<AccessCard, 'notice'>): string | null => {
  const kind = /^(op|key|ses)_[0-9a-f]{32}$|^(others)$/.exec(gone ?? '')
  const lists = [card.operators, card.apiKeys, card.sessions]
  if (!kind || lists.some(({ items }) => items.some(({ id }) => id === gone))) return null
  if (gone === 'others' && card.hasOthers) return null
  return DONE[(kind[1] ?? kind[2]) as keyof typeof DONE]
}

export const accessRoutes = (node: Node) => {
  const cardOf = (request: Request, max: number): AccessCard => {
    const { actor } = personOf(request)
    const query = new URL(request.url).searchParams
    const after = query.get('after')
    const [operators, apiKeys, sessions] = [operatorCards(node, actor), apiKeyCards(node), sessionCards(node, request)]
    const isLater = ({ id }: { id: string }) => after === null || id > after
    const isEarlier = ({ id, current }: SessionCard) => after === null || (id < after && !current)
    const card = {
      operators: listed(operators.filter(isLater), operators.length, max),
      apiKeys: listed(apiKeys.filter(isLater), apiKeys.length, max),
      sessions: listed(sessions.filter(isEarlier), sessions.length, max),
      mayManage: mayManage(actor),
      mayEnd: !actor.restricted,
      isAll: actor.role === 'owner',
      hasOthers: sessions.some(({ isOwn, current }) => isOwn && !current),
    }
    return { ...card, notice: noticeOf(query.get('gone'), card) }
  }

  const listPage = (request: Request, list: AccessList) => {
    const card = cardOf(request, node.limits.rowsShownMax)
    const { next } = card[list === 'keys' ? 'apiKeys' : list]
    return page(<AccessListPage frame={frameOf(node, request)} {...{ card, list, next }} />)
  }

  return new Elysia({ name: 'access-pages' })
    .get('/access', ({ request }) => {
      const card = cardOf(request, node.limits.rowsBesideOthersMax)
      return page(<AccessPage frame={frameOf(node, request)} card={card} />)
    })
    .get('/access/operators', ({ request }) => listPage(request, 'operators'))
    .get('/access/keys', ({ request }) => listPage(request, 'keys'))
    .get('/access/sessions', ({ request }) => listPage(request, 'sessions'))
}
