import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import type { AuditRowJson, RevocationJson, TokenJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { consoleApi } from '../api/console.ts'
import { cookieOf, makeOperator, postForm, setUp, signIn } from '../api/session.ts'
import { documentOf, portcullis } from '../cli/run.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { parseEvents } from '../support/sse.ts'
import { tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'

const isRoot = mayMount()

let events: Awaited<ReturnType<typeof startEvents>>
const folders = new Map<string, Awaited<ReturnType<typeof smallFolder>>>()
const nodes: TestNode[] = []

/** A node whose data folder is a file system of a few MB. Its home is elsewhere: Bun keeps a cache there. */
const startSmall = async (size = '6m') => {
  const folder = await smallFolder(size)
  folders.set(folder.data, folder)
  const node = await restart(folder.data)
  await node.addServer('events', events.url)
  return node
}
const home = tempFolder()
const restart = async (data: string) => {
  const node = await startNode({ data, env: { HOME: home } })
  nodes.push(node)
  return node
}

const diskOf = (node: TestNode) => {
  const folder = folders.get(node.data)
  if (!folder) throw new Error(`${node.data} is no small folder`)
  return folder
}
const fill = (node: TestNode) => diskOf(node).fill()
const free = (node: TestNode) => diskOf(node).free()

const readyz = async (node: TestNode) => {
  const response = await fetch(`${node.console}/readyz`)
  return { status: response.status, text: await response.text() }
}
const isReady = (node: TestNode) => eventually(async () => (await readyz(node)).status === 200, { timeoutMs: 10_000 })
const statusOf = async (node: TestNode, secret: string) => {
  const client = await open(node.gate, { target: '/s/events/sse', headers: bearer(secret) })
  await client.until(({ head }) => head !== null)
  client.close()
  return client.status
}
const auditOf = async (node: TestNode, action: string) =>
  (await node.api<{ items: AuditRowJson[] }>('GET', `/audit?action=${action}`)).json.items

beforeAll(async () => {
  events = await startEvents({ intervalMs: 20 })
})
afterAll(async () => {
  for (const node of nodes) {
    node.kill('SIGKILL')
    await node.exited
  }
  for (const folder of folders.values()) await folder[Symbol.asyncDispose]()
  events.stop()
})

test.skipIf(!isRoot)('a full disk: dead at once, and on disk as soon as it can be', async () => {
  const node = await startSmall()
  const dies = await node.createToken('dies', ['events'])
  const lives = await node.createToken('lives', ['events'])
  const stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(dies.token) })
  await stream.until(({ text }) => text.includes('data: '))
  const tokensBefore = (await node.api('GET', '/tokens')).json
  fill(node)

  // What can wait is refused, and nothing of it is left.
  const issue = await node.api<Record<string, unknown>>('POST', '/tokens', { name: 'new', servers: ['events'] })
  expect([issue.status, issue.headers.get('content-type')]).toEqual([507, 'application/problem+json'])
  expect(issue.json).not.toHaveProperty('token')
  expect(
    (
      await node.api<{
        items: TokenJson[]
      }>('GET', '/tokens')
    ).json.items.map(({ name }) => name),
  ).toEqual(['dies', 'lives'])
  expect(tokensBefore).toMatchObject({ items: [{ name: 'dies' }, { name: 'lives' }] })
  const rotation = await node.api('POST', `/tokens/${lives.id}/rotations`, {})
  expect(rotation.status).toBe(507)
  expect(await statusOf(node, lives.token)).toBe(200)

  // What can't wait is in force.
  const { status, json: receipt } = await node.api<RevocationJson>('POST', '/revocations', {
    tokens: [dies.id],
    reason: 'compromised',
    note: 'while full',
  })
  expect(status).toBe(507)
  expect(receipt).toMatchObject({ durable: false, complete: false, connections: { cut: 1 }, tokens: [{ id: dies.id }] })
  // It has its address at once, with what was measured.
  const asked = await node.api<RevocationJson>('GET', `/revocations/${receipt.id}`)
  expect([asked.status, asked.json.durable, asked.json.connections]).toEqual([200, false, { cut: 1 }])
  expect(asked.json.timings.lastCutMs).toBe(receipt.timings.lastCutMs)
  await stream.done()
  expect(parseEvents(stream.text).at(-1)).toMatchObject({
    event: 'disconnect',
    data: expect.stringContaining('token_revoked'),
  })
  expect(await statusOf(node, dies.token)).toBe(401)
  expect(await statusOf(node, lives.token)).toBe(200)
  expect((await node.api<TokenJson>('GET', `/tokens/${dies.id}`)).json.status).toBe('revoked')
  const { status: notReady, text: why } = await readyz(node)
  expect([notReady, why]).toEqual([503, expect.stringMatching(/database.*full/)])

  // Dead already: said as ever, also with a key under which the answer can't be kept.
  const twice = await node.api<RevocationJson>(
    'POST',
    '/revocations',
    { tokens: [dies.id], reason: 'other' },
    {
      'Idempotency-Key': 'twice',
    },
  )
  expect([twice.status, twice.json.tokens]).toEqual([200, []])

  const other = await open(node.gate, { target: '/s/events/sse', headers: bearer(lives.token) })
  await other.until(({ text }) => text.includes('data: '))
  const kill = await node.api('DELETE', '/servers/events/connections')
  expect([kill.status, kill.json]).toEqual([507, { cut: 1, lastCutMs: expect.any(Number), durable: false }])
  await other.done()
  expect(other.text).toContain('connection_killed')
  const close = await node.api('PUT', '/servers/events/gate', { state: 'closed', reason: 'stop' })
  expect([close.status, close.json]).toMatchObject([507, { state: 'closed', reason: 'stop', durable: false }])
  expect(await statusOf(node, lives.token)).toBe(503)
  // An opening waits for the disk: closed is the safe side.
  expect((await node.api('PUT', '/servers/events/gate', { state: 'open' })).status).toBe(507)
  expect(await statusOf(node, lives.token)).toBe(503)

  free(node)
  await isReady(node)
  expect((await node.api<RevocationJson>('GET', `/revocations/${receipt.id}`)).json).toMatchObject({
    id: receipt.id,
    at: receipt.at,
    actor: 'local:0',
    note: 'while full',
    durable: true,
    complete: true,
  })
  // Its figures, and what died, come after it.
  const died = await eventually(async () => {
    const { items } = (await node.api<{ items: object[] }>('GET', `/revocations/${receipt.id}/connections`)).json
    return items.length > 0 && items
  })
  expect(died).toMatchObject([{ n: 1, token: { id: dies.id }, kind: 'sse' }])
  const kept = (await node.api<RevocationJson>('GET', `/revocations/${receipt.id}`)).json
  expect([kept.connections.cut, kept.timings]).toEqual([1, receipt.timings])
  const revoked = await auditOf(node, 'token.revoke')
  expect(revoked).toMatchObject([{ actor: 'local:0', targetId: dies.id, reason: 'compromised' }])
  expect(await auditOf(node, 'server.kill')).toHaveLength(1)
  expect(await auditOf(node, 'server.close')).toHaveLength(1)
  expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
  expect((await node.api('PUT', '/servers/events/gate', { state: 'open' })).status).toBe(200)
  expect(await statusOf(node, lives.token)).toBe(200)
  expect(await statusOf(node, dies.token)).toBe(401)
})

test.skipIf(!isRoot)('a full disk is not ready, before anybody tries to revoke', async () => {
  const node = await startSmall()
  fill(node)
  expect((await node.api('POST', '/apikeys', { name: 'k', role: 'auditor' })).status).toBe(507)
  await eventually(async () => (await readyz(node)).status === 503)
  free(node)
  await isReady(node)
})

test.skipIf(!isRoot)('the command line says that it is in force, and not on disk', async () => {
  const node = await startSmall()
  const { id } = await node.createToken('dies', ['events'])
  fill(node)
  const text = await portcullis(['revoke', id, '--reason', 'other', '--data', node.data])
  expect(text.stdout).toMatch(/Revoked 1 token/)
  expect(text.stderr).toMatch(/NOT YET ON DISK/)
  const kill = await portcullis(['server', 'kill', 'events', '--data', node.data])
  expect(kill.stdout + kill.stderr).toMatch(/cut|no connections/)
  expect(kill.stdout + kill.stderr).toMatch(/disk|database/i)
  const close = await portcullis(['server', 'close', '--all', '--data', node.data, '--json'])
  expect(documentOf<Record<string, unknown>>(close)).toMatchObject({ state: 'closed', durable: false })
  const health = await portcullis(['healthcheck', '--data', node.data])
  expect([health.code, health.stdout]).toEqual([1, expect.stringContaining('not ready')])
})

test.skipIf(!isRoot)('kill -9 and a start while the disk is full: the journal keeps the dead dead', async () => {
  const node = await startSmall()
  const dies = await node.createToken('dies', ['events'])
  const lives = await node.createToken('lives', ['events'])
  await node.addServer('shut', events.url)
  const scope = await node.createToken('for shut', ['shut'])
  fill(node)
  const { json: receipt } = await node.api<RevocationJson>('POST', '/revocations', {
    tokens: [dies.id],
    reason: 'compromised',
  })
  expect(receipt.durable).toBeFalse()
  await node.api('PUT', '/servers/shut/gate', { state: 'closed', reason: 'kept' })
  node.kill('SIGKILL')
  await node.exited

  const second = await restart(node.data)
  expect(await statusOf(second, dies.token)).toBe(401)
  expect(await statusOf(second, lives.token)).toBe(200)
  expect((await ask(second.gate, { target: '/s/shut/x', headers: bearer(scope.token) })).status).toBe(503)
  expect((await readyz(second)).status).toBe(503)
  free(node)
  await isReady(second)
  expect((await second.api('GET', `/revocations/${receipt.id}`)).status).toBe(200)
  expect(await auditOf(second, 'token.revoke')).toHaveLength(1)
  expect(await auditOf(second, 'server.close')).toMatchObject([{ targetName: 'shut', reason: 'kept' }])
  expect(await second.stop()).toBe(0)

  const third = await restart(node.data)
  expect(await statusOf(third, dies.token)).toBe(401)
  expect(await auditOf(third, 'token.revoke')).toHaveLength(1)
  expect((await third.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
})

test.skipIf(!isRoot)('more dead than the journal could list', async () => {
  const count = 9_000
  const node = await startSmall('32m')
  const { id: serverId } = (await node.api<{ id: string }>('GET', '/servers/events')).json
  const { token } = await node.createToken('with a secret', ['events'])
  expect(await node.stop()).toBe(0)
  const database = new Database(join(node.data, 'portcullis.db'))
  database.transaction(() => {
    const insert = database.query(
      'INSERT INTO tokens (id, name, subject, created_at, created_by) VALUES (?, ?, ?, ?, ?)',
    )
    const reach = database.query('INSERT INTO token_servers (token_id, server_id) VALUES (?, ?)')
    for (let index = 0; index < count; index += 1) {
      insert.run(
        `tok_${index}`,
        `${index} ${'x'.repeat(90)}`,
        `${index}@${'x'.repeat(80)}.example`,
        Date.now() - 1_000,
        'system',
      )
      reach.run(`tok_${index}`, serverId)
    }
  })()
  database.close()

  const second = await restart(node.data)
  fill(node)
  const { status, json } = await second.api<RevocationJson>('POST', '/revocations', {
    server: 'events',
    reason: 'compromised',
  })
  expect([status, json.durable, json.tokens.length]).toEqual([507, false, count + 1])
  second.kill('SIGKILL')
  await second.exited

  const third = await restart(node.data)
  const firstAndLast = async () => {
    const ids = ['tok_0', `tok_${count - 1}`]
    return Promise.all(ids.map(async (id) => (await third.api<TokenJson>('GET', `/tokens/${id}`)).json.status))
  }
  expect(await firstAndLast()).toEqual(['revoked', 'revoked'])
  expect(await statusOf(third, token)).toBe(401)
  free(node)
  await isReady(third)
  expect((await third.api<RevocationJson>('GET', `/revocations/${json.id}`)).json.tokens).toHaveLength(count + 1)
  expect(await auditOf(third, 'token.revoke')).toHaveLength(1)
  expect(await firstAndLast()).toEqual(['revoked', 'revoked'])
})

test.skipIf(!isRoot)('an owner gets in, to revoke, kill and close, and for nothing else', async () => {
  const node = await startSmall()
  const password = 'correct horse 4711'
  await setUp(node, 'Grace', password)
  await makeOperator(node, 'Ada', 'operator', password)
  const dies = await node.createToken('dies', ['events'])
  fill(node)
  const cookie = await signIn(node, 'Grace', password)
  const ada = await postForm(node, '/sign-in', { name: 'Ada', password })
  expect([ada.status >= 400, cookieOf(ada)]).toEqual([true, null])
  const call = (method: string, path: string, body?: unknown) =>
    consoleApi(node)<Record<string, unknown>>(method, path, body, { Cookie: cookie, 'Sec-Fetch-Site': 'same-origin' })
  const revoked = await call('POST', '/revocations', { tokens: [dies.id], reason: 'compromised' })
  expect([revoked.status, revoked.json]).toMatchObject([507, { durable: false, actor: 'operator:Grace' }])
  expect(await statusOf(node, dies.token)).toBe(401)
  expect((await call('DELETE', '/servers/events/connections')).status).toBe(507)
  expect((await call('PUT', '/servers/events/gate', { state: 'closed' })).status).toBe(507)

  free(node)
  await isReady(node)
  // The session stays what it was: signed in without a row of its own.
  for (const [method, path, body] of [
    ['POST', '/tokens', { name: 'x', servers: ['events'] }],
    ['POST', '/apikeys', { name: 'x', role: 'operator' }],
    ['PUT', '/servers/events/gate', { state: 'open' }],
    ['POST', '/keys', undefined],
  ] as const) {
    const { status } = await call(method, path, body)
    expect([method, path, status]).toEqual([method, path, 403])
  }
  const again = await signIn(node, 'Grace', password)
  const opened = await consoleApi(node)(
    'PUT',
    '/servers/events/gate',
    { state: 'open' },
    { Cookie: again, 'Sec-Fetch-Site': 'same-origin' },
  )
  expect(opened.status).toBe(200)
  expect(await auditOf(node, 'token.revoke')).toMatchObject([{ actor: 'operator:Grace', targetId: dies.id }])
})

test.if(isRoot)('a first start without the room for the journal is refused, and says what to do', async () => {
  // Without it a revocation on a full disk could not be kept.
  await using folder = await smallFolder('1m')
  const addresses = ['--listen', '127.0.0.1:0', '--console', '127.0.0.1:0']
  for (const _ of ['first', 'again']) {
    const { code, stdout, stderr } = await portcullis(['serve', '--data', folder.data, ...addresses])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(
      /portcullis\.journal: can't be given its \d+ bytes \(ENOSPC.*\); free some space, then start/,
    )
  }
})
