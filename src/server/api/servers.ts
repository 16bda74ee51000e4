import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { type GateOutcome, roleFor } from '../../control.ts'
import { AppError } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { contextOf } from '../context.ts'
import { behind, pageOf, pageRequest } from './page.ts'
import { serverJson, serverLineJson } from './present.ts'
import {
  Cut,
  GatePut,
  GateState,
  PageQuery,
  Probe,
  Server,
  ServerCreate,
  ServerCreated,
  ServerPage,
  ServerPatch,
} from './schemas.ts'
import { told } from './told.ts'

const since = (arrivedAt: number, at: number | null) =>
  at === null ? null : Math.round((at - arrivedAt) * 1000) / 1000

/** What a kill or a closing did; 507 when it is in force but not in the database yet. */
export const outcomeJson = async (outcome: GateOutcome, arrivedAt: number, set: { status?: number | string }) => {
  if (!outcome.durable) set.status = 507
  const { cut, durable, lostOnRestart } = outcome
  const lastCutMs = since(arrivedAt, await outcome.lastCutAt)
  return { cut, lastCutMs, durable, ...(lostOnRestart && { lostOnRestart }) }
}

const Named = Type.Object({ name: Type.String() })

export const serverRoutes = (node: Node) =>
  new Elysia({ name: 'servers', tags: ['servers'] })
    .get(
      '/servers',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const page = pageRequest(query)
        return pageOf(
          behind(node.servers.sorted(), page, ({ name }) => name),
          page.limit,
          ({ name }) => name,
          (server) => serverLineJson(node, server),
        )
      },
      { detail: told('auditor', 'List the servers'), query: PageQuery, response: { 200: ServerPage } },
    )
    .post(
      '/servers',
      async ({ request, body, set }) => {
        const { actor } = contextOf(request)
        requireRole(actor, roleFor(body))
        const { probe, ...wanted } = body
        const server = node.control.draft(wanted)
        const found = probe === false ? null : await node.health.look(server)
        if (found && server.path === '') server.path = found.path
        node.control.add(server, actor)
        if (!found) node.health.postpone(server)
        set.status = 201
        set.headers.location = `/api/v1/servers/${server.name}`
        return { ...serverJson(node, server), probe: found }
      },
      {
        detail: told('operator', 'Add a server, and look whether it answers; an owner, when it is a command'),
        body: ServerCreate,
        response: { 201: ServerCreated },
      },
    )
    .get(
      '/servers/:name',
      ({ request, params }) => {
        requireRole(contextOf(request).actor, 'auditor')
        return serverJson(node, node.control.find(params.name))
      },
      { detail: told('auditor', 'Show one server'), params: Named, response: { 200: Server } },
    )
    .patch(
      '/servers/:name',
      ({ request, params, body }) => {
        const { actor } = contextOf(request)
        requireRole(actor, roleFor(body, ...node.servers.named(params.name)))
        const server = node.control.change(params.name, body, actor)
        if (Object.keys(body).length > 0) node.health.changed(server)
        return serverJson(node, server)
      },
      {
        detail: told(
          'operator',
          'Change a server: its URL, path, kind or credentials; its connections go on. Of a command, for owners: what runs it, and how',
        ),
        params: Named,
        body: ServerPatch,
        response: { 200: Server },
      },
    )
    .delete(
      '/servers/:name',
      async ({ request, params }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, roleFor(...node.servers.named(params.name)))
        const { cut, lastCutAt } = node.control.remove(params.name, actor)
        return { cut, lastCutMs: since(arrivedAt, await lastCutAt), durable: true }
      },
      {
        detail: told('operator', 'Remove a server and cut its connections; an owner, when it is a command'),
        params: Named,
        response: { 200: Cut },
      },
    )
    .put(
      '/servers/:name/gate',
      async ({ request, params, body, set }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'operator', body.state === 'closed')
        const outcome = node.control.putGate(params.name, body.state, body.reason, actor)
        const { state, reason } = node.control.find(params.name)
        return { state, reason, ...(await outcomeJson(outcome, arrivedAt, set)) }
      },
      {
        detail: told('operator', 'Close a server (cut, and refuse) or open it again'),
        params: Named,
        body: GatePut,
        response: { 200: GateState, 507: GateState },
      },
    )
    .put(
      '/gate',
      async ({ request, body, set }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'operator', body.state === 'closed')
        const outcome = node.control.putAllGates(body.state, body.reason, actor)
        const reason = body.state === 'closed' ? (body.reason ?? null) : null
        return { state: body.state, reason, ...(await outcomeJson(outcome, arrivedAt, set)) }
      },
      {
        detail: told('operator', 'Close all servers, or open all'),
        body: GatePut,
        response: { 200: GateState, 507: GateState },
      },
    )
    .delete(
      '/servers/:name/connections',
      async ({ request, params, set }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'operator', true)
        return outcomeJson(node.control.kill(params.name, actor), arrivedAt, set)
      },
      {
        detail: told('operator', 'Cut every live connection of a server; tokens stay valid'),
        params: Named,
        response: { 200: Cut, 507: Cut },
      },
    )
    .post(
      '/servers/:name/probes',
      ({ request, params }) => {
        requireRole(contextOf(request).actor, 'operator')
        const server = node.control.find(params.name)
        if (server.removedAt !== null) throw new AppError('not_found', 'that server was removed')
        return node.health.look(server)
      },
      { detail: told('operator', 'Look now how a server is'), params: Named, response: { 200: Probe } },
    )
