import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser } from 'playwright-core'
import type { TokenJson } from '../../src/server/api/schemas.ts'
import { limits } from '../../src/limits.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openSignedIn } from './chromium.ts'
import { textOf } from './text.ts'
import { linkOfNew, peopleOf, setupLinkOf, Visitor } from './visitor.ts'

const HOSTILE = '<img src=x onerror="document.title=1">\'"</th>'

let node: TestNode
let owner: Visitor
let auditor: Visitor
let events: Awaited<ReturnType<typeof startEvents>>
/** Ids by name. */
const ids: Record<string, string> = {}

const make = async (name: string, servers: string[], extra: Record<string, unknown> = {}) => {
  const issued = await node.createToken(name, servers, extra)
  ids[name] = issued.id
  return issued
}

beforeAll(async () => {
  events = await startEvents({ intervalMs: 200, burst: 1 })
  node = await startNode()
  ;({ owner, auditor } = await peopleOf(node))
  for (const name of ['github', 'files', 'mail', 'chat', 'gone']) await node.addServer(name, events.url)
  await make('Cursor IDE', ['github'], { subject: 'Dev@Example.com', expires: '30d' })
  await make('apprentice', ['github'], { subject: 'dev@example.com', group: 'core' })
  await make('of someone else', ['files'], { subject: 'dev@example.com.evil', expires: '2d' })
  await make('far reaching', ['github', 'files', 'mail', 'chat'], { group: 'core' })
  await make('stranded', ['gone'])
  await make('contractor', ['github'], { subject: 'mallory@example.com' })
  await node.api('DELETE', '/servers/gone')
  await node.revoke({ tokens: [ids['contractor']] })
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

const rowsOf = (html: string): string[] =>
  [...html.matchAll(/<tr[^>]* id="token-(\w+)"/g)].map(
    ([, id]) => Object.entries(ids).find(([, known]) => known === id)?.[0] ?? `unknown ${id}`,
  )
const listOf = async (path: string) => rowsOf(await (await owner.get(path)).text())

test.each<[query: string, names: string[]]>([
  ['', ['apprentice', 'Cursor IDE', 'far reaching', 'of someone else', 'stranded']],
  ['state=all', ['apprentice', 'contractor', 'Cursor IDE', 'far reaching', 'of someone else', 'stranded']],
  ['state=revoked', ['contractor']],
  ['state=expired', []],
  ['state=nonsense', ['apprentice', 'Cursor IDE', 'far reaching', 'of someone else', 'stranded']],
  ['q=REACH', ['far reaching']],
  ['q=core+far', ['far reaching']],
  ['q=evil', ['of someone else']],
  // The whole of a subject, folded; not a part.
  ['subject=DEV%40example.com', ['apprentice', 'Cursor IDE']],
  ['subject=dev', []],
  ['group=Core', ['apprentice', 'far reaching']],
  ['group=core&subject=dev%40example.com', ['apprentice']],
  ['server=files', ['far reaching', 'of someone else']],
  ['server=files&q=some', ['of someone else']],
  // A server that is no more can't be meant by its name.
  ['server=gone', []],
  ['look=never-expires', ['apprentice', 'far reaching', 'stranded']],
  ['look=expiring', ['of someone else']],
  ['look=no-servers', ['stranded']],
  ['look=unused', []],
  ['look=many-addresses', []],
  ['look=never-expires&group=core&q=app', ['apprentice']],
])('/tokens?%s lists %j', async (query, names) => {
  expect(await listOf(`/tokens?${query}`)).toEqual(names)
  // The form leads to the same list, by a short address.
  const posted = await owner.post('/tokens/filter', query)
  expect(posted.status).toBe(303)
  expect(posted.headers.get('location')).toMatch(/^\/tokens(?:\?(?!.*(?:=&|=$|active)).*)?$/)
  expect(await listOf(posted.headers.get('location') ?? '')).toEqual(names)
})

test('a row says the first servers, whose it is, and how long', async () => {
  const html = textOf(await (await owner.get('/tokens?state=all')).text())
  expect(html).toContain('far reaching core github, files, mail and 1 more active')
  expect(html).toContain('apprentice dev@example.com · core')
  expect(html).toContain('stranded all removed')
  expect(html).toMatch(/Cursor IDE Dev@Example\.com github active until \d{4}-/)
})

test('who tried a dead token stands in its row, as far as there is room', async () => {
  const { id, token } = await node.createToken('tried', ['github'])
  await node.revoke({ tokens: [id] })
  for (let tries = 0; tries < 3; tries += 1) await fetch(`${node.gate}/s/github/x`, { headers: bearer(token) })
  expect(textOf(await (await owner.get('/tokens?state=revoked&q=tried')).text())).toContain(
    'tried 3 times since, from 127.0.0.1',
  )
})

describe('a secret in the filter', () => {
  const secret = unknownSecret()
  const inTheLog = () => node.stderr().includes(secret)

  test.each(['q', 'subject', 'group', 'server', 'look', 'after', 'anything'])(
    'as %s stands in no address and on no page',
    async (name) => {
      for (const value of [secret, `Bearer ${secret}`, `%70cl_${secret.slice(4)}`]) {
        const typed = await owner.get(`/tokens?${name}=${encodeURIComponent(value)}&state=all`)
        expect(typed.status).toBe(303)
        expect(typed.headers.get('location')).not.toContain(secret.slice(4))
        const html = await (await owner.get(typed.headers.get('location') ?? '')).text()
        expect(html).not.toContain(secret.slice(4))
      }
      expect(inTheLog()).toBe(false)
    },
  )

  test('is answered by the way to Find, by the form and while one types', async () => {
    const posted = await owner.post('/tokens/filter', { q: ` ${secret}`, state: 'all' })
    expect(posted.headers.get('location')).toBe('/tokens?state=all&pasted=')
    const html = await (await owner.get(posted.headers.get('location') ?? '')).text()
    expect(textOf(html)).toContain('That holds a secret')
    expect(html).toContain('href="/find" data-palette')
    const typed = await owner.post('/tokens/filter', { q: secret }, { 'hx-request': 'true' })
    const live = await typed.text()
    expect(live).toContain('hx-get="/tokens?pasted="')
    expect(live).toContain('That holds a secret')
    expect(live).not.toContain(secret)
    // It is no filter: nothing is hidden by it.
    expect(rowsOf(live).length).toBeGreaterThan(3)
  })
})

describe('revoking several', () => {
  const bulkOf = async (path: string) =>
    /id="revoke-several" href="([^"]+)"/.exec(await (await owner.get(path)).text())?.[1]?.replaceAll('&amp;', '&')

  test.each([
    ['/tokens', '/revocations/new'],
    ['/tokens?subject=dev%40example.com', '/revocations/new?subject=dev%40example.com'],
    ['/tokens?group=core&server=files', '/revocations/new?group=core&server=files'],
  ])('from %s leads to %s', async (path, href) => {
    expect(await bulkOf(path)).toBe(href)
  })

  test('takes what is seen where words can not say it, and never more', async () => {
    expect(await bulkOf('/tokens?q=apprentice&server=github')).toBe(`/revocations/new?token=${ids['apprentice']}`)
    expect(await bulkOf('/tokens?look=no-servers')).toBe(`/revocations/new?token=${ids['stranded']}`)
  })
})

describe('who may not', () => {
  test('a stranger is led to the sign-in, and learns nothing', async () => {
    const stranger = new Visitor(node.console)
    for (const path of ['/tokens', '/tokens?q=Cursor', `/tokens/${ids['stranded']}/connect`]) {
      const answer = await stranger.get(path)
      expect([answer.status, answer.headers.get('location'), await answer.text()]).toEqual([303, '/sign-in', ''])
    }
    expect((await stranger.post('/tokens/filter', { q: 'Cursor' })).status).toBe(401)
  })

  test('an auditor sees the list, and no button', async () => {
    const html = await (await auditor.get('/tokens')).text()
    expect(html).toContain('apprentice')
    expect(html).not.toContain('/revocations/new')
    expect(html).not.toContain('/tokens/new')
    expect((await auditor.post('/tokens/filter', { q: 'app' })).status).toBe(303)
  })
})

test('a list of more than a page is paged by key; a token that dies moves no other', async () => {
  await using node = await startNode()
  const visitor = new Visitor(node.console)
  await visitor.usePasswordLink(await setupLinkOf(node), 'ada')
  await node.addServer('nowhere', 'http://127.0.0.1:9')
  const count = limits.rowsShownMax * 2 + 1
  for (let made = 0; made < count; made += 1)
    await node.createToken(`many ${String(made).padStart(3, '0')}`, ['nowhere'])
  const namesOf = (html: string) => [...html.matchAll(/<bdi>(many \d+)<\/bdi>/g)].map(([, name]) => name)
  const nextOf = (html: string) => /href="([^"]+)" rel="next"/.exec(html)?.[1]?.replaceAll('&amp;', '&') ?? null

  const first = await (await visitor.get('/tokens?q=many')).text()
  expect(namesOf(first)).toHaveLength(limits.rowsShownMax)
  expect(textOf(first)).toContain(`${count} tokens`)
  const last = namesOf(first).at(-1) ?? ''
  // The row by which the next page is found dies meanwhile.
  await node.revoke({ tokens: [last] })
  const second = await (await visitor.get(nextOf(first) ?? '')).text()
  expect(namesOf(second)[0]).toBe(`many ${String(limits.rowsShownMax).padStart(3, '0')}`)
  expect(textOf(second)).toContain(`${count - 1} of ${count} tokens`)
  const third = await (await visitor.get(nextOf(second) ?? '')).text()
  expect(namesOf(third)).toHaveLength(1)
  expect(nextOf(third)).toBeNull()
  expect(third).toContain('rel="first"')
  // One made now finds its place among the others.
  await node.createToken('many 000 and a half', ['nowhere'])
  expect((await (await visitor.get('/tokens')).text()).indexOf('many 000 and a half')).toBeLessThan(
    first.indexOf('many 002'),
  )
  expect(first.length).toBeLessThan(100_000)
  // What stands on a later page is found all the same.
  expect(namesOf(await (await visitor.get('/tokens?q=MANY+077')).text())).toEqual(['many 077'])
})

test('what stands where nothing is leads on', async () => {
  await using empty = await startNode()
  const visitor = new Visitor(empty.console)
  await visitor.usePasswordLink(await setupLinkOf(empty), 'ada')
  const before = await (await visitor.get('/tokens')).text()
  expect(before).toContain('No token yet')
  expect(before).toContain('href="/servers/new"')
  expect(before).not.toContain('href="/tokens/new"')
  await empty.addServer('nowhere', 'http://127.0.0.1:9')
  expect(await (await visitor.get('/tokens')).text()).toContain('href="/tokens/new"')
  const reader = new Visitor(empty.console)
  await reader.usePasswordLink(await linkOfNew(empty, 'grace', 'auditor'), '')
  expect(await (await reader.get('/tokens')).text()).not.toContain('href="/tokens/new"')
  expect(textOf(await (await owner.get('/tokens?q=nobody')).text())).toContain('No live token matches')
  expect(await (await owner.get('/tokens?q=nobody')).text()).toContain('href="/tokens?q=nobody&amp;state=all"')
})

test('a dead token says why, by whom, when, and leads to its receipt', async () => {
  const { json } = await node.api<TokenJson>('GET', `/tokens/${ids['contractor']}`)
  expect(json.revocationId).toMatch(/^rev_/)
  const html = await (await owner.get(`/tokens/${ids['contractor']}`)).text()
  expect(textOf(html)).toMatch(/It was revoked .* UTC by local:0: compromised\./)
  expect(html).toContain(`href="/revocations/${json.revocationId}"`)
  expect(html).not.toContain('PASTE_TOKEN_HERE')
  for (const path of ['rotations/new', 'policy', 'connect']) {
    expect(html).not.toContain(`/tokens/${ids['contractor']}/${path}`)
    expect((await owner.get(`/tokens/${ids['contractor']}/${path}`)).status).toBe(409)
  }
  const live = await node.api<TokenJson>('GET', `/tokens/${ids['apprentice']}`)
  expect(live.json.revocationId).toBeNull()
})

test('the receipt of a dead token is found after a restart too', async () => {
  const data = tempFolder()
  const before = await startNode({ data })
  await before.addServer('nowhere', 'http://127.0.0.1:9')
  const { id } = await before.createToken('of before', ['nowhere'])
  const { id: revocation } = await before.revoke({ tokens: [id] })
  await before.stop()
  const after = await startNode({ data })
  expect((await after.api<TokenJson>('GET', `/tokens/${id}`)).json.revocationId).toBe(revocation)
  await after.stop()
  removeFolder(data)
})

test('a token of a hundred servers has a page of the usual size, and what to paste in parts', async () => {
  await using node = await startNode()
  const visitor = new Visitor(node.console)
  await visitor.usePasswordLink(await setupLinkOf(node), 'ada')
  const servers = Array.from(
    { length: limits.serversPerTokenMax },
    (_, index) => `server-${String(index).padStart(3, '0')}`,
  )
  for (const name of servers) await node.addServer(name, 'http://127.0.0.1:9')
  const { id } = await node.createToken('everywhere', servers)
  const html = await (await visitor.get(`/tokens/${id}`)).text()
  expect(html.length).toBeLessThan(60_000)
  expect(html).not.toContain('PASTE_TOKEN_HERE')
  const seen: string[] = []
  for (let path: string | null = `/tokens/${id}/connect`; path !== null;) {
    const connect: string = await (await visitor.get(path)).text()
    expect(connect.length).toBeLessThan(100_000)
    expect(connect).toContain('PASTE_TOKEN_HERE')
    seen.push(...[...connect.matchAll(/id="url-(server-\d+)"/g)].map(([, name]) => name ?? ''))
    path = /href="([^"]+)" rel="next"/.exec(connect)?.[1] ?? null
  }
  expect(seen).toEqual(servers)
  // Made in the console, it is shown with its secret, and leads there.
  const form = /name="form" value="([^"]+)"/.exec(await (await visitor.get('/tokens/new')).text())?.[1] ?? ''
  const made = await visitor.post('/tokens/new', [
    ['form', form],
    ['name', 'everywhere too'],
    ...servers.map((name): [string, string] => ['server', name]),
  ])
  expect(made.status).toBe(201)
  const issued = await made.text()
  expect(issued).toMatch(/<code id="secret">pcl_/)
  expect(issued.length).toBeLessThan(100_000)
  expect(issued).toMatch(/href="\/tokens\/tok_\w+\/connect"/)
})

test('a token with all that its page can show has a page of the usual size', async () => {
  await using node = await startNode({ args: ['--trusted-proxy', '127.0.0.1/32'] })
  const visitor = new Visitor(node.console)
  await visitor.usePasswordLink(await setupLinkOf(node), 'ada')
  await node.addServer('github', events.url)
  const { id, token: old } = await node.createToken('full to the brim', ['github'], { subject: 'dev@example.com' })
  const { json } = await node.api<{ token: string }>('POST', `/tokens/${id}/rotations`)
  const kept: RawClient[] = []
  for (let index = 0; index < 30; index += 1) {
    const headers = {
      ...bearer(json.token),
      'x-forwarded-for': `2001:db8:85a3::8a2e:370:73${index}`,
      'user-agent': `some-client-of-the-usual-kind/1.${index}.0 (linux)`,
    }
    kept.push(await open(node.gate, { target: '/s/github/sse', headers }))
    const body = (method: string) =>
      JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { name: `a_tool_of_the_usual_length_${index}` } })
    for (const method of ['tools/call', `notifications/of_kind_${index}`]) {
      const type = { 'Content-Type': 'application/json' }
      await fetch(`${node.gate}/s/github/x`, { method: 'POST', headers: { ...headers, ...type }, body: body(method) })
    }
    await fetch(`${node.gate}/s/github/x`, { headers: { ...headers, ...bearer(old) } })
    await node.api('PUT', `/tokens/${id}/policy`, { callsPerMinute: 1_000 + index })
    for (const client of kept.splice(0)) client[Symbol.dispose]()
  }
  for (let index = 0; index < 30; index += 1)
    kept.push(await open(node.gate, { target: '/s/github/sse', headers: bearer(json.token) }))
  const answer = await visitor.get(`/tokens/${id}?window=hour`)
  const html = await answer.text()
  expect(html.match(/id="(?:tools|clients|methods|addresses)-\d+"/g)?.length).toBe(limits.activityLinesShownMax * 4)
  expect(html.match(/id="connection-/g)?.length).toBe(limits.tokenLinesShownMax)
  expect(html.match(/href="\/audit\/\d+"/g)?.length).toBe(limits.tokenLinesShownMax)
  expect(html.length).toBeLessThan(100_000)
  for (const client of kept) client[Symbol.dispose]()
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  const signIn = (options = {}) => openSignedIn(browser, owner, options)

  test('filters while one types, keeps on doing so, and by the form', async () => {
    const { page, complaints } = await signIn()
    await page.goto(`${node.console}/tokens`)
    await page.getByLabel('Name, subject or group').fill('CORE')
    const names = () => page.getByRole('rowheader').locator('a').allInnerTexts()
    await eventually(async () => (await names()).join() === 'apprentice,far reaching')
    // What the page fetches of itself is the filtered list, and it is not disturbed.
    const { id } = await make('late of core', ['github'], { group: 'core' })
    await page.locator(`#token-${id}`).waitFor()
    expect(await names()).toEqual(['apprentice', 'far reaching', 'late of core'])
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('q')
    await page.locator('select[name=server]').selectOption('files')
    await eventually(async () => (await names()).join() === 'far reaching')
    await page.getByLabel('Name, subject or group').press('Enter')
    await page.waitForURL('**/tokens?q=CORE&server=files')
    expect(await names()).toEqual(['far reaching'])
    expect(complaints).toEqual([])
  })

  test('a refresh that is due while the filter is asked does not undo it', async () => {
    const { page } = await signIn()
    await page.goto(`${node.console}/tokens`)
    const [asked, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    await page.route('**/tokens/filter', async (route) => {
      const response = await route.fetch()
      asked.resolve()
      await goOn.promise
      await route.fulfill({ response })
    })
    await page.getByLabel('Name, subject or group').fill('stranded')
    await asked.promise
    await page.evaluate(() => {
      const { htmx } = globalThis as unknown as { htmx: { trigger(on: string, event: string): void } }
      htmx.trigger('#live', 'refresh')
    })
    goOn.resolve()
    const refreshed = await page.waitForResponse((response) => response.request().headers()['x-live'] === '1')
    expect(new URL(refreshed.url()).search).toBe('?q=stranded')
    expect(await page.getByRole('rowheader').locator('a').allInnerTexts()).toEqual(['stranded'])
  })

  test('a pasted secret is in no address of the browser, and Find takes it', async () => {
    const secret = unknownSecret()
    const { page, complaints } = await signIn()
    const urls: string[] = []
    page.on('request', (request) => urls.push(request.url()))
    await page.goto(`${node.console}/tokens`)
    await page.getByLabel('Name, subject or group').fill(secret)
    await page.getByRole('alert').getByText('That holds a secret').waitFor()
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.waitForURL('**/tokens?pasted=')
    expect(await page.content()).not.toContain(secret)
    await page.getByRole('main').getByRole('link', { name: 'Find and kill' }).click()
    await page.locator('#find').waitFor()
    expect(urls.filter((url) => url.includes(secret.slice(4, 20)))).toEqual([])
    expect(complaints).toEqual([])
  })

  test('a selection and the focus outlive the refresh', async () => {
    const { page } = await signIn()
    const id = ids['apprentice']
    await page.goto(`${node.console}/tokens`)
    await page.locator(`#revoke-${id}`).focus()
    await page.evaluate((row) => {
      const name = document.querySelector(`#${row} th bdi`)
      if (name) getSelection()?.selectAllChildren(name)
    }, `token-${id}`)
    const another = await make('another of them', ['github'])
    await page.locator(`#token-${another.id}`).waitFor()
    expect(await page.evaluate(() => getSelection()?.toString())).toBe('apprentice')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe(`revoke-${id}`)
  })

  test('shows names as text, here and on their pages', async () => {
    const { page, complaints } = await signIn()
    const { id } = await make(HOSTILE, ['github'], { subject: `${HOSTILE} subject`, group: `${HOSTILE} group` })
    await page.goto(`${node.console}/tokens?q=onerror`)
    await page.getByRole('rowheader', { name: HOSTILE }).waitFor()
    expect(await page.getByRole('link', { name: `Revoke ${HOSTILE}` }).count()).toBe(1)
    await page.getByRole('link', { name: HOSTILE, exact: true }).click()
    await page.getByRole('link', { name: `${HOSTILE} subject` }).click()
    await page.waitForURL('**/tokens?subject=*')
    await page.locator(`#token-${id}`).waitFor()
    expect(await page.locator('.kept').innerText()).toContain(`${HOSTILE} subject`)
    expect(await page.locator('main img, main script').count()).toBe(0)
    expect(await page.title()).toBe('Tokens · Portcullis')
    expect(complaints).toEqual([])
  })

  test('works without scripts, at 360 pixels', async () => {
    const phone = { javaScriptEnabled: false, viewport: { width: 360, height: 740 }, hasTouch: true }
    const { page } = await signIn(phone)
    await page.goto(`${node.console}/tokens`)
    await page.getByLabel('Name, subject or group').fill('stranded')
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.waitForURL('**/tokens?q=stranded')
    expect(await page.getByRole('rowheader').count()).toBe(1)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
    const heights = await page
      .locator('main button:visible, main .button:visible, main input:visible, main select:visible')
      .evaluateAll((all) => all.map((element) => Math.round(element.getBoundingClientRect().height)))
    expect(Math.min(...heights)).toBeGreaterThanOrEqual(44)
    await page.getByRole('link', { name: 'Revoke stranded' }).click()
    expect(new URL(page.url()).pathname).toBe('/revocations/new')
  })

  test('the page of a token keeps up, and what it did stands still', async () => {
    const { page, complaints } = await signIn()
    const { id, token } = await make('watched', ['github'], { subject: 'w@example.com' })
    await page.goto(`${node.console}/tokens/${id}?window=hour&since=1h`)
    const state = page.locator('#state')
    expect(await state.innerText()).toContain('nothing is connected')
    const read = await page.locator('.totals').innerText()
    using stream = await open(node.gate, { target: '/s/github/sse', headers: bearer(token) })
    await stream.until(({ text }) => text.includes('data:'))
    await page.getByRole('link', { name: /^Kill connection \w+ of watched$/ }).waitFor()
    await page.getByText('1 request, 0 refused in the last hour').first().waitFor()
    expect(await page.getByText('Seen from, 24 hours').count()).toBe(1)
    expect(await page.locator('.totals').innerText()).toBe(read)
    expect(await page.getByRole('img', { name: /^Requests by the minute: 1 request, 0 refused/ }).count()).toBe(1)
    await page.getByText('The figures').click()
    expect(await page.locator('#figures li').allInnerTexts()).toEqual([expect.stringMatching(/1 request, 0 refused$/)])

    // What is unfolded stays so, also when there is something new in it.
    await (await fetch(`${node.gate}/s/github/x`, { headers: bearer(token) })).body?.cancel()
    await page.getByText('2 requests, 0 refused in the last hour').first().waitFor()
    expect(await page.locator('#figures li').first().isVisible()).toBe(true)

    // The two stretches of time do not undo each other.
    await page.getByRole('link', { name: 'Month' }).click()
    await page.waitForURL('**?window=month&since=1h#use')
    await page.getByRole('link', { name: '7 days' }).click()
    await page.waitForURL('**?window=month&since=7d#activity')
    expect(await page.getByRole('list').last().innerText()).toContain('made the token watched')

    await node.revoke({ tokens: [id], reason: 'lost_device', note: 'on a train' })
    await page.getByRole('heading', { name: 'This token is dead' }).waitFor()
    expect(await page.innerText('main')).toMatch(/by local:0: lost device\. Nothing brings it back\.\s+on a train/)
    expect(await page.getByRole('link', { name: 'Rotate' }).count()).toBe(0)
    expect(complaints).toEqual([])
  })
})
