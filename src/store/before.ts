import type { Database } from 'bun:sqlite'
import { renameSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { syncPath } from './sync.ts'

/** The database as it was before `version` migrated it. */
export const copyBefore = (file: string, version: string): string => `${file}.before-${version}`

/** Of no version: whatever starts next finds what a crash left of it. */
const unfinished = (file: string): string => `${file}.before.tmp`

/** With its journal, which SQLite would play back into the next copy. */
export const removeUnfinishedCopy = (file: string): void => {
  for (const suffix of ['', '-journal']) rmSync(unfinished(file) + suffix, { force: true })
}

/** The database with what its -wal still holds. */
export const bytesOf = (file: string): number =>
  [file, `${file}-wal`].reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0)

export const bytesFree = (file: string): number => {
  const { bavail, bsize } = statfsSync(dirname(file))
  return bavail * bsize
}

/**
 * Copies the database, for its owner alone and safely on disk; a copy that has the name is whole. One that an earlier
 * try left is replaced: the older version may have run since, and revoked. It is not read again to check it: that would
 * come out of memory, not off the disk.
 */
export const makeCopy = (client: Database, file: string, copy: string): void => {
  const temporary = unfinished(file)
  writeFileSync(temporary, '', { mode: 0o600 })
  client.query('VACUUM INTO ?').run(temporary)
  syncPath(temporary)
  renameSync(temporary, copy)
  syncPath(dirname(file))
}
