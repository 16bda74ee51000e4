import { Database } from 'bun:sqlite'
import { afterAll, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditRowJson, NodeJson, SelfTestsJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { setUp } from '../api/session.ts'
import { portcullis } from '../cli/run.ts'
import { faultUnder } from '../support/disk-fault.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { type NodeOptions, startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'

const isRoot = mayMount()
const home = tempFolder()
afterAll(() => removeFolder(home))

const startProbed = (options: NodeOptions = {}) =>
  startNode({ env: { HOME: home }, ...options, args: ['--probe-every', '1s', ...(options.args ?? [])] })

const testsOf = async (node: TestNode) => (await node.api<SelfTestsJson>('GET', '/selftest')).json
const readyz = async (node: TestNode) => {
  const response = await fetch(`${node.console}/readyz`)
  return { status: response.status, text: await response.text() }
}
const rowsOf = async (node: TestNode) =>
  (await node.api<{ items: AuditRowJson[] }>('GET', '/audit?action=node.selftest&order=desc')).json.items
const untilPassed = (node: TestNode, runs = 1) =>
  eventually(
    async () => {
      const tests = await testsOf(node)
      return tests.runs >= runs && tests.last?.ok === true
    },
    { timeoutMs: 10_000 },
  )
/** Its probe fails at that step, and with it readiness. */
const untilFailed = async (node: TestNode, step: string) => {
  await eventually(async () => (await testsOf(node)).last?.step === step, { timeoutMs: 10_000 })
  const { status, text } = await readyz(node)
  expect([status, text]).toEqual([503, expect.stringContaining(`the test of a revocation failed at \\"${step}\\"`)])
}
const untilReady = (node: TestNode) =>
  eventually(async () => (await readyz(node)).status === 200, { timeoutMs: 10_000 })
const timesSaid = (node: TestNode, text: string) => node.stderr().split(text).length - 1

test('a node tests itself again and again, and tells of it in one place, without a row each', async () => {
  await using node = await startProbed()
  const cookie = await setUp(node, 'ada', 'a long password')
  await untilPassed(node, 3)
  expect(await testsOf(node)).toMatchObject({ everyMs: 1_000, failures: {}, last: { ok: true, step: null } })
  expect((await readyz(node)).status).toBe(200)
  expect(await rowsOf(node)).toEqual([])
  expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
  expect((await node.api<{ items: unknown[] }>('GET', '/revocations')).json.items).toEqual([])
  const page = await (await fetch(`${node.console}/node`, { headers: { cookie } })).text()
  expect(page).toMatch(/Test of a revocation.*passed.*every 1 s/s)
  expect(node.stderr()).not.toMatch(/test of a revocation|pcl_/)
})

test('live streams see nothing of it', async () => {
  const events = await startEvents({ intervalMs: 20 })
  await using node = await startProbed()
  await node.addServer('events', events.url)
  const { token } = await node.createToken('mine', ['events'])
  const streams = await Promise.all(
    Array.from({ length: 50 }, () => open(node.gate, { target: '/s/events/sse', headers: bearer(token) })),
  )
  await untilPassed(node, 3)
  expect((await node.api<NodeJson>('GET', '/node')).json.connections).toBe(50)
  for (const stream of streams) {
    expect(stream.ended).toBe('open')
    expect(stream.text).not.toMatch(/revocation|disconnect/)
    stream.close()
  }
  events.stop()
})

test('off: only when asked', async () => {
  await using node = await startNode({ args: ['--probe-every', '0'] })
  expect(await testsOf(node)).toMatchObject({ everyMs: null, runs: 0, last: null })
})

const hashOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')

test.skipIf(!isRoot)('a full disk is noticed, and costs nothing of the journal', async () => {
  await using folder = await smallFolder()
  await using node = await startProbed({ data: folder.data })
  await untilPassed(node)
  const journal = join(folder.data, 'portcullis.journal')
  const before = hashOf(journal)
  folder.fill()
  await untilFailed(node, 'commit')
  const { last, runs } = await testsOf(node)
  expect(last).toMatchObject({ message: expect.stringMatching(/full/), meaning: expect.stringContaining('journal') })
  // What does not need the disk works all the same.
  const passed = last?.steps.filter(({ state }) => state === 'passed').map(({ step }) => step)
  expect(passed).toEqual(expect.arrayContaining(['cut', 'end', 'farewell', 'refusal', 'release']))
  // What was never committed was neither synced, nor can anybody find it.
  const skipped = last?.steps.filter(({ state }) => state === 'skipped').map(({ step }) => step)
  expect(skipped).toEqual(expect.arrayContaining(['sync', 'row']))
  await eventually(
    async () => {
      await readyz(node)
      return (await testsOf(node)).runs > runs + 2
    },
    { timeoutMs: 15_000 },
  )
  expect(hashOf(journal)).toBe(before)
  const asked = await portcullis(['selftest', '--data', node.data])
  expect([asked.code, asked.stdout]).toEqual([1, expect.stringMatching(/^FAILED {2}at "commit": .*full/)])
  expect(asked.stdout).toContain('What to do:')
  expect(asked.stdout).toMatch(/not committed: +[\d.]+ ms\n/)
  folder.free()
  await untilReady(node)
  expect(timesSaid(node, 'the test of a revocation failed')).toBe(1)
  expect(timesSaid(node, 'the test of a revocation passes again')).toBe(1)
  expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
})

const mayTrace = (): boolean => {
  if (Bun.which('strace')) return true
  if (process.env['CI']) throw new Error('this test needs strace in CI')
  console.warn('SKIPPED LOUDLY: a disk that fails to sync needs strace')
  return false
}

test.if(mayTrace())('a disk that does not sync any more is noticed', async () => {
  await using node = await startProbed()
  await untilPassed(node)
  const paths = ['portcullis.db', 'portcullis.db-wal'].map((name) => join(node.data, name))
  const disk = await faultUnder(node.pid, [{ paths, calls: 'fdatasync,fsync', error: 'EIO', when: '1+' }])
  try {
    await untilFailed(node, 'commit')
    expect((await testsOf(node)).last?.message).toContain('disk I/O error')
    expect(disk.hits()).toBeGreaterThan(0)
  } finally {
    await disk.mend()
  }
  await untilReady(node)
})

test('a database that somebody else locks is noticed', async () => {
  await using node = await startProbed()
  await untilPassed(node)
  const other = new Database(join(node.data, 'portcullis.db'))
  other.run('BEGIN IMMEDIATE')
  await untilFailed(node, 'commit')
  expect((await testsOf(node)).last?.message).toContain('locked')
  const { problems } = (await node.api<NodeJson>('GET', '/node')).json
  expect(problems.join()).toContain('the test of a revocation')
  const { stdout } = await portcullis(['doctor', '--data', node.data])
  expect(stdout).toMatch(/FAIL +node +is not ready: the test of a revocation failed/)
  other.run('ROLLBACK')
  other.close()
  await untilReady(node)
})

test('a database file that is not where it was is noticed', async () => {
  await using node = await startProbed()
  const cookie = await setUp(node, 'ada', 'a long password')
  await untilPassed(node)
  const [file, away] = ['portcullis.db', 'away.db'].map((name) => join(node.data, name)) as [string, string]
  renameSync(file, away)
  await untilFailed(node, 'row')
  const overview = await (await fetch(node.console, { headers: { cookie } })).text()
  expect(overview).toMatch(/This node is not ready.*the test of a revocation failed at/s)
  const page = await (await fetch(`${node.console}/node`, { headers: { cookie } })).text()
  expect(page).toMatch(/Test of a revocation.*failed.*<code>row<\/code>/s)
  renameSync(away, file)
  await untilReady(node)
})

test('an audit log that lost its end is noticed within the minute', async () => {
  await using node = await startProbed()
  await node.addServer('one', 'http://127.0.0.1:9')
  await untilPassed(node)
  const other = new Database(join(node.data, 'portcullis.db'))
  const triggers = other.query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'").all()
  for (const { name } of triggers as { name: string }[]) other.run(`DROP TRIGGER "${name}"`)
  other.run('DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)')
  other.close()
  await untilFailed(node, 'chain')
})

test('it ends with the node, wherever it is', async () => {
  const node = await startProbed()
  await untilPassed(node)
  void node.api('POST', '/selftest', {}).catch(() => undefined)
  expect(await node.stop()).toBe(0)
  expect(node.stderr()).not.toMatch(/"level":"(?:error|warn)"/)
})
