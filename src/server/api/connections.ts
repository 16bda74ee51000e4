import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { contextOf } from '../context.ts'
import { pageOf, pageRequest } from './page.ts'
import { connectionJson } from './present.ts'
import { ConnectionPage, Cut, PageQuery } from './schemas.ts'
import { outcomeJson } from './servers.ts'
import { told } from './told.ts'

/** Ids count up in base 36: longer is later. */
export const isAfter = (id: string, after: string) =>
  id.length > after.length || (id.length === after.length && id > after)

export const connectionRoutes = (node: Node) =>
  new Elysia({ name: 'connections', tags: ['connections'] })
    .get(
      '/connections',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { limit, after } = pageRequest(query)
        const found = []
        for (const connection of node.registry.all()) {
          if (after !== null && !isAfter(connection.id, after)) continue
          found.push(connection)
          if (found.length > limit) break
        }
        return pageOf(
          found,
          limit,
          ({ id }) => id,
          (connection) => connectionJson(node, connection),
        )
      },
      { detail: told('auditor', 'List what is in flight'), query: PageQuery, response: { 200: ConnectionPage } },
    )
    .delete(
      '/connections/:id',
      async ({ request, params, set }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'operator', true)
        return outcomeJson(node.control.killConnection(params.id, actor), arrivedAt, set)
      },
      {
        detail: told('operator', 'Cut one connection; its token stays valid'),
        params: Type.Object({ id: Type.String() }),
        response: { 200: Cut, 507: Cut },
      },
    )
