import { limits } from '../limits.ts'

/** Where a request wants to go. */
export interface Target {
  server: string
  /** What follows the server's name: empty, or beginning with a slash. Never climbs. */
  rest: string
  /** Empty, or beginning with a question mark. */
  query: string
  /** The secret that stood in the path. */
  secret: string | null
  /** `~`: an endpoint outside of the server's URL that was announced on a stream. */
  announced: boolean
}

/**
 * The runtime hands over paths with their dot segments resolved already; only its router has seen the
 * raw one. So one route for each depth is registered, and a request whose depth differs from its route's
 * had dot segments (or backslashes) in it.
 */
export const routeDepths = (): { pattern: string; depth: number }[] =>
  Array.from({ length: limits.pathSegmentsMax }, (_, index) => {
    const pattern = Array.from({ length: index + 1 }, (_segment, position) => `/:s${position}`).join('')
    return [
      { pattern, depth: index + 1 },
      { pattern: `${pattern}/`, depth: index + 2 },
    ]
  }).flat()

/** The path and query of a request's URL, which begins with scheme and host. */
export const splitUrl = (url: string): { path: string; query: string } => {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  const query = url.indexOf('?', start)
  return query === -1
    ? { path: url.slice(start), query: '' }
    : { path: url.slice(start, query), query: url.slice(query) }
}

const CLIMBS = /%2f|%5c|%00|[\\#]|(?:^|\/)(?:\.|%2e){1,2}(?:[;/]|$)/i

const TARGET = /^(?:\/t\/([^/]+))?\/s\/([^/]+)(\/.*)?$/s

/** `null`: not a path of the gate. `bad`: one that climbs or that no path may be. */
export const parsePath = (path: string, query: string, depth: number | null): Target | 'bad' | null => {
  if (CLIMBS.test(path)) return 'bad'
  if (depth !== null && path.split('/').length - 1 !== depth) return 'bad'
  const match = TARGET.exec(path)
  if (!match) return null
  const [, secret, server, rest = ''] = match
  const announced = rest === '/~' || rest.startsWith('/~/')
  return { server: server as string, rest: announced ? rest.slice(2) : rest, query, secret: secret ?? null, announced }
}
