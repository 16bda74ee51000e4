import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import type { AuditRowJson, SelfTestJson, SelfTestsJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { consoleApi, makeKey } from '../api/console.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { documentOf, portcullis } from './run.ts'

let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
const folder = tempFolder()

beforeAll(async () => {
  events = await startEvents({ intervalMs: 20 })
  // Only what is asked for: what is counted below is then this test's.
  node = await startNode({ args: ['--probe-every', 'off'] })
  await node.addServer('events', events.url)
})
afterAll(async () => {
  await node.stop()
  events.stop()
  removeFolder(folder)
})

const rowsOf = async (of: TestNode, action = 'node.selftest') =>
  (await of.api<{ items: AuditRowJson[] }>('GET', `/audit?action=${action}&order=desc`)).json.items

const selftest = async (of: TestNode) => {
  const ran = await portcullis(['selftest', '--data', of.data, '--json'])
  return { ...documentOf<SelfTestJson>(ran), code: ran.code }
}

const expectPassed = async (of: TestNode) => {
  const { code, ok, step, message, steps, timings } = await selftest(of)
  expect({ code, ok, step, message }).toEqual({ code: 0, ok: true, step: null, message: null })
  expect(steps.every(({ state }) => state === 'passed')).toBe(true)
  expect(Object.values(timings).every((ms) => typeof ms === 'number')).toBe(true)
  expect((await of.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
}

test('prints a verdict, each step by its name, and what was measured', async () => {
  const { code, stdout, stderr } = await portcullis(['selftest', '--data', node.data])
  expect([code, stderr]).toEqual([0, ''])
  const [verdict] = stdout.split('\n')
  expect(verdict).toBe('PASSED  Revoking works on this node.')
  for (const step of [
    'open',
    'commit',
    'sync',
    'cut',
    'end',
    'farewell',
    'refusal',
    'row',
    'chain',
    'release',
    'audit',
  ])
    expect(stdout).toMatch(new RegExp(`^ok +${step} `, 'm'))
  expect(stdout).toMatch(/committed: +[\d.]+ ms, of which [\d.]+ ms to write and sync/)
  expect(stdout).toMatch(/end seen by the client: +[\d.]+ ms/)
  expect(stdout).not.toContain('pcl_')
})

/** What goes on with a stream that is open. */
const MOVES = /"(?:ageMs|bytesIn|bytesOut)":\d+/g

/** All that people and programs see of tokens, servers and what happened. */
const seen = async () => {
  const paths = ['/tokens', '/servers', '/connections', '/revocations', '/sessions', '/apikeys', '/keys']
  const lists = await Promise.all(
    paths.map(async (path) => JSON.stringify((await node.api('GET', path)).json).replaceAll(MOVES, '')),
  )
  const metrics = await (await fetch(`${node.console}/metrics`)).text()
  const counted =
    /^portcullis_(?:requests_total|refusals_total|dead_token_tries_total|cuts_total|connections|server_\w+|revocation\w*|tokens\w*)(?:\{.*\})? .*$/gm
  const { json } = await node.api<{ connections: number }>('GET', '/node')
  return { lists, connections: json.connections, counted: metrics.match(counted) }
}

test('touches nothing of yours, and leaves one row', async () => {
  const { token } = await node.createToken('mine', ['events'])
  const stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(token) })
  await stream.until(({ text }) => text.includes('data: '))
  const [before, rows] = [await seen(), await rowsOf(node)]
  expect(before).toMatchObject({ connections: 1, counted: expect.arrayContaining(['portcullis_requests_total 1']) })
  const files = readdirSync(node.data)
  await expectPassed(node)
  expect(await seen()).toEqual(before)
  const after = await rowsOf(node)
  expect(after.length - rows.length).toBe(1)
  const own = `local:${process.getuid?.()}`
  expect(after.find(({ sequence }) => rows.every((row) => row.sequence !== sequence))).toMatchObject({
    actor: own,
    details: { ok: true, step: null, timings: { endSeenMs: expect.any(Number) } },
  })
  expect(readdirSync(node.data)).toEqual(files)
  const lengthThen = stream.text.length
  await stream.until(({ text }) => text.length > lengthThen)
  stream.close()
  expect(node.stderr()).not.toContain('pcl_')
  await eventually(async () => (await node.api<{ connections: number }>('GET', '/node')).json.connections === 0)
})

test('is hit by nothing that people do to all, and counts nowhere in it', async () => {
  const { id } = await node.createToken('the only one', ['events'])
  const alive = (await node.api<{ items: { id: string; status: string }[] }>('GET', '/tokens')).json.items
  const running = Array.from({ length: 8 }, () => node.api<SelfTestJson>('POST', '/selftest', {}))
  const closed = await node.api('PUT', '/gate', { state: 'closed', reason: 'stop' })
  const killed = await node.api('DELETE', '/servers/events/connections')
  const { tokens, connections } = await node.revoke({ all: true, note: 'beside a test' })
  expect([closed.status, killed.status]).toEqual([200, 200])
  expect(connections.cut).toBe(0)
  expect(tokens.map((token) => token.id).toSorted()).toEqual(
    alive
      .filter(({ status }) => status === 'active')
      .map((token) => token.id)
      .toSorted(),
  )
  expect(tokens.some((token) => token.id === id)).toBe(true)
  expect((await Promise.all(running)).map(({ json }) => [json.ok, json.message])).toEqual(
    Array.from({ length: 8 }, () => [true, null]),
  )
  // With every gate closed too.
  await expectPassed(node)
  await node.api('PUT', '/gate', { state: 'open' })
})

const openFiles = () => readdirSync(`/proc/${node.pid}/fd`).length

test('leaves nothing behind: no file, no socket, no stream', async () => {
  const ask = () => node.api<SelfTestJson>('POST', '/selftest', {})
  for (let round = 0; round < 5; round += 1) await ask()
  const before = openFiles()
  for (let round = 0; round < 100; round += 1) expect((await ask()).json.ok).toBe(true)
  await eventually(() => openFiles() <= before + 2)
  const found = await node.api<{ items: unknown[] }>('GET', '/connections')
  expect(found.json.items).toEqual([])
})

test('who may ask, and who may look', async () => {
  const operator = consoleApi(node, (await makeKey(node, 'op', 'operator')).key)
  const auditor = consoleApi(node, (await makeKey(node, 'aud', 'auditor')).key)
  const stranger = consoleApi(node)
  expect((await stranger('GET', '/selftest')).status).toBe(401)
  expect((await stranger('POST', '/selftest', {})).status).toBe(401)
  expect((await auditor('POST', '/selftest', {})).status).toBe(403)
  const made = await operator<SelfTestJson>('POST', '/selftest', {})
  expect([made.status, made.json.ok]).toEqual([200, true])
  const looked = await auditor<SelfTestsJson>('GET', '/selftest')
  expect([looked.status, looked.json.last, looked.json.everyMs]).toEqual([200, made.json, null])
  expect((await rowsOf(node)).some(({ actor }) => actor === 'apikey:op')).toBe(true)

  const env = { PORTCULLIS_API_KEY: (await makeKey(node, 'far', 'operator')).key }
  const far = await portcullis(['selftest', '--url', node.console], { env })
  expect([far.code, far.stdout]).toEqual([0, expect.stringContaining('PASSED')])
  const { key } = await makeKey(node, 'reader', 'auditor')
  const refused = await portcullis(['selftest', '--url', node.console], { env: { PORTCULLIS_API_KEY: key } })
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('role operator')])
})

test('too many at once are refused', async () => {
  const answers = await Promise.all(Array.from({ length: 40 }, () => node.api('POST', '/selftest', {})))
  const statuses = answers.map(({ status }) => status)
  expect([...new Set(statuses)].toSorted()).toEqual([200, 429])
})

test('no node', async () => {
  const { code, stdout, stderr } = await portcullis(['selftest', '--data', folder])
  expect([code, stdout]).toEqual([3, ''])
  expect(stderr).toContain('control.sock')
})

test('through TLS, whatever the certificate says', async () => {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const subject = ['-subj', '/CN=elsewhere.example', '-days', '1']
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} ${subject}`.quiet()
  await using secure = await startNode({ args: ['--tls-cert', cert, '--tls-key', key] })
  await expectPassed(secure)
})

/** An address of this machine that is none of the loopback's. */
const outward = Object.values(networkInterfaces())
  .flat()
  .find((address) => address && !address.internal && address.family === 'IPv4')?.address

test.each(['[::1]:0', '[::]:0', '0.0.0.0:0', 'localhost:0', ...(outward ? [`${outward}:0`] : [])])(
  'on %s, past any proxy of the environment',
  async (address) => {
    const asked: string[] = []
    const proxy = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: ({ url }) => {
        asked.push(url)
        return new Response(null, { status: 418 })
      },
    })
    const env = { HTTP_PROXY: proxy.url.href, http_proxy: proxy.url.href, NO_PROXY: 'direct.example' }
    await using bound = await startNode({ args: ['--listen', address], env })
    await expectPassed(bound)
    expect(asked).toEqual([])
    await proxy.stop(true)
  },
)

test('of the demo', async () => {
  const data = join(folder, 'demo')
  const args = ['--data', data, '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0']
  const demo = Bun.spawn([process.execPath, 'src/main.ts', 'demo', ...args], {
    cwd: join(import.meta.dir, '../..'),
    env: { PATH: process.env['PATH'] ?? '', HOME: folder },
    stdout: 'ignore',
    stderr: 'ignore',
  })
  try {
    const ran = await eventually(
      async () => {
        const tried = await portcullis(['selftest', '--data', data])
        return tried.code === 3 ? null : tried
      },
      { timeoutMs: 15_000 },
    )
    expect([ran.code, ran.stdout]).toEqual([0, expect.stringContaining('PASSED')])
  } finally {
    demo.kill('SIGTERM')
    await demo.exited
  }
})
