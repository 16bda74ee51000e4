import type { HeaderList } from '../http1.ts'
import { startRaw } from './raw.ts'

/** What reached the upstream, as it stood on the wire. */
export type Echo = {
  method: string
  target: string
  headers: HeaderList
  body: { bytes: number; sha256: string; text: string }
}

/** Answers every request with what it was. `requests` holds the same, raw. */
export const startEcho = () =>
  startRaw(async (request) => {
    const text = await request.body().catch(() => null)
    if (text === null) return
    const echo: Echo = {
      method: request.method,
      target: request.target,
      headers: request.head.headers,
      body: { bytes: request.bodyBytes, sha256: request.bodySha256(), text },
    }
    const headers = ['Content-Type: application/json', 'X-Upstream: echo']
    request.answer('200 OK', headers, request.method === 'HEAD' ? '' : JSON.stringify(echo))
  })
