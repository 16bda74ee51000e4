import { Database } from 'bun:sqlite'
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { AppError, conflict, invalid, messageOf } from '../error.ts'
import { type KeyRingData, newRingKey, type RingKey } from '../key.ts'
import type { Merged, Restored } from '../restored.ts'
import type { Clock } from '../time.ts'
import { type Backup, NAMES } from './archive.ts'
import { stagingOf, unite } from './backup.ts'
import { ClusterStore } from './cluster.ts'
import { filesOf } from './folder.ts'
import { readKeyFile, writeKeyFile } from './keyfile.ts'
import { mergeDead, removedIn } from './merge.ts'
import { openStore, type Store } from './open.ts'
import { ServerStore } from './server.ts'
import { syncPath } from './sync.ts'

export interface RestoreOptions {
  folder: string
  keyFile: string
  version: string
  /** Who restores, for the audit log. */
  actor: string
  /** All nodes of its cluster are being restored, and none of before runs any more. */
  wholeCluster?: boolean
  /** Its cluster is gone: the node goes on by itself. Only into an empty folder. */
  alone?: boolean
  now: Clock
}

const extract = (backup: Backup, name: string, to: string): void => {
  const fd = openSync(to, 'wx', 0o600)
  try {
    backup.read(name, (slice) => {
      for (let at = 0; at < slice.length;) at += writeSync(fd, slice, at)
    })
  } finally {
    closeSync(fd)
  }
}

/** What says nothing of the database in place: a full disk, or somebody else who uses it. */
const PASSING = /^(?:SQLITE_(?:FULL|BUSY|LOCKED|NOMEM|CANTOPEN|READONLY|PERM|IOERR(?!_(?:READ|SHORT_READ)$))|E[A-Z]+$)/

const isPassing = (error: unknown): boolean =>
  error instanceof Error && (('code' in error && PASSING.test(String(error.code))) || isPassing(error.cause))

const unreadable = (file: string, cause: unknown): AppError => {
  // Whoever moved it away for nothing would bring back what it knows to be dead.
  if (isPassing(cause))
    return new AppError('storage', `nothing was restored: ${messageOf(cause)}`, 'storage', { cause })
  const todo = `what died since the backup can't be kept. To restore without that, move ${file} away first`
  const why = `the database in place can't be read (${messageOf(cause)})`
  return new AppError('invalid', `${file}: ${why}, so ${todo}`, 'database', { cause })
}

/** What must be known of the database in place before anything of it is used. */
const lookAt = (file: string): { database: string | null; keysRemoved: string[]; operatorsRemoved: string[] } => {
  const client = new Database(file)
  try {
    const row = client.query("SELECT value FROM meta WHERE key = 'database'").get() as { value: string } | null
    return {
      database: row?.value ?? null,
      keysRemoved: removedIn(client, 'main', 'key.remove'),
      operatorsRemoved: removedIn(client, 'main', 'operator.remove'),
    }
  } catch (cause) {
    throw unreadable(file, cause)
  } finally {
    client.close()
  }
}

const refuseOther = (what: string, folder: string) =>
  conflict(`the backup is of another database than ${what}: restore into an empty folder with --data, not ${folder}`)

/** A newer version may know kinds of death that this one does not. */
const refuseNewer = (client: Database, file: string, version: string): void => {
  const newest = (schema: string) =>
    (client.query(`SELECT max(created_at) AS at FROM ${schema}.__drizzle_migrations`).get() as { at: number }).at
  if (newest('old') <= newest('main')) return
  const { value } = client.query("SELECT value FROM old.meta WHERE key = 'version'").get() as { value: string }
  throw conflict(`${file}: the database in place is of portcullis ${value}; this is ${version}: restore with ${value}`)
}

const openStaged = (backup: Backup, folder: string, version: string, now: Clock): Store => {
  const refuse = (why: string, cause?: unknown) =>
    new AppError('invalid', `${backup.file}: can't be restored: ${why}`, 'backup', { cause })
  let store
  try {
    store = openStore({ folder, keyFile: filesOf(folder).key, version, now, copy: false })
  } catch (cause) {
    throw refuse(messageOf(cause).replaceAll(`${folder}/`, ''), cause)
  }
  try {
    const check = store.client.query('PRAGMA quick_check').get() as { quick_check: string }
    if (check.quick_check === 'ok') return store
    throw refuse(`its database is damaged: ${check.quick_check}`)
  } catch (error) {
    store.close()
    throw error instanceof AppError ? error : refuse(`its database is damaged: ${messageOf(error)}`, error)
  }
}

export const fold = (client: Database): void => {
  const { busy } = client.query('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number }
  if (busy) throw new Error('it is busy')
  client.run('PRAGMA journal_mode = DELETE')
}

/**
 * Moves what a database's -wal still holds into it: it holds revocations, and would be lost, or worse, be taken for the new
 * database's. Throws `conflict` when another program reads it.
 */
export const foldWal = (file: string): void => {
  const client = new Database(file)
  try {
    fold(client)
  } catch (error) {
    throw conflict(`${file}: is used by another program, end it first (${messageOf(error)})`)
  } finally {
    client.close()
  }
}

/** Gives a database a second name, so that the first can be taken over in one rename. */
export const putAside = (file: string, now: number): string => {
  const stamp = new Date(now).toISOString().replaceAll(/[-:.]/g, '')
  const aside = `${file}.before-restore-${stamp}`
  try {
    linkSync(file, aside)
  } catch {
    // A file system without links.
    copyFileSync(file, aside, constants.COPYFILE_EXCL)
  }
  return aside
}

/**
 * Puts a backup in place of a stopped node's database, in one rename: before it all is as it was, after it all is new.
 * What the database in place knows to be dead stays dead. Throws `invalid` for a backup that can't be used and `conflict`
 * for another database's; nothing is changed then.
 */
export const restoreBackup = (backup: Backup, options: RestoreOptions): Restored => {
  const { folder, keyFile, version, now } = options
  const files = filesOf(folder)
  const { restore: staging } = stagingOf(folder)
  rmSync(staging, { recursive: true, force: true })
  const there = (statSync(files.database, { throwIfNoEntry: false })?.size ?? 0) > 0
  const old = there ? lookAt(files.database) : null
  if (old && options.alone) throw conflict(`--alone: ${folder} holds a database: restore into an empty folder (--data)`)
  if (old && old.database !== backup.manifest.database) throw refuseOther(`the one in ${folder}`, folder)
  const ringInPlace = existsSync(keyFile) ? readKeyFile(keyFile) : null
  if (ringInPlace && ringInPlace.database !== backup.manifest.database) throw refuseOther(`${keyFile} is for`, folder)

  mkdirSync(staging, { mode: 0o700 })
  try {
    const staged = filesOf(staging)
    extract(backup, NAMES.database, staged.database)
    extract(backup, NAMES.key, staged.key)
    if (backup.has(NAMES.settings)) extract(backup, NAMES.settings, staged.settings)
    const all = keysOf(backup, staged.key, ringInPlace)
    const store = openStaged(backup, staging, version, now)
    // By either log: the key file in place may be an older one that was put back.
    const removed = [...removedIn(store.client, 'main', 'key.remove'), ...(old?.keysRemoved ?? [])]
    const ring = { database: store.database, keys: keysToKeep(all, removed, now) }
    // What the backup holds is still sealed under any of them.
    store.keys.replace(unite(all, ring.keys))
    const { merged, cluster } = settle(store, backup, old, options)
    syncPath(staged.database)

    if (old) foldWal(files.database)
    // Nothing refers to these without their database, and another's -wal must never be found beside the new one.
    else for (const suffix of ['-wal', '-shm']) rmSync(files.database + suffix, { force: true })
    // The ring holds the keys of both databases, so either of them opens with it, whatever happens now. Not a key that the
    // backup knows to be removed: were it all that the other opens with, a crash here would take another restore.
    if (!Bun.deepEquals(ring, ringInPlace)) writeKeyFile(keyFile, ring)
    const settings = settleSettings(staged.settings, files.settings)
    const replaced = old ? putAside(files.database, now()) : null
    syncPath(folder)
    renameSync(staged.database, files.database)
    syncPath(folder)
    return { at: backup.manifest.at, folder, merged, replaced, settings, cluster }
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

type InPlace = ReturnType<typeof lookAt>

/** Makes the backup's database the one to go on with: one transaction, with its audit row. Closes it. */
const settle = (store: Store, backup: Backup, old: InPlace | null, options: RestoreOptions) => {
  const { folder, version, actor, wholeCluster = false, alone = false } = options
  const file = filesOf(folder).database
  const details: Record<string, unknown> = { backup: backup.manifest.at, merged: old !== null, wholeCluster, alone }
  const cluster = new ClusterStore(store)
  let merged: Merged | null = null
  try {
    if (old) {
      store.client.query('ATTACH DATABASE ? AS old').run(file)
      refuseNewer(store.client, file, version)
    }
    const servers = new ServerStore(store)
    const all = servers.all()
    store.log.change({ actor, action: 'node.restore', targetId: store.node, details }, [], () => {
      if (old) {
        merged = mergeDead(store)
        const { gone, ...kept } = merged
        // The audit log in place ends here, and with it what it says of these: the next restore must still know.
        const { keysRemoved, operatorsRemoved } = old
        Object.assign(details, { kept, gone: gone.length, keysRemoved, operatorsRemoved })
      }
      servers.reseal(all)
      cluster.reseal()
      if (wholeCluster) cluster.retire()
      if (alone) cluster.leave()
    })
    const restored = cluster.restored()
    if (old) store.client.run('DETACH DATABASE old')
    // By this connection: until its statements are collected it is not really closed.
    fold(store.client)
    return { merged, cluster: restored }
  } catch (error) {
    if (error instanceof AppError && error.kind !== 'storage') throw error
    throw old ? unreadable(file, error) : error
  } finally {
    store.close()
  }
}

/** The keys of the backup and of the place, which the staged file holds from here on. */
const keysOf = (backup: Backup, staged: string, inPlace: KeyRingData | null): RingKey[] => {
  const { database } = backup.manifest
  let own: KeyRingData
  try {
    own = readKeyFile(staged)
  } catch (cause) {
    throw new AppError('invalid', `${backup.file}: can't be restored: its keys can't be read`, 'backup', { cause })
  }
  if (own.database !== database) throw invalid(`${backup.file}: can't be restored: its keys are another database's`)
  const all = unite(own.keys, inPlace?.keys ?? [])
  writeKeyFile(staged, { database, keys: all })
  return all
}

/** What was removed may be in a thief's hands: nothing is sealed, signed or checked with it again. */
const keysToKeep = (all: readonly RingKey[], removed: readonly string[], now: Clock): RingKey[] => {
  const kept = all.filter((key) => !removed.includes(key.id))
  return kept.length > 0 ? kept : [newRingKey(now())]
}

/** The key file that the backup's settings name, where they would be brought; null: none. */
export const keyFileNamedIn = (backup: Backup, folder: string): string | null => {
  if (!backup.has(NAMES.settings) || existsSync(filesOf(folder).settings)) return null
  try {
    const named = (Bun.TOML.parse(backup.text(NAMES.settings)) as Record<string, unknown>)['key-file']
    return named === undefined ? null : String(named)
  } catch (cause) {
    throw new AppError('invalid', `${backup.file}: its settings can't be read: ${messageOf(cause)}`, 'backup', {
      cause,
    })
  }
}

/** Settings are brought where there are none: those in place are of this machine. */
const settleSettings = (staged: string, file: string): Restored['settings'] => {
  if (!existsSync(staged)) return 'none'
  if (existsSync(file)) return 'kept'
  syncPath(staged)
  renameSync(staged, file)
  return 'restored'
}
