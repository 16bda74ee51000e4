import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Browser } from 'playwright-core'
import type { RevocationJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openSignedIn } from './chromium.ts'
import { peopleOf, Visitor } from './visitor.ts'

let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
let owner: Visitor
let auditor: Visitor

beforeAll(async () => {
  events = await startEvents({ intervalMs: 50, burst: 1 })
  node = await startNode()
  ;({ owner, auditor } = await peopleOf(node))
  for (const name of ['alpha', 'beta']) await node.addServer(name, events.url)
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

const newPath = (fields: Record<string, string>): string => `/revocations/new?${new URLSearchParams(fields)}`
const mainOf = (html: string): string => html.slice(html.indexOf('<main'), html.indexOf('</main>'))
/** The tokens of this file are called `t` and a number. */
const namesIn = (html: string): string[] =>
  [...new Set([...mainOf(html).matchAll(/>(t\d+)</g)].map(([, name]) => name as string))].toSorted()
const ENTITIES: Record<string, string> = { lt: '<', gt: '>', quot: '"', amp: '&', '#39': "'" }
const unescaped = (text: string): string => text.replaceAll(/&([^;]+);/g, (all, name: string) => ENTITIES[name] ?? all)
const hiddenIn = (html: string): [string, string][] =>
  [...mainOf(html).matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)"/g)].map(([, name = '', value = '']) => [
    name,
    unescaped(value),
  ])
/** Sends the form of a confirmation as it stands there. */
const confirm = async (html: string, reason = 'offboarding', note = ''): Promise<string> => {
  const answer = await owner.post('/revocations', [...hiddenIn(html), ['reason', reason], ['note', note]])
  expect(answer.status).toBe(303)
  return answer.headers.get('location') ?? ''
}
const streamOf = async (secret: string, server: string): Promise<RawClient> => {
  const stream = await open(node.gate, { target: `/s/${server}/sse`, headers: bearer(secret) })
  return stream.until(({ text }) => text.includes('data:'))
}
const isAlive = async (id: string) => (await node.api<{ status: string }>('GET', `/tokens/${id}`)).json.status

let made = 0
const create = (
  servers: string[],
  extra: Record<string, unknown> = {},
): Promise<TokenIssuedJson & { token: string }> => {
  made += 1
  return node.createToken(`t${made}`, servers, extra)
}

beforeEach(async () => {
  await node.api('POST', '/revocations', { all: true, reason: 'other' })
})

test('the dry run lists exactly what dies, for any selector', async () => {
  type Made = { name: string; subject: string | null; group: string | null; servers: string[]; createdAt: string }
  let living: Made[] = []
  const subjects = ['ann@example.com', 'Bob & "Co" <b@x>', null]
  const groups = ['core', 'contractors-phoenix', null]
  const servers = [['alpha'], ['beta'], ['alpha', 'beta']]
  const drawn = fc.record({
    tokens: fc.array(fc.tuple(fc.constantFrom(...subjects), fc.constantFrom(...groups), fc.constantFrom(...servers)), {
      minLength: 1,
      maxLength: 4,
    }),
    subject: fc.option(fc.constantFrom('ANN@example.com', 'Bob & "Co" <b@x>')),
    group: fc.option(fc.constantFrom('core', 'Contractors-PHOENIX')),
    server: fc.option(fc.constantFrom('alpha', 'beta')),
    before: fc.option(fc.nat()),
  })
  let killed = 0
  await fc.assert(
    fc.asyncProperty(drawn, async ({ tokens, subject, group, server, before }) => {
      for (const [itsSubject, itsGroup, itsServers] of tokens) {
        const { name, createdAt } = await create(itsServers, { subject: itsSubject, group: itsGroup })
        living.push({ name, subject: itsSubject, group: itsGroup, servers: itsServers, createdAt })
      }
      const issuedBefore = before === null ? null : (living[before % living.length]?.createdAt ?? null)
      const given = Object.entries({ subject, group, server, issuedBefore }).filter(([, value]) => value !== null)
      const fields = given.length === 0 ? { all: 'yes' } : (Object.fromEntries(given) as Record<string, string>)
      const isDoomed = (token: Made) =>
        (subject === null || token.subject?.toLowerCase() === subject.toLowerCase()) &&
        (group === null || token.group?.toLowerCase() === group.toLowerCase()) &&
        (server === null || token.servers.includes(server)) &&
        (issuedBefore === null || token.createdAt < issuedBefore)
      const expected = living
        .filter(isDoomed)
        .map(({ name }) => name)
        .toSorted()

      const question = await owner.get(newPath(fields))
      const html = await question.text()
      // A subject that nobody ever had is an error, and kills nobody either.
      if (question.status === 404) return expect(expected).toEqual([])
      expect(question.status).toBe(200)
      expect(namesIn(html)).toEqual(expected)
      if (expected.length === 0) return expect(html).toContain('Nothing is left to revoke')
      if (expected.length > 1) expect(html).toContain(`Revoke ${expected.length} tokens for ever`)
      // Asking killed nobody.
      expect(namesIn(await (await owner.get(newPath(fields))).text())).toEqual(expected)

      const path = await confirm(html)
      const receipt = await (await owner.get(path)).text()
      expect(namesIn(receipt)).toEqual(expected)
      const { json } = await node.api<RevocationJson>('GET', path)
      expect(json.tokens.map(({ name }) => name).toSorted()).toEqual(expected)
      living = living.filter(({ name }) => !expected.includes(name))
      killed += expected.length
    }),
    { numRuns: 40 },
  )
  expect(killed).toBeGreaterThan(20)
})

test('by a subject: its streams end, all others go on, and what was made meanwhile dies too', async () => {
  const first = await create(['alpha'], { subject: 'dev@example.com' })
  const second = await create(['beta'], { subject: 'DEV@example.com' })
  const other = await create(['alpha'], { subject: 'other@example.com' })
  const doomed = [
    await streamOf(first.token, 'alpha'),
    await streamOf(first.token, 'alpha'),
    await streamOf(second.token, 'beta'),
  ]
  using spared = await streamOf(other.token, 'alpha')

  const html = mainOf(await (await owner.get(newPath({ subject: 'dev@EXAMPLE.com' }))).text())
  const text = html.replaceAll(/<[^>]*>/g, '')
  expect(text).toContain('Revoke 2 tokens of dev@example.com?')
  expect(text).toContain('2 tokens of dev@example.com, 3 live connections')
  expect(html).not.toContain('other@example.com')
  // Those in use come first.
  expect(text.indexOf('2 live connections')).toBeLessThan(text.indexOf('1 live connection', text.indexOf('2 live')))

  const meanwhile = await create(['beta'], { subject: 'dev@example.com' })
  const path = await confirm(html, 'compromised', 'the laptop is gone')
  for (const stream of doomed) {
    await stream.done()
    expect(stream.text).toContain('token_revoked')
  }
  expect(spared.ended).toBe('open')
  expect(await isAlive(other.id)).toBe('active')
  const receipt = await (await owner.get(path)).text()
  expect(namesIn(receipt)).toEqual([first.name, second.name, meanwhile.name].toSorted())
  expect(receipt).toContain('3 tokens are dead.')
  expect(receipt).toMatch(/3 connections were cut in [\d.]+ ms\./)
  expect(receipt).toContain('the laptop is gone')
  expect(receipt).toContain('compromised')
})

test('fields are joined by AND, and what also serves others is said', async () => {
  const both = await create(['alpha', 'beta'], { subject: 'ann@example.com', group: 'core' })
  const wrongServer = await create(['beta'], { subject: 'ann@example.com', group: 'core' })
  const wrongGroup = await create(['alpha'], { subject: 'ann@example.com', group: 'else' })
  const html = await (await owner.get(newPath({ subject: 'ann@example.com', group: 'CORE', server: 'alpha' }))).text()
  expect(namesIn(html)).toEqual([both.name])
  expect(html).toContain('dies for those as well')
  await confirm(html)
  expect(await isAlive(both.id)).toBe('revoked')
  expect(await isAlive(wrongServer.id)).toBe('active')
  expect(await isAlive(wrongGroup.id)).toBe('active')
})

test('what is dead already is counted, not listed; of nothing else there is no question', async () => {
  const alive = await create(['alpha'], { subject: 'counted@example.com' })
  const dead = await create(['alpha'], { subject: 'counted@example.com' })
  await node.revoke({ tokens: [dead.id] })
  const html = await (await owner.get(newPath({ subject: 'counted@example.com' }))).text()
  expect(namesIn(html)).toEqual([alive.name])
  expect(html).toContain('1 more is dead already')
  await node.revoke({ tokens: [alive.id] })
  const nothing = mainOf(await (await owner.get(newPath({ subject: 'counted@example.com' }))).text())
  expect(nothing).toContain('Nothing is left to revoke')
  expect(nothing).toContain('All 2 tokens that you named are dead already.')
  expect(nothing).not.toContain('<form')
})

describe('what is wrong comes back into the form, with what was typed', () => {
  test.each<[string, number, Record<string, string>, string, string]>([
    [
      'nobody has the subject',
      404,
      { subject: 'nobody@x.org', group: 'kept' },
      'subject',
      'No token has that subject.',
    ],
    ['no such group', 404, { group: 'no-such-group', subject: '' }, 'group', 'No token has that group.'],
    ['no such server', 404, { server: 'gamma' }, 'server', 'No server has that name.'],
    [
      'tomorrow',
      400,
      { issuedBefore: new Date(Date.now() + 5 * 3_600_000).toISOString() },
      'issuedBefore',
      'in the future',
    ],
    ['no time', 400, { issuedBefore: 'yesterday-ish' }, 'issuedBefore', 'Not a time'],
    ['a control character', 400, { subject: 'a\u0007b' }, 'subject', 'control character'],
    ['a name that is too long', 400, { group: 'x'.repeat(10_000) }, 'group', 'longer than'],
  ])('%s', async (_, status, fields, field, why) => {
    await create(['alpha'])
    const answer = await owner.get(newPath(fields))
    expect(answer.status).toBe(status)
    const html = mainOf(await answer.text())
    expect(html).toMatch(new RegExp(`id="${field}-wrong"[^>]*>[^<]*${why}`))
    expect(html).toMatch(new RegExp(`name="${field}"[^>]*autofocus[^>]*aria-invalid="true"`))
    for (const [name, value] of Object.entries(fields)) expect(html).toContain(`name="${name}" value="${value}"`)
    expect(html).toContain('Show what would die')
    expect(html).not.toContain('action="/revocations"')
  })

  test('a secret does not come back', async () => {
    const { token } = await create(['alpha'])
    const answer = await owner.get(newPath({ subject: token }))
    expect(answer.status).toBe(400)
    const html = await answer.text()
    expect(html).toContain('holds a secret')
    expect(html).not.toContain(token)
  })

  test('nor does one in a note, and the rest stays', async () => {
    const { id, token } = await create(['alpha'])
    const answer = await owner.post('/revocations', { token: id, reason: 'policy', note: `it was ${token}` })
    expect(answer.status).toBe(400)
    const html = await answer.text()
    expect(html).toContain('The note holds a secret')
    expect(html).toContain('<option value="policy" selected')
    expect(html).not.toContain(token)
    expect(await isAlive(id)).toBe('active')
  })
})

test.each<[string, Record<string, string>]>([
  ['an empty subject', { subject: '', server: 'alpha' }],
  ['blanks for a group', { group: '  ', all: 'yes' }],
  ['an empty time', { issuedBefore: '', server: 'alpha' }],
  ['a time that is none', { issuedBefore: 'soon', server: 'alpha' }],
  ['all, but not yes', { all: 'no' }],
  ['nothing', {}],
])('%s is not passed over when it is posted', async (_, fields) => {
  const { id } = await create(['alpha'])
  expect((await owner.post('/revocations', { ...fields, reason: 'other' })).status).toBe(400)
  expect(await isAlive(id)).toBe('active')
})

test('a time without a zone is UTC; a day is its end', async () => {
  const { name, createdAt } = await create(['alpha'])
  await eventually(() => Date.now() > Date.parse(createdAt))
  const utc = (at: number) => new Date(at).toISOString()
  const dryRun = async (issuedBefore: string) => namesIn(await (await owner.get(newPath({ issuedBefore }))).text())
  expect(await dryRun(utc(Date.now()).replace('Z', ''))).toEqual([name])
  expect(await dryRun(utc(Date.now()))).toEqual([name])
  expect(await dryRun(utc(Date.now()).slice(0, 10))).toEqual([name])
  expect(await dryRun(utc(Date.now() - 86_400_000).slice(0, 16))).toEqual([])
})

test('names and notes are shown as text', async () => {
  const hostile = '"><script>alert(1)</script><b>'
  const tokens = [hostile, `${hostile}2`].map((name) =>
    node.createToken(name, ['alpha'], { subject: '<img src=x onerror=alert(1)>', group: '\'"&amp;' }),
  )
  await Promise.all(tokens)
  const html = await (await owner.get(newPath({ group: '\'"&amp;' }))).text()
  const path = await confirm(html, 'other', hostile)
  for (const page of [html, await (await owner.get(path)).text(), await (await owner.get('/revocations')).text()]) {
    expect(page).toContain('&lt;script&gt;')
    expect(mainOf(page)).not.toMatch(/<script|<img|<b>/)
    expect(mainOf(page)).not.toMatch(/<[^>]+ (?:style|on\w+)=/)
  }
})

test('1,000 tokens: the first fifty, the others counted, and no page above 100 kB', async () => {
  const width = 'n'.repeat(60)
  const group = 'a thousand'
  for (let index = 0; index < 1_000; index += 1)
    await node.createToken(`${width} ${index}`, ['alpha'], { group, subject: `person-${index}@department.example.com` })
  const sizes: Record<string, number> = {}
  const read = async (path: string) => {
    const html = await (await owner.get(path)).text()
    sizes[path.split('?')[0] ?? ''] = Buffer.byteLength(html)
    return html
  }
  await read('/revocations/new')
  const html = await read(newPath({ group }))
  expect(html).toContain('1,000 tokens of the group <bdi>a thousand</bdi>')
  expect(html).toContain('Revoke 1,000 tokens for ever')
  expect(html.match(/<li/g)?.length).toBeGreaterThanOrEqual(50)
  expect(html).toContain('and 950 more')
  expect(html).toContain('href="/tokens?group=a+thousand"')
  // By the selector, not by a list of ids.
  expect(hiddenIn(html)).toEqual([['group', group]])
  const receipt = await read(await confirm(html))
  expect(receipt).toContain('1,000 tokens are dead.')
  expect(receipt).toContain('and 950 more')
  await read('/revocations')
  for (const [path, size] of Object.entries(sizes)) expect([path, size <= 100_000]).toEqual([path, true])
})

test('a thousand ids fit in one form as well', async () => {
  const made = await Promise.all(Array.from({ length: 300 }, () => create(['alpha'])))
  const html = await (await owner.get(newPath({ token: made.map(({ id }) => id).join(',') }))).text()
  expect(html).toContain('Revoke 300 tokens?')
  const path = await confirm(html)
  const { json } = await node.api<RevocationJson>('GET', path)
  expect(json.tokens).toHaveLength(300)
  expect((await owner.get(newPath({ token: 'tok_nobody' }))).status).toBe(404)
})

describe('who may', () => {
  test('an auditor may not', async () => {
    const { id } = await create(['alpha'])
    for (const path of ['/revocations/new', newPath({ all: 'yes' }), newPath({ token: id })])
      expect((await auditor.get(path)).status).toBe(403)
    expect((await auditor.post('/revocations', { all: 'yes', reason: 'other' })).status).toBe(403)
    expect(await isAlive(id)).toBe('active')
  })

  test('without a session there is nothing', async () => {
    await create(['alpha'], { subject: 'confidential@example.com' })
    for (const path of ['/revocations', '/revocations/new', newPath({ all: 'yes' }), '/revocations/rev_x']) {
      const answer = await new Visitor(node.console).get(path)
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/sign-in'])
      expect(await answer.text()).toBe('')
    }
    expect((await new Visitor(node.console).post('/revocations', { all: 'yes', reason: 'other' })).status).toBe(401)
  })

  test('the form says so where no token lives', async () => {
    const html = mainOf(await (await owner.get('/revocations/new')).text())
    expect(html).toContain('No token lives')
    expect(html).not.toContain('<form')
  })
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  const signIn = (options = {}) => openSignedIn(browser, owner, options)

  test.each([true, false])('from the form to the receipt and back; script: %p', async (javaScriptEnabled) => {
    const { page, complaints } = await signIn({ javaScriptEnabled, viewport: { width: 360, height: 780 } })
    const first = await create(['alpha'], { group: 'phoenix' })
    const second = await create(['beta'], { group: 'phoenix' })
    using stream = await streamOf(first.token, 'alpha')
    await page.goto(`${node.console}/revocations`)
    await page.getByRole('link', { name: 'Revoke several…' }).click()
    expect(
      await page.locator('#known-group option').evaluateAll((all) => all.map((option) => option.getAttribute('value'))),
    ).toEqual(['phoenix'])
    await page.getByLabel('Of the group').fill('PHOENIX')
    await page.getByRole('button', { name: 'Show what would die' }).click()
    await page.getByRole('heading', { name: 'Revoke 2 tokens of the group phoenix?' }).waitFor()
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360)

    // Cancel leads back to what was filled in.
    await page.getByRole('link', { name: 'Cancel' }).click()
    expect(await page.getByLabel('Of the group').inputValue()).toBe('PHOENIX')
    expect(stream.ended).toBe('open')
    await page.getByRole('button', { name: 'Show what would die' }).click()
    await page.getByLabel('Reason').selectOption('role_change')
    await page.getByRole('button', { name: 'Revoke 2 tokens for ever' }).click()
    await page.waitForURL('**/revocations/rev_*')
    const receipt = await page.innerText('main')
    expect(receipt).toContain('2 tokens are dead. 1 connection was cut in')
    for (const text of [first.name, second.name, 'group phoenix', 'role change', 'operator:ada'])
      expect(receipt).toContain(text)
    await stream.done()
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360)
    expect(complaints).toEqual([])
    await page.context().close()
  })

  test("a time is typed in one's own zone, and shown in it", async () => {
    const { page, complaints } = await signIn({ timezoneId: 'Asia/Kolkata' })
    const { id, createdAt } = await create(['alpha'])
    await page.goto(`${node.console}/revocations/new`)
    const field = page.getByLabel('Issued before')
    expect(await page.locator('label', { has: field }).innerText()).toContain('your time')
    // The whole minutes before and after it, five and a half hours ahead of UTC.
    const local = (ms: number) => new Date(Math.floor(ms / 60_000) * 60_000 + 330 * 60_000).toISOString().slice(0, 16)
    await field.fill(local(Date.parse(createdAt)))
    await page.getByRole('button', { name: 'Show what would die' }).click()
    await page.getByRole('heading', { name: 'Nothing is left to revoke' }).waitFor()

    await page.goto(`${node.console}/revocations/new`)
    const typed = local(Date.parse(createdAt) + 120_000)
    await field.fill(typed)
    await page.getByRole('button', { name: 'Show what would die' }).click()
    // Still to come.
    await page.getByText('That is in the future.').waitFor()
    expect(await field.inputValue()).toBe(typed)
    expect(complaints.filter((text) => !text.includes('400'))).toEqual([])
    expect(await isAlive(id)).toBe('active')
    await page.context().close()
  })

  test('everything is a step of its own, and Escape gives the focus back', async () => {
    const { page, complaints } = await signIn()
    const all = await Promise.all(Array.from({ length: 3 }, () => create(['alpha'])))
    await page.goto(`${node.console}/revocations/new`)
    await page.locator('#revoke-all').focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog', { name: 'Revoke all 3 tokens?' })
    await dialog.waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('revoke-all')
    for (const { id } of all) expect(await isAlive(id)).toBe('active')
    await page.keyboard.press('Enter')
    await dialog.getByRole('button', { name: 'Revoke 3 tokens for ever' }).click()
    await page.getByRole('heading', { name: '3 tokens are dead. Nothing was connected.' }).waitFor()
    expect(await page.innerText('dl')).toContain('every token')
    for (const { id } of all) expect(await isAlive(id)).toBe('revoked')
    expect(complaints).toEqual([])
    await page.context().close()
  })
})
