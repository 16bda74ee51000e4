/** @jsxImportSource hono/jsx */
import { AppError, type ErrorKind } from '../../error.ts'
import type { Node } from '../../node.ts'
import { redact } from '../../secret.ts'
import { FailurePage } from '../../views/failure.tsx'
import { STATUS } from '../errors.ts'
import { frameOf, isScript, page, seeOther } from './page.ts'

const TITLES: Record<ErrorKind, string> = {
  invalid: "That can't be done so",
  unauthenticated: 'Sign in first',
  forbidden: 'Not allowed',
  not_found: 'Not found',
  conflict: 'Not possible now',
  too_large: 'Too large',
  mismatch: "That can't be done so",
  too_many: 'Too many tries',
  unavailable: 'Not available now',
  storage: "The database can't be written",
}

const asSentence = (text: string): string =>
  redact(text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith('.') ? '' : '.'))

/** What was thrown, as far as it may be shown: of a defect only the log hears. */
const describe = (node: Node, error: unknown): { status: number; title: string; message: string } => {
  if (error instanceof AppError) {
    return { status: STATUS[error.kind], title: TITLES[error.kind], message: asSentence(error.message) }
  }
  if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'NOT_FOUND') {
    return { status: 404, title: TITLES.not_found, message: 'There is no such page.' }
  }
  node.log.error({ err: error }, 'a page of the console failed')
  return { status: 500, title: 'Something failed', message: 'Something failed inside; the log says what.' }
}

/** The page for anything that was thrown. Who only has to sign in is led there. */
export const failure = (node: Node, request: Request, error: unknown): Response => {
  const isSignIn = error instanceof AppError && error.kind === 'unauthenticated'
  if (isSignIn && request.method === 'GET' && !isScript(request)) return seeOther('/sign-in')
  const { status, title, message } = describe(node, error)
  const frame = frameOf(node, request)
  const back = frame.person ? { href: '/', text: 'Back to the overview' } : { href: '/sign-in', text: 'Sign in' }
  const headers: Record<string, string> = isSignIn && isScript(request) ? { 'hx-redirect': '/sign-in' } : {}
  return page(<FailurePage frame={frame} title={title} message={message} back={back} />, status, headers)
}

/** A refusal as one sentence above the form that it was for. */
export const sentenceOf = (error: AppError): { status: number; sentence: string } => ({
  status: STATUS[error.kind],
  sentence: asSentence(error.message),
})
