import { Database } from 'bun:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { chmodSync, cpSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import type { ActivityJson, AuditRowJson, TokenJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { openStore } from '../../src/store/open.ts'
import { portcullis } from '../cli/run.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { makeOlder } from '../support/older-database.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'

let folder: string
beforeEach(() => {
  folder = tempFolder()
})
afterEach(() => removeFolder(folder))

const open = (version: string) =>
  openStore({ folder, keyFile: join(folder, 'portcullis.key'), version, now: () => 1_000 })
const schemaOf = (client: Database) =>
  client.query("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name").all()
const applied = (client: Database) =>
  (client.query('SELECT count(*) AS n FROM __drizzle_migrations').get() as { n: number }).n
const valueOf = (client: Database, key: string) => client.query('SELECT value FROM meta WHERE key = ?').get(key)

test.each([1, 2, 3])('after %d migrations: copied, then brought up to date', (migrations) => {
  const store = open('0.0.1')
  const today = { schema: schemaOf(store.client), applied: applied(store.client) }
  store.client.run("INSERT INTO meta (key, value) VALUES ('mark', 'older')")
  store.close()
  makeOlder(join(folder, 'portcullis.db'), migrations, '0.0.1')
  const upgraded = open('7.7.7')
  expect({ schema: schemaOf(upgraded.client), applied: applied(upgraded.client) }).toEqual(today)
  expect(valueOf(upgraded.client, 'version')).toEqual({ value: '7.7.7' })
  upgraded.close()
  const copy = join(folder, 'portcullis.db.before-7.7.7')
  expect((statSync(copy).mode & 0o777).toString(8)).toBe('600')
  const before = new Database(copy, { readonly: true })
  expect(schemaOf(before).length).toBeLessThan(today.schema.length)
  expect(applied(before)).toBe(migrations)
  expect(valueOf(before, 'mark')).toEqual({ value: 'older' })
  expect(valueOf(before, 'version')).toEqual({ value: '0.0.1' })
  before.close()
})

test('one that is up to date is neither copied nor changed', () => {
  open('0.0.1').close()
  open('7.7.7').close()
  expect(readdirSync(folder).filter((name) => name.includes('before'))).toEqual([])
})

describe('from 0.1.0', () => {
  /** A folder as 0.1.0 left it, which no test changes. */
  let old: string
  let echo: Awaited<ReturnType<typeof startEcho>>
  const made: Record<string, { id: string; token: string }> = {}
  const secretOf = (name: string) => made[name]?.token ?? ''
  const idOf = (name: string) => made[name]?.id ?? ''

  const statusOf = async (node: TestNode, name: string) =>
    (await ask(node.gate, { target: '/s/echo/x', headers: bearer(secretOf(name)) })).status
  const stateOf = async (node: TestNode) => {
    const { json } = await node.api<{ items: TokenJson[] }>('GET', '/tokens')
    return Object.fromEntries(json.items.map(({ name, ...token }) => [name, token]))
  }
  const copyOf = (from: string): string => {
    const data = join(folder, crypto.randomUUID())
    cpSync(from, data, { recursive: true, filter: (path) => !path.endsWith('.sock') })
    chmodSync(data, 0o700)
    return data
  }
  const verified = async (node: TestNode) =>
    (await node.api<VerificationJson>('GET', '/audit/verification')).json.status

  beforeAll(async () => {
    old = tempFolder()
    echo = await startEcho()
    const node = await startNode({ data: old })
    await node.addServer('echo', echo.url, { headers: { 'X-Key': 'kept' } })
    for (const name of ['lives', 'dead', 'rotated']) {
      made[name] = await node.createToken(name, ['echo'], { subject: `${name}@example.com` })
      for (let times = 0; times < 3; times++) await statusOf(node, name)
    }
    await node.revoke({ tokens: ['dead'], note: 'before the upgrade' })
    await statusOf(node, 'dead')
    const { json } = await node.api<{ token: string }>('POST', `/tokens/${idOf('rotated')}/rotations`)
    made['rotated anew'] = { id: idOf('rotated'), token: json.token }
    await node.stop()
    makeOlder(join(old, 'portcullis.db'), 2, '0.1.0')
    const client = new Database(join(old, 'portcullis.db'), { readonly: true })
    expect(schemaOf(client)).not.toContainEqual({ type: 'table', name: 'activity' })
    expect(client.query("SELECT 1 FROM pragma_table_info('tokens') WHERE name = 'policy'").all()).toEqual([])
    client.close()
  }, 20_000)
  afterAll(() => {
    echo.stop()
    removeFolder(old)
  })

  const expectAll = async (node: TestNode) => {
    const names = ['lives', 'dead', 'rotated', 'rotated anew']
    expect(await Promise.all(names.map((name) => statusOf(node, name)))).toEqual([200, 401, 401, 200])
    expect(echo.requests.at(-1)?.head.get('x-key')).toBe('kept')
    expect(await stateOf(node)).toMatchObject({
      lives: { status: 'active', policy: null, subject: 'lives@example.com' },
      dead: { status: 'revoked', policy: null },
      rotated: { status: 'active', policy: null },
    })
    expect(await verified(node)).toBe('intact')
    const { json: revocations } = await node.api<{ items: object[] }>('GET', '/revocations')
    expect(revocations.items).toMatchObject([{ note: 'before the upgrade', tokens: [{ id: idOf('dead') }] }])
  }

  test('a start upgrades: all holds, and what is new works', async () => {
    const data = copyOf(old)
    const node = await startNode({ data })
    expect(await stateOf(node)).toMatchObject({ lives: { requests: 3 }, dead: { requests: 3, refusals: 1 } })
    await expectAll(node)
    const { json: audit } = await node.api<{ items: AuditRowJson[] }>('GET', '/audit?limit=1000')
    expect(audit.items.filter(({ action }) => action === 'token.issue')).toHaveLength(3)
    const { json: activity } = await node.api<ActivityJson>('GET', `/tokens/${idOf('lives')}/activity`)
    expect(activity.methods).toMatchObject([{ server: 'echo', method: 'GET', calls: 1 }])
    const { status } = await node.api('PUT', `/tokens/${idOf('lives')}/policy`, { deny: ['x'] })
    expect(status).toBe(200)
    expect(await node.stop()).toBe(0)
    const copy = join(data, `portcullis.db.before-${packageJson.version}`)
    expect((statSync(copy).mode & 0o777).toString(8)).toBe('600')
    const before = new Database(copy, { readonly: true })
    expect(before.query('SELECT name FROM tokens ORDER BY name').all()).toMatchObject([
      { name: 'dead' },
      { name: 'lives' },
      { name: 'rotated' },
    ])
    expect(schemaOf(before)).not.toContainEqual({ type: 'table', name: 'activity' })
    before.close()

    await using again = await startNode({ data })
    expect(await stateOf(again)).toMatchObject({ lives: { policy: { deny: ['x'] } }, dead: { status: 'revoked' } })
    expect(await again.api('GET', `/tokens/${idOf('lives')}/activity`)).toMatchObject({ json: { calls: 1 } })
  }, 20_000)

  const restore = async (file: string, data: string) => {
    const { code, stdout, stderr } = await portcullis(['restore', file, '--data', data])
    expect([code, stderr]).toEqual([0, ''])
    return stdout
  }
  const backUp = async (data: string): Promise<string> => {
    const node = await startNode({ data })
    const file = join(folder, crypto.randomUUID())
    expect((await portcullis(['backup', file, '--data', data])).code).toBe(0)
    await node.stop()
    return file
  }
  /** What `backup` of 0.1.0 wrote: the same archive around its own database. */
  const backUpOld = async (): Promise<string> => {
    const entries = await new Bun.Archive(readFileSync(await backUp(copyOf(old)))).files()
    const files = Object.fromEntries(
      await Promise.all([...entries].map(async ([name, file]) => [name, new Uint8Array(await file.arrayBuffer())])),
    ) as Record<string, Uint8Array>
    expect(Object.keys(files).toSorted()).toEqual(['backup.json', 'portcullis.db', 'portcullis.key'])
    const manifest = JSON.parse(Buffer.from(files['backup.json'] ?? []).toString()) as object
    files['backup.json'] = Buffer.from(JSON.stringify({ ...manifest, version: '0.1.0' }))
    files['portcullis.db'] = readFileSync(join(old, 'portcullis.db'))
    const file = join(folder, crypto.randomUUID())
    writeFileSync(file, await new Bun.Archive(files).bytes())
    return file
  }

  test('its backup restores into an empty folder', async () => {
    const data = join(folder, 'new')
    await restore(await backUpOld(), data)
    await using node = await startNode({ data })
    await expectAll(node)
  }, 20_000)

  test('its backup restores over a newer database: what died and what was tightened since stays so', async () => {
    const data = copyOf(old)
    const node = await startNode({ data })
    await node.api('PUT', `/tokens/${idOf('rotated')}/policy`, { deny: ['x'] })
    await node.revoke({ tokens: ['lives'] })
    await node.stop()
    await restore(await backUpOld(), data)
    await using restored = await startNode({ data })
    expect(await Promise.all(['lives', 'dead', 'rotated'].map((name) => statusOf(restored, name)))).toEqual([
      401, 401, 401,
    ])
    expect(await stateOf(restored)).toMatchObject({
      lives: { status: 'revoked' },
      dead: { status: 'revoked' },
      rotated: { status: 'active', policy: { deny: ['x'] } },
    })
    expect(await verified(restored)).toBe('intact')
  }, 20_000)

  test('a newer backup restores over its database: what it revoked stays so, and policies are kept', async () => {
    const newer = copyOf(old)
    const node = await startNode({ data: newer })
    await node.api('PUT', `/tokens/${idOf('rotated')}/policy`, { deny: ['x'] })
    await node.stop()
    const file = await backUp(newer)
    // In 0.1.0, which was put back meanwhile, one more died.
    const data = copyOf(newer)
    const second = await startNode({ data })
    await second.revoke({ tokens: ['lives'] })
    await second.stop()
    makeOlder(join(data, 'portcullis.db'), 2, '0.1.0')
    await restore(file, data)
    await using restored = await startNode({ data })
    expect(await stateOf(restored)).toMatchObject({
      lives: { status: 'revoked' },
      dead: { status: 'revoked' },
      rotated: { status: 'active', policy: { deny: ['x'] } },
    })
    expect(await statusOf(restored, 'lives')).toBe(401)
    expect(await verified(restored)).toBe('intact')
  }, 20_000)
})
