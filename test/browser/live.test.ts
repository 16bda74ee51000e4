import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser, Page } from 'playwright-core'
import { hasChromium, launch, openSignedIn } from './chromium.ts'
import { startWorld, type World } from './world.ts'

/** What a page does that is left open for hours: it sleeps, loses the console, finds it again, and says so. */
describe.skipIf(!hasChromium())('a page that is left open', () => {
  let browser: Browser
  let world: World
  let page: Page
  const stale = () => page.locator('#stale')
  const isLive = (request: { headers(): Record<string, string> }) => request.headers()['x-live'] === '1'
  const refreshed = () => page.waitForResponse((response) => isLive(response.request()))

  beforeAll(async () => {
    world = await startWorld()
    browser = await launch()
    page = (await openSignedIn(browser, world.owner)).page
  })
  afterAll(async () => {
    await browser.close()
    await world[Symbol.asyncDispose]()
  })

  test('says since when it is out of date while the console does not answer, and that it is back', async () => {
    await page.goto(world.node.console)
    await refreshed()
    await page.context().setOffline(true)
    await stale().waitFor()
    expect(await stale().innerText()).toMatch(/does not answer: what stands here is as of \d/)
    expect(await page.locator('h1').innerText()).toBe('Overview')
    await page.context().setOffline(false)
    await stale().waitFor({ state: 'hidden' })
    expect(await page.locator('p.unseen[role=status]').last().innerText()).toContain('up to date')
  })

  test('a failure of the console takes nothing off the page', async () => {
    await page.goto(`${world.node.console}/connections`)
    await page.getByText('Cursor/1.9').first().waitFor()
    await page.route('**/connections', (route) =>
      isLive(route.request())
        ? route.fulfill({ status: 500, contentType: 'text/html', body: '<h1>broken</h1>' })
        : route.continue(),
    )
    await stale().waitFor()
    expect(await page.getByText('Cursor/1.9').count()).toBeGreaterThan(0)
    expect(await page.getByText('broken').count()).toBe(0)
    await page.unroute('**/connections')
    await stale().waitFor({ state: 'hidden' })
  })

  test('what takes longer than half a second says that it is at work', async () => {
    // A page that is being left answers no question of the test's: it tells by itself.
    const told = Promise.withResolvers<void>()
    page.on('console', (message) => {
      if (message.text() === 'busy') told.resolve()
    })
    await page.goto(`${world.node.console}/audit`)
    await page.evaluate(() => {
      const tell = () => document.documentElement.classList.contains('busy') && console.log('busy')
      new MutationObserver(tell).observe(document.documentElement, { attributes: true })
    })
    await page.route('**/audit/verification', async (route) => {
      await told.promise
      await route.continue()
    })
    await page.getByRole('button', { name: 'Verify now' }).click()
    await page.getByText('intact').first().waitFor()
    expect(await page.locator('html.busy').count()).toBe(0)
  })

  test('a tab that nobody sees asks nothing; one that wakes says how old it is, and asks at once', async () => {
    await page.clock.install()
    await page.goto(world.node.console)
    const show = (isHidden: boolean) =>
      page.evaluate((hidden) => {
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden })
        document.dispatchEvent(new Event('visibilitychange'))
      }, isHidden)
    await show(true)
    let asked = 0
    page.on('request', (request) => {
      if (isLive(request)) asked += 1
    })
    await page.clock.runFor(120_000)
    expect(asked).toBe(0)
    const gate = Promise.withResolvers<void>()
    await page.route(`${world.node.console}/`, async (route) => {
      await gate.promise
      await route.continue()
    })
    const answer = refreshed()
    await show(false)
    expect(await stale().innerText()).toMatch(/slept: what stands here is as of \d/)
    gate.resolve()
    await answer
    await stale().waitFor({ state: 'hidden' })
    await page.unroute(`${world.node.console}/`)
  })

  test('a page of something that was removed says that it is gone', async () => {
    await world.node.addServer('short-lived', 'http://127.0.0.1:9')
    await page.clock.resume()
    await page.goto(`${world.node.console}/servers/short-lived`)
    await page.getByRole('heading', { name: 'short-lived', level: 1 }).waitFor()
    await world.node.api('DELETE', '/servers/short-lived')
    await page.getByRole('heading', { name: 'Not found' }).waitFor()
  })

  test('updates keep the scroll, the selection and what is unfolded', async () => {
    await page.setViewportSize({ width: 900, height: 400 })
    await page.goto(`${world.node.console}/tokens/${world.ids.busy}`)
    const summary = page.locator('#live summary').first()
    await summary.click()
    await page.evaluate(() => {
      scrollTo(0, 300)
      const heading = document.querySelector('h1')
      if (heading) getSelection()?.selectAllChildren(heading)
    })
    await refreshed()
    await refreshed()
    expect(await page.evaluate(() => scrollY)).toBe(300)
    expect(await page.evaluate(() => getSelection()?.toString())).toBe('Cursor IDE')
    expect(await page.locator('#live details[open]').count()).toBe(1)
  })

  test('an update does not keep a session alive that nobody uses', async () => {
    const usedAt = async () => {
      const { json } = await world.node.api<{ items: { usedAt: string }[] }>('GET', '/sessions')
      return json.items.map((session) => session.usedAt)
    }
    await page.goto(world.node.console)
    // By then the page has fetched all that belongs to it, its icon too.
    await refreshed()
    const before = await usedAt()
    await refreshed()
    await refreshed()
    expect(await usedAt()).toEqual(before)
    await page.goto(world.node.console)
    expect(await usedAt()).not.toEqual(before)
  })
})
