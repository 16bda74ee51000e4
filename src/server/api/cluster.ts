import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { invalid } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { formatTime } from '../../time.ts'
import { contextOf } from '../context.ts'
import { clusterJson } from './present.ts'
import { Cluster, ClusterTicket, MemberRemoved } from './schemas.ts'
import { told } from './told.ts'

/** `?force=true`; a word that is none of both must not pass for the milder one. Throws `invalid`. */
const flag = (text: string | undefined, name: string): boolean => {
  if (text !== undefined && text !== 'true' && text !== 'false') throw invalid(`${name}: write true or false`)
  return text === 'true'
}

/** The nodes that hold what this one holds. */
export const clusterRoutes = (node: Node) =>
  new Elysia({ name: 'cluster', tags: ['cluster'] })
    .get(
      '/cluster',
      ({ request }) => {
        requireRole(contextOf(request).actor, 'auditor')
        return clusterJson(node, node.cluster.status())
      },
      {
        detail: told('auditor', 'The cluster as this node sees it: members, links, lease, what is incomplete'),
        response: { 200: Cluster },
      },
    )
    .post(
      '/cluster/tickets',
      async ({ request, set }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'owner')
        const { ticket, expiresAt } = await node.cluster.ticket(actor)
        const url = node.cluster.status()?.members.find(({ state }) => state === 'self')?.url ?? ''
        set.status = 201
        set.headers['cache-control'] = 'no-store'
        return { ticket, expiresAt: formatTime(expiresAt), url }
      },
      {
        detail: told('owner', 'Make a ticket with which one node joins, once, within ten minutes'),
        response: { 201: ClusterTicket },
      },
    )
    .delete(
      '/cluster/members/:node',
      ({ request, params, query }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'owner')
        const how = { force: flag(query.force, 'force'), off: flag(query.off, 'off') }
        return node.cluster.remove(params.node, how, actor)
      },
      {
        detail: told('owner', 'Remove a member, by name or id; this node itself leaves'),
        params: Type.Object({ node: Type.String() }),
        query: Type.Object({
          force: Type.Optional(
            Type.String({ description: 'true: without a majority, or though it may go on letting dead tokens in' }),
          ),
          off: Type.Optional(Type.String({ description: 'true: says that one removed by force is off for good' })),
        }),
        response: { 200: MemberRemoved },
      },
    )
