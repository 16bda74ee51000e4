import { holdsSecret } from '../secret.ts'
import { basePath, type Upstream } from '../upstream.ts'

// RFC 9110 §7.6.1, and what older agents send.
const HOP_BY_HOP = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer'],
  ...['transfer-encoding', 'upgrade', 'http2-settings'],
])

/** Never passed to an upstream: the gate speaks for itself there. */
const NOT_UPWARD = new Set(['host', 'content-length', 'accept-encoding', 'expect', 'referer', 'origin', 'cookie'])

const listed = (headers: Headers): Set<string> => {
  const connection = headers.get('connection')
  return new Set(
    connection
      ? connection
          .toLowerCase()
          .split(',')
          .map((name) => name.trim())
      : [],
  )
}

/** The headers of a request as the upstream gets them, with the server's own credentials in place. */
export const upwardHeaders = (from: Headers, server: Upstream): Headers => {
  const hop = listed(from)
  const headers = new Headers()
  for (const [name, value] of from) {
    if (HOP_BY_HOP.has(name) || NOT_UPWARD.has(name) || hop.has(name) || holdsSecret(value) || holdsSecret(name))
      continue
    headers.set(name, value)
  }
  // An encoded stream could not be watched for its events' boundaries.
  headers.set('accept-encoding', 'identity')
  // Left out, the runtime would name itself.
  if (!headers.has('user-agent')) headers.set('user-agent', '')
  for (const [name, value] of server.headers) headers.set(name, value)
  return headers
}

/** The headers of an upstream's answer as the client gets them. */
export const downwardHeaders = (from: Headers): Headers => {
  const hop = listed(from)
  const headers = new Headers()
  for (const [name, value] of from) {
    if (!HOP_BY_HOP.has(name) && !hop.has(name)) headers.append(name, value)
  }
  return headers
}

/** Whether bytes are in a coding that hides them (RFC 9110 §8.4). */
export const isEncoded = (headers: Headers): boolean => {
  const coding = headers.get('content-encoding')?.trim().toLowerCase()
  return coding !== undefined && coding !== '' && coding !== 'identity'
}

/** Whatever a server may take for JSON: the official SDK 1 asks no more of a type than that it begins like it. */
export const isJson = (headers: Headers): boolean => /json/i.test(headers.get('content-type') ?? '')

export const isEventStream = (headers: Headers): boolean =>
  /^text\/event-stream\s*(?:;|$)/i.test(headers.get('content-type') ?? '')

/**
 * What a redirect of the upstream means to a client at `path` (`/s/{server}/…`), as a relative reference
 * (RFC 3986 §4.2), so that a token in the client's path is not repeated. Null: it leads out of the server's URL.
 */
export const redirectTarget = (location: string, requested: URL, server: Upstream, path: string): string | null => {
  if (!URL.canParse(location, requested)) return null
  const to = new URL(location, requested)
  const base = basePath(server)
  const under = to.pathname === base || to.pathname.startsWith(`${base}/`)
  if (to.origin !== server.url.origin || !under || to.username || to.password) return null
  const up = '../'.repeat(path.split('/').length - 3)
  return `${up === '' ? './' : up}${server.name}${to.pathname.slice(base.length)}${to.search}${to.hash}`
}
