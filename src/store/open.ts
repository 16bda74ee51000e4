import { Database } from 'bun:sqlite'
import { chmodSync, existsSync, statSync } from 'node:fs'
import { type BunSQLiteDatabase, drizzle } from 'drizzle-orm/bun-sqlite'
import { AppError, messageOf } from '../error.ts'
import { idsFollow, newId } from '../id.ts'
import { KeyRing } from '../key.ts'
import type { Clock } from '../time.ts'
import { filesOf } from './folder.ts'
import { newKeyFile, readKeyFile } from './keyfile.ts'
import { Log } from './log.ts'
import { metaOf } from './meta.ts'
import { hasTable, migrate, type MigrateOptions } from './migrate.ts'
import * as schema from './schema.ts'
import { rewrite, syncPath } from './sync.ts'

export type Db = BunSQLiteDatabase<typeof schema>

/** The database with what every noun's file needs. */
export interface Store {
  client: Database
  db: Db
  keys: KeyRing
  keyFile: string
  log: Log
  now: Clock
  /** The id of the database, which the key file names too. */
  database: string
  /** The id of this node. */
  node: string
  close(): void
}

export interface OpenOptions extends Omit<MigrateOptions, 'file'> {
  folder: string
  keyFile: string
  version: string
  now: Clock
}

/** A row of `meta`: the database that a joiner's folder becomes, until its key file and its database say so both. */
export const ADOPTING = 'adopting'

/**
 * What a killed process left in the -wal counts for SQLite when it can be read, and later changes stand behind it: it must
 * last before they do, also where its own sync had failed. A full disk may not take it, and must not keep a node from
 * starting. Throws `storage`.
 */
const settleLog = (file: string): void => {
  const log = `${file}-wal`
  try {
    if (existsSync(log)) rewrite(log)
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'ENOSPC' || cause.code === 'EDQUOT')) return
    throw new AppError('storage', `${log}: can't be written: ${messageOf(cause)}`, 'storage', { cause })
  }
}

/**
 * A copy of a cluster's member proves by a key of its own who it is, has to learn what all others know, and remembers
 * whose place it may take.
 */
const becomeFresh = (client: Database, formerId: string): void => {
  const { get, set } = metaOf(client)
  client.query("DELETE FROM meta WHERE key IN ('cluster.key', 'cluster.key.next', 'cluster.retired')").run()
  if (get('cluster.id') === null) return
  const formerly = JSON.parse(get('cluster.formerly') ?? '[]') as string[]
  set('cluster.formerly', JSON.stringify([formerId, ...formerly.filter((id) => id !== formerId)]))
  set('cluster.fresh', '1')
}

const checkIsDatabase = (client: Database, file: string): void => {
  try {
    client.query('PRAGMA schema_version').get()
  } catch (cause) {
    throw new AppError('invalid', `${file}: ${messageOf(cause)}; put it back from your backup`, 'database', { cause })
  }
}

/**
 * Opens the database of a locked data folder, and makes it with its key file where neither is there.
 * Throws `invalid` for a key file that is missing or another database's, `conflict` for a newer database.
 */
export const openStore = ({ folder, keyFile, version, now, ...upgrade }: OpenOptions): Store => {
  const file = filesOf(folder).database
  const existed = existsSync(file) && statSync(file).size > 0
  const ring = existed || existsSync(keyFile) ? readKeyFile(keyFile) : newKeyFile(keyFile, newId('db'), now())
  settleLog(file)
  const client = new Database(file, { create: true, strict: true })
  try {
    chmodSync(file, 0o600)
    checkIsDatabase(client, file)
    client.run('PRAGMA journal_mode = WAL')
    client.run('PRAGMA synchronous = FULL')
    // Nobody else writes here. Should somebody, waiting for them would stop every stream: fail, and try again.
    client.run('PRAGMA busy_timeout = 0')
    // Who replaces a row deletes the old one: the triggers against that are asked then, too.
    client.run('PRAGMA recursive_triggers = ON')
    // Changes that come many at once touch more pages than fit into the 2 MB that SQLite keeps by itself.
    client.run('PRAGMA cache_size = -16000')
    // What is sorted on the way goes beside the database: in a read-only container nothing else can be written.
    client.run(`PRAGMA temp_store_directory = '${folder.replaceAll("'", "''")}'`)
    const { get, set } = metaOf(client)
    // Asked before anything is migrated: with another database's keys it can't be used, and stays as it is.
    const named = hasTable(client, 'meta') ? get('database') : null
    const isAdopted = named !== null && named !== ring.database && get(ADOPTING) === ring.database
    const database = isAdopted ? ring.database : named
    if (database !== null && database !== ring.database) {
      throw new AppError('invalid', `--key-file ${keyFile}: is the key file of another database`, 'key-file')
    }
    migrate(client, { file, version, ...upgrade })
    if (named === null || isAdopted) set('database', ring.database)
    // Lists of both are read page by page, in the order of ids.
    for (const table of ['tokens', 'revocations']) {
      const { newest } = client.query(`SELECT max(id) AS newest FROM ${table}`).get() as { newest: string | null }
      if (newest !== null) idsFollow(newest)
    }
    // A copied or restored file is another one: two nodes must never number facts under one name.
    const { ino, birthtimeMs } = statSync(file)
    const identity = `${ino}-${Math.round(birthtimeMs)}`
    const known = get('node')
    const node = known !== null && get('file') === identity ? known : newId('node')
    // Written only when it changed: a full disk must not keep a node from starting, and from denying.
    if (node !== known) {
      client.transaction(() => {
        set('file', identity)
        set('node', node)
        if (known !== null) becomeFresh(client, known)
      })()
    }
    // The name of the -wal must last before anything in it counts. SQLite asks for that once, and passes over a refusal.
    syncPath(folder)
    const db = drizzle({ client, schema })
    const log = new Log(client, db, node, now)
    if (known !== null && known !== node) {
      log.change({ actor: 'system', action: 'node.rename', targetId: node, details: { previous: known } }, [], () => {})
    }
    return {
      client,
      db,
      keys: new KeyRing(ring),
      keyFile,
      log,
      now,
      database: ring.database,
      node,
      close: () => client.close(false),
    }
  } catch (error) {
    client.close()
    throw error
  }
}
