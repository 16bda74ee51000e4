import type { Database } from 'bun:sqlite'
import type { Merged } from '../restored.ts'
import { denyRecord } from '../revocation.ts'
import type { RevocationRecord } from '../revocation-record.ts'
import { TokenIndex } from '../token-index.ts'
import { carryFacts } from './carried.ts'
import type { Store } from './open.ts'
import { TokenStore } from './token.ts'

/** Columns that both have: the database in place may be of an older version. */
export const columnsOf = (client: Database, table: string): string[] => {
  const names = (schema: string) =>
    (client.query('SELECT name FROM pragma_table_info(?, ?)').all(table, schema) as { name: string }[]).map(
      ({ name }) => name,
    )
  const old = new Set(names('old'))
  return names('main').filter((name) => old.has(name))
}

/** Rows of the old table that the new one lacks. */
const carry = (client: Database, table: string, key: string, where = 'true'): void => {
  const columns = columnsOf(client, table)
  if (columns.length === 0) return
  const list = columns.map((name) => `"${name}"`).join(', ')
  client.run(`INSERT INTO main.${table} (${list}) SELECT ${list} FROM old.${table}
    WHERE (${where}) AND ${key} NOT IN (SELECT ${key} FROM main.${table})`)
}

/** What was removed for good, by the audit log, and by restores whose log was replaced since. */
export const removedIn = (client: Database, schema: string, action: 'operator.remove' | 'key.remove'): string[] => {
  const restored = action === 'operator.remove' ? 'operatorsRemoved' : 'keysRemoved'
  const rows = client
    .query(
      `SELECT target_id AS id FROM ${schema}.audit WHERE action = ? UNION
       SELECT each.value FROM ${schema}.audit, json_each(details, ?) AS each WHERE action = 'node.restore'`,
    )
    .all(action, `$.${restored}`) as { id: string }[]
  return rows.map(({ id }) => id)
}

/** Selectors reach tokens that the database in place never had: those were made before, and are in the backup alone. */
const denyUnknown = (store: Store): number => {
  const { client } = store
  const unknown = new Set(
    (
      client.query('SELECT id FROM main.tokens WHERE id NOT IN (SELECT id FROM old.tokens)').all() as { id: string }[]
    ).map(({ id }) => id),
  )
  if (unknown.size === 0) return 0
  const index = new TokenIndex()
  new TokenStore(store).load(index, (id) => unknown.has(id))
  const rows = client
    .query('SELECT * FROM old.revocations WHERE id NOT IN (SELECT id FROM main.revocations) ORDER BY at')
    .all() as (Omit<RevocationRecord, 'selector' | 'tokens'> & { selector: string; tokens: string })[]
  const alive = [...index].filter(({ revokedAt }) => revokedAt === null)
  for (const { selector, tokens, ...row } of rows) {
    const record = { ...row, selector: JSON.parse(selector), tokens: JSON.parse(tokens) } as RevocationRecord
    denyRecord(record, index)
  }
  const update = client.query('UPDATE main.tokens SET revoked_at = ?, revocation_id = ? WHERE id = ?')
  const dead = alive.filter(({ revokedAt }) => revokedAt !== null)
  for (const { id, revokedAt, revocationId } of dead) update.run(revokedAt, revocationId, id)
  return dead.length
}

/**
 * A policy that was tightened since the backup must not loosen again. Nor that of a token which the backup does not know,
 * when a later one is restored that does: so its policy is noted.
 */
const keepPolicies = (client: Database): void => {
  client.run(`UPDATE main.tokens SET policy = (SELECT o.policy FROM old.tokens o WHERE o.id = main.tokens.id)
    WHERE id IN (SELECT id FROM old.tokens)`)
  const noted = "SELECT o.value FROM old.meta o WHERE o.key = 'policy.' || main.tokens.id"
  client.run(`UPDATE main.tokens SET policy = (${noted})
    WHERE id NOT IN (SELECT id FROM old.tokens) AND EXISTS (${noted})`)
  carry(client, 'meta', 'key', "key LIKE 'policy.%'")
  client.run(`INSERT OR REPLACE INTO main.meta (key, value) SELECT 'policy.' || id, policy FROM old.tokens
    WHERE policy IS NOT NULL AND revoked_at IS NULL AND id NOT IN (SELECT id FROM main.tokens)`)
}

/** A gate that was closed since the backup stays closed, likewise: also that of a server which the backup does not know. */
const keepClosed = (client: Database): number => {
  const { changes } = client.run(`UPDATE main.servers SET state = 'closed',
      reason = (SELECT o.reason FROM old.servers o WHERE o.id = main.servers.id)
    WHERE state = 'open' AND removed_at IS NULL AND (id IN (SELECT id FROM old.servers WHERE state = 'closed') OR
      (id NOT IN (SELECT id FROM old.servers) AND 'closed.' || id IN (SELECT key FROM old.meta)))`)
  carry(client, 'meta', 'key', "key LIKE 'closed.%'")
  client.run(`INSERT OR IGNORE INTO main.meta (key, value) SELECT 'closed.' || id, coalesce(reason, '') FROM old.servers
    WHERE state = 'closed' AND removed_at IS NULL AND id NOT IN (SELECT id FROM main.servers)`)
  return changes
}

/**
 * Brings what is dead in `old` into the database of the backup: revoked tokens, rotated secrets, removed servers,
 * operators and API keys. It also brings what tells of the dead whom the backup does not know yet, so that they stay dead
 * when a later backup is restored, which knows them alive.
 */
export const mergeDead = (store: Store): Merged => {
  const { client } = store
  const run = (sql: string) => client.query(sql).run().changes
  const tokens =
    run(`UPDATE main.tokens SET
        revoked_at = (SELECT o.revoked_at FROM old.tokens o WHERE o.id = main.tokens.id),
        revocation_id = (SELECT o.revocation_id FROM old.tokens o WHERE o.id = main.tokens.id)
      WHERE revoked_at IS NULL AND id IN (SELECT id FROM old.tokens WHERE revoked_at IS NOT NULL)`) + denyUnknown(store)
  const secrets = run(`UPDATE main.secrets SET
      dies_at = (SELECT o.dies_at FROM old.secrets o WHERE o.digest = main.secrets.digest)
    WHERE digest IN (SELECT o.digest FROM old.secrets o WHERE o.dies_at IS NOT NULL
      AND (main.secrets.dies_at IS NULL OR o.dies_at < main.secrets.dies_at))`)
  carry(client, 'secrets', 'digest')
  // An older version's tokens have none.
  if (columnsOf(client, 'tokens').includes('policy')) keepPolicies(client)
  carry(client, 'revocation_connections', 'revocation_id')
  carry(client, 'revocations', 'id')
  // What was applied out of the journal must not be again, should the journal still hold it.
  carry(client, 'meta', 'key', "key LIKE 'applied.%'")

  const servers = run(`UPDATE main.servers SET
      removed_at = (SELECT o.removed_at FROM old.servers o WHERE o.id = main.servers.id)
    WHERE removed_at IS NULL AND id IN (SELECT id FROM old.servers WHERE removed_at IS NOT NULL)`)
  carry(client, 'servers', 'id', 'removed_at IS NOT NULL')
  const closed = keepClosed(client)

  const apiKeys = run(`UPDATE main.api_keys SET
      revoked_at = (SELECT o.revoked_at FROM old.api_keys o WHERE o.id = main.api_keys.id)
    WHERE revoked_at IS NULL AND id IN (SELECT id FROM old.api_keys WHERE revoked_at IS NOT NULL)`)
  carry(client, 'api_keys', 'id', 'revoked_at IS NOT NULL')
  // A password that was changed since must not open the console again.
  run(`UPDATE main.operators SET (role, password_hash) =
      (SELECT o.role, o.password_hash FROM old.operators o WHERE o.id = main.operators.id)
    WHERE id IN (SELECT id FROM old.operators)`)
  // Whom the database in place lost by an earlier restore may have changed it before that: they need a link.
  run('UPDATE main.operators SET password_hash = NULL WHERE id NOT IN (SELECT id FROM old.operators)')
  const remove = client.query('DELETE FROM main.operators WHERE id = ?')
  const operators = removedIn(client, 'old', 'operator.remove').reduce((sum, id) => sum + remove.run(id).changes, 0)

  const facts = carryFacts(client)
  const known = new Set((client.query('SELECT id FROM main.tokens').all() as { id: string }[]).map(({ id }) => id))
  const made = client
    .query('SELECT id, name, revoked_at AS revokedAt, expires_at AS expiresAt FROM old.tokens ORDER BY id')
    .all() as { id: string; name: string; revokedAt: number | null; expiresAt: number | null }[]
  const now = store.now()
  const gone = made.filter(
    ({ id, revokedAt, expiresAt }) => !known.has(id) && revokedAt === null && (expiresAt === null || expiresAt > now),
  )
  // What a cluster's facts tell is not gone: the next start makes it again.
  const names = facts > 0 ? [] : gone.map(({ name }) => name)
  return { tokens, secrets, servers, closed, apiKeys, operators, facts, gone: names }
}
