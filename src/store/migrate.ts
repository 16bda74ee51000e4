import type { Database } from 'bun:sqlite'
import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { drizzle } from 'drizzle-orm/bun-sqlite'
import { migrate as runMigrations } from 'drizzle-orm/bun-sqlite/migrator'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { AppError, conflict } from '../error.ts'

/** Beside the sources in a checkout, embedded under the same name in the executable. */
const migrationsFolder = [join(import.meta.dir, '../../drizzle'), join(import.meta.dir, 'drizzle')].find((folder) =>
  existsSync(join(folder, 'meta/_journal.json')),
)

const lastApplied = (client: Database): number => {
  const known = client.query("SELECT 1 FROM sqlite_master WHERE name = '__drizzle_migrations'").get()
  if (!known) return 0
  const row = client.query('SELECT max(created_at) AS at FROM __drizzle_migrations').get() as { at: number | null }
  return Number(row.at ?? 0)
}

const metaValue = (client: Database, key: string): string | null => {
  if (!client.query("SELECT 1 FROM sqlite_master WHERE name = 'meta'").get()) return null
  return (client.query('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | null)?.value ?? null
}

/**
 * Brings the database to this version's schema, in one transaction, after copying it to
 * `portcullis.db.before-VERSION`. Throws `conflict` for a database of a newer version, which it names.
 */
export const migrate = (client: Database, file: string, version: string): void => {
  if (!migrationsFolder) throw new AppError('unavailable', 'the migrations are missing from this executable')
  const newest = Math.max(...readMigrationFiles({ migrationsFolder }).map((migration) => migration.folderMillis))
  const applied = lastApplied(client)
  if (applied > newest) {
    const needed = metaValue(client, 'version') ?? 'newer'
    throw conflict(`${file}: the database is of portcullis ${needed}; this is ${version}: run ${needed} or newer`)
  }
  if (applied === newest) return
  if (applied > 0) {
    const copy = `${file}.before-${version}`
    if (!existsSync(copy)) client.query('VACUUM INTO ?').run(copy)
    chmodSync(copy, 0o600)
  }
  runMigrations(drizzle({ client }), { migrationsFolder })
  client.query("INSERT OR REPLACE INTO meta (key, value) VALUES ('version', ?)").run(version)
}
