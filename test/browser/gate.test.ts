import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { Browser, Page } from 'playwright-core'
import type { AuditRowJson, ServerJson } from '../../src/server/api/schemas.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openSignedIn, tabTo } from './chromium.ts'
import { textOf } from './text.ts'
import { PASSWORD, setupLinkOf, Visitor } from './visitor.ts'

let node: TestNode
let owner: Visitor
let events: Awaited<ReturnType<typeof startEvents>>
let secret: string

const isOver = ({ ended, complete }: RawClient) => ended !== 'open' || complete
const statesOf = async (of = node) =>
  (await of.api<{ items: ServerJson[] }>('GET', '/servers')).json.items.map(({ state }) => state)
const lastRow = async (of = node) =>
  (await of.api<{ items: AuditRowJson[] }>('GET', '/audit?order=desc&limit=1')).json.items.at(-1)
const streamTo = async (server: string, of = node, shown = secret) => {
  const stream = await open(of.gate, { target: `/s/${server}/sse`, headers: bearer(shown) })
  return stream.until(({ text }) => text.includes('data:'))
}

beforeAll(async () => {
  events = await startEvents({ burst: 1 })
  node = await startNode()
  owner = new Visitor(node.console)
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

test('where there is no server, there is nothing to close', async () => {
  const html = textOf(await (await owner.get('/gate')).text())
  expect(html).toContain('No gate to close')
  expect(html).not.toContain('Type close')
})

describe('every gate', () => {
  beforeAll(async () => {
    for (const name of ['one', 'two', 'three']) await node.addServer(name, events.url)
    secret = (await node.createToken('everywhere', ['one', 'two', 'three'])).token
  })
  beforeEach(async () => {
    await node.api('PUT', '/gate', { state: 'open' })
  })

  test('the question names servers and connections; without a state it is about closing', async () => {
    using _one = await streamTo('one')
    using _two = await streamTo('two')
    await node.api('PUT', '/servers/three/gate', { state: 'closed' })
    for (const path of ['/gate', '/gate?state=closed']) {
      const html = await (await owner.get(path)).text()
      expect(textOf(html)).toContain('2 live connections of 1 token on 3 servers, 1 of them closed already')
      expect(html).toMatch(/<input[^>]* name="word"[^>]*autofocus/)
    }
    expect((await owner.get('/gate?state=ajar')).status).toBe(400)
  })

  test.each(['', 'Close every gate', 'open', 'clos', 'closed'])(
    '“%s” is not the word: nothing happens',
    async (word) => {
      using stream = await streamTo('one')
      const before = await lastRow()
      const answer = await owner.post('/gate', { state: 'closed', word, reason: 'still "typed"' })
      const html = await answer.text()
      expect([answer.status, textOf(html)]).toMatchObject([400, expect.stringContaining('nothing happened')])
      expect(html).toContain('value="still &quot;typed&quot;"')
      expect(await statesOf()).toEqual(['open', 'open', 'open'])
      expect(stream.ended).toBe('open')
      expect((await lastRow())?.sequence).toBe(before?.sequence as number)
    },
  )

  test('the word closes all of them, and the answer is the proof', async () => {
    using one = await streamTo('one')
    using two = await streamTo('two')
    // A phone may begin a word with a capital.
    const answer = await owner.post('/gate', { state: 'closed', word: ' Close ', reason: 'a drill' })
    const html = await answer.text()
    expect(answer.status).toBe(200)
    expect(textOf(html)).toMatch(/Every gate is closed Connections cut 2 Last cut after \d+\.\d{3} ms/)
    expect(textOf(html)).toContain('Reason a drill')
    expect(await statesOf()).toEqual(['closed', 'closed', 'closed'])
    await Promise.all([one, two].map((stream) => stream.until(isOver)))
    expect(one.text).toContain('server_closed')
    const row = await lastRow()
    expect(row).toMatchObject({ action: 'server.close', actor: 'operator:ada', reason: 'a drill' })
    for (const href of [`/audit/${row?.sequence}`, '/servers/one', '/servers/three', '/gate?state=open'])
      expect(html).toContain(`href="${href}"`)
  })

  test('opening all says which, and why they were closed', async () => {
    await node.api('PUT', '/servers/two/gate', { state: 'closed', reason: 'by itself <b>' })
    const question = textOf(await (await owner.get('/gate?state=open')).text())
    expect(question).toContain('This one is opened')
    expect(question).toContain('by itself <b>')
    expect(question).not.toContain('Type close')
    const answer = await owner.post('/gate', { state: 'open' })
    expect([answer.status, textOf(await answer.text())]).toMatchObject([
      200,
      expect.stringContaining('Every gate is open'),
    ])
    expect(await statesOf()).toEqual(['open', 'open', 'open'])
    expect(textOf(await (await owner.get('/gate?state=open')).text())).toContain('open already')
  })

  test('from another site it is refused', async () => {
    const fields = { state: 'closed', word: 'close' }
    expect((await owner.post('/gate', fields, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    expect(await statesOf()).toEqual(['open', 'open', 'open'])
  })

  describe.skipIf(!hasChromium())('in a browser', () => {
    let browser: Browser
    beforeAll(async () => {
      browser = await launch()
    })
    afterAll(() => browser.close())

    const signedIn = (options = {}) => openSignedIn(browser, owner, options)
    const focused = (page: Page) => page.evaluate(() => document.activeElement?.getAttribute('name'))

    test('by the palette and the keyboard alone, in the dialog', async () => {
      const { page, complaints } = await signedIn()
      using stream = await streamTo('one')
      await page.keyboard.press('/')
      await page.locator('#find-panic').waitFor()
      while ((await page.locator('#find').getAttribute('aria-activedescendant')) !== 'find-panic')
        await page.keyboard.press('ArrowDown')
      await page.keyboard.press('Enter')
      const dialog = page.getByRole('dialog', { name: 'Close every gate?' })
      await dialog.waitFor()
      expect(await focused(page)).toBe('word')
      await page.keyboard.type('close')
      const pressedAt = performance.now()
      await page.keyboard.press('Enter')
      await stream.until(isOver)
      console.log(`from the key to the end of the stream: ${(performance.now() - pressedAt).toFixed(1)} ms`)
      await page.getByRole('heading', { name: 'Every gate is closed' }).waitFor()
      expect(complaints).toEqual([])
      await page.context().close()
    })

    test('by the menu, with the keyboard; another word is told so in words', async () => {
      const { page, complaints } = await signedIn()
      await tabTo(page, '.panic')
      await page.keyboard.press('Enter')
      await page.getByLabel('Type close').waitFor()
      expect(await focused(page)).toBe('word')
      await page.keyboard.type('everything')
      await page.keyboard.press('Enter')
      await page.getByRole('alert').getByText('nothing happened').waitFor()
      expect(await statesOf()).toEqual(['open', 'open', 'open'])
      await page.keyboard.type('close')
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Every gate is closed' }).waitFor()
      expect(await statesOf()).toEqual(['closed', 'closed', 'closed'])

      await tabTo(page, 'a[href="/gate?state=open"]')
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Open every gate?' }).waitFor()
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Every gate is open' }).waitFor()
      expect(complaints.filter((text) => !text.includes('400'))).toEqual([])
      await page.context().close()
    })

    test('on a phone, by thumb', async () => {
      const { page } = await signedIn({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true })
      await page.getByRole('button', { name: 'Menu' }).tap()
      await page.locator('.panic').tap()
      await page.getByLabel('Type close').fill('Close')
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
      await page.getByRole('button', { name: 'Close every gate' }).tap()
      await page.getByRole('heading', { name: 'Every gate is closed' }).waitFor()
      expect(await statesOf()).toEqual(['closed', 'closed', 'closed'])
      await page.context().close()
    })
  })
})

test.skipIf(!mayMount())(
  'while the disk is full, an owner closes, is told that it waits, and can open nothing',
  async () => {
    await using disk = await smallFolder()
    const home = tempFolder()
    const small = await startNode({ data: disk.data, env: { HOME: home } })
    try {
      const first = new Visitor(small.console)
      await first.usePasswordLink(await setupLinkOf(small), 'ada')
      await small.addServer('one', events.url)
      const { token } = await small.createToken('everywhere', ['one'])
      using stream = await streamTo('one', small, token)
      disk.fill()
      const restricted = new Visitor(small.console)
      expect((await restricted.post('/sign-in', { name: 'ada', password: PASSWORD })).status).toBe(303)

      const killed = await restricted.post('/servers/one/kill', {})
      const said = textOf(await killed.text())
      expect([killed.status, said]).toMatchObject([507, expect.stringContaining('could not be written yet')])
      expect(said).toMatch(/Connections cut 1 .* On record not yet/)
      await stream.until(isOver)
      const closed = await restricted.post('/gate', { state: 'closed', word: 'close' })
      const html = await closed.text()
      expect(closed.status).toBe(507)
      expect(html).not.toContain('href="/gate?state=open"')
      expect(textOf(html)).toContain('Sign in again')
      expect(await statesOf(small)).toEqual(['closed'])

      const page = await (await restricted.get('/servers/one')).text()
      expect(page).not.toMatch(/id="(?:open|look|edit|remove)"/)
      expect(page).toMatch(/id="kill"/)
      for (const path of ['/servers/one/edit', '/servers/one/removal', '/servers/one/probes', '/servers/new'])
        expect([path, (await restricted.post(path, {})).status]).toEqual([path, 403])
      expect((await restricted.post('/gate', { state: 'open' })).status).toBe(403)

      disk.free()
      await eventually(async () => (await fetch(`${small.console}/readyz`)).status === 200, { timeoutMs: 10_000 })
      expect(await lastRow(small)).toMatchObject({ action: 'server.close', actor: 'operator:ada' })
    } finally {
      small.kill('SIGKILL')
      await small.exited
    }
  },
)
