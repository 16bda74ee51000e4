/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { PLACEHOLDER } from '../../connect.ts'
import { conflict, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import { formatTime, parseDuration } from '../../time.ts'
import { statusOf, type Token } from '../../token.ts'
import { USAGE_WINDOWS } from '../../usage.ts'
import { ConnectPage } from '../../views/token-connect.tsx'
import type { DeathCard } from '../../views/token-death.tsx'
import { type TokenView, WINDOWS } from '../../views/token-view.ts'
import { TokenPage } from '../../views/token.tsx'
import { activityJson } from '../api/activity.ts'
import { connectionJson, connectJson, publicUrl, serversOf, tokenJson, usageJson } from '../api/present.ts'
import { isLive } from '../context.ts'
import { auditCard } from './audit.tsx'
import { elsewhereIn } from './elsewhere.ts'
import { frameOf, page } from './page.ts'
import { personOf } from './person.ts'
import { mayAct, mayChange } from './rights.ts'

export const tokenOf = (node: Node, id: string): Token => {
  const token = node.tokens.get(id)
  if (!token) throw notFound('no token has that id')
  return token
}

/** What to paste, with a new secret. For very many servers it has pages of its own, where the secret does not stand. */
export const snippetsOf = (node: Node, token: Token, secret: string) =>
  token.servers.size > node.limits.snippetServersMax ? null : connectJson(node, token, secret)

/** One that may still be changed. Throws `conflict` for a dead one. */
export const liveTokenOf = (node: Node, id: string): Token => {
  const token = tokenOf(node, id)
  const status = statusOf(token, node.now())
  if (status !== 'active') throw conflict(`the token is ${status}: make a new one`)
  return token
}

const chosen = <T extends string>(text: string | null, known: Readonly<Record<T, unknown>>, otherwise: T): T =>
  text !== null && Object.hasOwn(known, text) ? (text as T) : otherwise

const viewOf = (fields: URLSearchParams): TokenView => ({
  window: chosen(fields.get('window'), USAGE_WINDOWS, 'day'),
  since: chosen(fields.get('since'), WINDOWS, '24h'),
})

const deathOf = (node: Node, { revocationId }: Token): DeathCard => {
  const receipt = revocationId === null ? null : node.reads.receipt(revocationId)
  return receipt && { id: receipt.id, actor: receipt.actor, reason: receipt.reason, note: receipt.note }
}

/** What is read anew every two seconds. */
const presentOf = (node: Node, actor: Actor, token: Token, view: TokenView) => {
  const connections = node.registry.ofToken(token.id).values().take(node.limits.tokenLinesShownMax)
  return {
    token: tokenJson(node, token),
    death: deathOf(node, token),
    seenFrom: node.sightings
      .addressesOf(token.id)
      .map(({ address, lastAt }) => ({ address, lastAt: formatTime(lastAt) })),
    usage: usageJson(node, token, view.window),
    connections: [...connections.map((connection) => connectionJson(node, connection))],
    linesMax: node.limits.activityLinesShownMax,
    mayAct: mayAct(actor),
    mayIssue: mayChange(actor),
    now: node.now(),
  }
}

const pastOf = async (node: Node, request: Request, token: Token, { since }: TokenView) => {
  const limit = node.limits.tokenLinesShownMax
  const elsewhere = elsewhereIn(node, request)
  const rows = await node.reads.audit({ target: token.id, limit, after: null, order: 'desc' })
  return {
    activity: await activityJson(node, token, node.now() - parseDuration(since, 'since')),
    // It stands on the page of its target, and need not lead there.
    events: rows.map((row) => ({ ...auditCard(node, row, elsewhere), href: null })),
  }
}

/** A token: what it is, does and did; and what to paste so that a client uses it. */
export const tokenRoutes = (node: Node) =>
  new Elysia({ name: 'token' })
    .get('/tokens/:id', async ({ request, params }) => {
      const { actor } = personOf(request)
      const token = tokenOf(node, params.id)
      const view = viewOf(new URL(request.url).searchParams)
      // An update leaves what it did, and what was done to it, as it stands.
      const past = isLive(request) ? null : await pastOf(node, request, token, view)
      return page(
        <TokenPage frame={frameOf(node, request)} {...presentOf(node, actor, token, view)} {...{ view, past }} />,
      )
    })
    .get('/tokens/:id/connect', ({ request, params }) => {
      personOf(request)
      const token = liveTokenOf(node, params.id)
      const after = new URL(request.url).searchParams.get('after') ?? ''
      const max = node.limits.snippetServersMax
      const behind = serversOf(node, token)
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
        .filter(({ name }) => name > after)
      const servers = behind.slice(0, max)
      return page(
        <ConnectPage
          frame={frameOf(node, request)}
          token={token}
          urls={Object.fromEntries(servers.map((server) => [server.name, publicUrl(node, server)]))}
          snippets={connectJson(node, token, PLACEHOLDER, servers)}
          next={behind.length > max ? (servers.at(-1)?.name ?? null) : null}
        />,
      )
    })
