import { createHash } from 'node:crypto'
import { AppError, conflict, invalid } from '../../error.ts'
import type { Node } from '../../node.ts'
import { contextOf } from '../context.ts'

/** What may stand in an answer once, and is null when the answer is given again: secrets, and one-time links. */
const SHOWN_ONCE: [path: RegExp, field: string][] = [
  [/\/tokens(\/|$)/, 'token'],
  [/\/tokens(\/|$)/, 'connect'],
  [/\/apikeys$/, 'key'],
  [/\/operators$/, 'link'],
  [/links$/, 'url'],
  [/\/cluster\/tickets$/, 'ticket'],
]

const withoutSecrets = (path: string, text: string): string => {
  const body = JSON.parse(text) as Record<string, unknown>
  for (const [where, field] of SHOWN_ONCE) if (where.test(path)) body[field] = null
  return JSON.stringify(body)
}

/**
 * Answers a POST with an `Idempotency-Key` as the first time, when the same actor sent the same body with
 * it before; with another body it throws `mismatch`. Only what was done is kept, no refusal.
 */
export const idempotent = (node: Node) => {
  const running = new Set<string>()

  return async (request: Request, run: (request: Request) => Promise<Response>): Promise<Response> => {
    const key = request.method === 'POST' ? request.headers.get('idempotency-key') : null
    if (key === null) return run(request)
    if (key === '' || key.length > node.limits.idempotencyKeyLengthMax)
      throw invalid(`Idempotency-Key: 1 to ${node.limits.idempotencyKeyLengthMax} characters`)
    const { actor } = contextOf(request)
    const path = new URL(request.url).pathname
    const hash = createHash('sha256')
      .update(`${path}\n${await request.clone().text()}`)
      .digest('base64')
    const known = node.answers.find(actor.name, key)
    if (known) {
      if (known.request !== hash)
        throw new AppError('mismatch', 'this Idempotency-Key was used with another request', 'idempotency-mismatch')
      const headers = new Headers({ 'content-type': 'application/json', 'idempotency-replayed': 'true' })
      if (known.location) headers.set('location', known.location)
      return new Response(known.response, { status: known.status, headers })
    }
    const slot = `${actor.name} ${key}`
    if (running.has(slot)) throw conflict('a request with this Idempotency-Key is still running')
    running.add(slot)
    try {
      const response = await run(request)
      if (response.ok && response.headers.get('content-type')?.startsWith('application/json')) {
        const kept = {
          request: hash,
          status: response.status,
          response: withoutSecrets(path, await response.clone().text()),
          location: response.headers.get('location'),
        }
        try {
          node.answers.keep(actor.name, key, kept)
        } catch (error) {
          // What was done is done, and its answer must not be lost: it may hold a secret that is shown once.
          node.log.warn({ err: error }, 'the answer to a request with an Idempotency-Key could not be kept')
        }
      }
      return response
    } finally {
      running.delete(slot)
    }
  }
}
