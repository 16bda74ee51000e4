import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Browser, Page } from 'playwright-core'
import type { ActivityJson, ConnectJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { startSessionMcp } from '../support/upstreams/mcp.ts'
import { INITIALIZED, startScripted } from '../support/upstreams/scripted.ts'
import { hasChromium, launch, openPage, tabTo, type Watched } from './chromium.ts'
import { linkOfNew, PASSWORD, setupLinkOf } from './visitor.ts'

const SECRET = /pcl_[0-9A-Za-z]{36}/
const HOSTILE = '<img src=x onerror="document.title=1">\'</td><script>document.title = "taken"</script>'

const setPassword = async (page: Page, link: string, name?: string) => {
  await page.goto(link)
  if (name) await page.getByLabel('Name').fill(name)
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await page.getByLabel('The same password again').fill(PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Servers' }).waitFor()
}

describe.skipIf(!hasChromium())('tokens in a browser', () => {
  let browser: Browser
  let node: TestNode
  let sessions: Awaited<ReturnType<typeof startSessionMcp>>
  let hostile: ReturnType<typeof startScripted>
  let owner: Watched

  beforeAll(async () => {
    sessions = await startSessionMcp()
    hostile = startScripted({
      initialize: () => INITIALIZED({ serverInfo: { name: HOSTILE, version: `1"\u202e${HOSTILE}` } }),
      'tools/list': () => ({ tools: [{ name: HOSTILE, inputSchema: { type: 'object' } }] }),
      'tools/call': () => ({ content: [] }),
    })
    node = await startNode()
    await node.addServer('github', sessions.url, { path: '/mcp' })
    await node.addServer('nowhere', 'http://127.0.0.1:9', { headers: { 'X-Key': `${HOSTILE} header value` } })
    browser = await launch()
    owner = await openPage(browser, { permissions: ['clipboard-read', 'clipboard-write'] })
    await setPassword(owner.page, await setupLinkOf(node), 'ada')
  })
  afterAll(async () => {
    await browser.close()
    await node.stop()
    await sessions.stop()
    await hostile.stop()
  })

  /** Joins the gate as the snippet for Cursor says. */
  const joinBy = async (snippet: string, server: string, name = 'test-cursor') => {
    type Cursor = { mcpServers: Record<string, { url: string; headers: Record<string, string> }> }
    const entry = (JSON.parse(snippet) as Cursor).mcpServers[server]
    if (!entry) throw new Error(`${server} is not in the snippet`)
    const client = new Client({ name, version: '1.0.0' })
    const requestInit = { headers: entry.headers }
    await client.connect(new StreamableHTTPClientTransport(new URL(entry.url), { requestInit }))
    return client
  }
  const textOf = async (page: Page, id: string) => (await page.locator(`#${id}`).textContent()) ?? ''
  const clipboard = (page: Page) => page.evaluate(() => navigator.clipboard.readText())
  /** Fills in the form, and leaves the button. */
  const fillForm = async (page: Page, name: string) => {
    await page.goto(`${node.console}/tokens/new`)
    await page.getByLabel('Name').fill(name)
    await page.getByLabel('github').check()
  }
  const make = async (page: Page, name: string) => {
    await fillForm(page, name)
    await page.getByRole('button', { name: 'Make the token' }).click()
    return { secret: await textOf(page, 'secret'), snippet: await textOf(page, 'snippet-cursor') }
  }
  const idOf = async (name: string) => (await node.api<{ id: string }>('GET', `/tokens/${name}`)).json.id

  test('made by keyboard, pasted into a client, seen at work, revoked', async () => {
    const { page, complaints } = owner
    // While there is none, the list leads to the first one.
    await page.goto(`${node.console}/tokens`)
    await tabTo(page, 'main a[href="/tokens/new"]')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/tokens/new')
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('name')
    await page.keyboard.type('laptop')
    await tabTo(page, 'input[value=github]')
    await page.keyboard.press('Space')
    await tabTo(page, 'input[name=subject]')
    await page.keyboard.type('dev@example.com')
    await page.keyboard.press('Enter')

    const secret = await textOf(page, 'secret')
    expect(secret).toMatch(new RegExp(`^${SECRET.source}$`))
    expect(await page.innerText('main')).toContain('shown this once')

    // Each button copies what stands beside it, to the last character.
    await page.getByRole('button', { name: 'Copy the secret' }).click()
    await page.getByText('Copied').first().waitFor()
    expect(await clipboard(page)).toBe(secret)
    await page.getByRole('button', { name: 'Copy what goes into Cursor' }).click()
    await eventually(async () => (await clipboard(page)) !== secret)
    const snippet = await clipboard(page)

    // One client at a time, by the arrow keys.
    await page.getByRole('radio', { name: 'Cursor' }).focus()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('ArrowRight')
    expect(await page.getByRole('radio', { name: 'Claude Code' }).isChecked()).toBe(true)
    expect(await page.locator('.snippet:visible').count()).toBe(1)
    expect(await page.locator('.snippet:visible').innerText()).toContain('claude mcp add')
    expect(await page.locator('.snippet:visible').innerText()).toContain(`Bearer ${secret}`)

    const client = await joinBy(snippet, 'github')
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo', 'slow'])
    await client.callTool({ name: 'echo', arguments: { text: 'a-marker-in-arguments' } })

    await page.getByRole('link', { name: 'Open its page' }).click()
    await page.waitForURL('**/tokens/tok_*')
    const address = page.url()
    const row = page.getByRole('row', { name: /^echo/ })
    expect((await row.getByRole('cell').allInnerTexts()).slice(0, 4)).toEqual(['github', '1', '0', '0'])
    const seen = (what: string) =>
      page.locator(`section[aria-labelledby=${what}]`).getByRole('rowheader').allInnerTexts()
    expect(await seen('addresses')).toEqual(['127.0.0.1'])
    expect(await seen('clients')).toEqual(['test-cursor 1.0.0'])
    const shown = await page.content()
    expect(shown).toContain('dev@example.com')
    expect(shown).toContain('operator:ada')
    expect(shown).not.toContain('PASTE_TOKEN_HERE')
    expect(shown).not.toContain(secret)
    expect(shown).not.toContain('a-marker-in-arguments')
    await page.getByRole('link', { name: 'Connect a client' }).click()
    await page.waitForURL('**/connect')
    expect(await page.content()).toContain('PASTE_TOKEN_HERE')
    expect(await page.content()).not.toContain(secret)
    await page.goto(address)

    await tabTo(page, 'a.danger[id^=revoke]')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByText('laptop of dev@example.com').first().waitFor()
    await tabTo(page, 'dialog button.danger')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/revocations/rev_*')
    expect(await client.listTools().then(String, () => 'refused')).toBe('refused')

    await page.goto(address)
    expect(await page.innerText('main')).toMatch(/This token is dead\s+It was revoked .* by operator:ada: compromised/)
    expect(await page.innerText('main')).toMatch(/Tried when dead\s+1 time, last .*\s+127\.0\.0\.1 × 1/)
    expect(await page.getByRole('rowheader', { name: 'echo' }).count()).toBe(1)
    expect(
      await page
        .locator('main')
        .getByRole('link', { name: /Revoke|Rotate|Connect a client/ })
        .count(),
    ).toBe(0)
    expect(complaints).toEqual([])
  })

  test('a reload makes no second token, and shows no secret again', async () => {
    const { page } = owner
    const { secret } = await make(page, 'reloaded')
    await page.reload()
    await page.getByRole('heading', { name: 'Made already' }).waitFor()
    expect(await page.content()).not.toContain(secret)
    expect((await fetch(`${node.gate}/s/github/mcp`, { headers: bearer(secret) })).status).not.toBe(401)
  })

  test('two clicks make one token, whose secret is seen', async () => {
    const { page } = owner
    await fillForm(page, 'clicked twice')
    // The answer takes so long that the second click comes before it.
    let posts = 0
    const clickedAgain = Promise.withResolvers<void>()
    await page.route('**/tokens/new', async (route) => {
      posts += 1
      const response = await route.fetch()
      await clickedAgain.promise
      await route.fulfill({ response })
    })
    const button = page.getByRole('button', { name: 'Make the token' })
    await button.scrollIntoViewIfNeeded()
    const { x, y } = (await button.boundingBox()) ?? { x: 0, y: 0 }
    await page.mouse.click(x + 9, y + 9)
    await eventually(() => posts === 1)
    await page.mouse.click(x + 9, y + 9)
    clickedAgain.resolve()
    expect(await textOf(page, 'secret')).toMatch(SECRET)
    await page.unrouteAll()
    expect(posts).toBe(1)
    const { json } = await node.api<{ items: { name: string }[] }>('GET', '/tokens')
    expect(json.items.filter(({ name }) => name === 'clicked twice')).toHaveLength(1)
  })

  test('install links are those of the API, to the letter, and hold no secret', async () => {
    const { page } = owner
    await make(page, 'linked')
    const { json } = await node.api<ConnectJson>('GET', `/tokens/${await idOf('linked')}/connect`)
    for (const [client, scheme] of [
      ['cursor', 'cursor:'],
      ['vscode', 'vscode:'],
    ] as const) {
      const [link] = json[client]?.links ?? []
      const shown = page.locator(`.snippet:has(#snippet-${client}) a`)
      expect(await shown.evaluateAll((all) => all.map((a) => a.getAttribute('href')))).toEqual([link?.url ?? ''])
      expect(link?.url).toStartWith(scheme)
    }
    const links = await page.locator('a').evaluateAll((all) => all.map((a) => a.getAttribute('href') ?? ''))
    expect(links.filter((href) => SECRET.test(decodeURIComponent(href)))).toEqual([])
    expect(links.filter((href) => !/^(?:\/|#main$|cursor:|vscode:)/.test(href))).toEqual([])
  })

  test('copies where the browser has no clipboard to give, as over plain HTTP', async () => {
    const { page } = await openPage(browser, { permissions: ['clipboard-read'] })
    await setPassword(page, await linkOfNew(node, 'edsger', 'operator'))
    await page.addInitScript(() => {
      Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })
    })
    const { secret } = await make(page, 'no clipboard')
    await page.getByRole('button', { name: 'Copy the secret' }).click()
    await page.getByText('Copied').first().waitFor()
    expect(await page.evaluate(() => getSelection()?.toString())).toBe(secret)
    await page.goto(`${node.console}/tokens/new`)
    await page.getByLabel('Name').focus()
    await page.keyboard.press('Control+V')
    expect(await page.getByLabel('Name').inputValue()).toBe(secret)
  })

  test('refuses beside what was typed, and puts the focus there', async () => {
    const { page } = owner
    await fillForm(page, 'with a policy')
    await page.getByText('Policy: which tools').click()
    await page.getByLabel('Only these tools').fill('get_*, <b>*')
    await page.getByLabel('Calls a minute').fill('lots')
    await page.getByRole('button', { name: 'Make the token' }).click()
    await page.getByRole('alert').getByText('No token was made').waitFor()
    const wrong = page.getByLabel('Calls a minute')
    expect(await wrong.inputValue()).toBe('lots')
    expect(await wrong.evaluate((field) => field === document.activeElement)).toBe(true)
    expect(await wrong.getAttribute('aria-describedby')).toContain('callsPerMinute-wrong')
    expect(await page.getByLabel('github').isChecked()).toBe(true)
    await wrong.fill('60')
    await page.keyboard.press('Enter')
    await page.getByRole('link', { name: 'Open its page' }).click()
    const facts = await page.innerText('#live dl')
    expect(facts).toContain('Only the tools get_*, <b>*')
    expect(facts).toContain('At most 60 calls a minute')
  })

  test('names that clients and servers made up are text', async () => {
    const { page, complaints } = await openPage(browser)
    await setPassword(page, await linkOfNew(node, 'barbara', 'operator'))
    await node.addServer('hostile', hostile.url, { path: '/mcp', probe: true })
    const { id, connect } = await node.createToken('of a hostile client', ['hostile', 'nowhere'])
    const client = await joinBy(connect?.['cursor']?.text ?? '', 'hostile', HOSTILE)
    await client.callTool({ name: HOSTILE, arguments: {} })

    await page.goto(`${node.console}/tokens/${id}`)
    await page.getByRole('rowheader', { name: HOSTILE, exact: true }).waitFor()
    await page
      .getByRole('rowheader', { name: `${HOSTILE} 1.0.0` })
      .first()
      .waitFor()
    expect(await page.locator('main img, main script').count()).toBe(0)
    expect(await page.title()).toBe('of a hostile client · Portcullis')

    await page.goto(`${node.console}/servers`)
    await page.getByRole('cell', { name: HOSTILE }).first().waitFor()
    expect(await page.locator('main img, main script').count()).toBe(0)
    expect(await page.title()).toBe('Servers · Portcullis')
    // Values of headers are credentials.
    expect(await page.content()).not.toContain('header value')
    expect(complaints).toEqual([])
  })

  test('the activity of another stretch of time, and all of it as CSV and JSON', async () => {
    const { page } = owner
    const { id, connect } = await node.createToken('measured', ['github'])
    const client = await joinBy(connect?.['cursor']?.text ?? '', 'github')
    await client.callTool({ name: 'echo', arguments: { text: 'x' } })
    await page.goto(`${node.console}/tokens/${id}?since=nonsense`)
    const current = page.getByRole('navigation', { name: 'How far back', exact: true }).locator('[aria-current]')
    expect(await current.innerText()).toBe('24 hours')
    await page.getByRole('link', { name: '7 days' }).click()
    await page.waitForURL('**since=7d#activity')
    expect(await current.innerText()).toBe('7 days')
    expect(await page.locator('.totals').innerText()).toContain('in the last 7 days')

    const downloading = page.waitForEvent('download')
    await page.getByRole('link', { name: 'CSV' }).click()
    const download = await downloading
    expect(download.suggestedFilename()).toBe(`activity-${id}.csv`)
    expect(await Bun.file((await download.path()) ?? '').text()).toMatch(
      /^server,method,name.*\r?\n[^]*github,tools\/call,echo/,
    )
    await page.getByRole('link', { name: 'JSON' }).click()
    await page.waitForURL('**/api/v1/**')
    const json = JSON.parse(await page.innerText('body')) as ActivityJson
    expect(json.tools.map(({ name }) => name)).toEqual(['echo'])

    const unused = await node.createToken('unused', ['github'])
    await page.goto(`${node.console}/tokens/${unused.id}`)
    expect(await page.locator('.totals').innerText()).toBe('Nothing in the last 24 hours.')
    expect(await page.locator('main table').count()).toBe(0)
  })

  test('servers show their health, live', async () => {
    const { page, complaints } = await openPage(browser, { permissions: ['clipboard-read', 'clipboard-write'] })
    await setPassword(page, await linkOfNew(node, 'radia', 'operator'))
    await page.goto(`${node.console}/servers`)
    const row = page.getByRole('row', { name: /^github/ })
    const cells = () => row.getByRole('cell').allInnerTexts()
    expect((await cells())[1]).toBe('not looked yet')

    await node.api('POST', '/servers/github/probes')
    await node.api('POST', '/servers/nowhere/probes')
    await row.getByText('test-upstream 1.0.0').waitFor()
    const [gate, reachable, mcp, tools] = await cells()
    expect([gate, reachable, tools]).toEqual(['open', 'yes', '2'].map((text) => expect.stringContaining(text)))
    expect(mcp).toContain('2025-11-25')
    const unreachable = page.getByRole('row', { name: /^nowhere/ })
    await unreachable.getByText('connecting failed').waitFor()
    expect(await unreachable.innerText()).not.toContain('yes')

    await node.api('PUT', '/servers/github/gate', { state: 'closed', reason: 'under <b>suspicion</b>' })
    await row.getByText('under <b>suspicion</b>').waitFor()
    await node.api('PUT', '/servers/github/gate', { state: 'open' })
    await row.getByText('open').waitFor()

    await page.getByRole('button', { name: 'Copy the URL of github' }).click()
    await eventually(async () => (await clipboard(page)) === `${node.gate}/s/github/mcp`)
    await page.getByLabel('Part of a name').fill('nowh')
    await page.keyboard.press('Enter')
    await row.waitFor({ state: 'detached' })
    await page.getByRole('rowheader', { name: /^nowhere/ }).waitFor()
    expect(complaints).toEqual([])
  })

  test('works without scripts, at 360 pixels, and shows no button that would do nothing', async () => {
    const phone = { javaScriptEnabled: false, viewport: { width: 360, height: 740 }, hasTouch: true }
    const { page } = await openPage(browser, phone)
    // `evaluate` works all the same: it does not count as the page's own script.
    const fits = async () => {
      expect(await page.evaluate(() => document.documentElement.scrollWidth), page.url()).toBeLessThanOrEqual(360)
      const pressed = await page
        .locator('button:visible, .button:visible, summary:visible, .clients label, label.check:visible')
        .evaluateAll((all) => all.map((element) => Math.round(element.getBoundingClientRect().height)))
      expect(Math.min(...pressed), page.url()).toBeGreaterThanOrEqual(44)
    }
    await setPassword(page, await linkOfNew(node, 'alan', 'operator'))
    await fits()
    await page.goto(`${node.console}/tokens`)
    await fits()
    await page.getByRole('link', { name: 'New token' }).click()
    await page.getByText('Policy: which tools').click()
    await fits()
    await page.getByLabel('Name').fill('of a phone')
    await page.getByLabel('github').check()
    await page.getByLabel('nowhere').check()
    await page.getByRole('button', { name: 'Make the token' }).click()
    expect(await textOf(page, 'secret')).toMatch(SECRET)
    expect(await page.getByRole('button', { name: 'Copy' }).count()).toBe(0)
    await fits()
    await page.getByText('Codex', { exact: true }).click()
    expect(await page.locator('.snippet:visible').innerText()).toContain('[mcp_servers.github]')
    await page.getByRole('link', { name: 'Open its page' }).click()
    await fits()
    for (const way of ['Connect a client', 'Rotate', 'Policy']) {
      await page.getByRole('link', { name: way, exact: true }).click()
      await page.waitForURL(/(?:connect|rotations\/new|policy)$/)
      await fits()
      await page.getByRole('link', { name: 'of a phone' }).click()
      await page.waitForURL(/tok_\w+$/)
    }
    await page.getByRole('link', { name: 'Revoke' }).click()
    await page.getByRole('button', { name: 'Revoke for ever' }).click()
    await page.waitForURL('**/revocations/rev_*')
    expect(await page.innerText('h1')).toContain('of a phone')
  })

  test('an auditor sees what a token did, and can do nothing to it', async () => {
    const { page, complaints } = await openPage(browser)
    await setPassword(page, await linkOfNew(node, 'grace', 'auditor'))
    expect(await page.getByRole('link', { name: 'New token' }).count()).toBe(0)
    await page.goto(`${node.console}/tokens`)
    await page.getByRole('link', { name: 'measured' }).click()
    await page.getByRole('rowheader', { name: 'echo' }).waitFor()
    expect(
      await page
        .locator('main')
        .getByRole('link', { name: /Revoke|Kill|Rotate|Policy/ })
        .count(),
    ).toBe(0)
    expect(complaints).toEqual([])
    await page.goto(`${node.console}/tokens/new`)
    expect(await page.innerText('main')).toContain('needs the role operator')
    expect(await page.locator('main form').count()).toBe(0)
  })
})
