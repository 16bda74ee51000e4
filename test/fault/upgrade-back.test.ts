import { Database } from 'bun:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { cpSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import type { VerificationJson } from '../../src/server/api/schemas.ts'
import { consoleApi } from '../api/console.ts'
import { postForm, signIn } from '../api/session.ts'
import { portcullis } from '../cli/run.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode } from '../support/node.ts'
import { answersTo, type Echo, expectedAnswers } from '../support/released/holds.ts'
import { makeReleased, RELEASED } from '../support/released/released.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'

/** `restore` of the copy that an upgrade made: the older version's own database again, but for what died since. */

const command = [builtBinary()]
let echo: Echo
let data: string
beforeAll(async () => {
  echo = await startEcho()
})
afterAll(() => echo.stop())
beforeEach(() => {
  data = join(tempFolder(), 'data')
})
afterEach(() => removeFolder(join(data, '..')))

const KILLS = 15
const MIGRATIONS = [...new Bun.Glob('*.sql').scanSync(join(import.meta.dir, '../../drizzle'))].length

const databaseIn = (folder: string) => join(folder, 'portcullis.db')
const copyIn = (folder: string) => `${databaseIn(folder)}.before-${packageJson.version}`
const start = () => startNode({ data, command })
const restore = (file: string, folder = data) => portcullis(['restore', file, '--data', folder], { command })

const schemaOf = (file: string) => {
  // To be written: who was killed may have left a journal to roll back, which the next to open it does.
  const client = new Database(file, { create: false, readwrite: true })
  const schema = {
    names: client.query('SELECT type, name, sql FROM sqlite_master ORDER BY name').all(),
    migrations: client.query('SELECT hash FROM __drizzle_migrations ORDER BY rowid').all(),
    version: client.query("SELECT value FROM meta WHERE key = 'version'").get(),
    check: client.query('PRAGMA integrity_check').all(),
  }
  client.close()
  return schema
}
/** What this version migrates; one of the same schema is simply started by the older version. */
const migrated = RELEASED.filter((version) => {
  const folder = join(tempFolder(), version)
  makeReleased(version, folder, 'http://127.0.0.1:1')
  return schemaOf(databaseIn(folder)).migrations.length < MIGRATIONS
})

describe.each(migrated)('back to %s', (version) => {
  test('its own schema, and nothing that died since lives', async () => {
    const facts = makeReleased(version, data, echo.url)
    const before = schemaOf(databaseIn(data))
    const node = await start()
    await node.revoke({ tokens: ['lives'], note: 'after the upgrade' })
    const rotation = await node.api<{ token: string }>(
      'POST',
      `/tokens/${facts.tokens['expires in years']?.id}/rotations`,
      {},
    )
    const { token: madeSince } = await node.createToken('made since', ['github'])
    const { json: keys } = await node.api<{ items: { id: string; name: string }[] }>('GET', '/apikeys')
    await node.api('DELETE', `/apikeys/${keys.items.find(({ name }) => name === 'ci')?.id}`)
    await node.api('DELETE', '/operators/ada')
    await node.api('DELETE', '/servers/retired')
    await node.api('PATCH', '/servers/github', { headers: { [facts.header.name]: 'changed since' } })
    expect((await portcullis(['key', 'rotate', '--data', data], { command })).code).toBe(0)
    expect(await node.stop()).toBe(0)

    const { code, stdout, stderr } = await restore(copyIn(data))
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('What ended since')
    expect(stdout).toContain('1 token (made since)')
    expect(schemaOf(databaseIn(data))).toEqual(before)
    const aside = readdirSync(data).filter((name) => name.includes('before-restore-'))
    expect(aside).toHaveLength(1)

    // Whichever version starts now, these rows decide. It is this one, which upgrades it once more.
    const again = await start()
    const died = new Set(['lives', 'expires in years'])
    const expected = expectedAnswers(facts).map((answer, at) =>
      died.has(facts.secrets[at]?.token ?? '') ? 401 : answer,
    )
    echo.requests.length = 0
    expect(await answersTo(again, facts)).toEqual(expected)
    for (const { head } of echo.requests) expect(head.get(facts.header.name)).toBe('changed since')
    const since = [rotation.json.token, madeSince].map((secret) => ({
      ...{ token: '', server: 'github', secret, answer: 0, inBackup: 0 },
    }))
    expect(await answersTo(again, { secrets: since })).toEqual([200, 401])
    for (const { key } of facts.apiKeys) expect((await consoleApi(again, key)('GET', '/tokens')).status).toBe(401)
    const [owner, ada] = facts.operators
    if (!owner || !ada) throw new Error('the facts name no operators')
    await signIn(again, owner.name, owner.password)
    expect((await postForm(again, '/sign-in', { name: ada.name, password: ada.password })).status).toBe(401)
    expect((await again.api('GET', '/servers/retired')).status).toBe(404)
    expect((await again.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
    await again.revoke({ tokens: ['guarded'] })
    await again.stop()

    // And forth: what was put aside comes back by the same command, but for what died since.
    expect(await restore(join(data, aside[0] ?? ''))).toMatchObject({ code: 0, stderr: '' })
    await using forth = await start()
    expect(await answersTo(forth, { secrets: since })).toEqual([200, 200])
    died.add('guarded')
    const then = facts.secrets.map(({ token }, at) => (died.has(token) ? 401 : (expectedAnswers(facts)[at] ?? 0)))
    expect(await answersTo(forth, facts)).toEqual(then)
  }, 30_000)
})

const [oldest = ''] = migrated
const isAsBefore = (before: ReturnType<typeof schemaOf>) => {
  expect(schemaOf(databaseIn(data))).toEqual(before)
  expect(readdirSync(data).filter((name) => /before-restore|restore\.tmp/.test(name))).toEqual([])
}

test('a version that knows no policies is not gone back to while a token has one', async () => {
  const facts = makeReleased(oldest, data, echo.url)
  const node = await start()
  await node.api('PUT', `/tokens/${facts.tokens['guarded']?.id}/policy`, { readOnly: true })
  await node.stop()
  const before = schemaOf(databaseIn(data))
  const { code, stderr } = await restore(copyIn(data))
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/its version knows no policies, and would let 1 tokens do all \(guarded\): revoke them/),
  ])
  isAsBefore(before)
  const again = await start()
  await again.revoke({ tokens: ['guarded'] })
  await again.stop()
  expect((await restore(copyIn(data))).code).toBe(0)
}, 30_000)

test('killed in the middle: the one or the other, and it goes on from there', async () => {
  makeReleased(oldest, data, echo.url)
  const old = schemaOf(databaseIn(data))
  await (await start()).stop()
  const now = schemaOf(databaseIn(data))
  const startedAt = performance.now()
  expect((await restore(copyIn(data))).code).toBe(0)
  const usualMs = performance.now() - startedAt

  const went = { back: 0, nowhere: 0 }
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Upgraded again wherever the last one had gone back.
    await (await start()).stop()
    expect(schemaOf(databaseIn(data))).toEqual(now)
    const child = Bun.spawn([...command, 'restore', copyIn(data), '--data', data], {
      stdout: 'ignore',
      stderr: 'ignore',
    })
    await Bun.sleep(((kill + 1) / KILLS) * usualMs)
    child.kill('SIGKILL')
    await child.exited
    const left = schemaOf(databaseIn(data))
    const isBack = left.migrations.length === old.migrations.length
    went[isBack ? 'back' : 'nowhere'] += 1
    expect(left).toEqual(isBack ? old : now)
  }
  console.log(`${KILLS} kills: ${JSON.stringify(went)}`)
  expect(went.nowhere).toBeGreaterThan(0)
  const node = await start()
  expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
  await node.stop()
  expect((await restore(copyIn(data))).code).toBe(0)
  expect(schemaOf(databaseIn(data))).toEqual(old)
}, 60_000)

test('what a restore put aside comes back by the same command, but for what died since', async () => {
  const facts = makeReleased(RELEASED.at(-1) ?? '', data, echo.url)
  const node = await start()
  await node.createToken('in the backup, of a leaver', ['github'], { subject: 'gone@example.com' })
  const backup = join(data, '../backup')
  expect((await portcullis(['backup', backup, '--data', data], { command })).code).toBe(0)
  const [{ token: lives }, { token: dies }] = await Promise.all([
    node.createToken('since the backup', ['github']),
    node.createToken('since the backup, of a leaver', ['github'], { subject: 'gone@example.com' }),
  ])
  await node.stop()
  expect((await restore(backup)).code).toBe(0)
  const restored = await start()
  await restored.revoke({ subject: 'gone@example.com', note: 'reaches whom the backup never knew' })
  await restored.revoke({ tokens: ['lives'] })
  await restored.stop()
  const aside = readdirSync(data).find((name) => name.includes('before-restore-')) ?? ''
  expect(await restore(join(data, aside))).toMatchObject({ code: 0, stderr: '' })
  await using again = await start()
  const since = [lives, dies].map((secret) => ({ token: '', server: 'github', secret, answer: 0, inBackup: 0 }))
  expect(await answersTo(again, { secrets: since })).toEqual([200, 401])
  const expected = facts.secrets.map(({ token }, at) => (token === 'lives' ? 401 : (expectedAnswers(facts)[at] ?? 0)))
  expect(await answersTo(again, facts)).toEqual(expected)
}, 30_000)

test('while a node runs, over nothing, and over another database: refused, and nothing is changed', async () => {
  makeReleased(oldest, data, echo.url)
  const node = await start()
  expect(await restore(copyIn(data))).toMatchObject({ code: 1, stderr: expect.stringContaining('another portcullis') })
  await node.stop()
  const before = schemaOf(databaseIn(data))

  const empty = join(data, '../empty')
  const over = await restore(copyIn(data), empty)
  expect([over.code, over.stderr]).toEqual([1, expect.stringContaining('there is none in')])
  expect(existsSync(databaseIn(empty))).toBe(false)

  const other = join(data, '../other')
  makeReleased(RELEASED.at(-1) ?? '', other, echo.url)
  const strange = join(data, 'strange.db')
  cpSync(databaseIn(other), strange)
  expect(await restore(strange)).toMatchObject({ code: 1, stderr: expect.stringContaining('another database') })
  isAsBefore(before)
}, 30_000)
