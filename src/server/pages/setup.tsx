/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { AppError, invalid } from '../../error.ts'
import type { LinkPurpose } from '../../link.ts'
import type { Node } from '../../node.ts'
import { holdsSecret } from '../../secret.ts'
import { PasswordPage, SignInLinkPage } from '../../views/setup.tsx'
import { visitOf } from '../context.ts'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { frameOf, page } from './page.ts'
import { enter } from './sign-in.tsx'

/** One-time links: the first owner's, an operator's password, and signing in without one. */
export const setupRoutes = (node: Node) => {
  const { access, limits } = node

  const passwordForm = (
    request: Request,
    code: string,
    purpose: LinkPurpose,
    { typed, refused }: { typed: string; refused: AppError | null },
  ) => {
    const { status, sentence } = refused ? sentenceOf(refused) : { status: 200, sentence: null }
    const operator = purpose.kind === 'setup' ? null : access.operators().find(({ id }) => id === purpose.operatorId)
    if (operator === undefined) throw access.deadLink()
    const { passwordLengthMin, passwordLengthMax } = limits
    return page(
      <PasswordPage
        frame={frameOf(node, request)}
        code={code}
        name={operator?.name ?? null}
        typed={holdsSecret(typed) ? '' : typed}
        failure={sentence}
        {...{ passwordLengthMin, passwordLengthMax }}
      />,
      status,
    )
  }

  return new Elysia({ name: 'setup' })
    .get('/setup', ({ request }) => {
      const code = new URL(request.url).searchParams.get('code') ?? ''
      const purpose = access.links.peek(code)
      if (!purpose) throw access.deadLink()
      if (purpose.kind === 'sign-in') return page(<SignInLinkPage frame={frameOf(node, request)} code={code} />)
      return passwordForm(request, code, purpose, { typed: '', refused: null })
    })
    .post(
      '/setup',
      async ({ request }) => {
        const visit = visitOf(request)
        const fields = await formOf(request)
        const code = fields.get('code') ?? ''
        const signedIn = access.useSignInLink(code, visit)
        if (signedIn) return enter(node, request, signedIn)
        const [name, password] = [fields.get('name') ?? '', fields.get('password') ?? '']
        const purpose = access.links.peek(code)
        try {
          if (purpose && password !== fields.get('again')) throw invalid('the two passwords differ')
          return enter(node, request, await access.usePasswordLink(code, name, password, visit))
        } catch (error) {
          const isTypo = purpose && error instanceof AppError && error.kind === 'invalid'
          if (!isTypo) throw error
          return passwordForm(request, code, purpose, { typed: name, refused: error })
        }
      },
      FORM,
    )
}
