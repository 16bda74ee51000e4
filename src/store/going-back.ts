import { Database } from 'bun:sqlite'
import { closeSync, copyFileSync, mkdirSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import { conflict, invalid, messageOf } from '../error.ts'
import { limits } from '../limits.ts'
import type { Merged, Restored } from '../restored.ts'
import { formatTime } from '../time.ts'
import { stagingOf } from './backup.ts'
import { bytesOf } from './before.ts'
import { ClusterStore } from './cluster.ts'
import { filesOf } from './folder.ts'
import { columnsOf, mergeDead, removedIn } from './merge.ts'
import { isOlder, refuseNewer } from './migrate.ts'
import { openStore, type Store } from './open.ts'
import { fold, foldWal, putAside, type RestoreOptions } from './restore.ts'
import { syncPath } from './sync.ts'

/** What of a server is as it is now, where that version knows it. */
const AS_THEY_ARE = new Set(['url', 'kind', 'path', 'headers', 'stdio', 'env'])

const MAGIC = 'SQLite format 3\0'

/** Whether it is a database, as a copy of before an upgrade is, and not a backup. */
export const isDatabase = (file: string): boolean => {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return false
  const fd = openSync(file, 'r')
  try {
    const head = Buffer.alloc(MAGIC.length)
    readSync(fd, head)
    return head.toString('latin1') === MAGIC
  } finally {
    closeSync(fd)
  }
}

const namesOf = (client: Database, sql: string): string[] =>
  (client.query(sql).all() as { name: string }[]).map(({ name }) => name)

/** What can't be gone back to without reviving the dead, loosening what lives, or leaving a node that can't start. */
const refuseUnsafe = ({ client, keys }: Store, file: string): void => {
  const id = (schema: string) => client.query(`SELECT value FROM ${schema}.meta WHERE key = 'database'`).get()
  if (!Bun.deepEquals(id('main'), id('old')))
    throw conflict(`${file}: is a copy of another database than the one in place`)
  const isMember = client.query("SELECT 1 FROM old.meta WHERE key = 'cluster.id'").get() !== null
  if (isMember && client.query("SELECT 1 FROM main.sqlite_master WHERE name = 'carried'").get() === null) {
    const why = 'its version knows no clusters, and would let in whom other nodes revoked'
    throw conflict(
      `${file}: ${why}: take this node out first (portcullis cluster remove), and begin with an empty folder`,
    )
  }
  const strangers = namesOf(client, 'SELECT name FROM main.tokens WHERE id NOT IN (SELECT id FROM old.tokens)')
  // Whether a selector had reached them is for this version's eyes: it must know all of their columns.
  if (strangers.length > 0 && isOlder(client)) {
    throw conflict(`${file}: is no copy of the database in place from before an upgrade: it has other tokens`)
  }
  // All others get the credentials of now. What was put aside does not hold the keys, as a backup does.
  const sealed = client
    .query('SELECT name, headers FROM main.servers WHERE removed_at IS NULL AND id NOT IN (SELECT id FROM old.servers)')
    .all() as { name: string; headers: string }[]
  const locked = sealed.find(({ headers }) => !keys.ids.some((id) => headers.startsWith(`${id}.`)))
  if (locked) {
    const why = `the credentials of server ${locked.name} are sealed under a key that was removed since`
    throw conflict(`${file}: ${why}: restore a backup, which holds its keys`)
  }
  const hasPolicies = (schema: string) =>
    namesOf(client, `SELECT name FROM pragma_table_info('tokens', '${schema}')`).includes('policy')
  if (!hasPolicies('old') || hasPolicies('main')) return
  const guarded = namesOf(
    client,
    'SELECT name FROM old.tokens WHERE policy IS NOT NULL AND revoked_at IS NULL AND id IN (SELECT id FROM main.tokens)',
  )
  if (guarded.length === 0) return
  const names = `${guarded.slice(0, limits.namesShownMax).join(', ')}${guarded.length > limits.namesShownMax ? ', …' : ''}`
  const todo = 'revoke them first, or take their policies away'
  throw conflict(
    `${file}: its version knows no policies, and would let ${guarded.length} tokens do all (${names}): ${todo}`,
  )
}

/** One transaction, with its audit row. */
const bringSince = (store: Store, at: string, { actor, wholeCluster }: RestoreOptions): Merged => {
  const { client } = store
  const [keysRemoved, operatorsRemoved] = [
    removedIn(client, 'old', 'key.remove'),
    removedIn(client, 'old', 'operator.remove'),
  ]
  const details: Record<string, unknown> = { backup: at, merged: true, keysRemoved, operatorsRemoved }
  return store.log.change({ actor, action: 'node.restore', targetId: store.node, details }, [], () => {
    // As they are now: the credentials of then may be sealed under a key that is gone.
    const columns = columnsOf(client, 'servers').filter((name) => AS_THEY_ARE.has(name))
    client.run(`UPDATE main.servers SET (${columns.join(', ')}) =
      (SELECT ${columns.map((name) => `o.${name}`).join(', ')} FROM old.servers o WHERE o.id = main.servers.id)
      WHERE id IN (SELECT id FROM old.servers)`)
    const merged = mergeDead(store)
    const { gone, ...kept } = merged
    Object.assign(details, { kept, gone: gone.length })
    if (wholeCluster) new ClusterStore(store).retire()
    return merged
  })
}

/**
 * Puts the copy of before an upgrade back, at its own schema, so that its version starts again; what died since stays dead.
 * The older version could not do that: it does not know the database in place. Throws `conflict` for another database's
 * copy; nothing is changed then.
 */
export const goBack = (file: string, options: RestoreOptions): Restored => {
  const { folder, keyFile, version, now } = options
  const files = filesOf(folder)
  const { restore: staging } = stagingOf(folder)
  if (options.alone) throw invalid('--alone: is for backups; this is a copy from before an upgrade')
  if (bytesOf(files.database) === 0) {
    throw invalid(`${file}: is put back over the database that came of it, and there is none in ${folder}`)
  }
  const at = formatTime(Math.round(statSync(file).mtimeMs))
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { mode: 0o700 })
  try {
    const staged = filesOf(staging).database
    try {
      copyFileSync(file, staged)
    } catch (error) {
      throw invalid(`${file}: can't be copied into ${folder} by its owner: ${messageOf(error)}`)
    }
    foldWal(files.database)
    const inPlace = new Database(files.database, { readonly: true })
    try {
      refuseNewer(inPlace, files.database, version)
    } finally {
      inPlace.close()
    }
    const store = openStore({ folder: staging, keyFile, version, now, asItIs: true })
    let merged: Merged
    let cluster: Restored['cluster']
    try {
      store.client.query('ATTACH DATABASE ? AS old').run(files.database)
      refuseUnsafe(store, file)
      merged = bringSince(store, at, options)
      store.client.run('DETACH DATABASE old')
      cluster = new ClusterStore(store).restored()
      // By this connection: until its statements are collected it is not really closed.
      fold(store.client)
    } finally {
      store.close()
    }
    syncPath(staged)
    const replaced = putAside(files.database, now())
    syncPath(folder)
    renameSync(staged, files.database)
    syncPath(folder)
    return { at, folder, merged, replaced, settings: 'none', cluster }
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}
