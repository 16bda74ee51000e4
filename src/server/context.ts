import type { Actor } from '../operator.ts'

/** What a door knows of a request before it is routed. */
export interface Visit {
  /** Null: nobody is signed in; only pages may be reached so. */
  actor: Actor | null
  address: string
  /** `performance.now()` when the request came: revocations are timed from here. */
  arrivedAt: number
  /** The secret in the session's cookie, when it is a live one. */
  session: string | null
  /** What the browser or program calls itself, as it came. */
  client: string | null
}

const visits = new WeakMap<Request, Visit>()

export const admit = (request: Request, visit: Visit): void => {
  visits.set(request, visit)
}

/** What the door said of a request. A route reached past the door is a defect, and must not answer. */
export const visitOf = (request: Request): Visit => {
  const visit = visits.get(request)
  if (!visit) throw new Error('a request was routed that no door admitted')
  return visit
}

/** The same where somebody must have signed in. */
export const contextOf = (request: Request): Visit & { actor: Actor } => {
  const { actor, ...visit } = visitOf(request)
  if (!actor) throw new Error('a request without an actor was routed to where one is needed')
  return { ...visit, actor }
}

/** Whether a page asks by itself, to keep up with what happens: that must not keep a session alive for ever. */
export const isLive = ({ method, headers }: Request): boolean =>
  method === 'GET' && headers.get('hx-request') === 'true' && headers.get('x-live') === '1'
