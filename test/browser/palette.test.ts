import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser, Page } from 'playwright-core'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { hasChromium, launch, openSignedIn, type Watched } from './chromium.ts'
import { linkOfNew, PASSWORD, Visitor } from './visitor.ts'
import { startWorld, type World } from './world.ts'

describe.skipIf(!hasChromium())('the palette', () => {
  let browser: Browser
  let world: World
  let owner: Watched

  const streamOf = async (secret: string): Promise<RawClient> => {
    const stream = await open(world.node.gate, { target: '/s/github/sse', headers: bearer(secret) })
    return stream.until((client) => client.text.includes('data:'))
  }
  /** Types and waits for the first result of just that. */
  const find = async (page: Page, text: string): Promise<string[]> => {
    await page.keyboard.press('Control+k')
    await page.locator('#find').fill(text)
    await page.locator('#found[aria-busy=false]').waitFor()
    return (await page.locator('#found [role=option]').allInnerTexts()).map((option) => option.replaceAll(/\s+/g, ' '))
  }
  const close = (page: Page) => page.keyboard.press('Escape')

  beforeAll(async () => {
    world = await startWorld()
    browser = await launch()
    owner = await openSignedIn(browser, world.owner)
  })
  afterAll(async () => {
    await browser.close()
    await world[Symbol.asyncDispose]()
  })

  test('opens by slash, by Ctrl-K and by its button, and Escape closes it', async () => {
    const { page, complaints } = owner
    const palette = page.locator('#palette')
    for (const begin of [
      () => page.keyboard.press('/'),
      () => page.keyboard.press('Control+k'),
      () => page.getByRole('link', { name: 'Find and kill' }).click(),
    ]) {
      await begin()
      await palette.waitFor()
      expect(await page.evaluate(() => document.activeElement?.id)).toBe('find')
      await close(page)
      await palette.waitFor({ state: 'hidden' })
    }
    expect(complaints).toEqual([])
  })

  test('a slash that somebody types into a field is a slash', async () => {
    const { page } = owner
    await page.goto(`${world.node.console}/tokens/new`)
    await page.getByLabel('Name').fill('')
    await page.getByLabel('Name').press('/')
    expect(await page.getByLabel('Name').inputValue()).toBe('/')
    expect(await page.locator('#palette').isVisible()).toBe(false)
    await page.goto(world.node.console)
  })

  test('shows what is in use before anything is typed', async () => {
    const { page } = owner
    await page.keyboard.press('/')
    await page.getByText('In use now').waitFor()
    const texts = await page.locator('#found [role=option]').allInnerTexts()
    expect(texts.some((text) => text.includes('Cursor IDE'))).toBe(true)
    expect(texts.some((text) => text.includes('nightly report'))).toBe(false)
    await close(page)
  })

  test.each([
    ['CURSOR', 'Revoke Cursor IDE ada@example.com, 3 live connections'],
    ['laptop code', 'Revoke Claude Code on the laptop grace@example.com, 1 live connection'],
    ['grace@', 'Revoke all of grace@example.com 1 token, 1 live connection'],
    ['automation', 'Revoke all of the group automation 1 token'],
    ['hub', 'Close github cut, and refuse until opened, 4 live connections'],
    ['hub', 'Kill github cut; tokens stay, 4 live connections'],
    ['filesys', 'Show filesystem server, closed'],
    ['contractor', 'Show contractor VS Code mallory@example.com, revoked'],
  ])('%s finds “%s”', async (text, option) => {
    expect(await find(owner.page, text)).toContain(option)
    await close(owner.page)
  })

  test('what is dead can be looked at and not be revoked; what is closed not be closed', async () => {
    const { page } = owner
    expect((await find(page, 'contractor')).join()).not.toContain('Revoke')
    await close(page)
    expect((await find(page, 'filesystem')).join()).not.toContain('Close')
    await close(page)
  })

  test('says that nothing is found', async () => {
    const { page } = owner
    expect(await find(page, 'no such thing')).toEqual([])
    expect(await page.innerText('#found')).toContain('No token, subject, group or server')
    await close(page)
  })

  test('a pasted secret finds its token, and is in no address, page, log, file', async () => {
    const { page } = owner
    const { id, token } = await world.node.createToken('leaked', ['github'])
    const urls: string[] = []
    const listen = (request: { url(): string }) => urls.push(request.url())
    page.on('request', listen)
    for (const pasted of [token, `Authorization: Bearer ${token}`, `${world.node.gate}/t/${token}/s/github/sse`]) {
      const options = await find(page, pasted)
      expect(options).toEqual(['Revoke leaked', 'Show leaked'])
      expect(await page.locator('#found').innerHTML()).not.toContain(token)
      await close(page)
    }
    page.off('request', listen)
    expect(urls.join()).not.toContain(token.slice(4, 34))
    expect(await page.content()).not.toContain(token)
    expect(world.node.stderr() + world.node.stdout()).not.toContain(token)
    const inFiles = Bun.spawnSync(['grep', '-rlaF', token, world.node.data])
    expect(inFiles.stdout.toString()).toBe('')

    await world.node.revoke({ tokens: [id] })
    expect(await find(page, token)).toEqual(['Show leaked revoked'])
    await close(page)
    const last = token.at(-1) === 'a' ? 'b' : 'a'
    expect(await find(page, token.slice(0, -1) + last)).toEqual([])
    expect(await page.innerText('#found')).toContain('checksum')
    await close(page)
  })

  test('a pasted API key leads to its removal', async () => {
    const { page } = owner
    const { json } = await world.node.api<{ id: string; key: string }>('POST', '/apikeys', {
      name: 'ci',
      role: 'auditor',
    })
    expect(await find(page, json.key)).toEqual(['Remove ci', 'Show ci'])
    expect(await page.locator('#found').innerHTML()).not.toContain(json.key)
    await page.keyboard.press('Enter')
    await page.locator('#confirm').waitFor()
    expect(await page.innerText('#confirm')).toContain('ci')
    await close(page)
    await page.locator('#confirm').waitFor({ state: 'hidden' })
    await close(page)
    await world.node.api('DELETE', `/apikeys/${json.id}`)
    expect(await find(page, json.key)).toEqual([])
    await close(page)
  })

  test('an old secret is told from the one that lives', async () => {
    const { page } = owner
    const { id, token } = await world.node.createToken('was rotated', ['github'])
    await world.node.api('POST', `/tokens/${id}/rotations`, { graceSeconds: 0 })
    await find(page, token)
    expect(await page.innerText('#found')).toContain('An old secret')
    await close(page)
  })

  test('revokes by the keyboard alone: a name, Enter, Enter; the stream ends', async () => {
    const { page, complaints } = owner
    const { id, token } = await world.node.createToken('rogue agent', ['github'], { subject: 'eve@example.com' })
    using stream = await streamOf(token)
    await page.keyboard.press('/')
    // Enter is pressed before the answer can be there: it takes the result for what was typed.
    await page.keyboard.type('rogue ag')
    await page.keyboard.press('Enter')
    const dialog = page.locator('#confirm')
    await dialog.waitFor()
    expect(await dialog.innerText()).toMatch(/rogue agent of eve@example.com, 1 live connection/)
    expect(stream.ended).toBe('open')
    // The focus is where Enter sends, and not on the red button.
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('note')
    const pressedAt = performance.now()
    await page.keyboard.press('Enter')
    await stream.until((client) => client.ended !== 'open' || client.complete)
    console.log(`from the key to the end of the stream: ${(performance.now() - pressedAt).toFixed(1)} ms`)
    expect(stream.text).toContain('token_revoked')
    await page.waitForURL('**/revocations/rev_*')
    const { json } = await world.node.api<{ status: string }>('GET', `/tokens/${id}`)
    expect(json.status).toBe('revoked')
    expect(complaints).toEqual([])
    await page.goto(world.node.console)
  })

  test('a key held down opens the question and does not answer it', async () => {
    const { page } = owner
    const { id } = await world.node.createToken('held down', ['github'])
    await find(page, 'held down')
    for (let times = 0; times < 30; times += 1) await page.keyboard.down('Enter')
    await page.keyboard.up('Enter')
    await page.locator('#confirm').waitFor()
    expect(new URL(page.url()).pathname).toBe('/')
    const { json } = await world.node.api<{ status: string }>('GET', `/tokens/${id}`)
    expect(json.status).toBe('active')
    // Escape leads back one step at a time.
    await close(page)
    await page.locator('#confirm').waitFor({ state: 'hidden' })
    expect(await page.locator('#palette').isVisible()).toBe(true)
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('find')
    await close(page)
  })

  test('the arrows choose, and a screen reader hears which', async () => {
    const { page } = owner
    await find(page, 'c')
    const active = () => page.locator('#find').getAttribute('aria-activedescendant')
    const selected = () => page.locator('[aria-selected=true]').getAttribute('id')
    const first = await active()
    expect(first).toBe(await selected())
    await page.keyboard.press('ArrowDown')
    expect(await active()).not.toBe(first)
    expect(await active()).toBe(await selected())
    await page.keyboard.press('ArrowUp')
    expect(await active()).toBe(first)
    await page.keyboard.press('ArrowUp')
    expect(await active()).toBe(await page.locator('#found [role=option]').last().getAttribute('id'))
    await close(page)
  })

  test('names are text', async () => {
    const { page, complaints } = owner
    const hostile = `<img src=x onerror=alert(1)>"'&`
    await world.node.createToken(hostile, ['github'], { subject: hostile, group: `${hostile}g` })
    const options = await find(page, 'onerror')
    expect(options).toContain(`Revoke ${hostile} ${hostile}`)
    expect(options).toContain(`Revoke all of ${hostile} 1 token`)
    expect(await page.locator('#found img').count()).toBe(0)
    await close(page)
    expect(complaints).toEqual([])
  })

  test('a console that does not answer is said to, and nothing looks as if it had been heard', async () => {
    const { page } = await openSignedIn(browser, world.owner)
    await find(page, 'cursor')
    await page.context().setOffline(true)
    await page.keyboard.press('Enter')
    await page.getByRole('dialog', { name: 'The console does not answer' }).waitFor()
    expect(await page.innerText('#confirm')).toContain('Nothing was done')
    await page.getByRole('button', { name: 'Close' }).last().click()
    await page.locator('#find').fill('lap')
    await page.locator('#found').getByText('does not answer').waitFor()
    await page.context().setOffline(false)
    await page.locator('#find').fill('lapt')
    await page.getByRole('option', { name: 'Revoke Claude Code on the laptop' }).waitFor()
    await page.context().close()
  })

  test('an auditor finds and kills nothing', async () => {
    const auditor = new Visitor(world.node.console)
    await auditor.usePasswordLink(await linkOfNew(world.node, 'auditing', 'auditor'), '', PASSWORD)
    const { page } = await openSignedIn(browser, auditor)
    const options = await find(page, 'c')
    expect(options.length).toBeGreaterThan(1)
    expect(options.every((option) => option.startsWith('Show'))).toBe(true)
    expect(await page.locator('.panic').count()).toBe(0)
  })

  test('on a phone a thumb opens and closes it', async () => {
    const { page } = await openSignedIn(browser, world.owner, { viewport: { width: 360, height: 740 }, hasTouch: true })
    const button = page.locator('.thumbs .find')
    const box = await button.boundingBox()
    expect(box?.height).toBeGreaterThanOrEqual(44)
    expect((box?.y ?? 0) + (box?.height ?? 0)).toBeGreaterThan(680)
    await button.tap()
    await page.locator('#find').fill('cursor')
    await page.getByRole('option', { name: 'Revoke Cursor IDE' }).waitFor()
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
    await page.getByRole('button', { name: 'Close', exact: true }).tap()
    await page.locator('#palette').waitFor({ state: 'hidden' })
  })

  test('works as a page without scripts', async () => {
    const { page } = await openSignedIn(browser, world.owner, { javaScriptEnabled: false })
    await page.getByRole('link', { name: 'Find and kill' }).first().click()
    await page.getByRole('combobox').fill('laptop')
    await page.getByRole('button', { name: 'Find' }).click()
    expect(page.url()).toBe(`${world.node.console}/find`)
    await page.getByRole('option', { name: 'Revoke Claude Code on the laptop' }).click()
    expect(await page.innerText('main')).toContain('Claude Code on the laptop of grace@example.com')
  })

  test('without a session it finds nothing', async () => {
    const stranger = new Visitor(world.node.console)
    expect((await stranger.get('/find')).status).toBe(303)
    expect((await stranger.post('/find', { q: 'cursor' })).status).toBe(401)
  })
})
