import type { Database } from 'bun:sqlite'
import type { StoredFact } from '../fact.ts'
import type { Replica } from '../replica.ts'
import type { Store } from './open.ts'

/** Facts that are applied in one transaction. */
const APPLIED_AT_ONCE = 1_000

const valueOf = (client: Database, schema: 'main' | 'old', key: string): string | null =>
  (client.query(`SELECT value FROM ${schema}.meta WHERE key = ?`).get(key) as { value: string } | null)?.value ?? null

const listOf = <T>(client: Database, schema: 'main' | 'old', key: string): T[] =>
  JSON.parse(valueOf(client, schema, key) ?? '[]') as T[]

/**
 * Brings what the database in place (`old`) knows of its cluster into the backup's, within the caller's transaction: its
 * facts that the backup lacks, this node's own among them, for the next start to apply; members and secrets; and the ids
 * that this folder had. Returns how many facts.
 */
export const carryFacts = (client: Database): number => {
  const cluster = valueOf(client, 'old', 'cluster.id')
  if (cluster === null) return 0
  if (valueOf(client, 'main', 'cluster.id') !== cluster) forgetFacts(client)
  const columns = 'origin, stream, seq, kind, hlc, payload'
  const carry = (table: 'facts' | 'carried') =>
    client.run(`INSERT OR IGNORE INTO main.carried (${columns}) SELECT ${columns} FROM old.${table} o
      WHERE NOT EXISTS (SELECT 1 FROM main.facts f
        WHERE f.origin = o.origin AND f.stream = o.stream AND f.seq = o.seq)`).changes
  // What an earlier restore brought is there as long as nobody started since.
  const facts = carry('facts') + carry('carried')
  carryMembership(client)
  return facts
}

/** A backup of before the founding: its numbers mean other facts, and what was known under them means nothing now. */
const forgetFacts = (client: Database): void => {
  client.run("INSERT OR REPLACE INTO main.meta (key, value) VALUES ('cluster.founding', '')")
  for (const table of ['facts', 'carried', 'parked', 'registers']) client.run(`DELETE FROM main.${table}`)
  client.run("DELETE FROM main.meta WHERE key = 'cluster.founding'")
  client.run('UPDATE main.tokens SET seen = NULL')
  client.run(`UPDATE main.revocations SET origin = NULL, seq = NULL
    WHERE id NOT IN (SELECT id FROM old.revocations WHERE origin IS NOT NULL)`)
}

/** The state in place is the newer one; its key is not brought, since two nodes must not prove to be one. */
const carryMembership = (client: Database): void => {
  const set = client.query('INSERT OR REPLACE INTO main.meta (key, value) VALUES (?, ?)')
  // Not whose backup it is: that may be another node's, and run.
  const formerly = [valueOf(client, 'old', 'node'), ...listOf<string>(client, 'old', 'cluster.formerly')]
  // The folder is locked while it is restored: whoever it was runs nowhere else, unless it was a copy of another.
  const wasCopy = valueOf(client, 'old', 'cluster.fresh') !== null && valueOf(client, 'old', 'cluster.retired') === null
  const secrets = new Map(
    (['main', 'old'] as const)
      .flatMap((schema) => listOf<{ version: number; ballot: string }>(client, schema, 'cluster.secrets'))
      .toSorted((a, b) => b.version - a.version)
      .map((secret) => [`${secret.version} ${secret.ballot}`, secret]),
  )
  client.run("DELETE FROM main.meta WHERE key LIKE 'cluster.%'")
  client.run(`INSERT INTO main.meta (key, value) SELECT key, value FROM old.meta
    WHERE key LIKE 'cluster.%' AND key NOT IN ('cluster.key', 'cluster.key.next', 'cluster.founding')`)
  set.run('cluster.formerly', JSON.stringify(formerly))
  set.run('cluster.secrets', JSON.stringify([...secrets.values()]))
  set.run('cluster.fresh', '1')
  if (wasCopy) client.run("DELETE FROM main.meta WHERE key = 'cluster.retired'")
  else set.run('cluster.retired', '1')
}

/**
 * Applies what a restore brought: before anybody is let in. A crash in between leaves facts that are passed over the next
 * time. Returns how many were new.
 */
export const applyCarried = ({ client, log }: Store, replica: Pick<Replica, 'apply'>): number => {
  const next = client.query<StoredFact & { rowid: number }, [number]>(
    // Revocations first, as from a peer.
    `SELECT rowid, origin, stream, seq, kind, hlc, payload FROM carried
      ORDER BY stream = 'change', origin, seq LIMIT ?`,
  )
  const remove = client.query<never, [string]>('DELETE FROM carried WHERE rowid IN (SELECT value FROM json_each(?))')
  let count = 0
  for (;;) {
    const rows = next.all(APPLIED_AT_ONCE)
    if (rows.length === 0) return count
    count += replica.apply(
      rows.map(({ origin, stream, seq, kind, hlc, payload }) => ({ origin, stream, seq, kind, hlc, payload })),
      true,
    ).count
    log.write(() => remove.run(JSON.stringify(rows.map(({ rowid }) => rowid))))
  }
}
