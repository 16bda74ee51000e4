/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { AppError } from '../../error.ts'
import type { Node } from '../../node.ts'
import { type Actor, requireRole } from '../../operator.ts'
import { holdsSecret } from '../../secret.ts'
import { parseDuration } from '../../time.ts'
import type { Token } from '../../token.ts'
import { RotatedBeforePage, RotatedPage } from '../../views/rotated.tsx'
import { type Grace, GRACES, RotationConfirmPage, RotationPage } from '../../views/rotation.tsx'
import { tokenJson } from '../api/present.ts'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { keepMade, madeBefore } from './made.ts'
import { frameOf, page } from './page.ts'
import { personOf } from './person.ts'
import { liveTokenOf, snippetsOf, tokenOf } from './token.tsx'

type Typed = { grace: Grace; other: string }

const typedOf = (fields: URLSearchParams): Typed => {
  const grace = fields.get('grace') ?? ''
  return { grace: Object.hasOwn(GRACES, grace) ? (grace as Grace) : 'other', other: fields.get('other') ?? '' }
}

const graceMsOf = ({ grace, other }: Typed): number =>
  parseDuration(grace === 'other' ? other : grace, 'how long the old secret goes on')

/** New secrets for a token. */
export const rotationRoutes = (node: Node) => {
  const connectionsOf = ({ id }: Token): number => node.registry.ofToken(id).size

  const form = (request: Request, token: Token, typed: Typed, failure: string | null = null, status = 200) =>
    page(
      <RotationPage
        frame={frameOf(node, request)}
        token={token}
        formId={crypto.randomUUID()}
        connections={connectionsOf(token)}
        isInGrace={tokenJson(node, token).oldSecretDiesAt !== null}
        typed={holdsSecret(typed.other) ? { ...typed, other: '' } : typed}
        failure={failure}
      />,
      status,
    )

  const rotate = async (request: Request, token: Token, fields: URLSearchParams, actor: Actor): Promise<Response> => {
    const frame = frameOf(node, request)
    if (madeBefore(node, actor, fields) === token.id) return page(<RotatedBeforePage {...{ frame, token }} />)
    const typed = typedOf(fields)
    try {
      const graceMs = graceMsOf(typed)
      if (graceMs === 0 && !fields.has('confirmed')) {
        const formId = crypto.randomUUID()
        return page(<RotationConfirmPage {...{ frame, token, formId }} connections={connectionsOf(token)} />)
      }
      const secret = node.issuance.rotate(token, graceMs, actor)
      keepMade(node, actor, fields, token.id, `/tokens/${token.id}`)
      await node.cluster.spread(node.limits.ackWaitMs)
      const snippets = snippetsOf(node, token, secret)
      const card = tokenJson(node, token)
      return page(<RotatedPage {...{ frame, secret, snippets }} token={card} now={node.now()} />, 201, {
        location: `/tokens/${token.id}`,
      })
    } catch (error) {
      if (!(error instanceof AppError) || error.kind !== 'invalid') throw error
      const { status, sentence } = sentenceOf(error)
      return form(request, token, typed, sentence, status)
    }
  }

  return new Elysia({ name: 'rotations' })
    .get('/tokens/:id/rotations/new', ({ request, params }) => {
      requireRole(personOf(request).actor, 'operator')
      return form(request, liveTokenOf(node, params.id), { grace: '10m', other: '' })
    })
    .post(
      '/tokens/:id/rotations',
      async ({ request, params }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'operator')
        return rotate(request, tokenOf(node, params.id), await formOf(request), actor)
      },
      FORM,
    )
}
