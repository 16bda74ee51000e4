import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditRowJson, NodeJson, TokenJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { consoleApi, makeKey } from '../api/console.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { documentOf, portcullis, ROOT, SOURCES } from './run.ts'

let echo: Awaited<ReturnType<typeof startEcho>>
let data: string
let folder: string
let file: string
beforeAll(async () => {
  echo = await startEcho()
  data = tempFolder()
  folder = tempFolder()
  file = join(folder, 'backup')
})
afterAll(() => {
  echo.stop()
  removeFolder(data)
  removeFolder(folder)
})
const statusOf = async (node: TestNode, secret: string) =>
  (await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })).status
const restore = (from: string, into: string) => portcullis(['restore', from, '--data', into])

test('a round trip: nothing that died after the backup lives again', async () => {
  writeFileSync(join(data, 'portcullis.toml'), 'log-level = "warn"\n')

  const node = await startNode({ data })
  await node.addServer('echo', echo.url, { headers: { 'X-Key': 'kept' } })
  const lives = await node.createToken('lives', ['echo'])
  const dead = await node.createToken('dead before', ['echo'])
  await node.revoke({ tokens: [dead.id] })
  const dies = await node.createToken('dies after', ['echo'])
  const rotates = await node.createToken('rotates after', ['echo'])
  const graced = await node.createToken('rotates with grace', ['echo'])
  const key = await makeKey(node, 'removed after', 'auditor')
  const keptKey = await makeKey(node, 'kept', 'auditor')
  await node.api('POST', '/operators', { name: 'removed after', role: 'operator' })
  await node.api('POST', '/operators', { name: 'kept', role: 'operator' })

  const made = await portcullis(['backup', file, '--data', data, '--json'])
  expect([made.code, made.stderr]).toEqual([0, ''])
  expect(documentOf<object>(made)).toEqual({ file, bytes: statSync(file).size })
  expect((statSync(file).mode & 0o777).toString(8)).toBe('600')
  expect(readdirSync(folder)).toEqual(['backup'])
  expect(readdirSync(data).filter((name) => /tmp|part/.test(name))).toEqual([])

  const before = readFileSync(file)
  const again = await portcullis(['backup', file, '--data', data])
  expect([again.code, again.stdout, again.stderr.includes('exists')]).toEqual([1, '', true])
  expect(readFileSync(file).equals(before)).toBeTrue()

  const { json: old } = await node.api<NodeJson>('GET', '/node')
  await node.revoke({ tokens: [dies.id], reason: 'compromised' })
  const { json: fresh } = await node.api<{ token: string }>('POST', `/tokens/${rotates.id}/rotations`)
  await node.api('POST', `/tokens/${graced.id}/rotations`, { graceSeconds: 1 })
  const later = await node.createToken('made after', ['echo'])
  await node.api('DELETE', `/apikeys/${key.id}`)
  await node.api('DELETE', '/operators/removed%20after')
  await node.api('POST', '/keys')
  node.kill('SIGKILL')
  await node.exited

  const restored = await restore(file, data)
  expect([restored.code, restored.stderr]).toEqual([0, ''])
  expect(readdirSync(data).filter((name) => /tmp|-wal|-shm/.test(name))).toEqual([])

  const after = await startNode({ data })
  // The grace of one second ends, whether or not it had ended before the restore.
  await eventually(async () => (await statusOf(after, graced.token)) === 401)
  expect(await Promise.all([lives, dead, dies, rotates].map(({ token }) => statusOf(after, token)))).toEqual([
    200, 401, 401, 401,
  ])
  expect(await statusOf(after, later.token)).toBe(401)
  expect([200, 401]).toContain(await statusOf(after, fresh.token))
  expect(echo.requests.at(-1)?.head.get('x-key')).toBe('kept')
  const { json: tokens } = await after.api<{ items: TokenJson[] }>('GET', '/tokens')
  expect(Object.fromEntries(tokens.items.map(({ name, status }) => [name, status]))).toEqual({
    lives: 'active',
    'dead before': 'revoked',
    'dies after': 'revoked',
    'rotates after': 'active',
    'rotates with grace': 'active',
  })
  expect((await consoleApi(after, key.key)('GET', '/tokens')).status).toBe(401)
  expect((await consoleApi(after, keptKey.key)('GET', '/tokens')).status).toBe(200)
  const { json: operators } = await after.api<{ items: { name: string }[] }>('GET', '/operators')
  expect(operators.items.map(({ name }) => name)).toEqual(['kept'])
  const { json: now } = await after.api<NodeJson>('GET', '/node')
  expect(now.node).not.toBe(old.node)
  const { json: audit } = await after.api<{ items: AuditRowJson[] }>('GET', '/audit?limit=1000')
  expect(audit.items.filter(({ action }) => action === 'node.restore')).toHaveLength(1)
  expect(audit.items.filter(({ action }) => action === 'node.rename')).toMatchObject([
    { details: { previous: old.node } },
  ])
  expect((await after.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
  // Both keys are in the ring: what was made under the newer one can be refused by name.
  expect((await after.api<{ items: object[] }>('GET', '/keys')).json.items).toHaveLength(2)
  await after.stop()
  expect(await Bun.file(join(data, 'portcullis.toml')).text()).toBe('log-level = "warn"\n')
}, 30_000)

test('into an empty folder it is whole', async () => {
  const empty = join(tempFolder(), 'new')
  expect((await restore(file, empty)).code).toBe(0)
  expect((statSync(empty).mode & 0o777).toString(8)).toBe('700')
  for (const name of ['portcullis.db', 'portcullis.key', 'portcullis.toml']) {
    expect([name, (statSync(join(empty, name)).mode & 0o777).toString(8)]).toEqual([name, '600'])
  }
  const node = await startNode({ data: empty })
  const { json } = await node.api<{ items: TokenJson[] }>('GET', '/tokens')
  expect(json.items.find(({ name }) => name === 'lives')?.status).toBe('active')
  await node.stop()
})

describe('restore refuses, and leaves everything as it was', () => {
  const snapshot = (of: string) =>
    ['portcullis.db', 'portcullis.key'].map((name) => readFileSync(join(of, name)).toString('base64'))

  test.each([
    ['what is no backup', () => 'no backup'],
    ['nothing', () => ''],
    ['one cut short', () => readFileSync(file).subarray(0, readFileSync(file).length / 2)],
    [
      'one with a byte changed in the database',
      () => {
        const bytes = readFileSync(file)
        const at = bytes.indexOf('SQLite format 3')
        bytes.write('SQLITE FORMAT 3', at)
        return bytes
      },
    ],
  ])('%s', async (_what, bytes) => {
    const before = snapshot(data)
    const bad = join(folder, `bad-${crypto.randomUUID()}`)
    writeFileSync(bad, bytes())
    const { code, stdout, stderr } = await restore(bad, data)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(bad)
    expect(stderr).not.toMatch(/TypeError|SyntaxError|\n\s+at /)
    expect(snapshot(data)).toEqual(before)
    expect(existsSync(join(data, 'restore.tmp'))).toBeFalse()
  })

  test('a file that is not there', async () => {
    const nowhere = join(tempFolder(), 'never')
    const { code, stderr } = await restore(join(folder, 'missing'), nowhere)
    expect([code, stderr.includes('missing')]).toEqual([1, true])
    expect(existsSync(nowhere)).toBeFalse()
  })

  test("another database's", async () => {
    const other = await startNode()
    const foreign = join(folder, 'foreign')
    expect((await portcullis(['backup', foreign, '--data', other.data])).code).toBe(0)
    await other.stop()
    const before = snapshot(data)
    const { code, stderr } = await restore(foreign, data)
    expect([code, stderr]).toEqual([1, expect.stringMatching(/another database/)])
    expect(snapshot(data)).toEqual(before)
  })

  test('while the node runs', async () => {
    await using node = await startNode({ data })
    const { code, stderr } = await restore(file, data)
    expect([code, stderr]).toEqual([1, expect.stringMatching(/another portcullis runs/)])
    expect((await node.api('GET', '/node')).status).toBe(200)
  })
})

test("to stdout, and where it can't be written", async () => {
  await using node = await startNode({ data })
  const piped = join(folder, 'piped')
  const child = Bun.spawn([...SOURCES, 'backup', '-', '--data', data], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '' },
    stdout: Bun.file(piped),
    stderr: 'pipe',
  })
  expect([await child.exited, await new Response(child.stderr).text()]).toEqual([0, ''])
  const into = join(tempFolder(), 'new')
  expect((await restore(piped, into)).code).toBe(0)
  const missing = await portcullis(['backup', '/nonexistent/folder/backup', '--data', data])
  expect([missing.code, missing.stdout, missing.stderr.includes('/nonexistent')]).toEqual([1, '', true])
  const json = await portcullis(['backup', '-', '--json', '--data', data])
  expect([json.code, json.stdout]).toEqual([2, ''])
  expect((await node.api('GET', '/node')).status).toBe(200)
})
