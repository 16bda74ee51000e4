import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { cpSync, existsSync, readdirSync, readFileSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Upgrade } from '../../src/store/migrate.ts'
import { openStore } from '../../src/store/open.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { makeReleased, RELEASED } from '../support/released/released.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

let folder: string
beforeEach(() => {
  folder = tempFolder()
})
afterEach(() => removeFolder(folder))

const OLDEST = RELEASED[0] ?? ''
const NOWHERE = 'http://127.0.0.1:1'
const fileIn = (data: string) => join(data, 'portcullis.db')
const copyIn = (data: string) => `${fileIn(data)}.before-7.7.7`

const open = (version: string, data = folder, options: Partial<Parameters<typeof openStore>[0]> = {}) =>
  openStore({ folder: data, keyFile: join(data, 'portcullis.key'), version, now: () => 1_000, ...options })
/** As SQLite keeps it, but for blanks and quotes: an index or a trigger that differs in one word is found. */
const schemaOf = (client: Database) =>
  (
    client.query("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").all() as {
      type: string
      name: string
      sql: string
    }[]
  )
    .map(({ type, name, sql }) => `${type} ${name}: ${sql.replaceAll(/[\s"`]+/g, '')}`)
    .toSorted()
const migrationsOf = (client: Database) =>
  client.query('SELECT hash, created_at FROM __drizzle_migrations ORDER BY rowid').all()
const valueOf = (client: Database, key: string) =>
  (client.query('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | null)?.value
/** All that is in a database; what it was must be what it is, where nothing may change. */
const contentsOf = (file: string) => {
  const client = new Database(file, { readonly: true })
  const tables = client.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all() as {
    name: string
  }[]
  const rows = tables.map(({ name }) => [name, client.query(`SELECT * FROM "${name}"`).all()])
  const contents = { schema: schemaOf(client), rows, check: client.query('PRAGMA integrity_check').all() }
  client.close()
  return contents
}
const mark = (file: string, key: string) => {
  const client = new Database(file)
  client.query("INSERT INTO meta (key, value) VALUES (?, 'set')").run(key)
  client.close()
}

describe.each(RELEASED)('a database of %s', (version) => {
  test('is copied, then of this schema', () => {
    const fresh = open('7.7.7', join(folder))
    const today = { schema: schemaOf(fresh.client), migrations: migrationsOf(fresh.client) }
    fresh.close()
    const data = join(folder, 'older')
    makeReleased(version, data, NOWHERE)
    const before = contentsOf(fileIn(data))
    const said: [Upgrade, number | null][] = []
    // Once it is done, nothing is left there that the first revocation would have to move.
    let walBytes = Number.NaN
    const onUpgrade = (...call: (typeof said)[number]) => {
      said.push(call)
      walBytes = statSync(`${fileIn(data)}-wal`).size
    }
    const upgraded = open('7.7.7', data, { onUpgrade })
    expect({ schema: schemaOf(upgraded.client), migrations: migrationsOf(upgraded.client) }).toEqual(today)
    upgraded.close()
    // The names of tables and indexes may be the same: a column was added.
    if (Bun.deepEquals(before.schema, today.schema)) {
      expect(said).toEqual([])
      expect(readdirSync(data).filter((name) => name.includes('before'))).toEqual([])
      return
    }
    const upgrade = { from: version, to: '7.7.7', bytes: expect.any(Number), copy: copyIn(data) }
    expect(said).toEqual([
      [upgrade, null],
      [upgrade, expect.any(Number)],
    ])
    expect((statSync(copyIn(data)).mode & 0o777).toString(8)).toBe('600')
    expect(contentsOf(copyIn(data))).toEqual(before)
    const after = new Database(fileIn(data), { readonly: true })
    expect([valueOf(after, 'version'), after.query('PRAGMA integrity_check').get()]).toEqual([
      '7.7.7',
      { integrity_check: 'ok' },
    ])
    after.close()
    expect(walBytes).toBe(0)
  })
})

test('one that is up to date is neither copied nor changed', () => {
  open('0.0.1').close()
  const before = contentsOf(fileIn(folder))
  open('7.7.7').close()
  expect(contentsOf(fileIn(folder))).toEqual(before)
  expect(readdirSync(folder).filter((name) => name.includes('before'))).toEqual([])
})

test('a copy is not made of a copy', () => {
  makeReleased(OLDEST, folder, NOWHERE)
  open('7.7.7', folder, { copy: false }).close()
  expect(readdirSync(folder).filter((name) => name.includes('before'))).toEqual([])
})

test('what an earlier try left gives way: the older version may have revoked since', () => {
  makeReleased(OLDEST, folder, NOWHERE)
  cpSync(fileIn(folder), copyIn(folder))
  const leftOver = ['', '-journal'].map((suffix) => `${fileIn(folder)}.before.tmp${suffix}`)
  const leave = () => leftOver.forEach((path) => writeFileSync(path, 'half a copy'))
  leave()
  mark(fileIn(folder), 'revoked since')
  open('7.7.7').close()
  const copy = new Database(copyIn(folder), { readonly: true })
  expect(valueOf(copy, 'revoked since')).toBe('set')
  copy.close()
  expect(leftOver.filter(existsSync)).toEqual([])

  leave()
  open('7.7.8').close()
  expect(leftOver.filter(existsSync)).toEqual([])
})

/** Alters what is noted of the migrations that ran. */
const noted = (sql: string) => {
  const client = new Database(fileIn(folder))
  client.run(sql)
  client.close()
}
const NEWEST = '(SELECT max(created_at) FROM __drizzle_migrations)'
const OTHER_BUILD = /portcullis 7\.7\.7; this is 7\.7\.7: run the build of 7\.7\.7 that wrote it$/
const refusals: [title: string, sql: string, version: string, message: RegExp][] = [
  [
    'a migration more',
    `INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('new', ${NEWEST} + 1)`,
    '0.4.0',
    /portcullis\.db: the database is of portcullis 7\.7\.7; this is 0\.4\.0: run 7\.7\.7 or newer$/,
  ],
  [
    'one more of the same time',
    `INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('new', ${NEWEST})`,
    '0.4.0',
    /run 7\.7\.7 or newer$/,
  ],
  [
    'one more of its own version',
    `INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('x', 1)`,
    '7.7.7',
    OTHER_BUILD,
  ],
  ['another in the middle', `UPDATE __drizzle_migrations SET hash = 'other' WHERE rowid = 2`, '7.7.7', OTHER_BUILD],
  ['one missing in the middle', 'DELETE FROM __drizzle_migrations WHERE rowid = 2', '7.7.7', OTHER_BUILD],
]
test.each(refusals)('%s: refused by name, and left as it is', (_, sql, version, message) => {
  open('7.7.7').close()
  noted(sql)
  const before = contentsOf(fileIn(folder))
  expect(() => open(version)).toThrow(message)
  expect(contentsOf(fileIn(folder))).toEqual(before)
  expect(readdirSync(folder).filter((name) => name.includes('before'))).toEqual([])
})

test("another database's key file: refused before anything is migrated", () => {
  const data = join(folder, 'older')
  makeReleased(OLDEST, data, NOWHERE)
  const before = contentsOf(fileIn(data))
  open('0.0.1', folder).close()
  cpSync(join(folder, 'portcullis.key'), join(data, 'portcullis.key'))
  expect(() => open('7.7.7', data)).toThrow(/key file of another database/)
  expect(contentsOf(fileIn(data))).toEqual(before)
  expect(existsSync(copyIn(data))).toBe(false)
})

test.skipIf(!mayMount())('too little room: said with how much it takes, and nothing is changed', async () => {
  await using disk = await smallFolder('3m')
  const { data } = disk
  makeReleased(OLDEST, data, NOWHERE)
  const before = contentsOf(fileIn(data))
  const { bavail, bsize } = statfsSync(data)
  writeFileSync(join(data, 'portcullis.filler'), new Uint8Array(bavail * bsize - 200_000))
  expect(() => open('7.7.7', data)).toThrow(
    /portcullis\.db: can't be brought from 0\.1\.0 to 7\.7\.7: there is too little room; nothing was changed, 0\.1\.0 still starts\. It takes about 0\.\d MB of free room, and there are 0\.2 MB$/,
  )
  expect(contentsOf(fileIn(data))).toEqual(before)
  expect(readdirSync(data).filter((name) => name.includes('before'))).toEqual([])
})

test('one that fails in its middle: nothing is changed, and no copy left', () => {
  makeReleased(OLDEST, folder, NOWHERE)
  const client = new Database(fileIn(folder))
  client.run('CREATE TABLE revocation_connections (of_somebody_else text)')
  client.close()
  const before = contentsOf(fileIn(folder))
  expect(() => open('7.7.7')).toThrow(
    /can't be brought from 0\.1\.0 to 7\.7\.7: table `revocation_connections` already exists; nothing was changed, 0\.1\.0 still starts$/,
  )
  expect(contentsOf(fileIn(folder))).toEqual(before)
  expect(readdirSync(folder).filter((name) => name.includes('before'))).toEqual([])
})

test('the migrations that were released are as they were', () => {
  const sources = new Bun.Glob('*.sql').scanSync(join(import.meta.dir, '../../drizzle'))
  const hashes = [...sources].toSorted().map((name) => {
    const sql = readFileSync(join(import.meta.dir, '../../drizzle', name))
    return new Bun.CryptoHasher('sha256').update(sql).digest('hex')
  })
  for (const version of RELEASED) {
    const data = join(folder, version)
    makeReleased(version, data, NOWHERE)
    const client = new Database(fileIn(data), { readonly: true })
    const applied = (migrationsOf(client) as { hash: string }[]).map(({ hash }) => hash)
    client.close()
    expect(hashes.slice(0, applied.length)).toEqual(applied)
  }
})
