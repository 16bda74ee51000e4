/** One message of a client, as it reached the upstream. */
export interface Spoken {
  server: string
  method: string
  /** Of the header or, in `initialize`, of the body. */
  revision: string | null
  userAgent: string
  status: number
}

type Message = { method?: string; params?: { protocolVersion?: string; _meta?: Record<string, unknown> } }

/** What was said to `command.ts`, from the line on that was the `from`th. */
export const spokenTo = (server: string, written: string, from = 0): Spoken[] =>
  written
    .split('\n')
    .slice(from, -1)
    .map((line) => {
      const { method = 'a response', params } = JSON.parse(line) as Message
      const revision = params?.protocolVersion ?? params?._meta?.['io.modelcontextprotocol/protocolVersion'] ?? null
      return { server, method, revision: revision === null ? null : String(revision), userAgent: '', status: 200 }
    })

const messagesIn = (body: string): Message[] => {
  const parsed: unknown = JSON.parse(body)
  return [parsed].flat() as Message[]
}

/** Stands between the gate and an upstream, passes everything on, and adds to `spoken` what was said. */
export const startWire = (server: string, upstream: string, spoken: Spoken[]) => {
  const seen: string[] = []
  const proxy = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url)
      const { method, headers, signal } = request
      const body = method === 'POST' ? await request.text() : undefined
      seen.push(`${method} ${pathname}${search} ${JSON.stringify([...headers])} ${body ?? ''}`)
      const answer = await fetch(upstream + pathname + search, { method, headers, body, signal, decompress: false })
      for (const message of body === undefined ? [{ method }] : messagesIn(body)) {
        spoken.push({
          server,
          method: message.method ?? 'a response',
          revision: headers.get('mcp-protocol-version') ?? (message as Message).params?.protocolVersion ?? null,
          userAgent: headers.get('user-agent') ?? '',
          status: answer.status,
        })
      }
      return answer
    },
  })
  return {
    url: `http://127.0.0.1:${proxy.port}`,
    /** Requests as they came, to look for what must not be in them. */
    seen,
    stop: () => proxy.stop(true),
  }
}
