import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { AuditRowJson, SessionJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { unknownSecret } from '../support/secret.ts'
import { consoleApi, makeKey } from './console.ts'
import { cookieOf, makeOperator, postForm, setUp, signIn } from './session.ts'
import { expectProblem } from './shape.ts'

const PASSWORD = 'correct horse Qx4711zZ'
let node: TestNode
let owner: string
let operator: string
let auditor: string
beforeAll(async () => {
  node = await startNode({ args: ['--trusted-proxy', '127.0.0.1/32'] })
  owner = await setUp(node, 'Grace', PASSWORD)
  operator = await makeOperator(node, 'Ada', 'operator', PASSWORD)
  auditor = await makeOperator(node, 'Alan', 'auditor', PASSWORD)
})
afterAll(() => node.stop())

const as =
  (cookie: string) =>
  <T>(method: string, path: string, headers: Record<string, string> = {}) =>
    consoleApi(node)<T>(method, path, undefined, { Cookie: cookie, 'Sec-Fetch-Site': 'same-origin', ...headers })
const listed = async (cookie: string) => (await as(cookie)<{ items: SessionJson[] }>('GET', '/sessions')).json.items
const own = async (cookie: string) => (await listed(cookie)).find(({ current }) => current) as SessionJson
const rows = async (action: string) =>
  (await node.api<{ items: AuditRowJson[] }>('GET', `/audit?limit=1000&action=${action}`)).json.items

describe('sessions are listed', () => {
  test('an owner sees all, others their own', async () => {
    expect((await listed(owner)).map(({ operator: name, role, current }) => [name, role, current])).toEqual([
      ['Grace', 'owner', true],
      ['Ada', 'operator', false],
      ['Alan', 'auditor', false],
    ])
    expect((await listed(operator)).map(({ operator: name, current }) => [name, current])).toEqual([['Ada', true]])
    expect((await listed(auditor)).map(({ operator: name, current }) => [name, current])).toEqual([['Alan', true]])
    const { json } = await node.api<{ items: SessionJson[] }>('GET', '/sessions')
    expect(json.items.map(({ current }) => current)).toEqual([false, false, false])
    const { key } = await makeKey(node, 'op', 'operator')
    expect((await consoleApi(node, key)<{ items: unknown[] }>('GET', '/sessions')).json.items).toEqual([])
  })

  test('with where from and what with, and without what opens them', async () => {
    const headers = { 'X-Forwarded-For': '192.0.2.7', 'User-Agent': 'Lynx/2.9' }
    const cookie = cookieOf(await postForm(node, '/sign-in', { name: 'Ada', password: PASSWORD }, headers)) as string
    const answer = await as(cookie)<{ items: SessionJson[] }>('GET', '/sessions', { 'X-Forwarded-For': '192.0.2.8' })
    const found = answer.json.items.find(({ current }) => current) as SessionJson
    expect(found.id).toMatch(/^ses_[0-9a-f]{32}$/)
    expect(found).toMatchObject({
      operator: 'Ada',
      address: '192.0.2.8',
      openedFrom: '192.0.2.7',
      client: 'Lynx/2.9',
      restricted: false,
    })
    const text = JSON.stringify(answer.json)
    const secret = cookie.split('=')[1] as string
    expect(text).not.toContain(secret)
    expect(text).not.toContain(new Bun.CryptoHasher('sha256').update(secret).digest('base64'))
    // The id opens nothing.
    expectProblem(await as(`portcullis_session=${found.id}`)('GET', '/sessions'), 401)
    expect((await rows('operator.sign-in')).at(-1)?.details).toEqual({ address: '192.0.2.7', session: found.id })
    expect((await as(cookie)('DELETE', `/sessions/${found.id}`)).status).toBe(204)
  })

  test.each([
    ['long', 'x'.repeat(8_000), `${'x'.repeat(199)}…`],
    ['a secret', `curl ${unknownSecret()}`, '(secret)'],
    ['control characters', 'evil \u0085\u009b31m', 'evil \ufffd\ufffd31m'],
    ['HTML', '<script>alert(1)</script>', '<script>alert(1)</script>'],
  ])('a hostile name of a browser: %s', async (_what, client, kept) => {
    const headers = { 'User-Agent': client }
    const cookie = cookieOf(await postForm(node, '/sign-in', { name: 'Ada', password: PASSWORD }, headers)) as string
    const session = await own(cookie)
    expect(session.client).toBe(kept)
    expect((await as(cookie)('DELETE', `/sessions/${session.id}`)).status).toBe(204)
  })

  test('a page at a time', async () => {
    const first = (await node.api<{ items: SessionJson[]; next: string }>('GET', '/sessions?limit=2')).json
    expect([first.items.length, first.next]).toEqual([2, first.items[1]?.id as string])
    const second = (await node.api<{ items: SessionJson[]; next: null }>('GET', `/sessions?after=${first.next}`)).json
    expect([second.items.map(({ operator: name }) => name), second.next]).toEqual([['Alan'], null])
  })
})

describe('a session is ended', () => {
  test('by an owner, at once, with a row', async () => {
    const cookie = await signIn(node, 'Ada', PASSWORD)
    const { id } = await own(cookie)
    expect((await as(owner)('DELETE', `/sessions/${id}`)).status).toBe(204)
    expectProblem(await as(cookie)('GET', '/sessions'), 401)
    // Her other session goes on.
    expect((await as(operator)('GET', '/tokens')).status).toBe(200)
    const [row, ...more] = (await rows('operator.session-end')).filter(({ details }) => details['session'] === id)
    expect(row).toMatchObject({ actor: 'operator:Grace', targetName: 'Ada', details: { openedFrom: '127.0.0.1' } })
    expect(more).toEqual([])
    expectProblem(await as(owner)('DELETE', `/sessions/${id}`), 404, 'not-found')
  })

  test('by its own person, whatever the role, and by nobody else', async () => {
    const cookie = await signIn(node, 'Alan', PASSWORD)
    const { id } = await own(cookie)
    const { key } = await makeKey(node, 'op2', 'operator')
    const before = (await rows('operator.session-end')).length
    expectProblem(await as(operator)('DELETE', `/sessions/${id}`), 404, 'not-found')
    expectProblem(await consoleApi(node, key)('DELETE', `/sessions/${id}`), 404, 'not-found')
    expect((await consoleApi(node)('DELETE', `/sessions/${id}`)).status).toBe(401)
    expectProblem(await as(auditor)('DELETE', `/sessions/${id}`, { 'Sec-Fetch-Site': 'cross-site' }), 403)
    expect((await as(cookie)('GET', '/tokens')).status).toBe(200)
    expect((await rows('operator.session-end')).length).toBe(before)
    expect((await as(auditor)('DELETE', `/sessions/${id}`)).status).toBe(204)
    expectProblem(await as(cookie)('GET', '/tokens'), 401)
    // The one that asks may end itself.
    const last = await signIn(node, 'Alan', PASSWORD)
    expect((await as(last)('DELETE', `/sessions/${(await own(last)).id}`)).status).toBe(204)
    expectProblem(await as(last)('GET', '/tokens'), 401)
  })

  test('by signing out, with a row, once', async () => {
    const cookie = await signIn(node, 'Ada', PASSWORD)
    const { id } = await own(cookie)
    for (let tries = 0; tries < 2; tries++) await postForm(node, '/sign-out', {}, { Cookie: cookie })
    expectProblem(await as(cookie)('GET', '/tokens'), 401)
    const found = (await rows('operator.sign-out')).filter(({ details }) => details['session'] === id)
    expect(found).toMatchObject([{ actor: 'operator:Ada', targetName: 'Ada' }])
    expect(await rows('operator.session-end')).not.toContainEqual(expect.objectContaining({ details: { session: id } }))
  })

  test('by signing in again with the same browser', async () => {
    const cookie = await signIn(node, 'Ada', PASSWORD)
    const { id } = await own(cookie)
    const again = cookieOf(await postForm(node, '/sign-in', { name: 'Alan', password: PASSWORD }, { Cookie: cookie }))
    expectProblem(await as(cookie)('GET', '/tokens'), 401)
    expect((await as(again as string)('GET', '/tokens')).status).toBe(200)
    expect((await rows('operator.sign-out')).at(-1)).toMatchObject({ actor: 'operator:Ada', details: { session: id } })
  })
})

describe('what keeps a session alive', () => {
  const LIVE = { 'HX-Request': 'true', 'X-Live': '1' }
  /** When it was used last, as another session sees it. */
  const usedAt = async (id: string) => (await listed(owner)).find((session) => session.id === id)?.usedAt

  test('a live update does not, whatever else a person does', async () => {
    const cookie = await signIn(node, 'Ada', PASSWORD)
    const { id, usedAt: before } = await own(cookie)
    const laterThan = (time: string) => eventually(() => new Date().toISOString() > time)
    await laterThan(before)
    const live = await as(cookie)('GET', '/tokens', { ...LIVE, 'X-Forwarded-For': '192.0.2.9' })
    expect([live.status, await usedAt(id)]).toEqual([200, before])
    // Though where it came from is seen.
    expect((await listed(owner)).find((session) => session.id === id)?.address).toBe('192.0.2.9')
    for (const headers of [{}, { 'HX-Request': 'true' }, { 'X-Live': '1' }] as Record<string, string>[]) {
      const last = (await usedAt(id)) as string
      await laterThan(last)
      await as(cookie)('GET', '/tokens', headers)
      expect(((await usedAt(id)) as string) > last).toBe(true)
    }
    const last = (await usedAt(id)) as string
    await laterThan(last)
    await postForm(node, '/sign-in', { name: 'x', password: 'x' }, { Cookie: cookie, ...LIVE })
    expect(((await usedAt(id)) as string) > last).toBe(true)
  })
})

test('a session ends though its row can not be written, and the log says so', async () => {
  const cookie = await signIn(node, 'Ada', PASSWORD)
  const { id } = await own(cookie)
  const other = new Database(join(node.data, 'portcullis.db'))
  // Somebody else writes: for the node that is a database that can't be written.
  other.run('BEGIN IMMEDIATE')
  const { status } = await as(owner)('DELETE', `/sessions/${id}`)
  other.run('ROLLBACK')
  other.close()
  expect(status).toBe(204)
  expectProblem(await as(cookie)('GET', '/tokens'), 401)
  const lines = node.stderr().split('\n')
  expect(lines.filter((line) => line.includes('a session was ended') && line.includes(id))).toHaveLength(1)
})
