/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import type { ClusterStatus } from '../../cluster-view.ts'
import { AppError, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import { formatTime } from '../../time.ts'
import { MemberRemovalPage, OffPage } from '../../views/cluster-members.tsx'
import { TicketBeforePage, TicketFormPage, TicketPage } from '../../views/cluster-ticket.tsx'
import { AlonePage, ClusterPage } from '../../views/cluster.tsx'
import { mayManage } from './access.tsx'
import { clusterAt } from './alarms.ts'
import { clusterCard } from './cluster-card.ts'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { keepMade, madeBefore } from './made.ts'
import { frameOf, page, seeOther } from './page.ts'
import { ownerOf, personOf } from './person.ts'

/** Said only while it is true: anybody could have written the address. */
const noticeOf = (fields: URLSearchParams, status: ClusterStatus | null): string | null => {
  const [gone, off] = [fields.get('gone'), fields.get('off')]
  if (off !== null && !status?.void.some(({ id }) => id === off))
    return 'It counts as off: nothing waits for it any more.'
  if (gone !== null && !status?.members.some(({ id }) => id === gone)) return 'The node is removed from the cluster.'
  return null
}

/** The nodes, and what they know of each other. */
export const clusterPageRoutes = (node: Node) => {
  const { cluster } = node

  const statusHere = (): ClusterStatus => {
    const status = cluster.status()
    if (!status) throw notFound('this node stands alone: there is no cluster')
    return status
  }

  const ticketForm = (request: Request, refused: AppError | null) => {
    const { status, sentence } = refused ? sentenceOf(refused) : { status: 200, sentence: null }
    return page(
      <TicketFormPage
        frame={frameOf(node, request)}
        formId={crypto.randomUUID()}
        isFounding={cluster.status() === null}
        failure={sentence}
      />,
      status,
    )
  }

  const ticketPage = async (request: Request, fields: URLSearchParams, actor: Actor) => {
    const { ticket, expiresAt } = await cluster.ticket(actor)
    keepMade(node, actor, fields, 'ticket', '/cluster')
    const url = statusHere().members.find(({ state }) => state === 'self')?.url ?? ''
    return page(
      <TicketPage
        frame={frameOf(node, request)}
        {...{ ticket, url }}
        expiresAt={formatTime(expiresAt)}
        now={node.now()}
      />,
      201,
    )
  }

  const removalPage = (request: Request, id: string, force: boolean, refused: AppError | null) => {
    const { members, policy, leaseMs } = statusHere()
    const member = members.find((candidate) => candidate.id === id)
    if (!member) throw notFound('no node of the cluster has that id; it may be removed')
    const { status, sentence } = refused ? sentenceOf(refused) : { status: 200, sentence: null }
    return page(
      <MemberRemovalPage frame={frameOf(node, request)} failure={sentence} {...{ member, policy, leaseMs, force }} />,
      status,
    )
  }

  const offPage = (request: Request, id: string, refused: AppError | null) => {
    const gone = statusHere().void.find((candidate) => candidate.id === id)
    if (!gone) throw notFound('no removed node of that id may still run: it counts as off')
    const { status, sentence } = refused ? sentenceOf(refused) : { status: 200, sentence: null }
    return page(<OffPage frame={frameOf(node, request)} gone={gone} failure={sentence} />, status)
  }

  /** Does it, or shows the question again with why not. */
  const attempt = async (act: () => Promise<Response>, again: (refused: AppError) => Response) => {
    try {
      return await act()
    } catch (error) {
      if (!(error instanceof AppError) || error.kind === 'not_found') throw error
      return again(error)
    }
  }

  return new Elysia({ name: 'cluster-pages' })
    .get('/cluster', ({ request }) => {
      const { actor } = personOf(request)
      const found = clusterAt(node, request)
      const frame = frameOf(node, request)
      const notice = noticeOf(new URL(request.url).searchParams, found?.status ?? null)
      return page(
        found === null ? (
          <AlonePage frame={frame} mayAdd={mayManage(actor) && node.config.cluster?.listen != null} notice={notice} />
        ) : (
          <ClusterPage frame={frame} card={clusterCard(node, found, mayManage(actor))} notice={notice} />
        ),
      )
    })
    .get('/cluster/tickets/new', ({ request }) => {
      ownerOf(request)
      return ticketForm(request, null)
    })
    .post(
      '/cluster/tickets/new',
      async ({ request }) => {
        const actor = ownerOf(request)
        const fields = await formOf(request)
        if (madeBefore(node, actor, fields) !== null) return page(<TicketBeforePage frame={frameOf(node, request)} />)
        return attempt(
          () => ticketPage(request, fields, actor),
          (refused) => ticketForm(request, refused),
        )
      },
      FORM,
    )
    .get('/cluster/members/:id/removal', ({ request, params }) => {
      ownerOf(request)
      return removalPage(request, params.id, false, null)
    })
    .post(
      '/cluster/members/:id/removal',
      async ({ request, params }) => {
        const actor = ownerOf(request)
        const force = (await formOf(request)).get('force') === 'yes'
        return attempt(
          async () => {
            await cluster.remove(params.id, { force, off: false }, actor)
            return seeOther(`/cluster?gone=${encodeURIComponent(params.id)}`)
          },
          (refused) => removalPage(request, params.id, force, refused),
        )
      },
      FORM,
    )
    .get('/cluster/removed/:id/off', ({ request, params }) => {
      ownerOf(request)
      return offPage(request, params.id, null)
    })
    .post(
      '/cluster/removed/:id/off',
      async ({ request, params }) => {
        const actor = ownerOf(request)
        return attempt(
          async () => {
            await cluster.remove(params.id, { force: false, off: true }, actor)
            return seeOther(`/cluster?off=${encodeURIComponent(params.id)}`)
          },
          (refused) => offPage(request, params.id, refused),
        )
      },
      FORM,
    )
}
