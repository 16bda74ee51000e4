import { expect, test } from 'bun:test'
import { startNode } from '../support/node.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openPage } from './chromium.ts'
import { PASSWORD, setupLinkOf } from './visitor.ts'

/** What a stranger does in their first minutes, in the browser alone: from the printed link to the first cut. */
test.skipIf(!hasChromium())('from the first run to the first cut', async () => {
  const events = await startEvents({ intervalMs: 100, burst: 1 })
  await using node = await startNode()
  const browser = await launch()
  const { page, complaints } = await openPage(browser)

  await page.goto(await setupLinkOf(node))
  await page.getByLabel('Name').fill('ada')
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await page.getByLabel('The same password again').fill(PASSWORD)
  await page.keyboard.press('Enter')

  // The overview says what to do first, and each step leads to the next.
  await page.getByRole('region', { name: 'First steps' }).getByRole('link', { name: 'Add a server' }).click()
  await page.getByLabel('Name').fill('events')
  await page.getByLabel('URL').fill(events.url)
  await page.getByRole('button', { name: 'Add' }).first().click()
  await page.waitForURL('**/servers/events*')

  await page.goto(node.console)
  await page.getByRole('link', { name: 'Make a token' }).click()
  await page.getByLabel('Name').fill('Cursor IDE')
  await page.getByLabel('Subject').fill('dev@example.com')
  await page.getByRole('button', { name: 'Make the token' }).click()
  const secret = await page.locator('#secret').innerText()
  expect(secret).toMatch(/^pcl_[0-9A-Za-z]{36}$/)

  using stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(secret) })
  await stream.until(({ text }) => text.includes('data:'))
  await page.goto(node.console)
  await page.getByText('1 live connection').first().waitFor()

  await page.keyboard.press('/')
  await page.keyboard.type('cursor')
  await page.keyboard.press('Enter')
  await page.locator('#confirm').getByText('1 live connection').first().waitFor()
  await page.keyboard.press('Enter')
  await page.waitForURL('**/revocations/rev_*')
  await stream.until((client) => client.ended !== 'open' || client.complete)
  expect(stream.text).toContain('token_revoked')
  expect(await page.innerText('h1')).toMatch(/Cursor IDE .* is dead\. 1 connection was cut in \d/)
  expect((await fetch(`${node.gate}/s/events/sse`, { headers: bearer(secret) })).status).toBe(401)
  expect(complaints).toEqual([])
  await browser.close()
  events.stop()
})
