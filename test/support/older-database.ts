import { Database } from 'bun:sqlite'
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drizzle } from 'drizzle-orm/bun-sqlite'
import { migrate } from 'drizzle-orm/bun-sqlite/migrator'
import { removeFolder, tempFolder } from './temp.ts'

const MIGRATIONS = join(import.meta.dir, '../../drizzle')

/** The first so many migrations, as a folder of their own. */
const firstMigrations = (count: number): string => {
  const folder = tempFolder()
  const journal = JSON.parse(readFileSync(join(MIGRATIONS, 'meta/_journal.json'), 'utf8')) as {
    entries: { tag: string }[]
  }
  journal.entries = journal.entries.slice(0, count)
  mkdirSync(join(folder, 'meta'))
  writeFileSync(join(folder, 'meta/_journal.json'), JSON.stringify(journal))
  for (const { tag } of journal.entries) copyFileSync(join(MIGRATIONS, `${tag}.sql`), join(folder, `${tag}.sql`))
  return folder
}

const namesIn = (client: Database, sql: string): string[] =>
  (client.query(sql).all() as { name: string }[]).map(({ name }) => name)

/**
 * Makes of a stopped node's database what `version` would have left there: a new file in which only the first
 * migrations ran, with the rows of today as far as there was a place for them.
 */
export const makeOlder = (file: string, migrations: number, version: string): void => {
  const folder = firstMigrations(migrations)
  const older = join(folder, 'older.db')
  const client = new Database(older, { create: true })
  client.run('PRAGMA journal_mode = WAL')
  migrate(drizzle({ client }), { migrationsFolder: folder })
  client.query('ATTACH DATABASE ? AS today').run(file)
  const tables = namesIn(
    client,
    "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE '%\\_\\_%' ESCAPE '\\'",
  )
  for (const table of tables.filter((name) => !name.startsWith('sqlite_'))) {
    const columns = namesIn(client, `SELECT name FROM pragma_table_info('${table}', 'main')`).join(', ')
    client.run(`INSERT OR REPLACE INTO main.${table} (${columns}) SELECT ${columns} FROM today.${table}`)
  }
  client.query("INSERT OR REPLACE INTO main.meta (key, value) VALUES ('version', ?)").run(version)
  client.run('DETACH DATABASE today')
  client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  client.close()
  for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true })
  renameSync(older, file)
  removeFolder(folder)
}
