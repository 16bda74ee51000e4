import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser } from 'playwright-core'
import type { AuditRowJson, ConnectionJson } from '../../src/server/api/schemas.ts'
import { limits } from '../../src/limits.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openSignedIn, tabTo } from './chromium.ts'
import { textOf } from './text.ts'
import { peopleOf, Visitor } from './visitor.ts'

const HOSTILE = '<img src=x onerror="document.title=1">\'"</th>'

let node: TestNode
let owner: Visitor
let auditor: Visitor
let events: Awaited<ReturnType<typeof startEvents>>
const streams: RawClient[] = []

const streamOf = async (secret: string, server: string, client = 'test/1.0'): Promise<RawClient> => {
  const headers = { ...bearer(secret), 'user-agent': client }
  const stream = await open(node.gate, { target: `/s/${server}/sse`, headers })
  streams.push(stream)
  return stream.until(({ text }) => text.includes('data:'))
}
const liveOf = async (token: string): Promise<ConnectionJson[]> => {
  const { json } = await node.api<{ items: ConnectionJson[] }>('GET', '/connections?limit=1000')
  return json.items.filter((connection) => connection.token.name === token)
}
const idOf = async (token: string): Promise<string> => (await liveOf(token))[0]?.id ?? 'none'

beforeAll(async () => {
  events = await startEvents({ intervalMs: 200, burst: 1 })
  node = await startNode()
  ;({ owner, auditor } = await peopleOf(node))
  for (const name of ['github', 'files']) await node.addServer(name, events.url)
})
afterAll(async () => {
  for (const stream of streams) stream[Symbol.dispose]()
  await node.stop()
  events.stop()
})

const rowsOf = (html: string): string[] => [...html.matchAll(/id="connection-(\w+)"/g)].map(([, id]) => id ?? '')

test('where nothing is connected, it says how to connect something', async () => {
  const before = await (await owner.get('/connections')).text()
  expect(before).toContain('Nothing is connected')
  expect(before).toContain('href="/tokens/new"')
  await node.createToken('idle', ['github'])
  expect(await (await owner.get('/connections')).text()).toContain('open one of the <a href="/tokens">')
})

describe('with streams', () => {
  let laptop: { id: string; token: string }
  let report: { id: string; token: string }

  beforeAll(async () => {
    laptop = await node.createToken('laptop', ['github', 'files'], { subject: 'dev@example.com' })
    report = await node.createToken('night report', ['github'], { group: 'Automation' })
    await streamOf(laptop.token, 'github', 'Cursor/1.9')
    await streamOf(laptop.token, 'files', 'Cursor/1.9')
    await streamOf(report.token, 'github', 'curl/8')
  })

  test.each<[query: string, tokens: string[]]>([
    ['', ['laptop', 'laptop', 'night report']],
    ['server=github', ['laptop', 'night report']],
    ['server=nothing', []],
    ['q=AUTOMATION', ['night report']],
    ['q=dev%40', ['laptop', 'laptop']],
    ['q=cursor', ['laptop', 'laptop']],
    ['q=127.0.0', ['laptop', 'laptop', 'night report']],
    ['q=cursor&server=files', ['laptop']],
    ['token=tok_nothing', []],
  ])('/connections?%s lists %j', async (query, tokens) => {
    const names = async (path: string) => {
      const html = await (await owner.get(path)).text()
      return [...html.matchAll(/<a href="\/tokens\/\w+"><bdi>([^<]+)<\/bdi>/g)].map(([, name]) => name)
    }
    expect(await names(`/connections?${query}`)).toEqual(tokens)
    const posted = await owner.post('/connections/filter', query)
    expect(posted.status).toBe(303)
    expect(await names(posted.headers.get('location') ?? '')).toEqual(tokens)
  })

  test('of one token, by its id; and with another filter on top', async () => {
    const html = await (await owner.get(`/connections?token=${laptop.id}&server=files`)).text()
    expect(rowsOf(html)).toHaveLength(1)
    expect(textOf(html)).toContain('1 of 3 live connections')
    // What came with the address stays with the next filter.
    expect(html).toContain(`<input type="hidden" name="token" value="${laptop.id}"/>`)
    expect(rowsOf(await (await owner.get(`/connections?token=${report.id}`)).text())).toHaveLength(1)
  })

  test('a secret in the filter stands in no address', async () => {
    const secret = unknownSecret()
    expect((await owner.post('/connections/filter', { q: secret })).headers.get('location')).toBe(
      '/connections?pasted=',
    )
    const typed = await owner.get(`/connections?q=${secret}&server=files`)
    expect(typed.headers.get('location')).toBe('/connections?server=files&pasted=')
    expect(await (await owner.get('/connections?server=files&pasted=')).text()).toContain('That holds a secret')
    expect(node.stderr()).not.toContain(secret)
  })

  test('who may not kill, does not', async () => {
    const id = await idOf('night report')
    const stranger = new Visitor(node.console)
    for (const path of ['/connections', `/connections/${id}/kill`]) {
      const answer = await stranger.get(path)
      expect([answer.status, answer.headers.get('location'), await answer.text()]).toEqual([303, '/sign-in', ''])
    }
    expect((await stranger.post(`/connections/${id}/kill`, {})).status).toBe(401)
    const html = await (await auditor.get('/connections')).text()
    expect(html).toContain('night report')
    expect(html).not.toContain('/kill')
    expect((await auditor.get(`/connections/${id}/kill`)).status).toBe(403)
    expect((await auditor.post(`/connections/${id}/kill`, {})).status).toBe(403)
    expect((await owner.post(`/connections/${id}/kill`, {}, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    expect(await idOf('night report')).toBe(id)
  })

  test('a kill names what dies, cuts it, and shows the proof; its token stays', async () => {
    const id = await idOf('night report')
    const question = textOf(await (await owner.get(`/connections/${id}/kill`)).text())
    expect(question).toMatch(/The event stream of night report to github: curl\/8 at 127\.0\.0\.1, \d+ s old\./)
    const before = await owner.get(`/connections/${id}/kill`)
    expect(before.status).toBe(200)
    expect(await idOf('night report')).toBe(id)

    const answer = await owner.post(`/connections/${id}/kill`, {})
    expect(answer.status).toBe(200)
    expect(textOf(await answer.text())).toMatch(/Connection killed .*Connections cut 1 Last cut after \d+\.\d{3} ms/)
    const stream = streams.at(-1)
    await stream?.until((client) => client.ended !== 'open' || client.complete)
    expect(stream?.text).toContain('connection_killed')
    expect(await liveOf('night report')).toEqual([])
    expect((await node.api<{ status: string }>('GET', `/tokens/${report.id}`)).json.status).toBe('active')
    const { json } = await node.api<{ items: AuditRowJson[] }>('GET', '/audit?order=desc&limit=1')
    expect(json.items[0]).toMatchObject({ actor: 'operator:ada', details: { connection: { id, token: report.id } } })

    for (const gone of [id, 'c999zz', '%3Cscript%3E']) {
      const again = await owner.get(`/connections/${gone}/kill`)
      expect(again.status).toBe(404)
      expect(await again.text()).toContain('it may have ended')
      expect((await owner.post(`/connections/${gone}/kill`, {})).status).toBe(404)
    }
  })
})

test('more than a page is paged by key, and one that ends moves no other', async () => {
  const { id, token } = await node.createToken('many', ['github'])
  const count = limits.rowsShownMax + 20
  for (let opened = 0; opened < count; opened += 1) await streamOf(token, 'github')
  const first = await (await owner.get(`/connections?token=${id}`)).text()
  expect(rowsOf(first)).toHaveLength(limits.rowsShownMax)
  expect(first.length).toBeLessThan(100_000)
  const next = /href="([^"]+)" rel="next"/.exec(first)?.[1]?.replaceAll('&amp;', '&') ?? ''
  await owner.post(`/connections/${rowsOf(first).at(-1)}/kill`, {})
  const second = rowsOf(await (await owner.get(next)).text())
  expect(second).toHaveLength(20)
  expect(second.filter((row) => rowsOf(first).includes(row))).toEqual([])
  // Its own page has the first of them, and leads to all.
  const page = await (await owner.get(`/tokens/${id}`)).text()
  expect(rowsOf(page)).toHaveLength(limits.tokenLinesShownMax)
  expect(textOf(page)).toContain(`All ${count - 1} of them`)
  expect(page).toContain(`href="/connections?token=${id}"`)
  await node.revoke({ tokens: [id] })
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  const signIn = (options = {}) => openSignedIn(browser, owner, options)

  test('killed by keyboard alone; Escape takes nothing', async () => {
    const { page, complaints } = await signIn()
    const { id: tokenId, token } = await node.createToken('killed once', ['github'])
    const stream = await streamOf(token, 'github')
    const id = await idOf('killed once')
    await page.goto(`${node.console}/connections?token=${tokenId}`)
    await tabTo(page, `#kill-${id}`)
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.getByText('killed once').waitFor()
    expect(await dialog.getByRole('button', { name: 'Kill it' }).evaluate((it) => it === document.activeElement)).toBe(
      false,
    )
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(await page.evaluate(() => document.activeElement?.id)).toBe(`kill-${id}`)
    expect(stream.ended).toBe('open')

    await page.keyboard.press('Enter')
    await dialog.getByText('killed once').waitFor()
    await tabTo(page, 'dialog button.danger')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Connection killed' }).waitFor()
    await stream.until((client) => client.ended !== 'open' || client.complete)
    expect(stream.text).toContain('connection_killed')
    await page.getByRole('link', { name: 'Open the token' }).click()
    expect(await page.locator('#state').innerText()).toContain('active')
    expect(complaints).toEqual([])
  })

  test('filters while one types; ages and bytes tick, and nothing shifts', async () => {
    const { page, complaints } = await signIn()
    const { token } = await node.createToken('ticking', ['github'])
    await streamOf(token, 'github', HOSTILE)
    await page.goto(`${node.console}/connections`)
    await page.getByLabel('Token, subject, group, client or address').fill('ticking')
    await eventually(async () => (await page.locator('#live tbody tr').count()) === 1)
    const row = page.locator('#live tbody tr')
    expect(await row.getByText(HOSTILE).count()).toBe(1)
    expect(await page.locator('main img').count()).toBe(0)
    const cells = () => row.locator('td.number').allInnerTexts()
    const places = () =>
      row.locator('th, td').evaluateAll((all) => all.map((cell) => Math.round(cell.getBoundingClientRect().left)))
    const [before, placesBefore] = [await cells(), await places()]
    await eventually(async () => (await cells()).every((text, index) => text !== before[index]))
    expect(await places()).toEqual(placesBefore)
    expect(await page.title()).toBe('Connections · Portcullis')
    expect(complaints).toEqual([])
  })

  test('works without scripts, at 360 pixels', async () => {
    const { page } = await signIn({ javaScriptEnabled: false, viewport: { width: 360, height: 740 }, hasTouch: true })
    const { token } = await node.createToken('of a phone', ['github'])
    const stream = await streamOf(token, 'github')
    await page.goto(`${node.console}/connections?q=phone`)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
    await page.getByRole('link', { name: /^Kill connection/ }).click()
    await page.getByRole('button', { name: 'Kill it' }).click()
    expect(await page.innerText('h1')).toBe('Connection killed')
    await stream.until((client) => client.ended !== 'open' || client.complete)
  })

  test('with a thousand live ones, a click answers at once', async () => {
    const { page, complaints } = await signIn()
    const { token } = await node.createToken('a thousand', ['files'])
    for (let opened = 0; opened < 1_000; opened += 1) await streamOf(token, 'files')
    await page.goto(`${node.console}/connections?server=files`)
    // In the midst of the refreshes: what counts is the slowest of several.
    const tookMs: number[] = []
    const dialog = page.getByRole('dialog')
    for (let clicks = 0; clicks < 6; clicks += 1) {
      const kill = page.getByRole('link', { name: /^Kill connection/ }).nth(clicks)
      await kill.scrollIntoViewIfNeeded()
      const startedAt = performance.now()
      await kill.click()
      await dialog.getByRole('button', { name: 'Kill it' }).waitFor()
      tookMs.push(performance.now() - startedAt)
      await page.keyboard.press('Escape')
      await dialog.waitFor({ state: 'hidden' })
    }
    expect(Math.max(...tookMs)).toBeLessThan(1_000)
    expect(complaints).toEqual([])
  })
})
