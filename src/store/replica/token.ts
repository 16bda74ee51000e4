import type { AuditEvent } from '../../audit.ts'
import { stampOf } from '../../fact.ts'
import { type Deaths, replaceSecrets } from '../../issuance.ts'
import type { Policy } from '../../policy.ts'
import type { Registry } from '../../registry.ts'
import type { RevocationIndex } from '../../revocation-index.ts'
import type { Clock } from '../../time.ts'
import { earlierDeath, type NewSecret, type NewToken } from '../../token.ts'
import type { TokenIndex } from '../../token-index.ts'
import type { Store } from '../open.ts'
import type { Batch, Handler, Handlers, ReadFact, Written } from './handler.ts'

export interface TokenFactsDeps {
  store: Pick<Store, 'client' | 'log'>
  tokens: TokenIndex
  revocations: RevocationIndex
  registry: Registry
  now: Clock
}

/** `token.issue`: what `TokenStore.insertToken` writes, and the founding for tokens of before; those may be dead. */
type Issued = Omit<NewToken, 'servers' | 'revocationId'> & { servers: readonly string[]; revocationId?: string | null }

/** `token.rotate` */
interface Rotated {
  id: string
  secret: NewSecret
  deaths: Deaths
  oldDieAt: number
  actor: string
}

/** `token.policy` */
interface Ruled {
  id: string
  policy: Policy | null
  actor: string
}

/** What facts about tokens write: raw prepared statements, since a joiner pulls a hundred thousand of them. */
class TokenRows {
  readonly #insertToken
  readonly #insertReach
  readonly #insertSecret
  readonly #findSecret
  readonly #die
  readonly #adopt
  readonly #putPolicy

  constructor({ client }: Pick<Store, 'client'>) {
    this.#insertToken = client.query<never, (string | number | null)[]>(
      `INSERT INTO tokens (id, name, subject, group_name, created_at, created_by, expires_at, revoked_at, revocation_id,
        policy, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#insertReach = client.query<never, [string, string]>(
      'INSERT OR IGNORE INTO token_servers (token_id, server_id) VALUES (?, ?)',
    )
    this.#insertSecret = client.query<never, (string | number | null)[]>(
      'INSERT INTO secrets (digest, key_id, token_id, created_at, dies_at) VALUES (?, ?, ?, ?, ?)',
    )
    this.#findSecret = client.query<{ diesAt: number | null }, [string]>(
      'SELECT dies_at AS diesAt FROM secrets WHERE digest = ?',
    )
    this.#die = client.query<never, [number, number, string]>(
      'UPDATE secrets SET dies_at = min(coalesce(dies_at, ?), ?) WHERE digest = ?',
    )
    this.#adopt = client.query<never, [number | null, number | null, string | null, string]>(
      `UPDATE tokens SET seen = coalesce(seen, ?), revoked_at = coalesce(revoked_at, ?),
        revocation_id = coalesce(revocation_id, ?) WHERE id = ?`,
    )
    this.#putPolicy = client.query<never, [string | null, string]>('UPDATE tokens SET policy = ? WHERE id = ?')
  }

  insert(token: NewToken, seen: number | null): void {
    const { id, name, subject, group, createdAt, createdBy, expiresAt, revokedAt, revocationId, policy } = token
    const rules = policy === null ? null : JSON.stringify(policy)
    const died = [expiresAt, revokedAt, revocationId] as const
    this.#insertToken.run(id, name, subject, group, createdAt, createdBy, ...died, rules, seen)
    for (const server of token.servers) this.#insertReach.run(id, server)
  }

  /** What a token that is here already did not know of itself. */
  complete(id: string, seen: number | null, { revokedAt, revocationId }: Pick<NewToken, 'revokedAt' | 'revocationId'>) {
    this.#adopt.run(seen, revokedAt, revocationId, id)
  }

  /** Whether it is a new one. It may be here as dead alone, since before its token. Returns it as it is from now on. */
  secret(token: string, { digest, keyId, createdAt, diesAt }: NewSecret): { secret: NewSecret; isNew: boolean } {
    const secret = { digest, keyId, createdAt, diesAt }
    try {
      this.#insertSecret.run(digest, keyId, token, createdAt, diesAt)
      return { secret, isNew: true }
    } catch (error) {
      const known = this.#findSecret.get(digest)
      if (known === null) throw error
      if (diesAt !== null) this.die(digest, diesAt)
      return { secret: { ...secret, diesAt: earlierDeath(known.diesAt, diesAt) }, isNew: false }
    }
  }

  /** Whether there is such a secret. */
  die(digest: string, at: number): boolean {
    return this.#die.run(at, at, digest).changes > 0
  }

  policy(id: string, policy: Policy | null): void {
    this.#putPolicy.run(policy === null ? null : JSON.stringify(policy), id)
  }
}

/** Tokens that are made, get new secrets and other policies on other nodes. */
export const tokenHandlers = (deps: TokenFactsDeps): Handlers => {
  const rows = new TokenRows(deps.store)
  return { 'token.issue': issue(deps, rows), 'token.rotate': rotate(deps, rows), 'token.policy': policy(deps, rows) }
}

const isHere = ({ tokens }: TokenFactsDeps, batch: Batch, id: string): boolean => batch.tokens.has(id) || tokens.has(id)

const comes = (id: string, own: readonly NewSecret[]): string[] => [
  `token:${id}`,
  ...own.map(({ digest }) => `secret:${digest}`),
]

const eventOf = (
  { tokens }: TokenFactsDeps,
  batch: Batch,
  { id, ...event }: Pick<AuditEvent, 'actor' | 'action' | 'details'> & { id: string },
): AuditEvent => ({ ...event, targetId: id, targetName: (batch.tokens.get(id) ?? tokens.get(id))?.name ?? null })

const issue = (deps: TokenFactsDeps, rows: TokenRows): Handler => ({
  write({ payload, hlc, origin }, batch): Written {
    const { tokens, revocations, store } = deps
    const told = payload as unknown as Issued
    const seen = told.seen ?? null
    const { id, name, subject, group, createdAt, createdBy, expiresAt } = told
    const made = {
      ...{ id, name, subject, group, createdAt, createdBy, expiresAt, seen },
      servers: new Set(told.servers),
      revokedAt: told.revokedAt ?? null,
      revocationId: told.revocationId ?? null,
      policy: told.policy ?? null,
      secrets: [...told.secrets],
    }
    const came = comes(id, made.secrets)
    if (isHere(deps, batch, id)) return { ...known(deps, rows, made, stampOf(hlc, origin)), came }
    const killer = made.revokedAt === null ? revocations.killerOf(made) : null
    // Dead on arrival: its issuer did not know what kills it.
    if (killer) Object.assign(made, { revokedAt: killer.at, revocationId: killer.id })
    rows.insert(made, store.log.seenIds.idOf(seen))
    made.secrets = made.secrets.map((secret) => rows.secret(id, secret).secret)
    batch.tokens.set(id, made)
    const details = { subject, group, servers: told.servers, expiresAt, ...(made.policy && { policy: made.policy }) }
    return {
      event: {
        actor: createdBy,
        action: 'token.issue',
        targetId: id,
        targetName: name,
        details: killer ? { ...details, revocation: killer.id } : details,
      },
      came,
      after() {
        tokens.load(made)
        return 0
      },
    }
  },
})

/** Told once more, by a founding or after a restore: what was not known of it. */
const known = (deps: TokenFactsDeps, rows: TokenRows, made: NewToken, stamp: string) => {
  const { tokens, registry, store, now } = deps
  const isPolicyNewer = store.log.registers.take(`policy:${made.id}`, stamp)
  if (isPolicyNewer) rows.policy(made.id, made.policy)
  rows.complete(made.id, store.log.seenIds.idOf(made.seen ?? null), made)
  const own = made.secrets.map((secret) => rows.secret(made.id, secret).secret)
  return {
    event: null,
    after() {
      const token = tokens.get(made.id)
      if (!token) return 0
      token.seen ??= made.seen ?? null
      token.revokedAt ??= made.revokedAt
      token.revocationId ??= made.revocationId
      if (isPolicyNewer) token.policy = made.policy
      let cut = 0
      for (const secret of own) {
        const deaths = secret.diesAt === null ? {} : { [secret.digest]: secret.diesAt }
        cut += replaceSecrets(token, secret, deaths, { tokens, registry, at: now() })
      }
      if (token.revokedAt !== null) cut += registry.cut(registry.ofToken(token.id), 'token_revoked').cut
      return cut
    },
  }
}

const rotate = (deps: TokenFactsDeps, rows: TokenRows): Handler => ({
  write({ payload }, batch): Written {
    const { id, secret: made, deaths, oldDieAt, actor } = payload as unknown as Rotated
    // Also those of a token that is not here: a secret may be here as dead alone.
    const waits = Object.entries(deaths).flatMap(([digest, at]) => (rows.die(digest, at) ? [] : [`secret:${digest}`]))
    if (!isHere(deps, batch, id)) return { missing: `token:${id}` }
    const { secret, isNew } = rows.secret(id, made)
    return {
      event: isNew
        ? eventOf(deps, batch, { id, actor, action: 'token.rotate', details: { oldSecretDiesAt: Math.abs(oldDieAt) } })
        : null,
      came: `secret:${secret.digest}`,
      waits,
      after() {
        const token = deps.tokens.get(id)
        return token ? replaceSecrets(token, secret, deaths, { ...deps, at: deps.now() }) : 0
      },
    }
  },
})

const policy = (deps: TokenFactsDeps, rows: TokenRows): Handler => ({
  registers: ({ payload }: ReadFact) => [`policy:${payload.id as string}`],
  write({ payload }, batch): Written {
    const { id, policy: put, actor } = payload as unknown as Ruled
    if (!isHere(deps, batch, id)) return { missing: `token:${id}` }
    rows.policy(id, put)
    return {
      event: eventOf(deps, batch, { id, actor, action: 'token.policy', details: { policy: put } }),
      after() {
        const token = deps.tokens.get(id)
        if (!token) return 0
        token.policy = put
        return deps.registry.cut(deps.registry.ofToken(id), 'connection_killed').cut
      },
    }
  },
})
