/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import type { OneTimeLink } from '../../access.ts'
import { AppError, conflict, invalid, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { type Actor, type Operator, type Role, ROLES } from '../../operator.ts'
import { holdsSecret } from '../../secret.ts'
import {
  LinkBeforePage,
  LinkPage,
  type OperatorCard,
  OperatorFormPage,
  OperatorRemovalPage,
  type OperatorTyped,
  ResetPage,
} from '../../views/operators.tsx'
import { linkJson } from '../api/present.ts'
import { operatorCards } from './access.tsx'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { keepMade, madeBefore } from './made.ts'
import { frameOf, page, seeOther } from './page.ts'
import { ownerOf } from './person.ts'

/** The role that a form names. Throws `invalid`. */
const roleOf = (text: string | null): Role => {
  const role = ROLES.find((candidate) => candidate === text)
  if (!role) throw invalid(`the role is one of: ${ROLES.join(', ')}`)
  return role
}

/** People who sign in: added, let in again, removed. */
export const operatorRoutes = (node: Node) => {
  const { access } = node

  const cardOf = (actor: Actor, id: string): OperatorCard => {
    const card = operatorCards(node, actor).find((operator) => operator.id === id)
    if (!card) throw notFound('no operator has that id; they may be removed')
    return card
  }

  const form = (request: Request, typed: OperatorTyped, refused: AppError | null) => {
    const { status, sentence } = refused ? sentenceOf(refused) : { status: 200, sentence: undefined }
    const failures = sentence === undefined ? {} : { name: sentence }
    const filled = { typed, failures, focus: 'name' }
    return page(
      <OperatorFormPage frame={frameOf(node, request)} formId={crypto.randomUUID()} filled={filled} />,
      status,
    )
  }

  const linkPage = (request: Request, title: string, { name }: Pick<Operator, 'name'>, link: OneTimeLink) =>
    page(<LinkPage frame={frameOf(node, request)} {...{ title, name }} link={linkJson(node, link)} />, 201)

  const before = (request: Request, id: string) => {
    const operator = access.operators().find((candidate) => candidate.id === id) ?? null
    return page(<LinkBeforePage frame={frameOf(node, request)} operator={operator} />)
  }

  return new Elysia({ name: 'operators' })
    .get('/access/operators/new', ({ request }) => {
      ownerOf(request)
      return form(request, { name: '', role: 'operator' }, null)
    })
    .post(
      '/access/operators/new',
      async ({ request }) => {
        const actor = ownerOf(request)
        const fields = await formOf(request)
        const made = madeBefore(node, actor, fields)
        if (made !== null) return before(request, made)
        const role = roleOf(fields.get('role'))
        const name = fields.get('name') ?? ''
        try {
          const { operator, link } = access.create(name, role, actor)
          keepMade(node, actor, fields, operator.id, '/access')
          return linkPage(request, 'Added', operator, link)
        } catch (error) {
          if (!(error instanceof AppError)) throw error
          return form(request, { name: holdsSecret(name) ? '' : name, role }, error)
        }
      },
      FORM,
    )
    .get('/access/operators/:id/link', ({ request, params }) => {
      const operator = cardOf(ownerOf(request), params.id)
      return page(<ResetPage frame={frameOf(node, request)} formId={crypto.randomUUID()} operator={operator} />)
    })
    .post(
      '/access/operators/:id/link',
      async ({ request, params }) => {
        const actor = ownerOf(request)
        const operator = cardOf(actor, params.id)
        const fields = await formOf(request)
        // Sent to another's address, the same form is another one.
        fields.set('operator', operator.id)
        if (madeBefore(node, actor, fields) !== null) return before(request, operator.id)
        const link = access.reset(operator.name, actor)
        keepMade(node, actor, fields, operator.id, '/access')
        return linkPage(request, 'Link made', operator, link)
      },
      FORM,
    )
    .get('/access/operators/:id/removal', ({ request, params }) => {
      const operator = cardOf(ownerOf(request), params.id)
      if (operator.isLastOwner) throw conflict("the last owner can't be removed: make another owner first")
      const sessions = access.sessions.list().filter(({ operatorId }) => operatorId === operator.id).length
      return page(<OperatorRemovalPage frame={frameOf(node, request)} {...{ operator, sessions }} />)
    })
    .post(
      '/access/operators/:id/removal',
      ({ request, params }) => {
        const actor = ownerOf(request)
        const { id, name, isSelf } = cardOf(actor, params.id)
        access.remove(name, actor)
        return seeOther(isSelf ? '/sign-in' : `/access?gone=${id}`)
      },
      FORM,
    )
}
