/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { type Actor, requireRole } from '../../operator.ts'
import type { Connection } from '../../registry.ts'
import { tokenFilter } from '../../search.ts'
import { fold } from '../../text.ts'
import { KillPage } from '../../views/connection-kill.tsx'
import {
  type ConnectionList,
  type ConnectionQuery,
  ConnectionsPage,
  connectionsPath,
} from '../../views/connections.tsx'
import { OutcomePage } from '../../views/outcome.tsx'
import { isAfter } from '../api/connections.ts'
import { connectionJson } from '../api/present.ts'
import { filterAnswer, isPasted, serverNamesOf, textOf, withoutPasted } from './filter.ts'
import { FORM, formOf } from './form.ts'
import { outcomeOf, statusOfOutcome } from './outcome.ts'
import { frameOf, isTainted, page, seeOther } from './page.ts'
import { personOf } from './person.ts'
import { mayAct } from './rights.ts'

/** A filter out of an address or a form; a secret that was put into it is left out. */
const queryOf = (fields: URLSearchParams, lengthMax: number): ConnectionQuery => {
  const text = (name: string): string => textOf(fields, name, lengthMax)
  return { q: text('q'), server: text('server'), token: text('token') }
}

/** A part of the token's name, subject or group, of the client, or of the address. */
const textFilter = (q: string): ((connection: Connection) => boolean) => {
  const ofToken = tokenFilter(q)
  const part = fold(q)
  return ({ secret, client, address }) =>
    ofToken(secret.token) || address.startsWith(part) || (client !== null && client.toLowerCase().includes(part))
}

/** The few that may match: those of a token or of a server are known together. */
const candidates = ({ registry, servers }: Node, { server, token }: ConnectionQuery): Iterable<Connection> => {
  if (token !== '') return registry.ofToken(token)
  return server === '' ? registry.all() : servers.named(server).flatMap(({ id }) => [...registry.ofServer(id)])
}

/** In the order in which they came, so that no row moves while somebody aims at it. */
const listOf = (node: Node, query: ConnectionQuery, after: string | null): ConnectionList => {
  const max = node.limits.rowsShownMax
  const isWanted = textFilter(query.q)
  const shown: Connection[] = []
  let found = 0
  for (const connection of candidates(node, query)) {
    if (query.server !== '' && connection.server.name !== query.server) continue
    if (!isWanted(connection)) continue
    found += 1
    // One more than the page holds, to know whether there is a next.
    if (shown.length <= max && (after === null || isAfter(connection.id, after))) shown.push(connection)
  }
  const rows = shown.slice(0, max).map((connection) => connectionJson(node, connection))
  return { rows, found, total: node.registry.size, next: shown.length > max ? (rows.at(-1)?.id ?? null) : null }
}

/** What is in flight: found, and cut. */
export const connectionRoutes = (node: Node) => {
  const { nameLengthMax } = node.limits

  const list = (request: Request, actor: Actor, path: string): Response => {
    const fields = new URL(path, request.url).searchParams
    const query = queryOf(fields, nameLengthMax)
    return page(
      <ConnectionsPage
        frame={{ ...frameOf(node, request), path }}
        query={query}
        tokenName={node.tokens.get(query.token)?.name ?? null}
        isPasted={isPasted(fields)}
        list={listOf(node, query, fields.get('after'))}
        serverNames={serverNamesOf(node)}
        hasTokens={node.tokens.size > 0}
        mayAct={mayAct(actor)}
        filterLengthMax={nameLengthMax}
      />,
    )
  }

  /** Where the list of a filter is; never with a secret in it. */
  const pathOf = (fields: URLSearchParams): string => connectionsPath(queryOf(fields, nameLengthMax))

  const find = (id: string): Connection => {
    const connection = node.registry.get(id)
    if (!connection) throw notFound('no live connection has that id; it may have ended')
    return connection
  }

  return new Elysia({ name: 'connections' })
    .get('/connections', ({ request }) => {
      const { actor } = personOf(request)
      if (isTainted(request)) return seeOther(withoutPasted(pathOf(new URL(request.url).searchParams)))
      return list(request, actor, frameOf(node, request).path)
    })
    .post(
      '/connections/filter',
      async ({ request }) => {
        const { actor } = personOf(request)
        const fields = await formOf(request)
        return filterAnswer(request, fields, pathOf(fields), (path) => list(request, actor, path))
      },
      FORM,
    )
    .get('/connections/:id/kill', ({ request, params }) => {
      requireRole(personOf(request).actor, 'operator', true)
      const connection = find(params.id)
      const parts = [...(connection.parts ?? [])].length
      return page(
        <KillPage frame={frameOf(node, request)} connection={{ ...connectionJson(node, connection), parts }} />,
      )
    })
    .post(
      '/connections/:id/kill',
      async ({ request, params }) => {
        const person = personOf(request)
        requireRole(person.actor, 'operator', true)
        const { token } = find(params.id).secret
        const outcome = await outcomeOf(node, person, node.control.killConnection(params.id, person.actor))
        return page(
          <OutcomePage
            frame={frameOf(node, request)}
            title="Connection killed"
            subject={`One of ${token.name}`}
            outcome={outcome}
          >
            <p>Its token stays as it was: the client may come back.</p>
            <p class="links">
              <a class="button" href="/connections">
                Back to the connections
              </a>
              <a class="button" href={`/tokens/${token.id}`}>
                Open the token
              </a>
            </p>
          </OutcomePage>,
          statusOfOutcome(outcome),
        )
      },
      FORM,
    )
}
