import type { Database } from 'bun:sqlite'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type MigrationMeta, readMigrationFiles } from 'drizzle-orm/migrator'
import { AppError, conflict, messageOf } from '../error.ts'
import { limits } from '../limits.ts'
import { bytesFree, bytesOf, copyBefore, makeCopy, removeUnfinishedCopy } from './before.ts'

/** Beside the sources in a checkout, embedded under the same name in the executable. */
const migrationsFolder = [join(import.meta.dir, '../../drizzle'), join(import.meta.dir, 'drizzle')].find((folder) =>
  existsSync(join(folder, 'meta/_journal.json')),
)

/** A database of an older version is brought to this one's schema. */
export interface Upgrade {
  from: string
  to: string
  /** How large the database is. */
  bytes: number
  /** Where it is copied to before; null: it isn't. */
  copy: string | null
}

export interface MigrateOptions {
  file: string
  version: string
  /** Without a copy: for a database that is one. */
  copy?: boolean
  /** Left at the schema that it has. */
  asItIs?: boolean
  /** Told before it begins, which takes seconds for a large one, and again when it is done. */
  onUpgrade?: (upgrade: Upgrade, tookMs: number | null) => void
}

type Applied = Pick<MigrationMeta, 'hash' | 'folderMillis'>

/** drizzle-kit's own table and columns, so that its tools can read it too. */
const TABLE = '__drizzle_migrations'

export const hasTable = (client: Database, name: string): boolean =>
  client.query('SELECT 1 FROM sqlite_master WHERE name = ?').get(name) !== null

const appliedTo = (client: Database): Applied[] =>
  hasTable(client, TABLE)
    ? (client.query(`SELECT hash, created_at AS folderMillis FROM ${TABLE} ORDER BY rowid`).all() as Applied[])
    : []

const versionOf = (client: Database): string | null => {
  if (!hasTable(client, 'meta')) return null
  return (client.query("SELECT value FROM meta WHERE key = 'version'").get() as { value: string } | null)?.value ?? null
}

/** All of it or nothing, the version included: a crash in the middle leaves what was there. */
const apply = (client: Database, migrations: readonly MigrationMeta[], version: string): void =>
  client
    .transaction(() => {
      client.run(`CREATE TABLE IF NOT EXISTS ${TABLE} (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)`)
      const note = client.query(`INSERT INTO ${TABLE} (hash, created_at) VALUES (?, ?)`)
      for (const { sql, hash, folderMillis } of migrations) {
        for (const statement of sql) client.run(statement)
        note.run(hash, folderMillis)
      }
      client.query("INSERT OR REPLACE INTO meta (key, value) VALUES ('version', ?)").run(version)
    })
    .immediate()

/** What ran here, and what could. */
const lookAt = (client: Database) => {
  if (!migrationsFolder) throw new AppError('unavailable', 'the migrations are missing from this executable')
  return { known: readMigrationFiles({ migrationsFolder }), applied: appliedTo(client) }
}

/**
 * Throws `conflict` for a database of a newer version, which it names. Every migration that ran there must be one of
 * ours, and in our order: else what this version writes may be wrong there, whichever is the newer. Lost: the time of
 * the last one, which says nothing of those before it.
 */
export const refuseNewer = (client: Database, file: string, version: string): void => {
  const { known, applied } = lookAt(client)
  const isKnown = ({ hash, folderMillis }: Applied, at: number) =>
    hash === known[at]?.hash && folderMillis === known[at].folderMillis
  if (applied.every(isKnown)) return
  const needed = versionOf(client) ?? 'newer'
  const todo = needed === version ? `run the build of ${version} that wrote it` : `run ${needed} or newer`
  throw conflict(`${file}: the database is of portcullis ${needed}; this is ${version}: ${todo}`)
}

/** Whether migrations are missing that this version knows. */
export const isOlder = (client: Database): boolean => {
  const { known, applied } = lookAt(client)
  return applied.length < known.length
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/**
 * Brings the database to this version's schema, in one transaction, after copying it to
 * `portcullis.db.before-VERSION`. Throws `conflict` for a database of a newer version, which it names, and `storage`
 * when there is no room; nothing is changed then.
 */
export const migrate = (client: Database, options: MigrateOptions): void => {
  const { file, version, copy: copied = true, asItIs = false, onUpgrade } = options
  refuseNewer(client, file, version)
  if (asItIs) return
  removeUnfinishedCopy(file)
  const { known, applied } = lookAt(client)
  const missing = known.slice(applied.length)
  if (missing.length === 0) return
  if (applied.length === 0) return apply(client, missing, version)

  const from = versionOf(client) ?? 'an unknown version'
  const copy = copied ? copyBefore(file, version) : null
  const upgrade: Upgrade = { from, to: version, bytes: bytesOf(file), copy }
  const roomBytes = limits.upgradeRoomFactor * upgrade.bytes
  const lacksRoom = () => bytesFree(file) < roomBytes
  const refuse = (why: string, cause?: unknown) => {
    const room = `. It takes about ${megabytes(roomBytes)} of free room, and there are ${megabytes(bytesFree(file))}`
    const message = `${file}: ${why}; nothing was changed, ${from} still starts${lacksRoom() ? room : ''}`
    return new AppError('storage', message, 'storage', { cause })
  }
  const to = `can't be brought from ${from} to ${version}`
  if (lacksRoom()) throw refuse(`${to}: there is too little room`)
  const startedAt = performance.now()
  onUpgrade?.(upgrade, null)
  const step = (take: () => void, undo: () => void) => {
    try {
      take()
    } catch (error) {
      undo()
      throw refuse(`${to}: ${messageOf(error)}`, error)
    }
  }
  if (copy) {
    step(
      () => makeCopy(client, file, copy),
      () => removeUnfinishedCopy(file),
    )
  }
  step(
    () => apply(client, missing, version),
    // What it is a copy of is still there, and the room may be what is missing.
    () => copy && rmSync(copy, { force: true }),
  )
  // Else the first revocation would wait for all of it to be moved from the -wal.
  client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  onUpgrade?.(upgrade, performance.now() - startedAt)
}
