/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { roleFor } from '../../control.ts'
import type { Node } from '../../node.ts'
import { type Actor, requireRole } from '../../operator.ts'
import { fold } from '../../text.ts'
import type { Upstream } from '../../upstream.ts'
import { serverHref } from '../../views/server-cells.tsx'
import { ServerAddPage, ServerEditPage, type ServerFailures, type ServerTyped } from '../../views/server-form.tsx'
import { ServerPage, type ServerPageCard } from '../../views/server.tsx'
import { type ServersCard, ServersPage, type Shown, SHOWN } from '../../views/servers.tsx'
import { behind, pageOf } from '../api/page.ts'
import { connectionJson, serverJson, serverLineJson } from '../api/present.ts'
import { addServer } from './addition.ts'
import { type Command, commandForms } from './commands.tsx'
import { refusalOf } from './fields.ts'
import { FORM, formOf } from './form.ts'
import { frameOf, page, seeOther } from './page.ts'
import { personOf } from './person.ts'
import { mayAct, mayChange, mayRunCommands } from './rights.ts'
import { additionOf, EMPTY, patchOf, typedOf } from './server-form.ts'

const shownOf = (text: string | null): Shown => (text !== null && Object.hasOwn(SHOWN, text) ? (text as Shown) : 'all')

const isShown: Record<Shown, (node: Node, server: Upstream) => boolean> = {
  all: () => true,
  closed: (_, { state }) => state === 'closed',
  unreachable: (node, server) => node.health.of(server).last?.reachable === false,
}

const serversCard = (node: Node, query: URLSearchParams): ServersCard => {
  const q = (query.get('q') ?? '').trim().slice(0, node.limits.nameLengthMax)
  const shown = shownOf(query.get('show'))
  const all = node.servers.sorted()
  const matching = all.filter((server) => server.name.includes(fold(q)) && isShown[shown](node, server))
  const limit = node.limits.rowsShownMax
  const name = (server: Upstream) => server.name
  const { items, next } = pageOf(behind(matching, { limit, after: query.get('after') }, name), limit, name, (server) =>
    serverLineJson(node, server),
  )
  const closed = all.filter(({ state }) => state === 'closed').length
  const states = { open: all.length - closed, closed }
  return { rows: items, next, found: matching.length, total: all.length, states, q, shown }
}

const serverCard = async (node: Node, server: Upstream): Promise<ServerPageCard> => {
  const tokens = await node.tokens.countActive(node.now(), (reach) => reach.has(server.id))
  const connections = node.registry.ofServer(server.id).values().take(node.limits.serverConnectionsShownMax)
  return {
    server: serverJson(node, server),
    tokens,
    connections: [...connections].map((connection) => connectionJson(node, connection)),
    isElsewhere: node.placement.elsewhere(server) !== null,
    now: node.now(),
  }
}

interface Refused {
  typed: ServerTyped
  failures?: ServerFailures
  failure?: string | null
  unreachable?: string | null
  status?: number
}

const isCommand = (server: Upstream): server is Command => server.stdio !== null

export const serverPageRoutes = (node: Node) => {
  const commands = commandForms(node)

  const addForm = (
    request: Request,
    { typed, failures = {}, failure = null, unreachable = null, status = 200 }: Refused,
  ) => {
    const frame = frameOf(node, request)
    const offered = mayRunCommands(personOf(request).actor)
    return page(
      <ServerAddPage
        formId={crypto.randomUUID()}
        {...{ frame, typed, failures, failure, unreachable }}
        mayRunCommands={offered}
      />,
      status,
    )
  }

  const editForm = (
    request: Request,
    { name, headers }: Upstream,
    { typed, failures = {}, failure = null, status = 200 }: Refused,
  ) => {
    const frame = frameOf(node, request)
    const server = { name, headerNames: headers.map(([header]) => header) }
    return page(<ServerEditPage {...{ frame, server, typed, failures, failure }} />, status)
  }

  const add = async (request: Request, fields: URLSearchParams, actor: Actor): Promise<Response> => {
    const typed = typedOf(fields)
    const { request: wanted, failures } = additionOf(fields)
    if (Object.keys(failures).length > 0) return addForm(request, { typed, failures, status: 400 })
    try {
      const addition = await addServer(node, actor, fields, wanted)
      return 'added' in addition
        ? seeOther(serverHref(addition.added.name))
        : addForm(request, { typed, unreachable: addition.say, status: 422 })
    } catch (error) {
      return addForm(request, { typed, ...refusalOf(error) })
    }
  }

  const change = (request: Request, server: Upstream, fields: URLSearchParams, actor: Actor): Response => {
    const typed = typedOf(fields)
    const { request: patch, failures } = patchOf(server, fields)
    if (Object.keys(failures).length > 0) return editForm(request, server, { typed, failures, status: 400 })
    try {
      if (Object.keys(patch).length > 0) node.health.changed(node.control.change(server.name, patch, actor))
      return seeOther(serverHref(server.name))
    } catch (error) {
      return editForm(request, server, { typed, ...refusalOf(error) })
    }
  }

  return new Elysia({ name: 'server-pages' })
    .get('/servers', ({ request }) => {
      const { actor } = personOf(request)
      const card = serversCard(node, new URL(request.url).searchParams)
      const frame = frameOf(node, request)
      return page(
        <ServersPage {...{ frame, card }} mayChange={mayChange(actor)} filterLengthMax={node.limits.nameLengthMax} />,
      )
    })
    .get('/servers/new', ({ request }) => {
      requireRole(personOf(request).actor, 'operator')
      return addForm(request, { typed: EMPTY })
    })
    .post(
      '/servers/new',
      async ({ request }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'operator')
        return add(request, await formOf(request), actor)
      },
      FORM,
    )
    .get('/servers/new/command', ({ request }) => {
      requireRole(personOf(request).actor, 'owner')
      return commands.empty(request)
    })
    .post(
      '/servers/new/command',
      async ({ request }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'owner')
        return commands.add(request, await formOf(request), actor)
      },
      FORM,
    )
    .get('/servers/:name', async ({ request, params }) => {
      const { actor } = personOf(request)
      const server = node.control.find(params.name)
      const card = await serverCard(node, server)
      const frame = frameOf(node, request)
      const mayWork = mayChange(actor)
      const isTheirs = isCommand(server) ? mayRunCommands(actor) : mayWork
      return page(<ServerPage {...{ frame, card, mayWork }} mayAct={mayAct(actor)} mayChange={isTheirs} />)
    })
    .get('/servers/:name/edit', ({ request, params }) => {
      const server = node.control.find(params.name)
      requireRole(personOf(request).actor, roleFor(server))
      if (isCommand(server)) return commands.filled(request, server)
      const { name, url, kind, path } = server
      return editForm(request, server, { typed: { ...EMPTY, name, url: url.href, kind, path } })
    })
    .post(
      '/servers/:name/edit',
      async ({ request, params }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'operator')
        const fields = await formOf(request)
        const server = node.control.find(params.name)
        requireRole(actor, roleFor(server))
        if (isCommand(server)) return commands.change(request, server, fields, actor)
        return change(request, server, fields, actor)
      },
      FORM,
    )
    .post(
      '/servers/:name/probes',
      async ({ request, params }) => {
        requireRole(personOf(request).actor, 'operator')
        const server = node.control.find(params.name)
        await node.health.look(server)
        return seeOther(serverHref(server.name))
      },
      FORM,
    )
}
