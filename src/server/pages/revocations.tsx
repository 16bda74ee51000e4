/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { invalid, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { type Reason, REASONS, type Receipt } from '../../revocation.ts'
import type { Token } from '../../token.ts'
import { ReceiptPage } from '../../views/receipt.tsx'
import { RevocationPage } from '../../views/revocation.tsx'
import { receiptJson } from '../api/present.ts'
import { FORM, formOf } from './form.ts'
import { frameOf, page, seeOther } from './page.ts'
import { personOf } from './person.ts'

const reasonOf = (fields: URLSearchParams): Reason => {
  const reason = REASONS.find((candidate) => candidate === fields.get('reason'))
  if (!reason) throw invalid(`the reason is one of: ${REASONS.join(', ')}`)
  return reason
}

/** The tokens that a form or a query names, by id alone. */
const tokensOf = (node: Node, fields: URLSearchParams): Token[] => {
  const ids = new Set(fields.getAll('token'))
  if (ids.size === 0) throw invalid('name the token to revoke')
  const { revocationTokensMax } = node.limits
  if (ids.size > revocationTokensMax) throw invalid(`more than ${revocationTokensMax} tokens at once`)
  return [...ids].map((id) => {
    const token = node.tokens.byId.get(id)
    if (!token) throw notFound('no token has that id')
    return token
  })
}

export const revocationRoutes = (node: Node) => {
  const receiptPage = (request: Request, receipt: Receipt, status: number) =>
    page(
      <ReceiptPage frame={frameOf(node, request)} receipt={receiptJson(receipt)} namedMax={node.limits.pageSizeMax} />,
      status,
    )

  return new Elysia({ name: 'revocations' })
    .get('/revocations/new', ({ request }) => {
      requireRole(personOf(request).actor, 'operator', true)
      const doomed = tokensOf(node, new URL(request.url).searchParams).map(({ id, name, subject }) => ({
        id,
        name,
        subject,
        connections: node.registry.ofToken(id).size,
      }))
      const noteLengthMax = node.limits.textLengthMax
      return page(<RevocationPage frame={frameOf(node, request)} doomed={doomed} noteLengthMax={noteLengthMax} />)
    })
    .post(
      '/revocations',
      async ({ request }) => {
        const { actor, arrivedAt } = personOf(request)
        requireRole(actor, 'operator', true)
        const fields = await formOf(request)
        const tokens = tokensOf(node, fields).map(({ id }) => id)
        const note = fields.get('note') ?? ''
        const receipt = await node.revocations.revoke({ tokens, reason: reasonOf(fields), note }, actor, arrivedAt)
        // The figures are kept in a later turn; a timer set now fires after that one, so the receipt has them.
        await new Promise((resolve) => setTimeout(resolve, 0))
        // What the database did not take, or had already, has no page of its own to lead to.
        if (!receipt.durable) return receiptPage(request, receipt, 507)
        return receipt.tokens.length === 0 ? receiptPage(request, receipt, 200) : seeOther(`/revocations/${receipt.id}`)
      },
      FORM,
    )
    .get('/revocations/:id', ({ request, params }) => {
      personOf(request)
      const receipt = node.reads.receipt(params.id)
      if (!receipt) throw notFound('no revocation has that id')
      return receiptPage(request, receipt, 200)
    })
}
