import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { AppError, messageOf } from '../error.ts'
import { type KeyRingData, newRingKey } from '../key.ts'

interface KeyFile {
  portcullis: 'key-file'
  version: 1
  database: string
  keys: { id: string; createdAt: string; secret: string }[]
}

const refuse = (file: string, why: string) => new AppError('invalid', `--key-file ${file}: ${why}`, 'key-file')

/** Reads the ring. Throws `invalid` with what to do: missing, of the wrong mode, not a key file. */
export const readKeyFile = (file: string): KeyRingData => {
  if (!existsSync(file)) {
    throw refuse(
      file,
      'the key file is missing, and without it no token of this database can be checked; put it back from your backup',
    )
  }
  const mode = statSync(file).mode & 0o777
  if (mode & 0o077) throw refuse(file, `its mode is ${mode.toString(8)}, others could read it; do: chmod 600 ${file}`)
  let parsed: KeyFile
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8')) as KeyFile
  } catch (cause) {
    throw refuse(file, `can't be read as a key file: ${messageOf(cause).slice(0, 80)}`)
  }
  const entries =
    Array.isArray(parsed?.keys) &&
    parsed.keys.every((key) => typeof key?.id === 'string' && typeof key.secret === 'string')
  if (parsed?.portcullis !== 'key-file' || !entries || typeof parsed.database !== 'string') {
    throw refuse(file, 'is not a key file of portcullis')
  }
  if (parsed.version !== 1) throw refuse(file, `is of version ${parsed.version}, this portcullis knows version 1`)
  const keys = parsed.keys.map((key) => {
    const secret = new Uint8Array(Buffer.from(key.secret, 'base64'))
    if (secret.length !== 32) throw refuse(file, `the key ${key.id} is damaged`)
    return { id: key.id, createdAt: Date.parse(key.createdAt), secret }
  })
  if (keys.length === 0) throw refuse(file, 'holds no key')
  return { database: parsed.database, keys }
}

/** Refuses a key file that can't be used, before anything is made: one that is there, or the place of one that is not. */
export const checkKeyFile = (file: string, folder: string): void => {
  if (existsSync(file)) readKeyFile(file)
  else if (dirname(file) !== folder && !existsSync(dirname(file))) throw refuse(file, 'its folder is not there')
}

/** Writes the ring whole or not at all, 0600, and safely on disk when it returns. */
export const writeKeyFile = (file: string, ring: KeyRingData): void => {
  const content: KeyFile = {
    portcullis: 'key-file',
    version: 1,
    database: ring.database,
    keys: ring.keys.map(({ id, createdAt, secret }) => ({
      id,
      createdAt: new Date(createdAt).toISOString(),
      secret: Buffer.from(secret).toString('base64'),
    })),
  }
  const temporary = `${file}.tmp`
  const fd = openSync(temporary, 'w', 0o600)
  try {
    writeSync(fd, `${JSON.stringify(content, null, 2)}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, file)
  syncFolder(dirname(file))
}

/** Makes a rename in the folder last over a power cut. */
export const syncFolder = (folder: string): void => {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** The first ring of a new database. */
export const newKeyFile = (file: string, database: string, now: number): KeyRingData => {
  const ring = { database, keys: [newRingKey(now)] }
  writeKeyFile(file, ring)
  return ring
}
