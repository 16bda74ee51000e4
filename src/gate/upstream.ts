import { AppError } from '../error.ts'
import { isLinkLocal, type Upstream } from '../upstream.ts'
import type { Secret } from '../token.ts'

/** Where a request's rest and query lead at the upstream. */
export const upstreamHref = ({ url }: Upstream, rest: string, query: string, announced: boolean): string => {
  if (announced) return url.origin + rest + query
  // A server's URL ends with its path.
  const { href } = url
  return (rest === '' ? href : href.replace(/\/$/, '') + rest) + query
}

/** `fetch` as a gate needs it: nothing decoded, followed, or given up after five minutes. */
const send = (hostname: string, url: URL | string, init: RequestInit): Promise<Response> => {
  if (isLinkLocal(hostname)) return Promise.reject(new AppError('invalid', `${hostname} is link-local`))
  // `timeout` and `decompress` are the runtime's own, and not in the types of `fetch`.
  const options: RequestInit & { timeout: false; decompress: false } = {
    ...init,
    redirect: 'manual',
    timeout: false,
    decompress: false,
  }
  return fetch(url, options)
}

/** For whom a server is called. */
export interface Caller {
  readonly secret: Secret
  readonly address: string
  readonly client: string | null
}

/** Takes the place of `fetch` for servers that are commands. */
export interface Bridge {
  /** Answers as an MCP server over HTTP would. Throws `ProblemError`. `caller` null: the gate itself has a look. */
  fetch(server: Upstream, request: Request, caller: Caller | null): Promise<Response>
}

/** Calls a server, whatever it is; `href` is what `upstreamHref` said. */
export type Call = (server: Upstream, href: string, init: RequestInit, caller: Caller | null) => Promise<Response>

/** `bridge` is loaded with the first server that is a command. */
export const caller =
  (bridge: () => Promise<Bridge>): Call =>
  (server, href, init, by) =>
    server.stdio
      ? bridge().then((loaded) => loaded.fetch(server, new Request(href, init), by))
      : send(server.url.hostname, href, init)
