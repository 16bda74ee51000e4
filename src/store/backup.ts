import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, conflict, messageOf } from '../error.ts'
import type { RingKey } from '../key.ts'
import type { Limits } from '../limits.ts'
import type { Actor } from '../operator.ts'
import { formatTime } from '../time.ts'
import { type Manifest, NAMES } from './archive.ts'
import { bytesFree, bytesOf } from './before.ts'
import { filesOf } from './folder.ts'
import { keyFileText, removeUnfinishedKeyFile } from './keyfile.ts'
import type { Store } from './open.ts'
import { TAR_END, tarHeader, tarPadding } from './tar.ts'

/** What is in the folder for a moment only: the copy that a backup is made from, and what a restore prepares. */
export const stagingOf = (folder: string) => ({
  backup: join(folder, 'portcullis.backup.tmp'),
  restore: join(folder, 'portcullis.restore.tmp'),
})

export const removeStagedCopy = (folder: string): void => {
  for (const suffix of ['', '-journal']) rmSync(stagingOf(folder).backup + suffix, { force: true })
}

/** The names of databases that a restore put aside. */
const ASIDE = /^portcullis\.db\.before-restore-/

/**
 * Removes what a crash left of a backup or a restore, before a node starts on a locked folder. Throws `conflict` where a
 * restore into an empty folder was cut short: an empty database in its place would look like a restored one.
 */
export const clearStaging = (folder: string, keyFile: string): void => {
  const { database } = filesOf(folder)
  const { restore } = stagingOf(folder)
  if (existsSync(restore) && !existsSync(database)) {
    throw conflict(`--data ${folder}: a restore was interrupted here: do it again, or remove ${restore} to begin anew`)
  }
  removeStagedCopy(folder)
  removeUnfinishedKeyFile(keyFile)
  rmSync(restore, { recursive: true, force: true })
  const own = statSync(database, { throwIfNoEntry: false })?.ino
  for (const name of readdirSync(folder).filter((entry) => ASIDE.test(entry))) {
    // It was put aside, but nothing came in its place: one file of two names.
    if (statSync(join(folder, name)).ino === own) rmSync(join(folder, name))
  }
}

export interface BackupsDeps {
  folder: string
  version: string
  store: Store
  limits: Limits
  /** Writes what waits in the journal; false when it still waits. */
  flush(): boolean
  /** Copies the live database to that file, off the loop. */
  snapshot(to: string): Promise<{ bytes: number; sha256: string }>
}

/** A file that is deleted already, read off the loop, and given back to the disk in slices. */
class Copy {
  #at = 0
  #idle: NodeJS.Timeout
  #released = false

  constructor(
    readonly handle: FileHandle,
    readonly bytes: number,
    readonly limits: Limits,
    readonly onReleased: () => void,
  ) {
    // Whoever takes nothing for so long is gone, and their copy fills the disk.
    this.#idle = setTimeout(() => void this.release(), limits.backupIdleMs)
  }

  /** The next slice; null: that was all. */
  async next(): Promise<Uint8Array | null> {
    this.#idle.refresh()
    const { bytesRead, buffer } = await this.handle.read(
      new Uint8Array(this.limits.backupSliceBytes),
      0,
      Math.min(this.limits.backupSliceBytes, this.bytes - this.#at),
      this.#at,
    )
    this.#at += bytesRead
    return bytesRead === 0 ? null : buffer.subarray(0, bytesRead)
  }

  async release(): Promise<void> {
    if (this.#released) return
    this.#released = true
    clearTimeout(this.#idle)
    try {
      // Hundreds of megabytes given back at once would let a revocation's sync wait for it.
      for (let size = this.bytes; size > 0; size -= this.limits.backupTruncateBytes) {
        await this.handle.truncate(Math.max(0, size - this.limits.backupTruncateBytes))
      }
    } finally {
      await this.handle.close()
      this.onReleased()
    }
  }
}

/** Makes backups of a live node, one at a time. */
export class Backups {
  #running = false

  constructor(readonly deps: BackupsDeps) {}

  /** When the last one was asked for, by the audit log; null: never. */
  lastAt(): number | null {
    const { client } = this.deps.store
    const row = client.query("SELECT at FROM audit WHERE action = 'node.backup' ORDER BY sequence DESC LIMIT 1").get()
    return (row as { at: number } | null)?.at ?? null
  }

  /**
   * One file of database, keys and settings, as it is read. Throws `conflict` while another is made, and `storage`
   * where there is no room for the copy, or revocations wait for a database that can't be written.
   */
  async make(actor: Actor): Promise<AsyncGenerator<Uint8Array>> {
    if (this.#running) throw conflict('another backup is being made: wait until it is done')
    const { folder, store, flush } = this.deps
    this.#checkRoom()
    // They would not be in the copy, and come to life with it.
    if (!flush()) throw new AppError('storage', "revocations wait in the journal, since the database can't be written")
    store.log.change({ actor: actor.name, action: 'node.backup', targetId: store.node }, [], () => undefined)
    this.#running = true
    try {
      return await this.#archive(store.now())
    } catch (error) {
      removeStagedCopy(folder)
      this.#running = false
      throw error instanceof AppError ? error : new AppError('storage', `no backup was made: ${messageOf(error)}`)
    }
  }

  #checkRoom(): void {
    const { folder, limits } = this.deps
    const { database } = filesOf(folder)
    const needed = bytesOf(database) + limits.backupReserveBytes
    const free = bytesFree(database)
    const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`
    if (free >= needed) return
    throw new AppError(
      'storage',
      `a backup takes ${megabytes(needed)} of room in ${folder} while it is made, and there are ${megabytes(free)}`,
    )
  }

  async #archive(at: number): Promise<AsyncGenerator<Uint8Array>> {
    const { folder, version, store, limits, snapshot } = this.deps
    const staging = stagingOf(folder).backup
    removeStagedCopy(folder)
    const before = store.keys.data.keys
    const { bytes, sha256 } = await snapshot(staging)
    if (bytes > limits.backupBytesMax) throw new AppError('too_large', `the database is too large: ${bytes} bytes`)
    const { settings } = filesOf(folder)
    // The copy may need a key that was made, or removed, meanwhile.
    const keys = keyFileText({ database: store.database, keys: unite(before, store.keys.data.keys) })
    const small = new Map<string, Uint8Array>([[NAMES.key, Buffer.from(keys)]])
    if (existsSync(settings)) small.set(NAMES.settings, readFileSync(settings))
    const manifest: Manifest = {
      portcullis: 'backup',
      version,
      database: store.database,
      at: formatTime(at),
      sha256: {
        [NAMES.database]: sha256,
        ...Object.fromEntries([...small].map(([name, content]) => [name, Bun.SHA256.hash(content, 'hex')])),
      },
    }
    small.set(NAMES.manifest, Buffer.from(JSON.stringify(manifest)))
    const handle = await open(staging, 'r+')
    // Whatever happens from here on, nothing is left behind.
    await unlink(staging)
    const copy = new Copy(handle, bytes, limits, () => {
      this.#running = false
    })
    return archiveOf(small, copy, at)
  }
}

/** Keys in the order of their age, the current one of `later` last. */
export const unite = (earlier: readonly RingKey[], later: readonly RingKey[]): RingKey[] => {
  const known = new Set(later.map((key) => key.id))
  return [...earlier.filter((key) => !known.has(key.id)), ...later]
}

async function* archiveOf(small: Map<string, Uint8Array>, copy: Copy, at: number): AsyncGenerator<Uint8Array> {
  try {
    for (const [name, content] of small) {
      yield Buffer.concat([tarHeader(name, content.length, at), content, tarPadding(content.length)])
    }
    yield tarHeader(NAMES.database, copy.bytes, at)
    for (let slice = await copy.next(); slice; slice = await copy.next()) yield slice
    yield Buffer.concat([tarPadding(copy.bytes), TAR_END])
  } finally {
    await copy.release()
  }
}
