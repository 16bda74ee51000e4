import type { Server } from 'bun'
import { clientAddress, FORWARDING, plainAddress } from '../../address.ts'
import { hostCheck } from '../../host.ts'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import { takeUnread } from '../../unread.ts'
import type { Api } from '../app.ts'
import { admit, isLive } from '../context.ts'
import { idempotent } from '../api/idempotency.ts'
import { problem, problemFor } from '../errors.ts'
import type { Pages } from '../pages/pages.ts'
import { sessionCookie } from './cookie.ts'

const LOOPBACK = /^(?:127\.|::1$)/
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Whether a write comes from one of the console's own pages (Fetch Metadata; Origin where that is missing). */
const isOwnPage = (request: Request, consoleOrigin: string): boolean => {
  const site = request.headers.get('sec-fetch-site')
  if (site !== null) return site === 'same-origin'
  const origin = request.headers.get('origin')
  // Behind a proxy the request itself does not know its scheme; a page in the clear is not the console's own then.
  const { protocol } = new URL(consoleOrigin)
  return origin !== null && (origin === consoleOrigin || origin === `${protocol}//${request.headers.get('host')}`)
}

/** Whether somebody on this machine asks for itself: what a proxy here passes on comes over the same socket. */
const isLocal = (peer: string, headers: Headers): boolean =>
  LOOPBACK.test(plainAddress(peer)) &&
  LOOPBACK_HOST.test(headers.get('host') ?? '') &&
  !FORWARDING.some((name) => headers.has(name))

const unauthenticated = () => {
  const answer = problem(401, 'unauthenticated', 'send an API key as "Authorization: Bearer pca_…", or sign in')
  answer.headers.set('www-authenticate', 'Bearer realm="portcullis console"')
  return answer
}

/** The control plane on TCP: who asks is settled here, before anything is routed. */
export const consoleDoor = (node: Node, api: Api, pages: Pages) => {
  const { config, access, apiKeys } = node
  const isOurs = hostCheck([new URL(node.gateUrl).hostname, new URL(node.consoleUrl).hostname, ...config.allowHosts])
  const consoleOrigin = new URL(node.consoleUrl).origin
  const answerOnce = idempotent(node)

  const answer = async (request: Request, server: Server<unknown>): Promise<Response> => {
    const arrivedAt = performance.now()
    const { headers } = request
    if (!isOurs(headers.get('host')))
      return problem(421, 'misdirected-request', "this host is not one of the console's; add it with --allow-host")
    const { pathname } = new URL(request.url)
    if (pathname === '/healthz') return Response.json({ status: 'ok' })
    const peer = server.requestIP(request)?.address ?? ''
    const address = clientAddress(peer, headers, config.trustedProxies)
    const bearer = /^bearer +(\S+)$/i.exec(headers.get('authorization') ?? '')?.[1] ?? null
    const keyActor = bearer ? apiKeys.actorOf(bearer, address) : null
    if (pathname === '/readyz') return ready(node)
    if (pathname === '/metrics') return keyActor || isLocal(peer, headers) ? metrics(node) : unauthenticated()
    const session = sessionCookie(headers)
    const sessionActor: Actor | null = session ? access.actorOfSession(session, address, !isLive(request)) : null
    const actor = bearer ? keyActor : sessionActor
    admit(request, {
      actor,
      address,
      arrivedAt,
      session: sessionActor ? session : null,
      client: headers.get('user-agent'),
    })
    if (!bearer && !SAFE.has(request.method) && !isOwnPage(request, consoleOrigin)) {
      if (!pathname.startsWith('/api/') || actor)
        return problem(403, 'cross-site', 'this write does not come from a page of the console')
    }
    if (!pathname.startsWith('/api/')) return pages.handle(request)
    if (!actor) return unauthenticated()
    return answerOnce(request, (asked) => api.handle(asked))
  }

  return async (request: Request, server: Server<unknown>): Promise<Response> => {
    let response: Response
    try {
      response = secured(await answer(request, server))
    } catch (error) {
      response = problemFor(error, (unknown) => node.log.error({ err: unknown }, 'a request of the console failed'))
    }
    const { unreadBodyBytesMax, unreadBodyMs } = node.limits
    if (!(await takeUnread(request, unreadBodyBytesMax, unreadBodyMs))) response.headers.set('connection', 'close')
    return response
  }
}

const secured = (response: Response): Response => {
  response.headers.set('x-content-type-options', 'nosniff')
  response.headers.set('referrer-policy', 'same-origin')
  response.headers.set('x-frame-options', 'DENY')
  return response
}

const ready = (node: Node): Response => {
  const problems = node.problems()
  return Response.json(
    { status: problems.length === 0 ? 'ready' : 'not ready', problems },
    { status: problems.length === 0 ? 200 : 503 },
  )
}

const metrics = async (node: Node): Promise<Response> =>
  new Response(await node.metrics(), { headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' } })
