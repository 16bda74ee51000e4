import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import axe from 'axe-core'
import type { Browser, BrowserContext } from 'playwright-core'
import { hasChromium, launch, refresh, signIn } from './chromium.ts'
import { sweep, type SweptPage } from './pages.ts'
import { startWorld, type World } from './world.ts'

/** What must hold on every page, whatever is on it. */
describe.skipIf(!hasChromium())('every page', () => {
  let browser: Browser
  let world: World
  const contexts = new Map<string, BrowserContext>()

  /** One browser profile for each look; what a page complains of fails its test. */
  const visit = async (
    look: string,
    options: Parameters<Browser['newContext']>[0],
    { path, ready }: SweptPage,
    check: (page: Awaited<ReturnType<BrowserContext['newPage']>>) => Promise<void>,
  ) => {
    let context = contexts.get(look)
    if (!context) {
      context = await browser.newContext(options)
      await signIn(context, world.owner)
      contexts.set(look, context)
    }
    const page = await context.newPage()
    const complaints: string[] = []
    const foreign: string[] = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      // The browser itself notes that a page was a 404.
      if (message.type() === 'error' && !message.text().includes('404')) complaints.push(message.text())
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(world.node.console) && !request.url().startsWith('data:'))
        foreign.push(request.url())
    })
    await page.goto(world.node.console + path)
    await ready?.(page)
    await check(page)
    await page.close()
    expect(complaints).toEqual([])
    expect(foreign).toEqual([])
  }

  beforeAll(async () => {
    world = await startWorld()
    browser = await launch()
  })
  afterAll(async () => {
    await browser.close()
    await world[Symbol.asyncDispose]()
  })

  const TITLES = sweep({ ids: {} } as World).map(({ title }) => title)
  const pageOf = (title: string) => {
    const found = sweep(world).find((page) => page.title === title)
    if (!found) throw new Error(`no page is called ${title}`)
    return found
  }

  test.each(
    TITLES.flatMap(
      (title) =>
        [
          [title, 'light'],
          [title, 'dark'],
        ] as const,
    ),
  )('%s has no violation of axe, %s', async (title, colorScheme) => {
    await visit(colorScheme, { colorScheme, viewport: { width: 1280, height: 900 } }, pageOf(title), async (page) => {
      await page.evaluate(axe.source)
      const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run())
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([])
    })
  })

  test.each(TITLES)('%s fits 320 pixels', async (title) => {
    await visit('narrow', { viewport: { width: 320, height: 700 }, hasTouch: true }, pageOf(title), async (page) => {
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320)
      const small = await page
        .locator('button:visible, .button:visible, input:visible:not([type=checkbox],[type=radio]), select:visible')
        .evaluateAll((all) =>
          all
            .filter((element) => element.getBoundingClientRect().height < 44)
            .map((element) => element.outerHTML.slice(0, 120)),
        )
      expect(small).toEqual([])
    })
  })

  test.each(TITLES)('%s fills 3840 pixels without breaking', async (title) => {
    await visit('wide', { viewport: { width: 3840, height: 2160 } }, pageOf(title), async (page) => {
      const size = await page.evaluate(() => ({
        width: document.documentElement.scrollWidth,
        letters: Number.parseFloat(getComputedStyle(document.body).fontSize),
      }))
      expect(size.width).toBeLessThanOrEqual(3840)
      expect(size.letters).toBeGreaterThan(18)
    })
  })

  test.each(TITLES)('%s has one heading of the first rank, a title, and a way past the menu', async (title) => {
    await visit('light', { colorScheme: 'light' }, pageOf(title), async (page) => {
      expect(await page.locator('main h1').count()).toBe(1)
      expect(await page.title()).toEndWith(' · Portcullis')
      expect(await page.locator('.skip[href="#main"]').count()).toBe(1)
    })
  })

  test.each(TITLES)('%s moves nothing when it is brought up to date', async (title) => {
    await visit('still', { reducedMotion: 'reduce' }, pageOf(title), async (page) => {
      if ((await page.locator('#live').count()) === 0) return
      await refresh(page)
      await page.evaluate(() => {
        const shifts: number[] = []
        Object.assign(globalThis, { shifts })
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) shifts.push((entry as unknown as { value: number }).value)
        }).observe({ type: 'layout-shift', buffered: false })
      })
      await refresh(page)
      await refresh(page)
      const shifted = await page.evaluate(() => (globalThis as unknown as { shifts: number[] }).shifts)
      expect(await page.evaluate(() => document.getAnimations().length)).toBe(0)
      expect(shifted.reduce((sum, value) => sum + value, 0)).toBeLessThan(0.001)
    })
  })
})
