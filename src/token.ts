import type { Seen } from './fact.ts'
import type { Policy } from './policy.ts'
import type { Unfit } from './standing.ts'
import type { Upstream } from './upstream.ts'

/** One secret of a token, known by its HMAC digest alone. */
export interface Secret {
  readonly digest: string
  readonly keyId: string
  readonly token: Token
  /** When a rotation takes it out of use; negative: it died then, by any clock; null: as long as the token lives. */
  diesAt: number | null
}

/** A named permission for one client to reach one or more servers. */
export interface Token {
  readonly id: string
  readonly name: string
  readonly subject: string | null
  readonly group: string | null
  /** What it may do at its servers; null: all. */
  policy: Policy | null
  /** Ids, not names: a server added later under the same name is not reached. */
  readonly servers: ReadonlySet<string>
  readonly createdAt: number
  readonly createdBy: string
  readonly expiresAt: number | null
  /** Set once, never unset. */
  revokedAt: number | null
  /** The revocation that killed it: where its receipt is. */
  revocationId: string | null
  /** Which revocations its issuer knew; null: none. Another one that names it kills it, whichever was first. */
  readonly seen: Seen | null
  readonly secrets: readonly Secret[]
}

/** A secret as it is made, and stored. */
export interface NewSecret {
  digest: string
  keyId: string
  createdAt: number
  diesAt: number | null
}

/** A token as it is made, and stored. */
export type NewToken = Omit<Token, 'secrets' | 'seen'> & { readonly secrets: readonly NewSecret[]; seen?: Seen | null }

/** The earlier of two deaths of a secret, as `Secret.diesAt`: one for good is below any other. */
export const earlierDeath = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b)

export type TokenStatus = 'active' | 'expired' | 'revoked'

export const statusOf = (token: Token, now: number): TokenStatus => {
  if (token.revokedAt !== null) return 'revoked'
  return token.expiresAt !== null && token.expiresAt <= now ? 'expired' : 'active'
}

/** Why something may not pass, or no longer. The first three end a token's use for good. */
export type Denial =
  | 'token_revoked'
  | 'token_expired'
  | 'secret_rotated'
  | 'server_unknown'
  | 'scope'
  | 'server_closed'
  | Unfit

/**
 * The one predicate of the gate: whether what was shown may reach the server now. Asked when a request
 * arrives, again in the run that starts the upstream request, and before every chunk in both directions. `unfit`: why
 * this node may let nobody in; what it knows to be dead it says all the same. Its test of itself goes on.
 */
export const denialOf = (
  secret: Secret,
  server: Upstream | undefined,
  now: number,
  unfit: Unfit | null,
): Denial | null => {
  const { token } = secret
  if (token.revokedAt !== null) return 'token_revoked'
  if (token.expiresAt !== null && token.expiresAt <= now) return 'token_expired'
  if (secret.diesAt !== null && secret.diesAt <= now) return 'secret_rotated'
  if (unfit !== null && !server?.hidden) return unfit
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
