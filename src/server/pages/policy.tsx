/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { AppError } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import type { Token } from '../../token.ts'
import { PolicyPage, type PolicyTyped } from '../../views/policy.tsx'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { frameOf, page, seeOther } from './page.ts'
import { personOf } from './person.ts'
import { policyFormOf, typedOf, typedPolicyOf, withoutSecrets } from './token-form.ts'
import { liveTokenOf } from './token.tsx'

type Refused = { failures: { [K in keyof PolicyTyped]?: string }; failure: string | null; status: number }
const NOTHING: Refused = { failures: {}, failure: null, status: 200 }

/** What a token may do, changed. */
export const policyRoutes = (node: Node) => {
  const form = (
    request: Request,
    token: Token,
    typed: PolicyTyped,
    { failures, failure, status }: Refused = NOTHING,
  ) => {
    const { id, name, policy } = token
    const connections = node.registry.ofToken(id).size
    return page(
      <PolicyPage
        frame={frameOf(node, request)}
        token={{ id, name, policy, connections }}
        typed={withoutSecrets(typed)}
        {...{ failures, failure }}
      />,
      status,
    )
  }

  return new Elysia({ name: 'policy' })
    .get('/tokens/:id/policy', ({ request, params }) => {
      requireRole(personOf(request).actor, 'operator')
      const token = liveTokenOf(node, params.id)
      return form(request, token, typedPolicyOf(token.policy))
    })
    .post(
      '/tokens/:id/policy',
      async ({ request, params }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'operator')
        const token = liveTokenOf(node, params.id)
        const typed = typedOf(await formOf(request))
        const { request: wanted, failures } = policyFormOf(typed)
        if (Object.keys(failures).length > 0)
          return form(request, token, typed, { failures, failure: null, status: 400 })
        try {
          node.issuance.setPolicy(token, wanted, actor)
          return seeOther(`/tokens/${token.id}`)
        } catch (error) {
          if (!(error instanceof AppError)) throw error
          const { status, sentence } = sentenceOf(error)
          return form(request, token, typed, { failures: {}, failure: sentence, status })
        }
      },
      FORM,
    )
}
