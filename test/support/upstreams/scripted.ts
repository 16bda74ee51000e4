export type RpcMessage = { jsonrpc: '2.0'; id?: string | number; method: string; params?: Record<string, unknown> }
export type ScriptedRequest = {
  method: string
  path: string
  headers: Headers
  message: RpcMessage | null
  aborted: boolean
}

/** What a method is answered with: a result, a whole answer, or nothing ever. */
export type Script = Record<string, (message: RpcMessage) => unknown>

/** An answer that never comes. */
export const never = () => new Promise<never>(() => undefined)

/** An answer that begins, and never ends. The runtime sends its head with the first byte. */
export const endless = (contentType: string) => {
  const start = (controller: ReadableStreamDefaultController<string>) => controller.enqueue(':\n\n')
  return new Response(new ReadableStream({ start }), { headers: { 'content-type': contentType } })
}

export const INITIALIZED = (extra: Record<string, unknown> = {}) => ({
  protocolVersion: '2025-11-25',
  capabilities: { tools: {} },
  serverInfo: { name: 'scripted', version: '2.1' },
  ...extra,
})

/**
 * An MCP server of before 2026 that says what a test wants it to, on `/mcp`. `GET` and `DELETE` in the script
 * answer those methods; what it does not hold is answered as unknown.
 */
export const startScripted = (script: Script, port = 0) => {
  const requests: ScriptedRequest[] = []
  const upstream = {
    url: '',
    port,
    requests,
    /** Refuses before anything is looked at. */
    door: (_headers: Headers, _method: string): Response | null => null,
    asked: (method: string) => requests.filter((request) => (request.message?.method ?? request.method) === method),
    stop: () => server.stop(true),
  }
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port,
    idleTimeout: 0,
    fetch: async (request) => {
      const { method, headers } = request
      const path = new URL(request.url).pathname
      const message = method === 'POST' ? ((await request.json()) as RpcMessage) : null
      const seen: ScriptedRequest = { method, path, headers, message, aborted: false }
      requests.push(seen)
      request.signal.addEventListener('abort', () => {
        seen.aborted = true
      })
      const refused = upstream.door(headers, method)
      if (refused) return refused
      if (path !== '/mcp') return new Response('not here', { status: 404 })
      const answering = script[message?.method ?? method]
      if (message && message.id === undefined && !answering) return new Response(null, { status: 202 })
      if (!message) return ((await answering?.({} as RpcMessage)) as Response) ?? new Response(null, { status: 405 })
      const { id } = message
      if (!answering) return Response.json({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } })
      const result = await answering(message)
      return result instanceof Response ? result : Response.json({ jsonrpc: '2.0', id, result })
    },
  })
  upstream.port = server.port as number
  upstream.url = `http://127.0.0.1:${server.port}`
  return upstream
}
