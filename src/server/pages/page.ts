import type { JSX } from 'hono/jsx/jsx-runtime'
import type { Node } from '../../node.ts'
import { holdsSecret } from '../../secret.ts'
import { UNFIT_PROBLEMS } from '../../standing.ts'
import type { Frame } from '../../views/layout.tsx'
import { visitOf } from '../context.ts'
import { alarmsOf } from './alarms.ts'
import { assetUrls } from './assets.ts'

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': POLICY,
  'cache-control': 'no-store',
}

const html = (text: string, status: number, headers: Record<string, string>): Response =>
  new Response(text, { status, headers: { ...HEADERS, ...headers } })

export const page = (content: JSX.Element, status = 200, headers: Record<string, string> = {}): Response =>
  html(`<!doctype html>${String(content)}`, status, headers)

/** A part of a page, for a script that puts it in. */
export const partial = (content: JSX.Element): Response => html(String(content), 200, {})

/** Whether a script asks, to put a part of the answer into a page. */
export const isScript = (request: Request): boolean => request.headers.get('hx-request') === 'true'

/** See other (RFC 9110, 15.4.4): what was posted is not posted again by a reload. */
export const seeOther = (location: string, headers: Record<string, string> = {}): Response =>
  new Response(null, { status: 303, headers: { location, 'cache-control': 'no-store', ...headers } })

/** Whether the address that was asked for holds a secret, as it is or encoded once more: then it must not stand. */
export const isTainted = (request: Request): boolean => {
  const { search, searchParams } = new URL(request.url)
  return holdsSecret(search) || [...searchParams].flat().some(holdsSecret)
}

const UNFIT = Object.values(UNFIT_PROBLEMS)

export const frameOf = (node: Node, request: Request): Frame => {
  const { actor, session } = visitOf(request)
  const person =
    actor && session
      ? { name: actor.name.replace(/^operator:/, ''), role: actor.role, restricted: actor.restricted ?? false }
      : null
  const { pathname, search } = new URL(request.url)
  // A page asks for its own address again and again: a secret that was pasted into it must not be repeated.
  const path = isTainted(request) ? pathname : pathname + search
  return {
    assets: assetUrls,
    person,
    path,
    // What the cluster has to do with it is an alarm, which says more.
    problems: person ? node.problems().filter((problem) => !UNFIT.includes(problem)) : [],
    alarms: person ? alarmsOf(node, request) : [],
  }
}
