import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { startNode, type TestNode } from '../support/node.ts'
import { linkOfNew, PASSWORD, setupLinkOf, Visitor } from './visitor.ts'

let node: TestNode
let owner: Visitor
let auditor: Visitor
let token: string

beforeAll(async () => {
  node = await startNode()
  owner = new Visitor(node.console)
  auditor = new Visitor(node.console)
  expect((await owner.usePasswordLink(await setupLinkOf(node), 'ada')).status).toBe(303)
  expect((await auditor.usePasswordLink(await linkOfNew(node, 'grace', 'auditor'), '')).status).toBe(303)
  await node.addServer('nowhere', 'http://127.0.0.1:9')
  token = (await node.createToken('Confidential name', ['nowhere'], { subject: 'confidential@example.com' })).id
})
afterAll(() => node.stop())

describe('without a session', () => {
  const stranger = () => new Visitor(node.console)

  const pages = ['/', '/tokens?q=Conf', '/connections', '/revocations/new?token=x', '/revocations/rev_x']

  test.each(pages)('GET %s tells nothing', async (path) => {
    for (const cookie of ['', 'portcullis_session=wrong']) {
      const visitor = stranger()
      visitor.cookie = cookie
      const answer = await visitor.get(path)
      expect(answer.status).toBe(303)
      expect(answer.headers.get('location')).toBe('/sign-in')
      expect(await answer.text()).toBe('')
    }
  })

  test('a script is told to go to sign-in', async () => {
    const answer = await stranger().get('/tokens', { 'hx-request': 'true', 'x-live': '1' })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('hx-redirect')).toBe('/sign-in')
    expect(await answer.text()).not.toContain('onfidential')
  })

  test.each(['/revocations', '/connections/c1/kill'])('POST %s is 401', async (path) => {
    const answer = await stranger().post(path, { token, reason: 'other' })
    expect(answer.status).toBe(401)
    expect(await answer.text()).not.toContain('onfidential')
  })

  test('an API key is no session', async () => {
    const { json } = await node.api<{ key: string }>('POST', '/apikeys', { name: 'k', role: 'operator' })
    expect((await stranger().get('/', { authorization: `Bearer ${json.key}` })).status).toBe(303)
  })

  test('an unknown page is 404', async () => {
    expect((await stranger().get('/nothing/here')).status).toBe(404)
  })

  test.each(['app.css', 'app.js', 'htmx.js'])('/assets/%s is there', async (name) => {
    const answer = await stranger().get(`/assets/${name}`)
    expect(answer.status).toBe(200)
    expect((await answer.text()).length).toBeGreaterThan(500)
    const again = await stranger().get(`/assets/${name}`, { 'if-none-match': answer.headers.get('etag') ?? '' })
    expect(again.status).toBe(304)
  })
})

test('every page has the policy, and is not stored', async () => {
  for (const path of [
    '/',
    '/tokens',
    '/connections',
    '/sign-in',
    '/setup?code=x',
    '/nothing',
    `/revocations/new?token=${token}`,
  ]) {
    const answer = await (path === '/sign-in' ? new Visitor(node.console) : owner).get(path)
    const policy = answer.headers.get('content-security-policy') ?? ''
    expect(policy).toStartWith("default-src 'none'; script-src 'self'; style-src 'self'")
    expect(policy).not.toContain('unsafe')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const html = await answer.text()
    expect(html).not.toMatch(/<[^>]+ (?:style|on\w+)=/)
    expect(html).not.toMatch(/<script(?![^>]* src=)/)
  }
})

describe('roles', () => {
  test('an auditor sees the lists, and gets no button', async () => {
    const html = await (await auditor.get('/')).text()
    expect(html).toContain('Confidential name')
    expect(html).not.toMatch(/>Revoke<|>Kill</)
  })

  test('what an auditor posts is refused', async () => {
    expect((await auditor.get(`/revocations/new?token=${token}`)).status).toBe(403)
    expect((await auditor.post('/revocations', { token, reason: 'other' })).status).toBe(403)
    expect((await auditor.post('/connections/c1/kill', {})).status).toBe(403)
    const { json } = await node.api<{ status: string }>('GET', `/tokens/${token}`)
    expect(json.status).toBe('active')
  })
})

test.each<[string, Record<string, string>]>([
  ['another site', { 'sec-fetch-site': 'cross-site' }],
  ['another port', { 'sec-fetch-site': 'same-site' }],
  ['nobody knows', { 'sec-fetch-site': 'none' }],
])('a write from %s is refused', async (_, headers) => {
  expect((await owner.post('/revocations', { token, reason: 'other' }, headers)).status).toBe(403)
  expect((await owner.post('/sign-out', {}, headers)).status).toBe(403)
  expect((await owner.get('/')).status).toBe(200)
})

describe('revoking', () => {
  test.each<[string, number, Record<string, string>]>([
    ['no token', 400, { reason: 'other' }],
    ['a token that never was', 404, { token: 'tok_x', reason: 'other' }],
    ['a token by name', 404, { token: 'Confidential name', reason: 'other' }],
    ['no reason', 400, {}],
    ['a reason of its own', 400, { reason: 'because' }],
  ])('%s is %i', async (_, status, fields) => {
    const body = 'reason' in fields && fields['reason'] === 'other' ? fields : { token, ...fields }
    expect((await owner.post('/revocations', body)).status).toBe(status)
  })

  test('several at once have one receipt; again, nothing is written', async () => {
    const ids = [(await node.createToken('first', ['nowhere'])).id, (await node.createToken('second', ['nowhere'])).id]
    const fields: [string, string][] = [...ids.map((id): [string, string] => ['token', id]), ['reason', 'offboarding']]
    const confirmation = await (await owner.get(`/revocations/new?${new URLSearchParams(fields)}`)).text()
    expect(confirmation).toContain('Revoke 2 tokens?')
    const answer = await owner.post('/revocations', fields)
    expect(answer.status).toBe(303)
    const receipt = await (await owner.get(answer.headers.get('location') ?? '')).text()
    for (const text of ['2 tokens revoked', 'first', 'second', 'operator:ada', 'offboarding']) {
      expect(receipt).toContain(text)
    }
    const again = await owner.post('/revocations', fields)
    expect(again.status).toBe(200)
    expect(await again.text()).toContain('Dead already')
  })

  test('a connection that ended can not be killed', async () => {
    expect((await owner.post('/connections/c999/kill', {})).status).toBe(404)
  })
})

describe('passwords', () => {
  test('a wrong one is 401, in one sentence, and is not repeated', async () => {
    const typed = { name: 'a-name-typed', password: 'a-wrong-password' }
    const answer = await new Visitor(node.console).post('/sign-in', typed)
    const html = await answer.text()
    expect(answer.status).toBe(401)
    expect(html).toContain('The name or the password is wrong.')
    expect(html).toContain('action="/sign-in"')
    expect(html).not.toContain('a-wrong-password')
    expect(html).not.toContain('a-name-typed')
    expect(answer.headers.get('set-cookie')).toBeNull()
  })

  test('a link takes no password that is short, or typed in two ways, and is not used up by it', async () => {
    const link = await linkOfNew(node, 'barbara', 'operator')
    const code = new URL(link).searchParams.get('code') ?? ''
    const visitor = new Visitor(node.console)
    for (const [password, again] of [
      ['short', 'short'],
      [PASSWORD, `${PASSWORD}!`],
    ] as const) {
      const answer = await visitor.post('/setup', { code, password, again })
      expect(answer.status).toBe(400)
      expect(await answer.text()).not.toContain(`"${password}"`)
    }
    expect((await visitor.usePasswordLink(link, '')).status).toBe(303)
    expect((await visitor.get('/')).status).toBe(200)
    expect((await visitor.usePasswordLink(link, '')).status).toBe(403)
  })

  test('signing out ends the session, not the cookie alone', async () => {
    const visitor = new Visitor(node.console)
    await visitor.post('/sign-in', { name: 'barbara', password: PASSWORD })
    const { cookie } = visitor
    expect((await visitor.get('/')).status).toBe(200)
    expect((await visitor.post('/sign-out', {})).headers.get('set-cookie')).toContain('Max-Age=0')
    visitor.cookie = cookie
    expect((await visitor.get('/')).status).toBe(303)
  })

  test('too many wrong ones are 429', async () => {
    const visitor = new Visitor(node.console)
    const statuses = new Set<number>()
    for (let tries = 0; tries < 12; tries += 1) {
      statuses.add((await visitor.post('/sign-in', { name: 'ada', password: 'wrong, again' })).status)
    }
    expect([...statuses]).toEqual([401, 429])
  })
})

test('a one-time link is not used up by looking at it', async () => {
  await using node = await startNode()
  const visitor = new Visitor(node.console)
  const link = new URL(await setupLinkOf(node))
  for (let looks = 0; looks < 3; looks += 1) expect((await visitor.get(link.pathname + link.search)).status).toBe(200)
  expect((await visitor.usePasswordLink(link.href, 'ada')).status).toBe(303)
  expect((await visitor.get(link.pathname + link.search)).status).toBe(403)
})
