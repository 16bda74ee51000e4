import { eq } from 'drizzle-orm'
import type { Seen } from '../fact.ts'
import type { Deaths, IssuanceStore } from '../issuance.ts'
import type { Actor } from '../operator.ts'
import type { Policy } from '../policy.ts'
import type { NewSecret, NewToken, Token } from '../token.ts'
import type { TokenIndex } from '../token-index.ts'
import { fact } from './log.ts'
import type { Store } from './open.ts'
import { secrets, tokenServers, tokens } from './schema.ts'
import { SeenStore } from './seen.ts'

/**
 * Rows read between two collections of garbage. Hardly an object lives while tokens are read, so that one takes ten
 * milliseconds; left to itself the runtime lets 300 MB of rows pile up first.
 */
const READ_MAX = 1 << 17

/** Tokens and their secrets on disk: digests, never a secret. */
export class TokenStore implements IssuanceStore {
  constructor(readonly store: Store) {}

  get seen(): Seen | null {
    return this.store.log.seen
  }

  /**
   * Puts into the index what is stored, or those of it whose id is wanted: row by row, since a million rows at once
   * take a gigabyte, and drizzle makes of each an object more.
   */
  load(index: TokenIndex, isWanted: (id: string) => boolean = () => true): void {
    const { client } = this.store
    const reach = client
      .query<ReachRow, []>('SELECT token_id, server_id FROM token_servers ORDER BY token_id')
      .iterate()
    const seen = SeenStore.all(client)
    let reached = reach.next()
    let read = 0
    const tidy = () => {
      read += 1
      if (read % READ_MAX === 0) Bun.gc(true)
    }
    for (const row of client.query<TokenRow, []>('SELECT * FROM tokens ORDER BY id').iterate()) {
      // Both come by the token's id; of a server alone, whose token is not there, nothing is kept.
      while (!reached.done && reached.value.token_id < row.id) reached = reach.next()
      const servers = new Set<string>()
      for (; !reached.done && reached.value.token_id === row.id; reached = reach.next())
        servers.add(reached.value.server_id)
      tidy()
      if (!isWanted(row.id)) continue
      index.load({
        id: row.id,
        name: row.name,
        subject: row.subject,
        group: row.group_name,
        policy: row.policy === null ? null : (JSON.parse(row.policy) as Policy),
        servers,
        createdAt: row.created_at,
        createdBy: row.created_by,
        expiresAt: row.expires_at,
        revokedAt: row.revoked_at,
        revocationId: row.revocation_id,
        seen: seen.get(row.seen ?? -1) ?? null,
        secrets: [],
      })
    }
    // In the order in which they were made, which is hardly ever another than that of their tokens.
    const secretRows = client.query<SecretRow, []>('SELECT * FROM secrets ORDER BY rowid').iterate()
    for (const { digest, key_id, token_id, dies_at } of secretRows) {
      tidy()
      index.addSecret(token_id, { digest, keyId: key_id, diesAt: dies_at })
    }
    if (read >= READ_MAX) Bun.gc(true)
  }

  insertToken(token: NewToken, actor: Actor): void {
    const { log, db } = this.store
    const { secrets: own, servers, revocationId: _, seen = null, ...row } = token
    const reach = [...servers]
    const { subject, group, expiresAt, policy } = token
    const details = { subject, group, servers: reach, expiresAt, ...(policy && { policy }) }
    const event = { actor: actor.name, action: 'token.issue', targetId: token.id, targetName: token.name, details }
    const payload = { ...row, seen, servers: reach, secrets: own.map((secret) => secretRow(token.id, secret)) }
    log.change(event, [fact('change', 'token.issue', payload)], () => {
      db.insert(tokens)
        .values({ ...row, seen: log.seenIds.idOf(seen) })
        .run()
      for (const serverId of reach) db.insert(tokenServers).values({ tokenId: token.id, serverId }).run()
      for (const secret of own) db.insert(secrets).values(secretRow(token.id, secret)).run()
    })
  }

  insertSecret(token: Token, secret: NewSecret, deaths: Deaths, oldDieAt: number, actor: Actor): void {
    const { log, db } = this.store
    const event = {
      actor: actor.name,
      action: 'token.rotate',
      targetId: token.id,
      targetName: token.name,
      details: { oldSecretDiesAt: Math.abs(oldDieAt) },
    }
    const payload = { id: token.id, secret: secretRow(token.id, secret), deaths, oldDieAt, actor: actor.name }
    log.change(event, [fact('change', 'token.rotate', payload)], () => {
      for (const [digest, diesAt] of Object.entries(deaths))
        db.update(secrets).set({ diesAt }).where(eq(secrets.digest, digest)).run()
      db.insert(secrets).values(secretRow(token.id, secret)).run()
    })
  }

  updatePolicy(token: Token, policy: Policy | null, actor: Actor): void {
    const { log, db } = this.store
    const details = { policy, before: token.policy }
    const event = { actor: actor.name, action: 'token.policy', targetId: token.id, targetName: token.name, details }
    const payload = { id: token.id, policy, actor: actor.name }
    log.change(event, [fact('change', 'token.policy', payload, [`policy:${token.id}`])], () => {
      db.update(tokens).set({ policy }).where(eq(tokens.id, token.id)).run()
    })
  }
}

interface ReachRow {
  token_id: string
  server_id: string
}

interface TokenRow {
  id: string
  name: string
  subject: string | null
  group_name: string | null
  policy: string | null
  created_at: number
  created_by: string
  expires_at: number | null
  revoked_at: number | null
  revocation_id: string | null
  /** Undefined at the schema of an older version. */
  seen?: number | null
}

interface SecretRow {
  digest: string
  key_id: string
  token_id: string
  dies_at: number | null
}

const secretRow = (tokenId: string, { digest, keyId, createdAt, diesAt }: NewSecret) => ({
  digest,
  keyId,
  tokenId,
  createdAt,
  diesAt,
})
