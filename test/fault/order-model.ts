import type { CutCause } from '../../src/registry.ts'

/** What the contract says, over again and without cleverness: what may pass, and what is said last. */

export interface ModelSecret {
  text: string
  diesAt: number | null
}

export interface ModelToken {
  id: string
  name: string
  subject: string | null
  group: string | null
  /** Names. */
  servers: readonly string[]
  createdAt: number
  expiresAt: number | null
  secrets: ModelSecret[]
  /** A revocation has reached its commit, whether the database took it or not. */
  dead: boolean
  /** The database, or the journal, has it. */
  kept: boolean
}

export interface ModelServer {
  name: string
  /** Its endpoints are outside of its own path. */
  away: boolean
  closed: boolean
  /** What a restart finds. */
  keptClosed: boolean
}

/** Why nothing more may pass, in the words of a cut; null: it may. */
export const causeOf = (
  token: ModelToken,
  secret: ModelSecret,
  server: ModelServer,
  wallMs: number,
): CutCause | null => {
  if (token.dead) return 'token_revoked'
  if (token.expiresAt !== null && wallMs >= token.expiresAt) return 'token_expired'
  if (secret.diesAt !== null && wallMs >= secret.diesAt) return 'token_revoked'
  return server.closed ? 'server_closed' : null
}

/** What a request is answered that arrives now; null: it goes on. */
export const refusalOf = (
  token: ModelToken,
  secret: ModelSecret,
  server: ModelServer,
  wallMs: number,
): number | null => {
  const cause = causeOf(token, secret, server, wallMs)
  if (cause === 'token_revoked' || cause === 'token_expired') return 401
  if (!token.servers.includes(server.name)) return 403
  return cause === 'server_closed' ? 503 : null
}

const MESSAGES: Record<CutCause, string> = {
  token_revoked: 'Connection token revoked',
  token_expired: 'Connection token expired',
  connection_killed: 'Connection killed by an operator',
  server_closed: 'Server closed by an operator',
  node_stale: 'This node lost touch with its cluster',
}

/** A stream at the moment of its cut. */
export interface ModelStream {
  /** Events that can be read: neither another kind of answer, nor an encoded one. */
  events: boolean
  unsent: boolean
  /** Its request was too large to be read. */
  unread: boolean
  /** It answers a POST of JSON-RPC. */
  isRpc: boolean
  onBoundary: boolean
  /** Ids that wait for their answer here. */
  waiting: readonly number[]
}

/** The contract's table: the last bytes and a proper end, or a reset. */
export const lastWordsOf = (stream: ModelStream, cause: CutCause): string | 'reset' => {
  const { events, unsent, unread, isRpc, onBoundary, waiting } = stream
  if (!events || unsent || unread) return 'reset'
  const message = MESSAGES[cause]
  const errors = waiting
    .map(
      (id) =>
        `data: {"jsonrpc":"2.0","id":${id},"error":{"code":-32080,"message":"${message}","data":{"type":"${cause}"}}}\n\n`,
    )
    .join('')
  if (!onBoundary) return errors === '' ? 'reset' : `\n\n${errors}`
  return isRpc ? errors : `${errors}event: disconnect\ndata: {"error":{"type":"${cause}","message":"${message}"}}\n\n`
}
