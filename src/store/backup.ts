import { Database } from 'bun:sqlite'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, conflict, invalid, messageOf } from '../error.ts'
import type { RingKey } from '../key.ts'
import { limits } from '../limits.ts'
import { filesOf } from './folder.ts'
import { readKeyFile, syncFolder, writeKeyFile } from './keyfile.ts'
import { openStore } from './open.ts'

/** A backup is a tar file of these names. It holds the keys: who has it, has everything. */
const NAMES = { manifest: 'backup.json', database: 'portcullis.db', key: 'portcullis.key', settings: 'portcullis.toml' }

interface Manifest {
  portcullis: 'backup'
  version: string
  database: string
  at: string
}

export interface BackupOptions {
  folder: string
  keyFile: string
  version: string
  database: string
  now: number
  /** Copies the live database to that file. */
  snapshot(to: string): Promise<void>
}

/** Makes a backup of a live node. The copy that it is made from is removed again. */
export const makeBackup = async ({
  folder,
  keyFile,
  version,
  database,
  now,
  snapshot,
}: BackupOptions): Promise<Blob> => {
  const staging = join(folder, `backup-${Bun.randomUUIDv7()}.tmp`)
  const files = filesOf(folder)
  try {
    await snapshot(staging)
    const manifest: Manifest = { portcullis: 'backup', version, database, at: new Date(now).toISOString() }
    const archive = new Bun.Archive({
      [NAMES.manifest]: JSON.stringify(manifest),
      [NAMES.database]: readFileSync(staging),
      [NAMES.key]: readFileSync(keyFile),
      ...(existsSync(files.settings) ? { [NAMES.settings]: readFileSync(files.settings) } : {}),
    })
    return await archive.blob()
  } finally {
    rmSync(staging, { force: true })
  }
}

export interface RestoreOptions {
  folder: string
  keyFile: string
  version: string
  now: () => number
}

/**
 * Puts a backup in place of a stopped node's database, in one rename. What the database in place knows to
 * be dead stays dead: revoked tokens, rotated secrets, removed operators and API keys.
 */
export const restoreBackup = (backup: Backup, { folder, keyFile, version, now }: RestoreOptions): string => {
  const { file, manifest, contents } = backup
  const files = filesOf(folder)
  const staging = join(folder, 'restore.tmp')
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { mode: 0o700 })
  try {
    const staged = filesOf(staging)
    for (const [to, bytes] of [
      [staged.database, contents.database],
      [staged.key, contents.key],
    ] as const) {
      writeFileSync(to, bytes, { mode: 0o600 })
    }
    const inPlace = existsSync(files.database)
    const ring = readKeyFile(staged.key)
    if (ring.database !== manifest.database) throw invalid(`${file}: the keys in it are another database's`)
    if (inPlace) ring.keys = unite(ring.keys, sameDatabase(keyFile, manifest.database, folder))
    writeKeyFile(staged.key, ring)
    const kept = bringDead(backup.file, staging, inPlace ? files.database : null, version, now)
    // The ring holds the keys of both databases, so either of them opens with it, whatever happens now.
    writeKeyFile(keyFile, ring)
    for (const suffix of ['-wal', '-shm']) rmSync(files.database + suffix, { force: true })
    renameSync(staged.database, files.database)
    if (contents.settings && !existsSync(files.settings))
      writeFileSync(files.settings, contents.settings, { mode: 0o600 })
    syncFolder(folder)
    return `restored the backup of ${manifest.at}; ${kept} tokens that were revoked or rotated since then stay so`
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

type Backup = Awaited<ReturnType<typeof readBackup>>

/** Reads a backup, before anything is touched. Throws `invalid` for what is none. */
export const readBackup = async (file: string) => {
  let entries: Map<string, File>
  if (existsSync(file) && statSync(file).size > limits.restoreBytesMax) {
    throw invalid(`${file}: is larger than ${limits.restoreBytesMax} bytes, the most a backup may be`)
  }
  try {
    entries = await new Bun.Archive(readFileSync(file)).files()
  } catch (error) {
    throw invalid(`${file}: can't be read as a backup: ${messageOf(error)}`)
  }
  const bytes = async (name: string) => {
    const entry = entries.get(name)
    return entry ? new Uint8Array(await entry.arrayBuffer()) : null
  }
  const [manifestBytes, database, key] = await Promise.all([
    bytes(NAMES.manifest),
    bytes(NAMES.database),
    bytes(NAMES.key),
  ])
  if (!manifestBytes || !database || !key) throw invalid(`${file}: is not a backup of portcullis`)
  const manifest = JSON.parse(new TextDecoder().decode(manifestBytes)) as Manifest
  return { file, manifest, contents: { database, key, settings: await bytes(NAMES.settings) } }
}

const sameDatabase = (keyFile: string, database: string, folder: string): RingKey[] => {
  const ring = readKeyFile(keyFile)
  if (ring.database !== database) {
    throw conflict(
      `the backup is of another database than the one in ${folder}: restore into an empty folder with --data`,
    )
  }
  return ring.keys
}

/** The backup's keys first, since the ring in place may have a newer current one. */
const unite = (backup: RingKey[], inPlace: RingKey[]): RingKey[] => {
  const known = new Set(inPlace.map((key) => key.id))
  return [...backup.filter((key) => !known.has(key.id)), ...inPlace]
}

/** Brings what is dead in the old database into the staged one. Returns how many tokens it changed. */
const bringDead = (file: string, staging: string, old: string | null, version: string, now: () => number): number => {
  const files = filesOf(staging)
  let store
  try {
    store = openStore({ folder: staging, keyFile: files.key, version, now })
  } catch (cause) {
    throw new AppError('invalid', `${file}: its database can't be opened: ${messageOf(cause)}`, 'backup', { cause })
  }
  try {
    const check = store.client.query('PRAGMA quick_check').get() as { quick_check: string }
    if (check.quick_check !== 'ok') throw invalid(`${file}: its database is damaged: ${check.quick_check}`)
    if (old) store.client.query('ATTACH DATABASE ? AS old').run(old)
    const event = { actor: 'system', action: 'node.restore', targetId: store.node, details: { merged: old !== null } }
    const changed = store.log.change(event, [], () => (old ? mergeDead(store.client) : 0))
    if (old) store.client.run('DETACH DATABASE old')
    store.client.run('PRAGMA wal_checkpoint(TRUNCATE)')
    store.client.run('PRAGMA journal_mode = DELETE')
    chmodSync(files.database, 0o600)
    return changed
  } finally {
    store.close()
  }
}

const mergeDead = (client: Database): number => {
  const run = (sql: string) => client.query(sql).run().changes
  const revoked = run(`UPDATE main.tokens SET
      revoked_at = (SELECT o.revoked_at FROM old.tokens o WHERE o.id = main.tokens.id),
      revocation_id = (SELECT o.revocation_id FROM old.tokens o WHERE o.id = main.tokens.id)
    WHERE revoked_at IS NULL AND id IN (SELECT id FROM old.tokens WHERE revoked_at IS NOT NULL)`)
  const rotated = run(`UPDATE main.secrets SET
      dies_at = (SELECT o.dies_at FROM old.secrets o WHERE o.digest = main.secrets.digest)
    WHERE digest IN (SELECT o.digest FROM old.secrets o WHERE o.dies_at IS NOT NULL
      AND (main.secrets.dies_at IS NULL OR o.dies_at < main.secrets.dies_at))`)
  run(`INSERT INTO main.secrets SELECT * FROM old.secrets
    WHERE token_id IN (SELECT id FROM main.tokens) AND digest NOT IN (SELECT digest FROM main.secrets)`)
  const tables = client.query("SELECT name FROM old.sqlite_master WHERE type = 'table'").all() as { name: string }[]
  // A policy that was tightened since the backup must not loosen again. An older version's tokens have none.
  const columns = client.query("SELECT name FROM pragma_table_info('tokens', 'old')").all() as { name: string }[]
  if (columns.some(({ name }) => name === 'policy')) {
    run(`UPDATE main.tokens SET policy = (SELECT o.policy FROM old.tokens o WHERE o.id = main.tokens.id)
      WHERE id IN (SELECT id FROM old.tokens)`)
  }
  if (tables.some(({ name }) => name === 'revocation_connections')) {
    run(`INSERT INTO main.revocation_connections SELECT * FROM old.revocation_connections
      WHERE revocation_id IN (SELECT id FROM old.revocations WHERE id NOT IN (SELECT id FROM main.revocations))`)
  }
  run('INSERT INTO main.revocations SELECT * FROM old.revocations WHERE id NOT IN (SELECT id FROM main.revocations)')
  run(`UPDATE main.api_keys SET revoked_at = (SELECT o.revoked_at FROM old.api_keys o WHERE o.id = main.api_keys.id)
    WHERE revoked_at IS NULL AND id IN (SELECT id FROM old.api_keys WHERE revoked_at IS NOT NULL)`)
  run(`DELETE FROM main.operators WHERE id IN (SELECT target_id FROM old.audit WHERE action = 'operator.remove')`)
  return revoked + rotated
}
