import { existsSync } from 'node:fs'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import type { Visitor } from './visitor.ts'

const executablePath = '/usr/bin/chromium'
const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Whether there is a browser. Where tests must not be skipped, its absence is a failure of theirs. */
export const hasChromium = (): boolean => {
  if (existsSync(executablePath)) return true
  if (process.env['CI']) throw new Error(`there is no ${executablePath}, and CI skips no test`)
  console.warn(`SKIPPED: the tests in a browser need ${executablePath}`)
  return false
}

export const launch = (): Promise<Browser> => chromium.launch({ executablePath, args })

export interface Watched {
  page: Page
  /** What the page complained of: errors of scripts, of the console, and of the content security policy. */
  complaints: string[]
}

/** A page in a browser profile of its own, listened to from the start. */
export const openPage = async (browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> => {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  page.setDefaultTimeout(10_000)
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  return { page, complaints }
}

/** The same on the overview, in the session of a visitor that has signed in. */
export const openSignedIn = async (
  browser: Browser,
  visitor: Visitor,
  options: BrowserContextOptions = {},
): Promise<Watched> => {
  const watched = await openPage(browser, options)
  await signIn(watched.page.context(), visitor)
  await watched.page.goto(visitor.console)
  return watched
}

export const signIn = async (context: BrowserContext, { cookie, console: url }: Visitor): Promise<void> => {
  const [name = '', value = ''] = cookie.split('=')
  await context.addCookies([{ name, value, url }])
}

/** Moves the focus with the keyboard alone until it stands on the element. */
export const tabTo = async (page: Page, selector: string): Promise<void> => {
  for (let presses = 0; presses < 60; presses += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector)) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`the keyboard does not reach ${selector}`)
}

/** Brings a page that refreshes itself up to date, now and not when its two seconds are over. */
export const refresh = async (page: Page): Promise<void> => {
  const answered = page.waitForResponse((response) => response.request().headers()['x-live'] === '1')
  await page.evaluate(() => {
    const { htmx } = globalThis as unknown as { htmx: { trigger(selector: string, event: string): void } }
    const swapped = new Promise((resolve) => document.addEventListener('htmx:after:swap', resolve, { once: true }))
    Object.assign(globalThis, { swapped })
    htmx.trigger('#live', 'refresh')
  })
  await answered
  await page.evaluate(() => (globalThis as unknown as { swapped: Promise<void> }).swapped.then(() => undefined))
}
