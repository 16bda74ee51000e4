import { Database } from 'bun:sqlite'
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { AppError, conflict, messageOf } from '../error.ts'
import { bytesFree, bytesOf } from './before.ts'
import { syncPath } from './sync.ts'

/** The files of a data folder. */
export const filesOf = (folder: string) => ({
  database: join(folder, 'portcullis.db'),
  key: join(folder, 'portcullis.key'),
  socket: join(folder, 'control.sock'),
  journal: join(folder, 'portcullis.journal'),
  lock: join(folder, 'portcullis.lock'),
  settings: join(folder, 'portcullis.toml'),
})

/** The database, its log, and the room that is left, in bytes. */
export const sizesOf = (folder: string) => {
  const { database } = filesOf(folder)
  const wal = bytesOf(`${database}-wal`)
  return { database: bytesOf(database) - wal, wal, available: bytesFree(database) }
}

/** Makes the data folder, for its owner alone. */
export const makeFolder = (folder: string): void => {
  try {
    const made = mkdirSync(folder, { recursive: true, mode: 0o700 })
    // Their names must last before anything in them counts.
    for (let at = folder; made && at.length >= made.length; at = dirname(at)) syncPath(dirname(at))
  } catch (cause) {
    throw new AppError('invalid', `--data ${folder}: can't be made: ${messageOf(cause)}`, 'data', { cause })
  }
  const stat = statSync(folder)
  const uid = process.getuid?.() ?? 0
  if (uid !== 0 && stat.uid !== uid) {
    const todo = `as root do: chown -R ${uid} ${folder} (a folder mounted into a container: its path outside)`
    const whose = `it is user ${stat.uid}'s, and this runs as user ${uid}`
    throw new AppError('invalid', `--data ${folder}: ${whose}; ${todo}`, 'data')
  }
  const mode = stat.mode & 0o777
  if ((mode & 0o077) === 0) return
  // Ours or empty, it is closed to others. Anything else, such as /tmp, is somebody else's to close.
  const own = readdirSync(folder).every((name) => /^(?:portcullis\.|control\.sock$)/.test(name))
  if (!own) {
    const todo = `name a folder of its own, or do: chmod 700 ${folder}`
    throw new AppError('invalid', `--data ${folder}: others may enter it (mode ${mode.toString(8)}); ${todo}`, 'data')
  }
  chmodSync(folder, 0o700)
}

const openLock = (file: string): Database => {
  try {
    return new Database(file, { create: true })
  } catch (cause) {
    // Such as one that root made in a folder of somebody else's.
    const why = `${file}: ${messageOf(cause)}; \`portcullis doctor\` says what is wrong there`
    throw new AppError('invalid', why, 'data', { cause })
  }
}

/**
 * Takes the folder for this process, until it ends in whatever way: an SQLite lock is the kernel's, so
 * kill -9 frees it. Throws `conflict` when another process has it.
 */
export const lockFolder = (folder: string): (() => void) => {
  const lock = openLock(filesOf(folder).lock)
  try {
    lock.run('PRAGMA busy_timeout = 0')
    lock.run('PRAGMA journal_mode = MEMORY')
    lock.run('BEGIN EXCLUSIVE')
  } catch (cause) {
    lock.close()
    if (!/locked|busy/i.test(messageOf(cause))) throw cause
    throw conflict(`--data ${folder}: another portcullis runs on this folder; stop it first`)
  }
  return () => lock.close()
}
