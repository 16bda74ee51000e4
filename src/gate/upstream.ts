import { AppError } from '../error.ts'
import { isLinkLocal, type Upstream } from '../upstream.ts'

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

export const callUpstream = (url: URL, init: RequestInit): Promise<Response> => send(url.hostname, url, init)

/** The same for what `upstreamHref` said, which `fetch` reads by itself. */
export const callServer = (server: Upstream, href: string, init: RequestInit): Promise<Response> =>
  send(server.url.hostname, href, init)
