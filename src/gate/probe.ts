import { limits } from '../limits.ts'
import type { Probed } from '../node.ts'
import type { Upstream } from '../upstream.ts'
import { upwardHeaders, isEventStream } from './headers.ts'
import { callUpstream, upstreamUrl } from './upstream.ts'

const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'portcullis-probe', version: '1' } },
})

const ask = async (server: Upstream, path: string, method: 'GET' | 'POST', accept: string) => {
  const headers = upwardHeaders(new Headers({ accept }), server)
  if (method === 'POST') headers.set('content-type', 'application/json')
  const url = upstreamUrl(server, path, '', false)
  const init = {
    method,
    headers,
    signal: AbortSignal.timeout(limits.probeMs),
    ...(method === 'POST' ? { body: INITIALIZE } : {}),
  }
  return { url, answer: await callUpstream(url, init) }
}

/** Whether an answer to `initialize` is MCP's; a session that it opened is closed again. */
const isMcp = async (server: Upstream, path: string): Promise<{ mcp: boolean; status: number }> => {
  const { url, answer } = await ask(server, path, 'POST', 'application/json, text/event-stream')
  const session = answer.headers.get('mcp-session-id')
  let mcp = session !== null
  if (isEventStream(answer.headers)) {
    const reader = answer.body?.getReader()
    const first = await reader?.read()
    await reader?.cancel()
    mcp ||= first?.value !== undefined && new TextDecoder().decode(first.value).includes('"jsonrpc"')
  } else {
    mcp ||= (await answer.text()).slice(0, limits.rpcBodyBytesMax).includes('"jsonrpc"')
  }
  if (session !== null) {
    const headers = upwardHeaders(new Headers(), server)
    headers.set('mcp-session-id', session)
    await callUpstream(url, { method: 'DELETE', headers, signal: AbortSignal.timeout(limits.probeMs) })
  }
  return { mcp, status: answer.status }
}

const isSse = async (server: Upstream, path: string): Promise<boolean> => {
  const { answer } = await ask(server, path, 'GET', 'text/event-stream')
  await answer.body?.cancel()
  return answer.ok && isEventStream(answer.headers)
}

/** Looks what answers behind a server's URL: an MCP endpoint at it, at `/mcp`, HTTP+SSE at `/sse`, or HTTP. */
export const probe = async (server: Upstream): Promise<Probed> => {
  const paths = server.path === '' ? ['', '/mcp'] : [server.path]
  let status = 0
  try {
    if (server.kind !== 'http') {
      for (const path of paths) {
        const found = await isMcp(server, path)
        status = found.status
        if (found.mcp)
          return {
            reachable: true,
            found: 'mcp',
            path,
            detail: `MCP answers at ${upstreamUrl(server, path, '', false).href}`,
          }
      }
      for (const path of server.path === '' ? ['/sse', ''] : [server.path]) {
        if (await isSse(server, path))
          return {
            reachable: true,
            found: 'sse',
            path,
            detail: `an event stream answers at ${upstreamUrl(server, path, '', false).href}`,
          }
      }
    } else {
      const { answer } = await ask(server, server.path, 'GET', '*/*')
      status = answer.status
      await answer.body?.cancel()
    }
    return { reachable: true, found: 'http', path: '', detail: `HTTP answers (${status})` }
  } catch (error) {
    const timedOut = error instanceof Error && error.name === 'TimeoutError'
    return {
      reachable: false,
      found: 'nothing',
      path: '',
      detail: timedOut ? `nothing answered within ${limits.probeMs / 1000} s` : 'nothing answers there yet',
    }
  }
}
