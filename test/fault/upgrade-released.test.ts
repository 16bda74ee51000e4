import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { portcullis } from '../cli/run.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode } from '../support/node.ts'
import { answersTo, type Echo, expectAlive, expectAll, expectedAnswers } from '../support/released/holds.ts'
import { factsOf, makeReleased, RELEASED, writeReleasedBackup } from '../support/released/released.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'

/** Data folders as released versions really left them, under this version's executable. */

const command = [builtBinary()]
let echo: Echo
let folder: string
let data: string
beforeAll(async () => {
  echo = await startEcho()
})
afterAll(() => echo.stop())
beforeEach(() => {
  folder = tempFolder()
  data = join(folder, 'data')
})
afterEach(() => removeFolder(folder))

const start = (at = data) => startNode({ data: at, command })
const run = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await portcullis(args, { command })
  expect([code, stderr]).toEqual([0, ''])
  return stdout
}
const aim = (client: Database) => client.query('UPDATE servers SET url = ?').run(`${echo.url}/`)

test('every version below this one is here: bun test/support/released/make.ts keeps one', () => {
  const changelog = readFileSync(join(import.meta.dir, '../../CHANGELOG.md'), 'utf8')
  const versions = [...changelog.matchAll(/^## (\d+\.\d+\.\d+)/gm)].map(([, version]) => version ?? '')
  expect(versions).toContain(packageJson.version)
  const below = versions.filter((version) => Bun.semver.order(version, packageJson.version) < 0)
  expect(RELEASED).toEqual(expect.arrayContaining(below))
  for (const version of RELEASED) expect(factsOf(version).version).toBe(version)
})

describe.each(RELEASED)('from %s', (version) => {
  test('a start upgrades, and everything holds', async () => {
    const facts = makeReleased(version, data, echo.url)
    const before = openedCopy(join(data, 'portcullis.db'))
    const node = await start()
    await expectAll(node, facts, echo)
    const copy = join(data, `portcullis.db.before-${packageJson.version}`)
    const said = node.stderr()
    expect(await node.stop()).toBe(0)
    const upgrades = before.migrations < migrationsOf(join(data, 'portcullis.db'))
    expect(said.includes(`"the database of ${version} is being brought to ${packageJson.version};`)).toBe(upgrades)
    expect(said.includes(`"the database is of ${packageJson.version} now`)).toBe(upgrades)
    if (upgrades) {
      expect((statSync(copy).mode & 0o777).toString(8)).toBe('600')
      expect(openedCopy(copy)).toEqual(before)
    }

    // A second start finds nothing to do, and all still there.
    await using again = await start()
    expect(again.stderr()).not.toContain('is being brought')
    await expectAlive(again, facts)
  }, 30_000)

  test('its backup restores into an empty folder', async () => {
    const file = join(folder, 'backup')
    writeReleasedBackup(version, file)
    await run('restore', file, '--data', data)
    const client = new Database(join(data, 'portcullis.db'))
    aim(client)
    client.close()
    await using node = await start()
    await expectAlive(node, factsOf(version), 'in backup')
  }, 30_000)

  test('its backup restores over what became of its database: nothing dead comes back', async () => {
    const facts = makeReleased(version, data, echo.url)
    const node = await start()
    await node.revoke({ tokens: ['lives'], note: 'after the upgrade' })
    const { json: rotated } = await node.api<{ token: string }>(
      'POST',
      `/tokens/${facts.tokens['expires in years']?.id}/rotations`,
      {},
    )
    await node.stop()
    const file = join(folder, 'backup')
    writeReleasedBackup(version, file)
    await run('restore', file, '--data', data)
    const client = new Database(join(data, 'portcullis.db'))
    aim(client)
    client.close()
    await using restored = await start()
    const answers = await answersTo(restored, facts)
    const dead = facts.secrets.map(
      ({ token }, at) => token === 'lives' || token === 'expires in years' || expectedAnswers(facts)[at] === 401,
    )
    expect(answers.map((answer) => answer === 401)).toEqual(dead)
    const secrets = [{ token: '', server: 'github', secret: rotated.token, answer: 200, inBackup: 200 }]
    expect(await answersTo(restored, { secrets })).toEqual([200])
  }, 30_000)
})

test('a newer backup restores over a database that an older version still ran: what it revoked stays so', async () => {
  const [oldest = ''] = RELEASED
  const newer = join(folder, 'newer')
  const facts = makeReleased(oldest, newer, echo.url)
  const node = await start(newer)
  const file = join(folder, 'backup')
  await run('backup', file, '--data', newer)
  await node.stop()

  makeReleased(oldest, data, echo.url)
  const client = new Database(join(data, 'portcullis.db'))
  client.query("UPDATE tokens SET revoked_at = 1, revocation_id = 'rev_then' WHERE name = 'lives'").run()
  client.close()
  await run('restore', file, '--data', data)
  await using restored = await start()
  const expected = facts.secrets.map(({ token }, at) => (token === 'lives' ? 401 : expectedAnswers(facts)[at]))
  expect(await answersTo(restored, facts)).toEqual(expected as number[])
}, 30_000)

const migrationsOf = (file: string): number => openedCopy(file).migrations

/** What a copy must hold of the database that it is one of. */
const openedCopy = (file: string) => {
  const client = new Database(file, { readonly: true })
  const tables = client.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all() as {
    name: string
  }[]
  const count = (table: string) => (client.query(`SELECT count(*) AS n FROM "${table}"`).get() as { n: number }).n
  const state = {
    schema: client.query('SELECT type, name, sql FROM sqlite_master ORDER BY name').all(),
    rows: tables.map(({ name }) => [name, count(name)]),
    migrations: count('__drizzle_migrations'),
    tokens: client.query('SELECT * FROM tokens ORDER BY id').all(),
    audit: client.query('SELECT sequence, hash FROM audit ORDER BY sequence').all(),
    integrity: client.query('PRAGMA integrity_check').all(),
  }
  client.close()
  return state
}
