import { AppError, messageOf } from '../error.ts'
import type { Probe, Probed } from '../health.ts'
import { limits } from '../limits.ts'
import type { Upstream } from '../upstream.ts'
import { upwardHeaders } from './headers.ts'
import { type Introduced, introduce, noAnswer } from './introduce.ts'
import { type Call, upstreamHref } from './upstream.ts'

/** Where MCP servers are, under the URL that people give. */
export const PATHS: readonly string[] = ['', '/mcp', '/sse']

const http = (path: string, detail: string): Probed => ({ reachable: true, found: 'http', path, detail, mcp: null })

export const mcp = (path: string, url: URL, { tools, ...said }: Introduced): Probed => ({
  reachable: true,
  found: said.transport === 'sse' ? 'sse' : 'mcp',
  path,
  detail: `MCP answers at ${url.href}`,
  mcp: { ...said, tools: tools?.length ?? null },
})

const slugOf = (error: unknown): string | null => (error instanceof AppError ? error.slug : null)

export const unreachable = (error: unknown): Probed => {
  const late = slugOf(error) === 'upstream-timeout' || (error instanceof Error && error.name === 'TimeoutError')
  const detail = late ? `nothing answered within ${limits.probeMs / 1000} s` : messageOf(noAnswer(error))
  return { reachable: false, found: 'nothing', path: '', detail, mcp: null }
}

const get = async (server: Upstream, call: Call): Promise<Probed> => {
  const headers = upwardHeaders(new Headers({ accept: '*/*' }), server)
  const signal = AbortSignal.timeout(limits.probeMs)
  const answer = await call(server, upstreamHref(server, server.path, '', false), { headers, signal }, null)
  await answer.body?.cancel()
  return http('', `HTTP answers (${answer.status})`)
}

/** What speaks MCP; else an event stream, or what would not say without other credentials; else null. */
const findMcp = async (server: Upstream, call: Call): Promise<Probed | null> => {
  const deadline = performance.now() + limits.probeMs
  let second: Probed | null = null
  const paths = server.path === '' ? PATHS : [server.path]
  for (const path of paths) {
    const url = new URL(upstreamHref(server, path, '', false))
    try {
      return mcp(path, url, await introduce(server, url, Math.max(1, deadline - performance.now()), call))
    } catch (error) {
      const slug = slugOf(error)
      if (slug === 'no-mcp-stream') second ??= { ...http(path, `an event stream answers at ${url.href}`), found: 'sse' }
      else if (slug === 'upstream-unauthorized') second ??= http(path, messageOf(error))
      // What answered at the paths before is there, whatever becomes of the rest.
      else if (slug === 'upstream-timeout' && path !== paths[0]) break
      else if (slug !== 'no-mcp') throw error
    }
  }
  return second
}

/** Looks for MCP at a server's URL and its usual places below, then for anything that answers. */
export const probing =
  (call: Call): Probe =>
  async (server, before) => {
    try {
      if (server.kind === 'http') return await get(server, call)
      if (before?.found === 'http') {
        // What is no MCP server is asked again only once it answers otherwise: a POST may do something there.
        const found = await get(server, call)
        if (found.detail === before.detail) return found
      }
      return (await findMcp(server, call)) ?? (await get(server, call))
    } catch (error) {
      return unreachable(error)
    }
  }
