import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { PLACEHOLDER } from '../../connect.ts'
import { conflict, invalid, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { formatTime, parseExpiry } from '../../time.ts'
import { type Secret, statusOf, type Token } from '../../token.ts'
import { USAGE_WINDOWS, type UsageWindow } from '../../usage.ts'
import { contextOf } from '../context.ts'
import { pageOf, pageRequest } from './page.ts'
import { connectJson, tokenJson, tokensJson, usageJson } from './present.ts'
import {
  Connect,
  PageQuery,
  PolicyPut,
  RotationCreate,
  TokenCreate,
  TokenFound,
  TokenIssued,
  TokenLookup,
  TokenPage,
  Token as TokenSchema,
  UsageHistory,
  UsageQuery,
} from './schemas.ts'
import { told } from './told.ts'

/** `expires` as people type it, or `expiresAt`; not both. */
export const expiryOf = (body: { expires?: string | null; expiresAt?: string | null }, now: number): number | null => {
  if (body.expires && body.expiresAt) throw invalid('give either expires or expiresAt')
  const text = body.expires ?? body.expiresAt
  return text ? parseExpiry(text, now, body.expires ? 'expires' : 'expiresAt') : null
}

/** One token, by id or by the name of one that lives. */
export const findToken = (node: Node, idOrName: string): Token => {
  const found = node.tokens.resolve(idOrName, node.now())
  if (found.length > 1) throw conflict(`${found.length} tokens have that name: use the id`)
  if (!found[0]) throw notFound('no token has that id or name')
  return found[0]
}

/** The secret of a token that stands in a pasted text, dead or alive. Says what else it may be. */
const findSecret = (node: Node, text: string): Secret => {
  const pasted = node.search.pasted(text)
  if (!pasted) throw invalid('there is no secret of Portcullis in that: one begins with pcl_ and has 40 characters')
  if ('secret' in pasted) return pasted.secret
  if ('apiKey' in pasted) throw conflict(`that is the API key ${pasted.apiKey.name}: portcullis apikey rm ends it`)
  throw pasted.why === 'malformed'
    ? invalid('that looks like a secret, but its checksum is wrong: a character was lost or changed')
    : notFound('no token and no API key here has that secret, dead or alive; it may be of another Portcullis')
}

const windowOf = (text: string): UsageWindow => {
  if (!Object.hasOwn(USAGE_WINDOWS, text)) throw invalid('window: write hour, day or month')
  return text as UsageWindow
}

const Identified = Type.Object({ id: Type.String() })

export const tokenRoutes = (node: Node) =>
  new Elysia({ name: 'tokens', tags: ['tokens'] })
    .get(
      '/tokens',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const page = pageRequest(query)
        // One more than the page holds, to know whether there is a next
        const found = [
          ...node.tokens
            .behind(page.after)
            [Symbol.iterator]()
            .take(page.limit + 1),
        ]
        const { items, next } = pageOf(
          found,
          page.limit,
          ({ id }) => id,
          (token) => token,
        )
        return { items: tokensJson(node, items), next }
      },
      { detail: told('auditor', 'List the tokens, dead ones too'), query: PageQuery, response: { 200: TokenPage } },
    )
    .post(
      '/tokens',
      async ({ request, body, set }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'operator')
        const { name, servers, subject, group, policy } = body
        const expiresAt = expiryOf(body, node.now())
        const { token, secret } = node.issuance.issue({ name, servers, subject, group, expiresAt, policy }, actor)
        // Its first request may go to another node, and a client that hears 401 throws the token away.
        await node.cluster.spread(node.limits.ackWaitMs)
        set.status = 201
        set.headers.location = `/api/v1/tokens/${token.id}`
        set.headers['cache-control'] = 'no-store'
        return { ...tokenJson(node, token), token: secret, connect: connectJson(node, token, secret) }
      },
      {
        detail: told('operator', 'Make a token; the answer holds its secret, once'),
        body: TokenCreate,
        response: { 201: TokenIssued },
      },
    )
    .post(
      '/tokens/lookups',
      ({ request, body }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { token, diesAt } = findSecret(node, body.secret)
        return { ...tokenJson(node, token), secretDiesAt: diesAt === null ? null : formatTime(Math.abs(diesAt)) }
      },
      {
        detail: told('auditor', 'Find a token by its leaked secret'),
        body: TokenLookup,
        response: { 200: TokenFound },
      },
    )
    .get(
      '/tokens/:id',
      ({ request, params }) => {
        requireRole(contextOf(request).actor, 'auditor')
        return tokenJson(node, findToken(node, params.id))
      },
      { detail: told('auditor', 'Show one token, by id or name'), params: Identified, response: { 200: TokenSchema } },
    )
    .get(
      '/tokens/:id/usage',
      ({ request, params, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        return usageJson(node, findToken(node, params.id), windowOf(query.window ?? 'day'))
      },
      {
        detail: told('auditor', 'Requests and bytes of a token over time'),
        params: Identified,
        query: UsageQuery,
        response: { 200: UsageHistory },
      },
    )
    .get(
      '/tokens/:id/connect',
      ({ request, params }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const token = findToken(node, params.id)
        const status = statusOf(token, node.now())
        if (status !== 'active') throw conflict(`the token is ${status}: no client gets in with it`)
        return connectJson(node, token, PLACEHOLDER)
      },
      {
        detail: told('auditor', 'What to paste into clients, with a placeholder for the secret'),
        params: Identified,
        response: { 200: Connect },
      },
    )
    .put(
      '/tokens/:id/policy',
      ({ request, params, body }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'operator')
        const token = findToken(node, params.id)
        node.issuance.setPolicy(token, body, actor)
        return tokenJson(node, token)
      },
      {
        detail: told('operator', 'Set what a token may do; its live connections are cut'),
        params: Identified,
        body: PolicyPut,
        response: { 200: TokenSchema },
      },
    )
    .post(
      '/tokens/:id/rotations',
      async ({ request, params, body, set }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'operator')
        const token = findToken(node, params.id)
        const secret = node.issuance.rotate(token, (body?.graceSeconds ?? 0) * 1_000, actor)
        await node.cluster.spread(node.limits.ackWaitMs)
        set.status = 201
        set.headers.location = `/api/v1/tokens/${token.id}`
        set.headers['cache-control'] = 'no-store'
        return { ...tokenJson(node, token), token: secret, connect: connectJson(node, token, secret) }
      },
      {
        detail: told('operator', 'Give a token a new secret; the old one dies now, or when the grace ends'),
        params: Identified,
        body: Type.Optional(RotationCreate),
        response: { 201: TokenIssued },
      },
    )
