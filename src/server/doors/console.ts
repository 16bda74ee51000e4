import type { Server } from 'bun'
import { clientAddress } from '../../address.ts'
import { hostCheck } from '../../host.ts'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import type { Api } from '../app.ts'
import { admit, isLive } from '../context.ts'
import { idempotent } from '../api/idempotency.ts'
import { problem, problemFor } from '../errors.ts'
import type { Pages } from '../pages/pages.ts'
import { sessionCookie } from './cookie.ts'

const LOOPBACK = /^(?:127\.|::1$)/
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Whether a write comes from one of the console's own pages (Fetch Metadata; Origin where that is missing). */
const isOwnPage = (request: Request, consoleOrigin: string): boolean => {
  const site = request.headers.get('sec-fetch-site')
  if (site !== null) return site === 'same-origin'
  const origin = request.headers.get('origin')
  return origin !== null && (origin === consoleOrigin || origin === new URL(request.url).origin)
}

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
    const forwarded = headers.get('x-forwarded-for')
    const address = clientAddress(peer, forwarded, config.trustedProxies)
    const bearer = /^bearer +(\S+)$/i.exec(headers.get('authorization') ?? '')?.[1] ?? null
    const keyActor = bearer ? apiKeys.actorOf(bearer, address) : null
    if (pathname === '/readyz') return ready(node)
    // Something forwarded is not local, whatever socket it came over.
    const local = LOOPBACK.test(address) && forwarded === null && !headers.has('forwarded')
    if (pathname === '/metrics') return keyActor || local ? metrics(node) : unauthenticated()
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
    try {
      return secured(await answer(request, server))
    } catch (error) {
      return problemFor(error, (unknown) => node.log.error({ err: unknown }, 'a request of the console failed'))
    }
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
