import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { AuditRowJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { consoleApi, makeKey } from './console.ts'
import { cookieOf, makeOperator, postForm, setUp, signIn } from './session.ts'
import { expectProblem } from './shape.ts'

const PASSWORD = 'correct horse Qx4711zZ'
let node: TestNode
let owner: string
let operator: string
let auditor: string
beforeAll(async () => {
  node = await startNode()
  owner = await setUp(node, 'Grace', PASSWORD)
  operator = await makeOperator(node, 'Ada', 'operator', PASSWORD)
  auditor = await makeOperator(node, 'Alan', 'auditor', PASSWORD)
})
afterAll(() => node.stop())

const OWN = { 'Sec-Fetch-Site': 'same-origin' }
const as =
  (cookie: string) =>
  (method: string, path: string, body?: unknown, headers: Record<string, string> = OWN) =>
    consoleApi(node)(method, path, body, { Cookie: cookie, ...headers })
const rows = async (action: string) =>
  (await node.api<{ items: AuditRowJson[] }>('GET', `/audit?limit=1000&action=${action}`)).json.items

describe('a session', () => {
  test('reads and writes as its operator', async () => {
    expect((await as(owner)('GET', '/tokens')).status).toBe(200)
    const made = await as(owner)('POST', '/servers', { name: 'by-session', url: 'http://127.0.0.1:1', probe: false })
    expect(made.status).toBe(201)
    expect((await rows('server.add')).at(-1)).toMatchObject({ actor: 'operator:Grace', targetName: 'by-session' })
  })

  test('a write must come from a page of the console', async () => {
    const origin = new URL(node.console).origin
    const body = { name: 'cross', url: 'http://127.0.0.1:1', probe: false }
    const foreign: Record<string, string>[] = [
      {},
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
      { 'Sec-Fetch-Site': 'none' },
      { 'Sec-Fetch-Site': '' },
      { Origin: 'https://evil.example' },
      { Origin: 'null' },
      { Origin: `${origin}.evil.example` },
      { Origin: origin.replace('http:', 'https:') },
      { Origin: node.gate },
      { Origin: origin, 'Sec-Fetch-Site': 'cross-site' },
      { Referer: `${origin}/` },
    ]
    for (const headers of foreign) {
      expectProblem(await as(owner)('POST', '/servers', body, headers), 403, 'cross-site')
      expectProblem(await as(owner)('DELETE', '/servers/by-session', undefined, headers), 403, 'cross-site')
      expectProblem(await as(owner)('PUT', '/gate', { state: 'closed' }, headers), 403, 'cross-site')
      for (const path of ['/sign-out', '/sign-in', '/setup']) {
        const { status } = await postForm(node, path, {}, { Cookie: owner, 'Sec-Fetch-Site': '', ...headers })
        expect([path, status]).toEqual([path, 403])
      }
    }
    expect((await node.api('GET', '/servers/cross')).status).toBe(404)
    expect((await node.api<{ gate: { state: string } }>('GET', '/node')).json.gate.state).toBe('open')
    expect((await as(owner)('POST', '/servers', body, { Origin: origin })).status).toBe(201)
    expect((await as(owner)('GET', '/tokens', undefined, {})).status).toBe(200)
  })

  test('a wrong key beside it is not made up for by it', async () => {
    expectProblem(await as(owner)('GET', '/tokens', undefined, { Authorization: 'Bearer pca_x' }), 401)
    const { key } = await makeKey(node, 'reader', 'auditor')
    expectProblem(
      await as(owner)('POST', '/keys', undefined, { ...OWN, Authorization: `Bearer ${key}` }),
      403,
      'forbidden',
    )
  })

  test.each([
    ['owner', () => owner, [201, 201, 200]],
    ['operator', () => operator, [403, 201, 200]],
    ['auditor', () => auditor, [403, 403, 200]],
  ])('%s', async (role, cookie, statuses) => {
    const call = as(cookie())
    const answers = [
      await call('POST', '/apikeys', { name: `by ${role}`, role: 'auditor' }),
      await call('POST', '/servers', { name: `by-${role}`, url: 'http://127.0.0.1:1', probe: false }),
      await call('GET', '/audit'),
    ]
    expect(answers.map(({ status }) => status)).toEqual(statuses)
    expect((await call('GET', '/backup').catch(() => ({ status: 200 }))).status).toBe(role === 'owner' ? 200 : 403)
  })

  test('its cookie is for the browser alone', async () => {
    const response = await postForm(node, '/sign-in', { name: 'Ada', password: PASSWORD })
    const cookie = response.headers.get('set-cookie') ?? ''
    expect(cookie).toMatch(/^\w+=[\w-]{40,};/)
    expect(cookie).toMatch(/; HttpOnly/i)
    expect(cookie).toMatch(/; SameSite=Strict/i)
    expect(cookie).toMatch(/; Path=\//i)
    expect(cookie).not.toMatch(/Domain|; Secure/i)
    expect([response.status, response.headers.get('location')]).toEqual([303, '/'])
    expect(response.headers.get('cache-control')).toContain('no-store')
  })

  test('ends by signing out', async () => {
    const cookie = await signIn(node, 'Alan', PASSWORD)
    expect((await as(cookie)('GET', '/tokens')).status).toBe(200)
    expect((await postForm(node, '/sign-out', {}, { Cookie: cookie })).status).toBe(303)
    expectProblem(await as(cookie)('GET', '/tokens'), 401)
  })

  test('ends with a new password, and with its operator', async () => {
    const cookie = await makeOperator(node, 'Edsger', 'operator', PASSWORD)
    const { json } = await node.api<{ url: string }>('POST', '/operators/Edsger/links')
    const code = new URL(json.url).searchParams.get('code') ?? ''
    const changed =
      cookieOf(await postForm(node, '/setup', { code, password: `${PASSWORD} new`, again: `${PASSWORD} new` })) ?? ''
    expectProblem(await as(cookie)('GET', '/tokens'), 401)
    expect((await as(changed)('GET', '/tokens')).status).toBe(200)
    expect((await postForm(node, '/sign-in', { name: 'Edsger', password: PASSWORD })).status).toBeGreaterThanOrEqual(
      400,
    )
    await node.api('DELETE', '/operators/Edsger')
    expectProblem(await as(changed)('GET', '/tokens'), 401)
    expect(
      (await postForm(node, '/sign-in', { name: 'Edsger', password: `${PASSWORD} new` })).status,
    ).toBeGreaterThanOrEqual(400)
  })
})

describe('one-time links', () => {
  const use = (code: string, password = PASSWORD) =>
    postForm(node, '/setup', { code, name: 'Mallory', password, again: password })

  test('there is no second first owner', async () => {
    expectProblem(await node.api('POST', '/setup-links'), 409)
    const printed = /code=(\S+)/.exec(node.stdout())?.[1] ?? 'none'
    const response = await use(printed)
    expect([response.status >= 400, cookieOf(response)]).toEqual([true, null])
    const { json } = await node.api<{ items: { name: string }[] }>('GET', '/operators')
    expect(json.items.map(({ name }) => name)).not.toContain('Mallory')
  })

  test('work once, and only the newest one', async () => {
    const codes: string[] = []
    await node.api('POST', '/operators', { name: 'Barbara', role: 'auditor' })
    for (let round = 0; round < 2; round += 1) {
      const { json } = await node.api<{ url: string }>('POST', '/operators/Barbara/links')
      codes.push(new URL(json.url).searchParams.get('code') ?? '')
    }
    const [older = '', newer = ''] = codes
    expect(cookieOf(await use(older))).toBeNull()
    // A password that is too short, or mistyped, does not use it up.
    expect(cookieOf(await use(newer, 'short'))).toBeNull()
    expect(
      cookieOf(await postForm(node, '/setup', { code: newer, password: PASSWORD, again: `${PASSWORD}x` })),
    ).toBeNull()
    expect(cookieOf(await use(newer))).toBeString()
    expect(cookieOf(await use(newer))).toBeNull()
    expect((await rows('operator.password')).filter(({ targetName }) => targetName === 'Barbara')).toHaveLength(1)
  })
})

describe('signing in', () => {
  test('is one row; the password is nowhere', async () => {
    const before = (await rows('operator.sign-in')).length
    await signIn(node, 'Ada', PASSWORD)
    const found = await rows('operator.sign-in')
    expect(found).toHaveLength(before + 1)
    expect(found.at(-1)).toMatchObject({ actor: 'operator:Ada', targetName: 'Ada', details: { address: '127.0.0.1' } })
    expect(JSON.stringify(found)).not.toContain('Qx4711zZ')
    expect(node.stderr()).not.toContain('Qx4711zZ')
  })

  test('a wrong one looks like an unknown one, echoes nothing, and too many are held off', async () => {
    const texts: string[] = []
    for (const [name, password] of [
      ['Grace', 'wrong-secret-0815'],
      ['Nobody', 'wrong-secret-0815'],
    ] as const) {
      const response = await postForm(node, '/sign-in', { name, password })
      const text = await response.text()
      expect([response.status, cookieOf(response)]).toEqual([401, null])
      expect(text).not.toContain('0815')
      texts.push(text)
    }
    expect(texts[0]).toBe(texts[1] as string)
    const last = await eventually(
      async () => {
        const response = await postForm(node, '/sign-in', { name: 'Grace', password: 'wrong-secret-0815' })
        return response.status === 401 ? null : response
      },
      { timeoutMs: 20_000 },
    )
    expect(last.status).toBe(429)
    expect((await postForm(node, '/sign-in', { name: 'Grace', password: PASSWORD })).status).toBe(429)
    // Who is signed in stays so.
    expect((await as(owner)('GET', '/tokens')).status).toBe(200)
    // Folded: a minute may end within this test, a row for each try there must not be.
    expect((await rows('operator.sign-in-failed')).length).toBeLessThanOrEqual(1)
  })
})
