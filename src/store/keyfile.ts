import {
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { AppError, messageOf } from '../error.ts'
import { type KeyRingData, newRingKey } from '../key.ts'
import { ownerOf } from './owner.ts'
import { syncPath } from './sync.ts'

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
      'the key file is missing, and without it no token of this database can be checked; put it back from your backup ' +
        '(portcullis restore FILE). Is there none, every token and server must be made anew: move portcullis.db out of ' +
        'the data folder, and start',
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

/** What stands in a key file. */
export const keyFileText = ({ database, keys }: KeyRingData): string => {
  const content: KeyFile = {
    portcullis: 'key-file',
    version: 1,
    database,
    keys: keys.map(({ id, createdAt, secret }) => ({
      id,
      createdAt: new Date(createdAt).toISOString(),
      secret: Buffer.from(secret).toString('base64'),
    })),
  }
  return `${JSON.stringify(content, null, 2)}\n`
}

/**
 * Writes the ring whole or not at all, 0600, and safely on disk when it returns. A file that is there keeps its owner.
 * Throws `storage`, and leaves what was there, when it can't be written.
 */
export const writeKeyFile = (file: string, ring: KeyRingData): void => {
  try {
    // A rename would put a file in the place of a link, and leave what it leads to as it was.
    const target = existsSync(file) ? realpathSync(file) : file
    const temporary = `${target}.tmp`
    rmSync(temporary, { force: true })
    // Made anew: a link of that name would lead elsewhere.
    const fd = openSync(temporary, 'wx', 0o600)
    const owner = ownerOf(target)
    try {
      if (owner) fchownSync(fd, owner.uid, owner.gid)
      writeSync(fd, keyFileText(ring))
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, target)
    syncPath(dirname(target))
  } catch (cause) {
    throw new AppError('storage', `--key-file ${file}: can't be written: ${messageOf(cause)}`, 'storage', { cause })
  }
}

/** What a crash left of a key file that was being written: it holds keys. */
export const removeUnfinishedKeyFile = (file: string): void => {
  rmSync(`${existsSync(file) ? realpathSync(file) : file}.tmp`, { force: true })
}

/** The first ring of a new database. */
export const newKeyFile = (file: string, database: string, now: number): KeyRingData => {
  const ring = { database, keys: [newRingKey(now)] }
  writeKeyFile(file, ring)
  return ring
}
