import { constants, Database } from 'bun:sqlite'
import { accessSync, constants as fs } from 'node:fs'
import { pathToFileURL } from 'node:url'
import migrations from '../../drizzle/meta/_journal.json' with { type: 'json' }
import { messageOf } from '../error.ts'
import type { StdioSpec } from '../stdio.ts'
import { codeOf, seen } from './path.ts'

/** What the database says, read without touching it. */
export type Records =
  | { kind: 'absent' | 'hidden' }
  | { kind: 'broken'; why: string }
  | { kind: 'newer'; version: string }
  | {
      kind: 'known'
      /** The version that wrote the schema, and whether it is the schema of this one. */
      version: string
      older: boolean
      /** The id that the key file names too. */
      database: string | null
      hasOwner: boolean
      operators: number
      /** When the newest row of the audit log was written. */
      newestAt: number | null
      servers: { name: string; url: string }[]
      /** Those that are commands and run on this node. */
      commands: StdioRecord[]
    }

/** What is known of a server that is a command. */
export type StdioRecord = Pick<StdioSpec, 'command' | 'user' | 'sandbox' | 'allow'> & { name: string }

/** This version's migrations, in order, by the time that names each. */
const OURS = migrations.entries.map(({ when }) => when)

/** How large a file is; null: it is none. What only looks like one, such as a pipe, could be waited for without end. */
const sizeOf = (file: string): number | null => {
  const at = seen(file)
  return typeof at === 'object' && at.isFile() ? at.size : null
}

/**
 * Opens the database so that nothing beside it is made or changed: a running or killed node's through the files that it
 * left, a stopped node's as what never changes. A log whose index is missing is not read.
 */
export const openUntouched = (file: string): Database => {
  const wal = Number(sizeOf(`${file}-wal`)) > 0 && sizeOf(`${file}-shm`) !== null
  const address = `${pathToFileURL(file).href}?mode=ro&${wal ? 'readonly_shm=1' : 'immutable=1'}`
  return new Database(address, constants.SQLITE_OPEN_READONLY | constants.SQLITE_OPEN_URI)
}

const read = (client: Database): Records => {
  const all = <T>(sql: string) => client.query(sql).all() as T[]
  const tables = new Set(
    all<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'").map((t) => t.name),
  )
  const missing = ['__drizzle_migrations', 'meta', 'audit', 'operators', 'servers'].find((name) => !tables.has(name))
  if (missing) return { kind: 'broken', why: `it has no table ${missing}, so it is none of portcullis` }
  const meta = new Map(all<{ key: string; value: string }>('SELECT key, value FROM meta').map((m) => [m.key, m.value]))
  const version = meta.get('version') ?? 'unknown'
  const applied = all<{ at: number }>('SELECT created_at AS at FROM __drizzle_migrations ORDER BY rowid')
  if (applied.some(({ at }, index) => Number(at) !== OURS[index])) return { kind: 'newer', version }
  const operators = all<{ role: string; ready: number }>(
    'SELECT role, password_hash IS NOT NULL AS ready FROM operators',
  )
  // A database of 0.6.0 knows of no commands.
  const stdio = all<{ name: string }>('PRAGMA table_info(servers)').some(({ name }) => name === 'stdio')
  const rows = all<{ name: string; url: string; stdio: string | null }>(
    `SELECT name, url, ${stdio ? 'stdio' : 'NULL AS stdio'} FROM servers
      WHERE removed_at IS NULL AND state = 'open' ORDER BY name`,
  )
  const own = new Set([meta.get('node'), ...(JSON.parse(meta.get('cluster.formerly') ?? '[]') as string[])])
  return {
    kind: 'known',
    version,
    older: applied.length < OURS.length,
    database: meta.get('database') ?? null,
    hasOwner: operators.some(({ role, ready }) => role === 'owner' && ready === 1),
    operators: operators.length,
    newestAt: all<{ at: number }>('SELECT at FROM audit ORDER BY sequence DESC LIMIT 1')[0]?.at ?? null,
    servers: rows.flatMap(({ name, url, stdio }) => (stdio === null ? [{ name, url }] : [])),
    commands: rows.flatMap(({ name, stdio }) => {
      if (stdio === null) return []
      const spec = JSON.parse(stdio) as StdioSpec
      return spec.everywhere || own.has(spec.node) ? [{ ...spec, name }] : []
    }),
  }
}

export const recordsOf = (file: string): Records => {
  const at = seen(file)
  if (at === 'hidden') return { kind: 'hidden' }
  if (at === 'absent') return { kind: 'absent' }
  if (!at.isFile()) return { kind: 'broken', why: 'it is not a file' }
  if (at.size === 0) return { kind: 'absent' }
  let client: Database | null = null
  try {
    accessSync(file, fs.R_OK)
    client = openUntouched(file)
    return read(client)
  } catch (error) {
    if (codeOf(error) === 'EACCES') return { kind: 'hidden' }
    return { kind: 'broken', why: messageOf(error) }
  } finally {
    client?.close()
  }
}
