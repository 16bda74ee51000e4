import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser } from 'playwright-core'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openPage, refresh, tabTo, type Watched } from './chromium.ts'
import { linkOfNew, PASSWORD, setupLinkOf } from './visitor.ts'

const HOSTILE = '<script>document.title = "taken"</script>'

describe.skipIf(!hasChromium())('the console in a browser', () => {
  let browser: Browser
  let node: TestNode
  let events: Awaited<ReturnType<typeof startEvents>>
  let owner: Watched

  const streamOf = async (secret: string): Promise<RawClient> => {
    const stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(secret) })
    return stream.until((client) => client.text.includes('data:'))
  }

  beforeAll(async () => {
    events = await startEvents({ intervalMs: 50, burst: 1 })
    node = await startNode()
    await node.addServer('events', events.url)
    browser = await launch()
    owner = await openPage(browser)
  })
  afterAll(async () => {
    await browser.close()
    await node.stop()
    events.stop()
  })

  test('says where the setup link is while there is no owner', async () => {
    await owner.page.goto(node.console)
    expect(new URL(owner.page.url()).pathname).toBe('/sign-in')
    expect(await owner.page.innerText('main')).toContain('portcullis setup')
    expect(await owner.page.locator('input').count()).toBe(0)
  })

  test('the setup link makes the owner, who signs out and in again', async () => {
    const { page } = owner
    await page.goto(await setupLinkOf(node))
    await page.getByLabel('Name').fill('ada')
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
    await page.getByLabel('The same password again').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${node.console}/`)
    await page.goto(`${node.console}/tokens`)
    await page.getByText('No token yet').waitFor()

    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.waitForURL('**/sign-in')
    await page.goto(node.console)
    expect(new URL(page.url()).pathname).toBe('/sign-in')

    await page.getByLabel('Name').fill('ada')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${node.console}/`)
    expect(owner.complaints).toEqual([])
  })

  test('revokes by keyboard alone; the stream ends, and the receipt has milliseconds', async () => {
    const { page, complaints } = owner
    const { id, token } = await node.createToken('Cursor IDE', ['events'], { subject: 'dev@example.com' })
    using stream = await streamOf(token)
    const row = page.locator(`#token-${id}`)
    await page.goto(`${node.console}/tokens`)
    // The page shows both by itself, within its two seconds.
    await row.getByText('active').waitFor()
    await eventually(async () => (await row.getByRole('cell').allInnerTexts()).includes('1'))

    await tabTo(page, `#revoke-${id}`)
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.getByText('Cursor IDE of dev@example.com').first().waitFor()
    expect(await dialog.innerText()).toContain('1 live connection, for ever')
    expect(await dialog.getByLabel('Reason').inputValue()).toBe('compromised')

    // Escape takes nothing, and gives the focus back.
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(await page.evaluate(() => document.activeElement?.id)).toBe(`revoke-${id}`)
    expect(stream.ended).toBe('open')

    await page.keyboard.press('Enter')
    await tabTo(page, 'dialog input[name=note]')
    await page.keyboard.type('found in a public repository')
    // Two refreshes pass: neither the dialog nor what is typed may be disturbed.
    await refresh(page)
    await refresh(page)
    expect(await dialog.getByLabel('Note').inputValue()).toBe('found in a public repository')
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('note')

    await tabTo(page, 'dialog button.danger')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/revocations/rev_*')
    const receipt = await page.innerText('main')
    expect(receipt).toContain('Cursor IDE of dev@example.com')
    expect(await page.getByRole('link', { name: 'Cursor IDE' }).getAttribute('href')).toStartWith('/tokens/tok_')
    expect(receipt).toContain('operator:ada')
    expect(receipt).toContain('compromised')
    expect(receipt).toContain('found in a public repository')
    expect(receipt).toMatch(/1 connection was cut in \d+(?:\.\d+)? ms/)
    expect(receipt).not.toContain('nothing to measure')

    await stream.until((client) => client.ended !== 'open' || client.complete)
    expect(stream.text).toContain('token_revoked')

    await page.goto(`${node.console}/tokens`)
    expect(await row.count()).toBe(0)
    await page.goto(`${node.console}/tokens?state=revoked`)
    await row.getByText('revoked').waitFor()
    expect(await row.getByRole('link', { name: /Revoke/ }).count()).toBe(0)
    await page.goto(`${node.console}/connections`)
    expect(await page.innerText('#live')).toContain('Nothing is connected')
    expect(complaints).toEqual([])
  })

  test('shows names as text', async () => {
    const { page, complaints } = owner
    await page.goto(`${node.console}/tokens`)
    await node.createToken('before it', ['events'])
    await page.getByRole('rowheader', { name: 'before it' }).waitFor()
    await node.createToken(HOSTILE, ['events'], { subject: HOSTILE, group: '"><img src=x onerror=alert(1)>' })
    await page.getByRole('rowheader', { name: HOSTILE }).waitFor()
    await page.getByRole('link', { name: `Revoke ${HOSTILE}` }).click()
    await page.getByRole('dialog').getByText(HOSTILE).first().waitFor()
    expect(await page.title()).toBe('Tokens · Portcullis')
    expect(await page.locator('#main script, #main img').count()).toBe(0)
    await page.getByRole('link', { name: 'Cancel' }).click()
    expect(complaints).toEqual([])
  })

  test('works without scripts, at 390 pixels', async () => {
    const { page } = await openPage(browser, { javaScriptEnabled: false, viewport: { width: 390, height: 844 } })
    await page.goto(`${node.console}/sign-in`)
    await page.getByLabel('Name').fill('ada')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await node.createToken('night report', ['events'], { group: 'Contractors-Phoenix' })
    await page.goto(`${node.console}/tokens?group=contractors-phoenix`)
    await page.getByRole('link', { name: 'Revoke night report' }).click()
    await page.getByLabel('Reason').selectOption('offboarding')
    await page.getByRole('button', { name: 'Revoke for ever' }).click()
    expect(await page.innerText('main')).toContain('offboarding')
  })

  test('nothing is wider than a phone, and what is pressed is 44 pixels high', async () => {
    const { page } = owner
    await page.setViewportSize({ width: 390, height: 844 })
    await page.goto(`${node.console}/tokens`)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390)
    const heights = await page
      .locator('button:visible, .button:visible, input:visible, select:visible, summary:visible')
      .evaluateAll((all) => all.map((element) => Math.round(element.getBoundingClientRect().height)))
    expect(heights.length).toBeGreaterThan(3)
    expect(Math.min(...heights)).toBeGreaterThanOrEqual(44)
  })

  test('an auditor sees all and has no button', async () => {
    const { page, complaints } = await openPage(browser)
    await page.goto(await linkOfNew(node, 'grace', 'auditor'))
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
    await page.getByLabel('The same password again').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${node.console}/`)
    for (const path of ['tokens', 'connections']) {
      await page.goto(`${node.console}/${path}`)
      await page
        .locator('#live')
        .getByText(path === 'tokens' ? 'before it' : 'Nothing is connected')
        .waitFor()
      expect(
        await page
          .locator('main')
          .getByRole('link', { name: /Revoke|Kill/ })
          .count(),
      ).toBe(0)
    }
    expect(complaints).toEqual([])
  })

  test('a page of another site can do nothing with the session', async () => {
    const { id } = await node.createToken('not from elsewhere', ['events'])
    const answered = Promise.withResolvers<number>()
    const { page } = owner
    page.on('response', (response) => {
      if (response.url() === `${node.console}/revocations`) answered.resolve(response.status())
    })
    // Another port is another origin, and "localhost" another site than "127.0.0.1".
    const form = `<form method="post" action="${node.console}/revocations"><input name="token" value="${id}">`
    const hostile = Bun.serve({
      port: 0,
      fetch: () =>
        new Response(`${form}<input name="reason" value="other"><button>x</button></form>`, {
          headers: { 'content-type': 'text/html' },
        }),
    })
    await page.goto(`http://localhost:${hostile.port}/`)
    await page.getByRole('button').click()
    expect(await answered.promise).toBe(403)
    await hostile.stop(true)
    const { json } = await node.api<{ status: string }>('GET', `/tokens/${id}`)
    expect(json.status).toBe('active')
  })

  test('says so when the console does not answer, and leads to sign-in when the session is over', async () => {
    const { page } = await openPage(browser)
    await page.goto(await linkOfNew(node, 'edsger', 'operator'))
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
    await page.getByLabel('The same password again').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${node.console}/`)
    await page.goto(`${node.console}/tokens`)
    await page.locator('#summary').waitFor()
    await page.context().setOffline(true)
    await page.getByText('The console does not answer').waitFor()
    await page.context().setOffline(false)
    await page.getByText('The console does not answer').waitFor({ state: 'hidden' })
    await node.api('DELETE', '/operators/edsger')
    await page.waitForURL('**/sign-in')
  })
})
