import { Database } from 'bun:sqlite'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CheckpointJson } from '../../../src/server/api/schemas.ts'
import { filesOf } from '../../../src/store/folder.ts'

export interface TokenFacts {
  id: string
  status: string
  subject: string | null
  group: string | null
  /** Where the version knew policies, and this one has one. */
  policy?: unknown
  /** How often its secrets were tried after its death. */
  deadTries: number
}

/** What a released version left in its data folder, as it said itself. Made by make.ts. */
export interface Facts {
  version: string
  madeAt: string
  /** The encrypted header that each request to `github` carries. */
  header: { name: string; value: string }
  tokens: Record<string, TokenFacts>
  /** Each secret, what the gate answered to it, and what it had answered when the backup was made. */
  secrets: { token: string; secret: string; server: string; answer: number; inBackup: number; diesAt?: string }[]
  servers: Record<string, string>
  operators: { name: string; password: string; role: string; removed: boolean }[]
  apiKeys: { name: string; key: string; answer: number }[]
  revocations: { id: string; note: string; tokens: string[]; cut: number }[]
  /** Signed by the first key of the ring, by the second, and at the very end. */
  checkpoints: CheckpointJson[]
}

const folderOf = (version: string): string => join(import.meta.dir, version)

export const RELEASED = readdirSync(import.meta.dir)
  .filter((name) => /^\d/.test(name))
  .toSorted(Bun.semver.order)

export const factsOf = (version: string): Facts =>
  JSON.parse(readFileSync(join(folderOf(version), 'facts.json'), 'utf8')) as Facts

export const PACKED = {
  database: 'portcullis.db.gz',
  key: 'portcullis.key',
  journal: 'portcullis.journal.gz',
  backup: 'backup.gz',
}

const unpacked = (version: string, name: string): Uint8Array => {
  const bytes = readFileSync(join(folderOf(version), name))
  return name.endsWith('.gz') ? Bun.gunzipSync(bytes) : bytes
}

/** Its servers lead there from now on. */
const lead = (database: string, url: string): void => {
  const client = new Database(database)
  client.query('UPDATE servers SET url = ?').run(`${url}/`)
  client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  client.close()
}

/**
 * Makes the data folder as that version left it: stopped by kill -9 while the disk was full, a revocation and a closing
 * waiting in the journal.
 */
export const makeReleased = (version: string, folder: string, upstream: string): Facts => {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const files = filesOf(folder)
  for (const [name, to] of [
    [PACKED.database, files.database],
    [PACKED.key, files.key],
    [PACKED.journal, files.journal],
  ] as const) {
    writeFileSync(to, unpacked(version, name), { mode: 0o600 })
  }
  lead(files.database, upstream)
  return factsOf(version)
}

/** Writes the backup that the version's own `backup` made, before the last revocation and closing. */
export const writeReleasedBackup = (version: string, file: string): void =>
  writeFileSync(file, unpacked(version, PACKED.backup), { mode: 0o600 })

// For tests whose folder is made by a shell: bun test/support/released/released.ts VERSION FOLDER UPSTREAM
if (import.meta.main) {
  const [version = '', folder = '', upstream = ''] = process.argv.slice(2)
  makeReleased(version, folder, upstream)
}
