import { basePath, type Upstream } from '../upstream.ts'
import type { Secret } from '../token.ts'
import type { Calls } from './calls.ts'
import type { Target } from './path.ts'
import type { RpcError } from './rpc.ts'
import { parseEvents } from './sse.ts'

/** HTTP+SSE (2024-11-05): a stream's first event names the URL that takes the client's messages. */

/** A stream that announced an endpoint, and on which its calls are answered. */
export interface Announcer {
  readonly secret: Secret
  readonly url: URL
  readonly calls: Calls
  readonly client: string | null
  /** Says answers of the gate's own; false when it can't take them now. */
  tell(answers: RpcError[]): boolean
}

/** Endpoints announced on open streams: each serves the token of its stream alone. */
export class Endpoints {
  readonly #byUrl = new Map<string, Announcer>()

  announce(server: Upstream, pathAndQuery: string, stream: Announcer): void {
    this.#byUrl.set(`${server.id} ${pathAndQuery}`, stream)
  }

  /** Who announced the place that a request goes to. Few do, so that mostly nobody's URL need be read. */
  find(request: { readonly server: Upstream; readonly url: URL }): Announcer | null {
    if (this.#byUrl.size === 0) return null
    const { server, url } = request
    return this.#byUrl.get(`${server.id} ${url.pathname}${url.search}`) ?? null
  }

  forget(server: Upstream, pathAndQuery: string): void {
    this.#byUrl.delete(`${server.id} ${pathAndQuery}`)
  }
}

export type Endpoint =
  | { kind: 'none' }
  /** It leads to another origin: clients refuse it, and so do we. */
  | { kind: 'foreign' }
  | { kind: 'own'; upstream: string; event: Uint8Array }

/**
 * The first events of a stream, with an `endpoint` led back through the gate: `/s/{server}/…` under the
 * server's URL, `/s/{server}/~/…` elsewhere at its origin. `prefix` is what stands before `/s/`.
 */
export const rewriteEndpoint = (
  bytes: Uint8Array,
  requested: URL,
  server: Upstream,
  target: Target,
  prefix: string,
): Endpoint => {
  const text = new TextDecoder().decode(bytes)
  const first = parseEvents(text)[0]
  if (first?.name !== 'endpoint' || !URL.canParse(first.data, requested)) return { kind: 'none' }
  const to = new URL(first.data, requested)
  if (to.origin !== server.url.origin) return { kind: 'foreign' }
  const base = basePath(server)
  const under = to.pathname === base || to.pathname.startsWith(`${base}/`)
  const rest = under ? to.pathname.slice(base.length) : `/~${to.pathname}`
  const token = target.secret ? `/t/${target.secret}` : ''
  const led = `${prefix}${token}/s/${server.name}${rest}${to.search}`
  // Only the data of the first event changes; what follows in the same chunk stays as it is.
  const event = text.replace(/^((?:[^\r\n]*(?:\r\n|\r|\n))*?data: ?)[^\r\n]*/, (_, before: string) => before + led)
  return { kind: 'own', upstream: to.pathname + to.search, event: new TextEncoder().encode(event) }
}
