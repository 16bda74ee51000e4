/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { roleFor } from '../../control.ts'
import { invalid } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import type { Connection } from '../../registry.ts'
import type { GateState, Upstream } from '../../upstream.ts'
import {
  GateClosedPage,
  GateOpenedPage,
  GateOpenPage,
  NoServersPage,
  PANIC_WORD,
  PanicPage,
  ServerOpenPage,
} from '../../views/gate.tsx'
import type { OutcomeCard } from '../../views/outcome.tsx'
import { ServerClosePage, type ServerDoomed, ServerKillPage, ServerRemovalPage } from '../../views/server-confirm.tsx'
import { type ServerDeed, ServerOutcomePage } from '../../views/server-outcome.tsx'
import { FORM, formOf } from './form.ts'
import { outcomeOf, statusOfOutcome } from './outcome.ts'
import { frameOf, page } from './page.ts'
import { personOf } from './person.ts'

const stateOf = (text: string | null): GateState => {
  if (text !== 'open' && text !== 'closed') throw invalid('the state of a gate is open or closed')
  return text
}

const tokensOf = (connections: Iterable<Connection>): number =>
  new Set([...connections].map(({ secret }) => secret.token)).size

const doomedOf = async (node: Node, { id, name, stdio }: Upstream): Promise<ServerDoomed> => {
  const now = node.now()
  const isLeft = (serverId: string) => serverId !== id && node.servers.byId.get(serverId)?.removedAt === null
  const reach = await node.tokens.countActive(now, (servers) => servers.has(id))
  const reachOnly = await node.tokens.countActive(now, (servers) => servers.has(id) && !servers.values().some(isLeft))
  const connections = node.registry.ofServer(id)
  return {
    name,
    connections: connections.size,
    tokens: tokensOf(connections),
    reach,
    reachOnly,
    isCommand: stdio !== null,
  }
}

const closedOf = (node: Node): Upstream[] => node.servers.sorted().filter(({ state }) => state === 'closed')

/** Gates, kills and removals: what would happen, then what did. */
export const gatePageRoutes = (node: Node) => {
  const { control, limits } = node
  const reasonLengthMax = limits.textLengthMax
  const shownMax = limits.closedShownMax

  const panic = (request: Request, typed: { isWrong: boolean; reason: string }) => {
    const frame = frameOf(node, request)
    const all = node.servers.live()
    if (all.length === 0) return page(<NoServersPage frame={frame} />)
    const connections = all.flatMap(({ id }) => [...node.registry.ofServer(id)])
    const doomed = {
      servers: all.length,
      closed: all.filter(({ state }) => state === 'closed').length,
      connections: connections.length,
      tokens: tokensOf(connections),
    }
    return page(<PanicPage {...{ frame, doomed, ...typed, reasonLengthMax }} />, typed.isWrong ? 400 : 200)
  }

  const serverOutcome = (request: Request, deed: ServerDeed, name: string, outcome: OutcomeCard) => {
    const mayOpen = !personOf(request).actor.restricted
    return page(
      <ServerOutcomePage frame={frameOf(node, request)} {...{ deed, name, outcome, mayOpen }} />,
      statusOfOutcome(outcome),
    )
  }

  return new Elysia({ name: 'gate-pages' })
    .get('/gate', ({ request }) => {
      const { actor } = personOf(request)
      const state = stateOf(new URL(request.url).searchParams.get('state') ?? 'closed')
      requireRole(actor, 'operator', state === 'closed')
      if (state === 'closed') return panic(request, { isWrong: false, reason: '' })
      return page(
        <GateOpenPage frame={frameOf(node, request)} closed={closedOf(node)} {...{ shownMax, reasonLengthMax }} />,
      )
    })
    .post(
      '/gate',
      async ({ request }) => {
        const person = personOf(request)
        const fields = await formOf(request)
        const state = stateOf(fields.get('state'))
        const reason = fields.get('reason') ?? ''
        requireRole(person.actor, 'operator', state === 'closed')
        if (state === 'closed' && fields.get('word')?.trim().toLowerCase() !== PANIC_WORD)
          return panic(request, { isWrong: true, reason })
        const done = control.putAllGates(state, reason, person.actor)
        const outcome = await outcomeOf(node, person, done, reason)
        const frame = frameOf(node, request)
        return page(
          state === 'open' ? (
            <GateOpenedPage frame={frame} outcome={{ ...outcome, cut: null }} />
          ) : (
            <GateClosedPage
              {...{ frame, outcome, shownMax }}
              closed={closedOf(node)}
              mayOpen={!person.actor.restricted}
            />
          ),
          statusOfOutcome(outcome),
        )
      },
      FORM,
    )
    .get('/servers/:name/gate', async ({ request, params }) => {
      const { actor } = personOf(request)
      const state = stateOf(new URL(request.url).searchParams.get('state'))
      requireRole(actor, 'operator', state === 'closed')
      const server = control.find(params.name)
      const frame = frameOf(node, request)
      const doomed = await doomedOf(node, server)
      return page(
        state === 'closed' ? (
          <ServerClosePage {...{ frame, doomed, reasonLengthMax }} />
        ) : (
          <ServerOpenPage
            {...{ frame, server, reasonLengthMax }}
            isOpen={server.state === 'open'}
            reach={doomed.reach}
          />
        ),
      )
    })
    .post(
      '/servers/:name/gate',
      async ({ request, params }) => {
        const { actor, arrivedAt } = personOf(request)
        const fields = await formOf(request)
        const state = stateOf(fields.get('state'))
        requireRole(actor, 'operator', state === 'closed')
        const done = control.putGate(params.name, state, fields.get('reason') ?? '', actor)
        const outcome = await outcomeOf(node, { actor, arrivedAt }, done, fields.get('reason'))
        return state === 'closed'
          ? serverOutcome(request, 'closed', params.name, outcome)
          : serverOutcome(request, 'opened', params.name, { ...outcome, cut: null })
      },
      FORM,
    )
    .get('/servers/:name/kill', async ({ request, params }) => {
      requireRole(personOf(request).actor, 'operator', true)
      const doomed = await doomedOf(node, control.find(params.name))
      return page(<ServerKillPage frame={frameOf(node, request)} doomed={doomed} />)
    })
    .post(
      '/servers/:name/kill',
      async ({ request, params }) => {
        const person = personOf(request)
        requireRole(person.actor, 'operator', true)
        const outcome = await outcomeOf(node, person, control.kill(params.name, person.actor))
        return serverOutcome(request, 'killed', params.name, outcome)
      },
      FORM,
    )
    .get('/servers/:name/removal', async ({ request, params }) => {
      const { actor } = personOf(request)
      requireRole(actor, 'operator')
      const server = control.find(params.name)
      requireRole(actor, roleFor(...node.servers.named(params.name)))
      const doomed = await doomedOf(node, server)
      return page(<ServerRemovalPage frame={frameOf(node, request)} doomed={doomed} />)
    })
    .post(
      '/servers/:name/removal',
      async ({ request, params }) => {
        const person = personOf(request)
        requireRole(person.actor, roleFor(...node.servers.named(params.name)))
        const outcome = await outcomeOf(node, person, control.remove(params.name, person.actor))
        return serverOutcome(request, 'removed', params.name, outcome)
      },
      FORM,
    )
}
