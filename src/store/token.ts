import { eq, isNull, or, sql } from 'drizzle-orm'
import type { IssuanceStore } from '../issuance.ts'
import type { Actor } from '../operator.ts'
import type { Policy } from '../policy.ts'
import type { Secret, Token } from '../token.ts'
import { fact } from './log.ts'
import type { Store } from './open.ts'
import { secrets, tokenServers, tokens } from './schema.ts'

/** Tokens and their secrets on disk: digests, never a secret. */
export class TokenStore implements IssuanceStore {
  constructor(readonly store: Store) {}

  all(): Token[] {
    const { db } = this.store
    const reach = new Map<string, Set<string>>()
    for (const { tokenId, serverId } of db.select().from(tokenServers).all()) {
      const set = reach.get(tokenId)
      if (set) set.add(serverId)
      else reach.set(tokenId, new Set([serverId]))
    }
    const byId = new Map<string, Token>()
    for (const row of db.select().from(tokens).orderBy(tokens.id).all()) {
      byId.set(row.id, { ...row, servers: reach.get(row.id) ?? new Set(), secrets: [] })
    }
    for (const { tokenId, ...row } of db.select().from(secrets).orderBy(secrets.createdAt).all()) {
      const token = byId.get(tokenId)
      token?.secrets.push({ ...row, token })
    }
    return [...byId.values()]
  }

  insertToken(token: Token, actor: Actor): void {
    const { log, db } = this.store
    const { secrets: own, servers, revocationId: _, ...row } = token
    const reach = [...servers]
    const { subject, group, expiresAt, policy } = token
    const details = { subject, group, servers: reach, expiresAt, ...(policy && { policy }) }
    const event = { actor: actor.name, action: 'token.issue', targetId: token.id, targetName: token.name, details }
    const payload = { ...row, servers: reach, secrets: own.map(secretRow) }
    log.change(event, [fact('change', 'token.issue', payload)], () => {
      db.insert(tokens).values(row).run()
      for (const serverId of reach) db.insert(tokenServers).values({ tokenId: token.id, serverId }).run()
      for (const secret of own) db.insert(secrets).values(secretRow(secret)).run()
    })
  }

  insertSecret(token: Token, secret: Secret, oldDieAt: number, actor: Actor): void {
    const { log, db } = this.store
    const at = secret.createdAt
    const event = {
      actor: actor.name,
      action: 'token.rotate',
      targetId: token.id,
      targetName: token.name,
      details: { oldSecretDiesAt: oldDieAt },
    }
    const payload = { id: token.id, secret: secretRow(secret), oldDieAt }
    log.change(event, [fact('change', 'token.rotate', payload)], () => {
      // A secret in grace already dies now; the one that was current gets the grace.
      db.update(secrets)
        .set({
          diesAt: sql`CASE WHEN ${secrets.diesAt} IS NULL THEN ${oldDieAt} ELSE min(${secrets.diesAt}, ${at}) END`,
        })
        .where(eq(secrets.tokenId, token.id))
        .run()
      db.insert(secrets).values(secretRow(secret)).run()
    })
  }

  updatePolicy(token: Token, policy: Policy | null, actor: Actor): void {
    const { log, db } = this.store
    const details = { policy, before: token.policy }
    const event = { actor: actor.name, action: 'token.policy', targetId: token.id, targetName: token.name, details }
    log.change(event, [fact('change', 'token.policy', { id: token.id, policy })], () => {
      db.update(tokens).set({ policy }).where(eq(tokens.id, token.id)).run()
    })
  }

  /** How many tokens that are not revoked have a secret in use under each key. */
  liveByKey(now: number): Map<string, Set<string>> {
    const rows = this.store.db
      .select({ keyId: secrets.keyId, tokenId: tokens.id })
      .from(secrets)
      .innerJoin(tokens, eq(tokens.id, secrets.tokenId))
      .where(sql`${isNull(tokens.revokedAt)} AND ${or(isNull(secrets.diesAt), sql`${secrets.diesAt} > ${now}`)}
        AND ${or(isNull(tokens.expiresAt), sql`${tokens.expiresAt} > ${now}`)}`)
      .all()
    const live = new Map<string, Set<string>>()
    for (const { keyId, tokenId } of rows) live.set(keyId, (live.get(keyId) ?? new Set()).add(tokenId))
    return live
  }
}

const secretRow = ({ digest, keyId, token, createdAt, diesAt }: Secret) => ({
  digest,
  keyId,
  tokenId: token.id,
  createdAt,
  diesAt,
})
