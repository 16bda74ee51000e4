import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { openStore } from '../../src/store/open.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

let folder: string
beforeEach(() => {
  folder = tempFolder()
})
afterEach(() => removeFolder(folder))

const open = (version: string) =>
  openStore({ folder, keyFile: join(folder, 'portcullis.key'), version, now: () => 1_000 })
const triggers = (client: Database) =>
  client.query("SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name").all()
const applied = (client: Database) =>
  (client.query('SELECT count(*) AS n FROM __drizzle_migrations').get() as { n: number }).n

/** The database of an older version: as before its last migration, which only makes triggers. */
const makeOlder = () => {
  const store = open('0.0.1')
  const { client } = store
  const all = { triggers: triggers(client), applied: applied(client) }
  for (const { name } of all.triggers as { name: string }[]) client.run(`DROP TRIGGER ${name}`)
  client.run('DELETE FROM __drizzle_migrations WHERE created_at = (SELECT max(created_at) FROM __drizzle_migrations)')
  client.run("INSERT INTO meta (key, value) VALUES ('mark', 'older')")
  store.close()
  return all
}

test('an older database is copied, then brought up to date', () => {
  const all = makeOlder()
  const store = open('7.7.7')
  expect([triggers(store.client), applied(store.client)]).toEqual([all.triggers, all.applied])
  store.close()
  const copy = join(folder, 'portcullis.db.before-7.7.7')
  expect((statSync(copy).mode & 0o777).toString(8)).toBe('600')
  const before = new Database(copy, { readonly: true })
  expect([triggers(before), applied(before)]).toEqual([[], all.applied - 1])
  expect(before.query("SELECT value FROM meta WHERE key = 'mark'").get()).toEqual({ value: 'older' })
  expect(before.query("SELECT value FROM meta WHERE key = 'version'").get()).toEqual({ value: '0.0.1' })
  before.close()
})

test('one that is up to date is neither copied nor changed', () => {
  open('0.0.1').close()
  open('7.7.7').close()
  expect(readdirSync(folder).filter((name) => name.includes('before'))).toEqual([])
})
