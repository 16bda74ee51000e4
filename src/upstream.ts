import { invalid } from './error.ts'
import { limits } from './limits.ts'
import { refuseSecretIn } from './secret.ts'
import type { StdioSpec } from './stdio.ts'
import { line } from './text.ts'

export type UpstreamKind = 'auto' | 'mcp' | 'http' | 'stdio'
export type GateState = 'open' | 'closed'

/** A named server behind the gate. */
export interface Upstream {
  id: string
  name: string
  /** The URL that people gave, checked and without a trailing slash. */
  url: URL
  kind: UpstreamKind
  /** Only completes the URL shown to people. */
  path: string
  /** Sent upstream in place of what the client sent. Plain here, encrypted at rest. */
  headers: readonly (readonly [string, string])[]
  /** What runs it, where `kind` is `stdio`; then its URL is `STDIO_URL`. */
  stdio: StdioSpec | null
  state: GateState
  reason: string | null
  createdAt: number
  removedAt: number | null
  /** The node's own, for its test of itself: no index knows it, and what runs under it is in no list or count. */
  hidden?: true
}

const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/

/** A server's name stands in URLs: lower-case letters, digits, dot, dash and underscore. */
export const serverName = (text: string): string => {
  const name = line(text, 'the name')
  if (!NAME.test(name)) {
    throw invalid('the name of a server stands in URLs: use up to 63 of a-z, 0-9, ".", "-" and "_"')
  }
  return name
}

// RFC 3927 and RFC 4291: link-local addresses lead to metadata services of clouds, never to a server of ours.
// The last three are ways to write 169.254/16 in IPv6: mapped or compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
const LINK_LOCAL =
  /^(?:169\.254\.\d+\.\d+|\[fe[89ab][0-9a-f]:.*\]|\[::(?:ffff:)?a9fe:[0-9a-f]+\]|\[64:ff9b::a9fe:[0-9a-f]+\]|\[2002:a9fe:.*\])$/i

/** Whether a host, as `URL` spells it, is a link-local address. */
export const isLinkLocal = (hostname: string): boolean => LINK_LOCAL.test(hostname.replace(/\.$/, ''))

/** The URL of a server: http or https, no credentials, query or fragment, not link-local. */
export const serverUrl = (text: string): URL => {
  if (!URL.canParse(text)) throw invalid("the URL can't be read; write it like http://127.0.0.1:3001")
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw invalid('the URL must begin with http:// or https://')
  if (url.username || url.password) throw invalid('the URL holds credentials; give them with --header instead')
  if (url.search || url.hash) throw invalid('the URL must have no query and no fragment')
  if (isLinkLocal(url.hostname)) throw invalid(`${url.hostname} is link-local; such addresses are never reached`)
  return url
}

/** The path that completes the URL shown to people: empty, or beginning with a slash. */
export const serverPath = (text: string): string => {
  const path = text.trim()
  if (path === '' || path === '/') return ''
  const ok = /^\/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$/.test(path) && !path.split('/').includes('..')
  if (!ok || path.length > limits.nameLengthMax) throw invalid('the path must be like /mcp')
  return path.replace(/\/$/, '')
}

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const FORBIDDEN = new Set([
  ...['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'te', 'trailer', 'keep-alive'],
  ...['proxy-connection', 'expect', 'accept-encoding'],
])

/** Headers for the upstream, checked by RFC 9110 §5. Error messages never hold a value. */
export const serverHeaders = (given: Record<string, string>): [string, string][] => {
  const entries = Object.entries(given)
  if (entries.length > limits.headersPerServerMax) throw invalid(`more than ${limits.headersPerServerMax} headers`)
  return entries.map(([name, value], index) => {
    refuseSecretIn(name, `the name of header ${index + 1}`)
    if (!HEADER_NAME.test(name)) throw invalid(`header ${index + 1}: its name is none that a header may have`)
    if (FORBIDDEN.has(name.toLowerCase())) throw invalid(`the header ${name} is the gate's own to set`)
    // oxlint-disable-next-line no-control-regex
    if (!/^[\t\u0020-\u007e\u0080-\u00ff]*$/.test(value))
      throw invalid(`the value of ${name} holds a character that no header may`)
    if (value.length > limits.headerValueBytesMax) throw invalid(`the value of ${name} is too long`)
    return [name, value.trim()]
  })
}

/** The path of a server's URL without its trailing slash: what `/s/{server}` stands for. */
export const basePath = (server: Upstream): string => server.url.pathname.replace(/\/$/, '')

/** Servers in memory, by id and by the name of those not removed. */
export class UpstreamIndex {
  readonly byId = new Map<string, Upstream>()
  /** The one that a name leads to. */
  readonly byName = new Map<string, Upstream>()
  /** Of each name: two nodes may each have added one while they did not hear of each other. The first made leads. */
  readonly #named = new Map<string, readonly Upstream[]>()

  constructor(servers: Iterable<Upstream> = []) {
    for (const server of servers) this.add(server)
  }

  add(server: Upstream): void {
    this.byId.set(server.id, server)
    if (server.removedAt === null) this.#put(server.name, [...this.named(server.name), server])
  }

  /** Those not removed of that name, the first made first. */
  named(name: string): readonly Upstream[] {
    return this.#named.get(name) ?? []
  }

  /** Those not removed. */
  live(): Upstream[] {
    return [...this.#named.values()].flat()
  }

  /** Those not removed, by name. */
  sorted(): Upstream[] {
    return [...this.#named].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, servers]) => servers)
  }

  remove(server: Upstream, now: number): void {
    server.removedAt = now
    this.#put(
      server.name,
      this.named(server.name).filter((other) => other !== server),
    )
  }

  #put(name: string, servers: readonly Upstream[]): void {
    const inOrder = servers.toSorted((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
    const [first] = inOrder
    if (first) {
      this.byName.set(name, first)
      this.#named.set(name, inOrder)
    } else {
      this.byName.delete(name)
      this.#named.delete(name)
    }
  }
}
