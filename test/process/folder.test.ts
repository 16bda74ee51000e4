import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { chmodSync, copyFileSync, cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditRowJson, NodeJson, RevocationJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { portcullis } from '../cli/run.ts'
import { startNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'

let echo: Awaited<ReturnType<typeof startEcho>>
beforeAll(async () => {
  echo = await startEcho()
})
afterAll(() => echo.stop())

/** A stopped folder with a server, a live token and a dead one. */
const filledFolder = async () => {
  const data = tempFolder()
  const node = await startNode({ data })
  await node.addServer('echo', echo.url, { headers: { 'X-Key': 'a credential' } })
  const live = (await node.createToken('live', ['echo'])).token
  const dead = (await node.createToken('dead', ['echo'])).token
  await node.revoke({ tokens: ['dead'] })
  await node.stop()
  return { data, live, dead, database: join(data, 'portcullis.db'), key: join(data, 'portcullis.key') }
}
// Set already, so that a process that only refuses does not replace itself first: half the time.
const env = { BUN_CONFIG_MAX_HTTP_REQUESTS: '256' }
const serve = (data: string) =>
  portcullis(['serve', '--data', data, '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0'], {
    env,
    timeoutMs: 5_000,
  })
const statusOf = async (gate: string, secret: string) =>
  (await ask(gate, { target: '/s/echo/x', headers: bearer(secret) })).status

test('a second serve on the folder refuses, and the first goes on', async () => {
  await using first = await startNode()
  await first.addServer('echo', echo.url)
  const { token } = await first.createToken('client', ['echo'])
  const second = await serve(first.data)
  expect(second.code).toBe(1)
  expect(second.stderr).toMatch(/another portcullis/)
  expect(second.stderr).toContain(first.data)
  expect(second.stdout).toBe('')
  expect(await statusOf(first.gate, token)).toBe(200)
  expect((await first.api('GET', '/node')).status).toBe(200)
  expect((await portcullis(['token', 'ls', '--data', first.data])).code).toBe(0)
  // A restore is a second one, too.
  const backup = join(tempFolder(), 'backup')
  expect((await portcullis(['backup', backup, '--data', first.data])).code).toBe(0)
  const restore = await portcullis(['restore', backup, '--data', first.data])
  expect([restore.code, restore.stderr]).toEqual([1, expect.stringContaining('another portcullis')])
  expect(await statusOf(first.gate, token)).toBe(200)
})

describe('the key file', () => {
  let folder: Awaited<ReturnType<typeof filledFolder>>
  let another: string
  let aside: string
  beforeAll(async () => {
    folder = await filledFolder()
    aside = join(tempFolder(), 'portcullis.key')
    copyFileSync(folder.key, aside)
    const other = await startNode()
    another = readFileSync(join(other.data, 'portcullis.key'), 'utf8')
    await other.stop()
  })
  afterAll(() => removeFolder(folder.data))

  const inOld = (change: (key: { keys: { secret: string }[] }) => void): string => {
    const key = JSON.parse(readFileSync(aside, 'utf8')) as { keys: { secret: string }[] }
    change(key)
    return JSON.stringify(key)
  }
  const rows: [what: string, put: () => void, says: RegExp][] = [
    ['missing', () => rmSync(folder.key), /missing/],
    ['readable for others', () => chmodSync(folder.key, 0o644), /mode is 644.*chmod 600/],
    ['of another database', () => writeFileSync(folder.key, another), /another database/],
    ['cut short', () => writeFileSync(folder.key, readFileSync(aside).subarray(0, 100)), /key file/],
    ['empty', () => writeFileSync(folder.key, ''), /key file/],
    ['a JSON null', () => writeFileSync(folder.key, 'null'), /key file/],
    [
      'without keys',
      () =>
        writeFileSync(
          folder.key,
          inOld((key) => key.keys.splice(0)),
        ),
      /no key/,
    ],
    [
      'with a key too short',
      () =>
        writeFileSync(
          folder.key,
          inOld((key) => key.keys.forEach((entry) => Object.assign(entry, { secret: 'eA==' }))),
        ),
      /damaged/,
    ],
    [
      'with a null for a key',
      () =>
        writeFileSync(
          folder.key,
          inOld((key) => Object.assign(key, { keys: [null] })),
        ),
      /key file/,
    ],
    [
      'without the key that was used',
      () =>
        writeFileSync(
          folder.key,
          inOld((key) => key.keys.forEach((entry) => Object.assign(entry, { id: 'k0000000000' }))),
        ),
      /key/,
    ],
  ]
  test.each(rows)('%s: a clear refusal, and nothing is lost', async (_what, put, says) => {
    const before = readFileSync(folder.database)
    put()
    const refused = await serve(folder.data)
    const after = readFileSync(folder.database)
    rmSync(folder.key, { force: true })
    copyFileSync(aside, folder.key)
    chmodSync(folder.key, 0o600)
    expect(refused.stderr).toMatch(says)
    expect(refused.stderr).toContain('--key-file')
    expect(refused.stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(refused.stderr).not.toMatch(/TypeError|\n\s+at /)
    expect(refused.stdout).toBe('')
    expect(refused.code).toBeOneOf([1, 2])
    expect(after.equals(before)).toBeTrue()
  })

  test('mended: it works again', async () => {
    await using node = await startNode({ data: folder.data })
    expect([await statusOf(node.gate, folder.live), await statusOf(node.gate, folder.dead)]).toEqual([200, 401])
    expect(echo.requests.at(-1)?.head.get('x-key')).toBe('a credential')
  })
})

describe('the database', () => {
  test('of a newer version is refused, which is named', async () => {
    const { data, database, live } = await filledFolder()
    const newer = new Database(database)
    newer.run("INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('later', 9999999999999)")
    newer.run("UPDATE meta SET value = '9.9.9' WHERE key = 'version'")
    newer.run('PRAGMA wal_checkpoint(TRUNCATE)')
    newer.close()
    const before = readFileSync(database)
    const refused = await serve(data)
    expect(refused.stderr).toContain('9.9.9')
    expect(refused.stderr).toContain(database)
    expect(refused.stderr.trimEnd().split('\n')).toHaveLength(1)
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(readFileSync(database).equals(before)).toBeTrue()

    const mended = new Database(database)
    mended.run("DELETE FROM __drizzle_migrations WHERE hash = 'later'")
    mended.close()
    const node = await startNode({ data })
    expect(await statusOf(node.gate, live)).toBe(200)
    await node.stop()
    removeFolder(data)
  })

  test('damaged is refused, by name', async () => {
    const { data, database } = await filledFolder()
    writeFileSync(database, 'this is no database, and was never one'.repeat(1_000))
    const before = readFileSync(database)
    const refused = await serve(data)
    expect(refused.code).toBeOneOf([1, 2])
    expect(refused.stderr).toContain(database)
    expect(refused.stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(readFileSync(database).equals(before)).toBeTrue()
    removeFolder(data)
  })

  test('gone while the key is there: not a start from nothing', async () => {
    const { data, database, live } = await filledFolder()
    const aside = join(tempFolder(), 'db')
    renameSync(database, aside)
    const started = await startNode({ data }).catch((error: unknown) => String(error))
    // Either way the old tokens must not pass, and the key file must still be the old database's.
    if (typeof started !== 'string') {
      expect(await statusOf(started.gate, live)).toBe(401)
      await started.stop()
      for (const suffix of ['', '-wal', '-shm']) rmSync(database + suffix, { force: true })
    }
    renameSync(aside, database)
    const node = await startNode({ data })
    expect(await statusOf(node.gate, live)).toBe(200)
    await node.stop()
    removeFolder(data)
  })
})

test("a journal that can't be read is refused by name: it may hold a revocation", async () => {
  const { data, live } = await filledFolder()
  const journal = join(data, 'portcullis.journal')
  const kept = readFileSync(journal)
  const damaged = Buffer.from(kept)
  damaged.write('{"op":"revocation","rec\n')
  writeFileSync(journal, damaged)
  const refused = await serve(data)
  expect(refused.code).toBeOneOf([1, 2])
  expect(refused.stderr).toContain(journal)
  expect(refused.stderr.trimEnd().split('\n')).toHaveLength(1)
  expect(readFileSync(journal).equals(damaged)).toBeTrue()
  writeFileSync(journal, kept)
  const node = await startNode({ data })
  expect(await statusOf(node.gate, live)).toBe(200)
  await node.stop()
  removeFolder(data)
})

test('kill -9: what was acknowledged holds, the audit verifies, the lock is free', async () => {
  const data = tempFolder()
  const secrets: string[] = []
  const receipts: RevocationJson[] = []
  for (let round = 0; round < 3; round += 1) {
    const node = await startNode({ data })
    if (round === 0) await node.addServer('echo', echo.url)
    for (const [index, secret] of secrets.entries()) {
      expect([index, await statusOf(node.gate, secret)]).toEqual([index, index % 2 === 0 ? 401 : 200])
    }
    for (const { id } of receipts) expect((await node.api('GET', `/revocations/${id}`)).status).toBe(200)
    expect((await node.api<VerificationJson>('GET', '/audit/verification')).json).toMatchObject({ status: 'intact' })
    const [dies, lives] = [
      await node.createToken(`dies ${round}`, ['echo']),
      await node.createToken(`lives ${round}`, ['echo']),
    ]
    secrets.push(dies.token, lives.token)
    receipts.push(await node.revoke({ tokens: [dies.id] }))
    node.kill('SIGKILL')
    await node.exited
    expect(existsSync(join(data, 'control.sock'))).toBeTrue()
  }
  removeFolder(data)
})

test('a copied folder is another node, and says so in its audit', async () => {
  const { data, live, dead } = await filledFolder()
  const original = await startNode({ data })
  const { json: before } = await original.api<NodeJson>('GET', '/node')
  await original.stop()
  const copy = tempFolder()
  cpSync(data, copy, { recursive: true, preserveTimestamps: true })

  await using copied = await startNode({ data: copy })
  const { json: after } = await copied.api<NodeJson>('GET', '/node')
  expect(after.node).not.toBe(before.node)
  expect([await statusOf(copied.gate, live), await statusOf(copied.gate, dead)]).toEqual([200, 401])
  const { json: audit } = await copied.api<{ items: AuditRowJson[] }>('GET', '/audit?order=desc')
  expect(audit.items.filter(({ action }) => action === 'node.rename')).toMatchObject([
    { actor: 'system', node: after.node, targetId: after.node, details: { previous: before.node } },
  ])
  expect((await copied.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')

  // The original stays what it was, over as many starts as it likes.
  const again = await startNode({ data })
  expect((await again.api<NodeJson>('GET', '/node')).json.node).toBe(before.node)
  expect((await again.api<{ items: AuditRowJson[] }>('GET', '/audit?action=node.rename')).json.items).toEqual([])
  await again.stop()
  removeFolder(data)
  removeFolder(copy)
})
