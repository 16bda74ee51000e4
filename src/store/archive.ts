import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { type AppError, invalid, messageOf } from '../error.ts'
import { limits } from '../limits.ts'
import { readTar, type TarEntry } from './tar.ts'

/** A backup is a tar file of these names. It holds the keys: who has it, has everything. */
export const NAMES = {
  manifest: 'backup.json',
  database: 'portcullis.db',
  key: 'portcullis.key',
  settings: 'portcullis.toml',
} as const

export interface Manifest {
  portcullis: 'backup'
  version: string
  database: string
  /** RFC 3339. */
  at: string
  /** Of each file, hexadecimal; backups before 0.4.0 have none. */
  sha256?: Record<string, string>
}

const SLICE_BYTES = 1024 * 1024

/** A backup that was read and found whole; nothing of it has been used yet. */
export interface Backup {
  file: string
  manifest: Manifest
  has(name: string): boolean
  /** Hands over the bytes of one of its files, slice by slice: the database may be larger than the memory. */
  read(name: string, take: (slice: Uint8Array) => void): void
  text(name: string): string
  close(): void
}

const checkNames = (entries: readonly TarEntry[]): void => {
  const known: string[] = Object.values(NAMES)
  for (const { name, size } of entries) {
    if (!known.includes(name)) throw invalid(`it holds ${JSON.stringify(name)}, which no backup does`)
    if (name !== NAMES.database && size > limits.smallFileBytesMax) throw invalid(`${name} in it is too large`)
  }
  if (new Set(entries.map(({ name }) => name)).size < entries.length) throw invalid('it holds a file twice')
  for (const name of [NAMES.manifest, NAMES.database, NAMES.key]) {
    if (!entries.some((entry) => entry.name === name))
      throw invalid(`it is not a backup of portcullis: no ${name} in it`)
  }
}

const parseManifest = (text: string): Manifest => {
  let manifest: Partial<Manifest> | null
  try {
    manifest = JSON.parse(text) as Partial<Manifest> | null
  } catch (error) {
    throw invalid(`its ${NAMES.manifest} can't be read: ${messageOf(error).slice(0, 80)}`)
  }
  const { portcullis, version, database, at, sha256 } = manifest ?? {}
  const whole = [version, database, at].every((value) => typeof value === 'string')
  if (portcullis !== 'backup' || !whole || Number.isNaN(Date.parse(at as string))) {
    throw invalid(`it is not a backup of portcullis: its ${NAMES.manifest} says nothing of one`)
  }
  if (sha256 !== undefined && (typeof sha256 !== 'object' || sha256 === null)) throw invalid('its digests are damaged')
  return manifest as Manifest
}

const openArchive = (file: string, fd: number): Backup => {
  const { size } = fstatSync(fd)
  const entries = readTar(fd, size)
  checkNames(entries)
  const read = (name: string, take: (slice: Uint8Array) => void) => {
    const entry = entries.find((candidate) => candidate.name === name)
    const slice = new Uint8Array(SLICE_BYTES)
    for (let done = 0; entry && done < entry.size;) {
      const got = readSync(fd, slice, 0, Math.min(SLICE_BYTES, entry.size - done), entry.offset + done)
      if (got === 0) throw invalid(`${file}: was cut off while it was read`)
      take(slice.subarray(0, got))
      done += got
    }
  }
  const text = (name: string) => {
    const parts: Buffer[] = []
    read(name, (slice) => parts.push(Buffer.from(slice)))
    return Buffer.concat(parts).toString('utf8')
  }
  const manifest = parseManifest(text(NAMES.manifest))
  for (const [name, expected] of Object.entries(manifest.sha256 ?? {})) {
    const hasher = new Bun.CryptoHasher('sha256')
    read(name, (slice) => hasher.update(slice))
    if (hasher.digest('hex') !== expected) throw invalid(`${name} in it was altered, or is damaged`)
  }
  return {
    file,
    manifest,
    has: (name) => entries.some((entry) => entry.name === name),
    read,
    text,
    close: () => closeSync(fd),
  }
}

/** Opens a backup, before anything is touched. Throws `invalid` for what is none, is damaged, cut off or altered. */
export const openBackup = (file: string): Backup => {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (error) {
    throw invalid(`${file}: can't be read: ${messageOf(error)}`)
  }
  try {
    return openArchive(file, fd)
  } catch (error) {
    closeSync(fd)
    throw invalid(`${file}: can't be restored: ${(error as AppError).message}`)
  }
}
