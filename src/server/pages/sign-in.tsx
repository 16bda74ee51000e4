/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { AppError } from '../../error.ts'
import type { Node } from '../../node.ts'
import { SignInPage } from '../../views/sign-in.tsx'
import { visitOf } from '../context.ts'
import { setSessionCookie } from '../doors/cookie.ts'
import { sentenceOf } from './failure.tsx'
import { FORM, formOf } from './form.ts'
import { frameOf, page, seeOther } from './page.ts'

/** To the main page, signed in. An older session of the same browser ends. */
export const enter = (node: Node, request: Request, secret: string): Response => {
  const { session } = visitOf(request)
  if (session) node.access.signOut(session)
  return seeOther('/', { 'set-cookie': setSessionCookie(secret, node.consoleUrl.startsWith('https:')) })
}

export const signInRoutes = (node: Node) => {
  const form = (request: Request, failure: string | null, status = 200) =>
    page(<SignInPage frame={frameOf(node, request)} failure={failure} hasOwner={node.access.hasOwner} />, status)

  return new Elysia({ name: 'sign-in' })
    .get('/sign-in', ({ request }) => (visitOf(request).session ? seeOther('/') : form(request, null)))
    .post(
      '/sign-in',
      async ({ request }) => {
        const fields = await formOf(request)
        const [name, password] = [fields.get('name') ?? '', fields.get('password') ?? '']
        try {
          return enter(node, request, await node.access.signIn(name, password, visitOf(request)))
        } catch (error) {
          if (!(error instanceof AppError)) throw error
          const { status, sentence } = sentenceOf(error)
          return form(request, sentence, status)
        }
      },
      FORM,
    )
    .post(
      '/sign-out',
      ({ request }) => {
        const { session } = visitOf(request)
        if (session) node.access.signOut(session)
        return seeOther('/sign-in', { 'set-cookie': setSessionCookie(null, node.consoleUrl.startsWith('https:')) })
      },
      FORM,
    )
}
