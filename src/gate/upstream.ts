import { AppError } from '../error.ts'
import { basePath, isLinkLocal, type Upstream } from '../upstream.ts'

/** Where a request's rest and query lead at the upstream. */
export const upstreamUrl = (server: Upstream, rest: string, query: string, announced: boolean): URL => {
  const { origin, pathname } = server.url
  if (announced) return new URL(origin + rest + query)
  return new URL(origin + (rest === '' ? pathname : basePath(server) + rest) + query)
}

/** `fetch` as a gate needs it: nothing decoded, followed, or given up after five minutes. */
export const callUpstream = async (url: URL, init: RequestInit): Promise<Response> => {
  if (isLinkLocal(url.hostname)) throw new AppError('invalid', `${url.hostname} is link-local`)
  // `timeout` and `decompress` are the runtime's own, and not in the types of `fetch`.
  const options: RequestInit & { timeout: false; decompress: false } = {
    ...init,
    redirect: 'manual',
    timeout: false,
    decompress: false,
  }
  return fetch(url, options)
}
