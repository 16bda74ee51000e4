import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { contextOf } from '../context.ts'
import { behind, pageOf, pageRequest } from './page.ts'
import { apiKeyJson, linkJson, operatorJson, sessionJson } from './present.ts'
import {
  ApiKeyCreate,
  ApiKeyIssued,
  ApiKeyPage,
  Link,
  OperatorCreate,
  OperatorCreated,
  OperatorPage,
  PageQuery,
  SessionPage,
} from './schemas.ts'
import { expiryOf } from './tokens.ts'
import { told } from './told.ts'

const Named = Type.Object({ name: Type.String() })

/** Who may use the console and the API: operators, their sessions, and API keys. */
export const peopleRoutes = (node: Node) =>
  new Elysia({ name: 'people', tags: ['people'] })
    .get(
      '/apikeys',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const page = pageRequest(query)
        return pageOf(
          behind(node.apiKeys.list(), page, ({ id }) => id),
          page.limit,
          ({ id }) => id,
          apiKeyJson,
        )
      },
      { detail: told('auditor', 'List the API keys'), query: PageQuery, response: { 200: ApiKeyPage } },
    )
    .post(
      '/apikeys',
      ({ request, body, set }) => {
        const { key, secret } = node.apiKeys.create(
          body.name,
          body.role,
          expiryOf(body, node.now()),
          contextOf(request).actor,
        )
        set.status = 201
        set.headers.location = `/api/v1/apikeys/${key.id}`
        set.headers['cache-control'] = 'no-store'
        return { ...apiKeyJson(key), key: secret }
      },
      {
        detail: told('owner', 'Make an API key; the answer holds it, once'),
        body: ApiKeyCreate,
        response: { 201: ApiKeyIssued },
      },
    )
    .delete(
      '/apikeys/:name',
      ({ request, params, set }) => {
        node.apiKeys.remove(params.name, contextOf(request).actor)
        set.status = 204
      },
      { detail: told('owner', 'Remove an API key, by id or name; it stops working at once'), params: Named },
    )
    .get(
      '/operators',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const page = pageRequest(query)
        return pageOf(
          behind(node.access.operators(), page, ({ id }) => id),
          page.limit,
          ({ id }) => id,
          operatorJson,
        )
      },
      { detail: told('auditor', 'List the operators'), query: PageQuery, response: { 200: OperatorPage } },
    )
    .post(
      '/operators',
      ({ request, body, set }) => {
        const { operator, link } = node.access.create(body.name, body.role, contextOf(request).actor)
        set.status = 201
        set.headers.location = `/api/v1/operators/${encodeURIComponent(operator.name)}`
        return { ...operatorJson(operator), link: linkJson(node, link) }
      },
      {
        detail: told('owner', 'Make an operator; the answer holds a one-time link to set a password'),
        body: OperatorCreate,
        response: { 201: OperatorCreated },
      },
    )
    .delete(
      '/operators/:name',
      ({ request, params, set }) => {
        node.access.remove(params.name, contextOf(request).actor)
        set.status = 204
      },
      { detail: told('owner', 'Remove an operator and end their sessions'), params: Named },
    )
    .post(
      '/operators/:name/links',
      ({ request, params, set }) => {
        set.status = 201
        return linkJson(node, node.access.reset(params.name, contextOf(request).actor))
      },
      {
        detail: told('owner', 'Make a one-time link with which an operator sets a new password'),
        params: Named,
        response: { 201: Link },
      },
    )
    .get(
      '/sessions',
      ({ request, query }) => {
        const { actor, session } = contextOf(request)
        // Also while the database can't be written: a stolen session must be found and ended then too.
        requireRole(actor, 'auditor', true)
        const page = pageRequest(query)
        const current = session === null ? null : (node.access.sessions.find(session)?.id ?? null)
        return pageOf(
          behind(node.access.sessionsFor(actor), page, (found) => found.session.id),
          page.limit,
          (found) => found.session.id,
          (found) => sessionJson(found, current),
        )
      },
      {
        detail: told('auditor', 'List signed-in sessions: an owner sees all, others their own'),
        query: PageQuery,
        response: { 200: SessionPage },
      },
    )
    .delete(
      '/sessions/:id',
      ({ request, params, set }) => {
        node.access.endSession(params.id, contextOf(request).actor)
        set.status = 204
      },
      {
        detail: told('auditor', 'End a session at once: an owner any, others their own'),
        params: Type.Object({ id: Type.String() }),
      },
    )
    .post(
      '/setup-links',
      ({ request, set }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'owner')
        set.status = 201
        return linkJson(node, node.access.setupLink(actor))
      },
      { detail: told('owner', 'Make a link to make the first owner with'), response: { 201: Link } },
    )
