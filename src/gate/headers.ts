import { holdsSecret } from '../secret.ts'
import { basePath, type Upstream } from '../upstream.ts'

// RFC 9110 §7.6.1, and what older agents send.
const HOP_BY_HOP = [
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer'],
  ...['transfer-encoding', 'upgrade', 'http2-settings'],
]

/** Never passed to an upstream: the gate speaks for itself there. */
const OWN = ['host', 'content-length', 'accept-encoding', 'expect', 'referer', 'origin', 'cookie']
const NOT_UPWARD = new Set([...HOP_BY_HOP, ...OWN])

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/

/** The names that `Connection` lists: they end here too (RFC 9110 §7.6.1). */
const listed = (headers: Headers): string[] => {
  const connection = headers.get('connection')
  // What nearly all say lists no header.
  if (connection === null || /^(?:keep-alive|close)$/i.test(connection)) return []
  return connection
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
}

/** Deletes what `Connection` lists, where that is a name: anything may stand there. */
const deleteListed = (from: Headers, to: Headers): void => {
  for (const name of listed(from)) if (HEADER_NAME.test(name)) to.delete(name)
}

/** The headers of a request as the upstream gets them, with the server's own credentials in place. */
export const upwardHeaders = (from: Headers, server: Upstream): Headers => {
  // The runtime copies all in one go for less than it takes to hand over two of them.
  const headers = new Headers(from)
  const said = from.toJSON()
  for (const name in said) {
    // `Set-Cookie` comes as a list.
    if (NOT_UPWARD.has(name) || holdsSecret(String(said[name])) || holdsSecret(name)) headers.delete(name)
  }
  deleteListed(from, headers)
  // An encoded stream could not be watched for its events' boundaries.
  headers.set('accept-encoding', 'identity')
  // Left out, the runtime would name itself.
  if (!headers.has('user-agent')) headers.set('user-agent', '')
  for (const [name, value] of server.headers) headers.set(name, value)
  return headers
}

/** The headers of an upstream's answer as the client gets them: they are the answer's own, with what ends here taken out. */
export const downwardHeaders = (headers: Headers): Headers => {
  deleteListed(headers, headers)
  for (const name of HOP_BY_HOP) headers.delete(name)
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
