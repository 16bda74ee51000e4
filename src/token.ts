import type { Policy } from './policy.ts'
import type { Upstream } from './upstream.ts'

/** One secret of a token, known by its HMAC digest alone. */
export interface Secret {
  digest: string
  keyId: string
  token: Token
  createdAt: number
  /** When a rotation takes it out of use; null: as long as the token lives. */
  diesAt: number | null
}

/** A named permission for one client to reach one or more servers. */
export interface Token {
  id: string
  name: string
  subject: string | null
  group: string | null
  /** What it may do at its servers; null: all. */
  policy: Policy | null
  /** Ids, not names: a server added later under the same name is not reached. */
  servers: ReadonlySet<string>
  createdAt: number
  createdBy: string
  expiresAt: number | null
  /** Set once, never unset. */
  revokedAt: number | null
  /** The revocation that killed it: where its receipt is. */
  revocationId: string | null
  secrets: Secret[]
}

export type TokenStatus = 'active' | 'expired' | 'revoked'

export const statusOf = (token: Token, now: number): TokenStatus => {
  if (token.revokedAt !== null) return 'revoked'
  return token.expiresAt !== null && token.expiresAt <= now ? 'expired' : 'active'
}

/** Why something may not pass, or no longer. The first three end a token's use for good. */
export type Denial = 'token_revoked' | 'token_expired' | 'secret_rotated' | 'server_unknown' | 'scope' | 'server_closed'

/**
 * The one predicate of the gate: whether what was shown may reach the server now. Asked when a request
 * arrives, again in the run that starts the upstream request, and before every chunk in both directions.
 */
export const denialOf = (secret: Secret, server: Upstream | undefined, now: number): Denial | null => {
  const { token } = secret
  if (token.revokedAt !== null) return 'token_revoked'
  if (token.expiresAt !== null && token.expiresAt <= now) return 'token_expired'
  if (secret.diesAt !== null && secret.diesAt <= now) return 'secret_rotated'
  if (server === undefined || server.removedAt !== null) return 'server_unknown'
  if (!token.servers.has(server.id)) return 'scope'
  return server.state === 'closed' ? 'server_closed' : null
}

/** The next instant at which the clock alone ends what runs under this secret, or null. */
export const deadlineOf = (secret: Secret): number | null => {
  const { expiresAt } = secret.token
  if (expiresAt === null || secret.diesAt === null) return expiresAt ?? secret.diesAt
  return Math.min(expiresAt, secret.diesAt)
}

/** All tokens and their secrets in memory: every check is one look-up by digest. */
export class TokenIndex {
  readonly byId = new Map<string, Token>()
  readonly #byDigest = new Map<string, Secret>()

  add(token: Token): void {
    this.byId.set(token.id, token)
    for (const secret of token.secrets) this.#byDigest.set(secret.digest, secret)
  }

  addSecret(secret: Secret): void {
    secret.token.secrets.push(secret)
    this.#byDigest.set(secret.digest, secret)
  }

  /** The secret behind a text from outside; `digests` are its candidates under each key of the ring. */
  find(digests: Iterable<string>): Secret | null {
    for (const digest of digests) {
      const secret = this.#byDigest.get(digest)
      if (secret) return secret
    }
    return null
  }

  /** Tokens of that name: the live ones, or, when none lives, those that did. */
  named(name: string, now: number): Token[] {
    const all = [...this.byId.values()].filter((token) => token.name === name)
    const live = all.filter((token) => statusOf(token, now) === 'active')
    return live.length > 0 ? live : all
  }

  /** Tokens by id, or else by name. */
  resolve(idOrName: string, now: number): Token[] {
    const token = this.byId.get(idOrName)
    return token ? [token] : this.named(idOrName, now)
  }
}
