import { bearer } from './secret.ts'

/** Opens a session of MCP, as a client does; what the server answers is read whole. */
export const initialize = async (url: string, secret: string): Promise<{ status: number; session: string | null }> => {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      ...bearer(secret),
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a client', version: '1' } },
    }),
  })
  await answer.text()
  return { status: answer.status, session: answer.headers.get('mcp-session-id') }
}
