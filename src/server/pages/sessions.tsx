/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { conflict, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { type SessionCard, SessionEndPage } from '../../views/sessions.tsx'
import { sessionCards } from './access.tsx'
import { FORM } from './form.ts'
import { frameOf, page, seeOther } from './page.ts'
import { personOf } from './person.ts'

/** Sessions of people, ended one by one, or all of one's own but this one. */
export const sessionRoutes = (node: Node) => {
  const cardOf = (request: Request, id: string): SessionCard => {
    const card = sessionCards(node, request).find((session) => session.id === id)
    if (!card) throw notFound('no session has that id; it may have ended')
    if (card.current) throw conflict('that is the session that you use: sign out instead')
    return card
  }

  return new Elysia({ name: 'session-pages' })
    .post(
      '/access/sessions/others/end',
      ({ request }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'auditor')
        for (const { id, isOwn, current } of sessionCards(node, request))
          if (isOwn && !current) node.access.endSession(id, actor)
        return seeOther('/access?gone=others')
      },
      FORM,
    )
    .get('/access/sessions/:id/end', ({ request, params }) => {
      requireRole(personOf(request).actor, 'auditor')
      return page(<SessionEndPage frame={frameOf(node, request)} session={cardOf(request, params.id)} />)
    })
    .post(
      '/access/sessions/:id/end',
      ({ request, params }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'auditor')
        const { id } = cardOf(request, params.id)
        node.access.endSession(id, actor)
        return seeOther(`/access?gone=${id}`)
      },
      FORM,
    )
}
