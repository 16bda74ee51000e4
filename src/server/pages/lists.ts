import type { Node } from '../../node.ts'
import { type Actor, ROLES } from '../../operator.ts'
import type { Connection } from '../../registry.ts'
import { fold } from '../../text.ts'
import { statusOf, type Token } from '../../token.ts'
import type { ConnectionList } from '../../views/connections.tsx'
import type { Lists } from '../../views/home.tsx'
import type { ServerList } from '../../views/servers.tsx'
import type { TokenList } from '../../views/tokens.tsx'
import { connectionJson, serverJson, tokensJson } from '../api/present.ts'

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

const byName = (a: Token, b: Token) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1)
const endOf = ({ revokedAt, expiresAt }: Token) => revokedAt ?? expiresAt ?? 0

/*
 * A row takes about 0.1 ms, every two seconds, for each open tab, and a revocation waits as long as the
 * loop is busy: so the lists are as long as a usual page of the API, not as the longest.
 */
const rowsMaxOf = (node: Node): number => node.limits.pageSizeDefault

/** Of too many, those that are in use, then the newest. */
const foremost = (node: Node, live: Token[], max: number): Token[] => {
  if (live.length <= max) return live
  const inUse = (token: Token) => node.registry.ofToken(token.id).size > 0
  return [...live.filter(inUse), ...live.filter((token) => !inUse(token)).toReversed()].slice(0, max)
}

/** Live ones by name, then the dead, the last to die first. */
const tokenList = (node: Node, wanted: (token: Token) => boolean): { list: TokenList; liveTokens: number } => {
  const { tokens } = node
  const now = node.now()
  const live: Token[] = []
  const dead: Token[] = []
  let liveTokens = 0
  for (const token of tokens.byId.values()) {
    const isLive = statusOf(token, now) === 'active'
    if (isLive) liveTokens += 1
    if (wanted(token)) (isLive ? live : dead).push(token)
  }
  const max = rowsMaxOf(node)
  const shown = [
    ...foremost(node, live, max).toSorted(byName),
    ...dead.slice(-max).toSorted((a, b) => endOf(b) - endOf(a)),
  ].slice(0, max)
  return {
    list: { rows: tokensJson(node, shown), found: live.length + dead.length, total: tokens.byId.size },
    liveTokens,
  }
}

/** In the order in which they came, so that no row moves while somebody aims at it. */
const connectionList = (node: Node, wanted: (token: Token) => boolean): ConnectionList => {
  const { registry } = node
  const max = rowsMaxOf(node)
  const shown: Connection[] = []
  let found = 0
  for (const connection of registry.all()) {
    if (!wanted(connection.secret.token)) continue
    found += 1
    if (shown.length < max) shown.push(connection)
  }
  return { rows: shown.map((connection) => connectionJson(node, connection)), found, total: registry.size }
}

/** Servers whose names hold the folded text, by name. */
const serverList = (node: Node, needle: string): ServerList => {
  const { servers } = node
  const found = servers.sorted().filter(({ name }) => name.includes(needle))
  const rows = found.slice(0, rowsMaxOf(node)).map((server) => serverJson(node, server))
  return { rows, found: found.length, total: servers.byName.size }
}

/** Whether somebody may revoke and kill; a restricted sign-in may do that too, and nothing else. */
export const mayAct = ({ role }: Actor): boolean => ROLES.indexOf(role) <= ROLES.indexOf('operator')

/** What the main page shows; `q` is a part of a name, subject or group. */
export const listsOf = (node: Node, actor: Actor, text: string | null): Lists => {
  const q = (text ?? '').trim().slice(0, node.limits.nameLengthMax)
  const needle = fold(q)
  const wanted = needle === '' ? () => true : (token: Token) => foldedOf(token).includes(needle)
  const { list, liveTokens } = tokenList(node, wanted)
  return {
    q,
    problems: node.problems(),
    tokens: list,
    connections: connectionList(node, wanted),
    servers: serverList(node, needle),
    liveTokens,
    mayAct: mayAct(actor),
    mayIssue: mayAct(actor) && !actor.restricted,
  }
}
