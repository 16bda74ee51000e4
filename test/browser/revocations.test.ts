import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openPage, tabTo } from './chromium.ts'
import { linkOfNew, PASSWORD, setupLinkOf, Visitor } from './visitor.ts'

let events: Awaited<ReturnType<typeof startEvents>>
beforeAll(async () => {
  events = await startEvents({ intervalMs: 50, burst: 1 })
})
afterAll(() => events.stop())

const streamOf = async (node: TestNode, secret: string): Promise<RawClient> => {
  const stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(secret) })
  return stream.until(({ text }) => text.includes('data:'))
}
const statusOf = async (node: TestNode, id: string) =>
  (await node.api<{ status: string }>('GET', `/tokens/${id}`)).json.status

describe('the list of revocations', () => {
  let node: TestNode
  let owner: Visitor
  beforeAll(async () => {
    node = await startNode()
    owner = new Visitor(node.console)
    await owner.usePasswordLink(await setupLinkOf(node), 'ada')
    await node.addServer('events', events.url)
  })
  afterAll(() => node.stop())

  const rowsIn = (html: string): string[] => [...html.matchAll(/id="revocation-(rev_\w+)"/g)].map(([, id]) => id ?? '')

  test('says what it is for while there is none, and offers nothing to who may not act', async () => {
    const html = await (await owner.get('/revocations')).text()
    expect(html).toContain('Nothing was revoked yet')
    expect(html).toContain('href="/revocations/new"')
    const auditor = new Visitor(node.console)
    await auditor.usePasswordLink(await linkOfNew(node, 'grace', 'auditor'), 'grace')
    const read = await (await auditor.get('/revocations')).text()
    expect(read).toContain('Nothing was revoked yet')
    expect(read).not.toContain('/revocations/new')
  })

  test('names what died in words, the newest first, and pages through all of them once', async () => {
    const ids: string[] = []
    for (let made = 0; made < 120; made += 1) {
      const { id } = await node.createToken(`token ${made}`, ['events'], { subject: 'dev@example.com' })
      ids.unshift((await node.revoke({ tokens: [id], note: `note ${made}`, reason: 'rotation' })).id)
    }
    await node.createToken('one', ['events'], { group: 'core' })
    await node.createToken('two', ['events'], { group: 'core' })
    ids.unshift((await node.revoke({ group: 'core' })).id)
    const first = await (await owner.get('/revocations')).text()
    const text = first.replaceAll(/<[^>]*>/g, '')
    for (const words of [
      '2 tokens of the group core',
      'token 119 of dev@example.com',
      'note 119',
      'rotation',
      'local:0',
    ])
      expect(text).toContain(words)
    expect(text).not.toContain('token 1 of')

    const seen: string[] = []
    let path: string | undefined = '/revocations'
    while (path !== undefined) {
      const html: string = await (await owner.get(path)).text()
      expect(Buffer.byteLength(html)).toBeLessThanOrEqual(100_000)
      expect(rowsIn(html).length).toBeLessThanOrEqual(50)
      seen.push(...rowsIn(html))
      path = /href="(\/revocations\?after=rev_\w+)" rel="next"/.exec(html)?.[1]
    }
    expect(seen).toEqual(ids)
  })

  test('a receipt that never was is 404', async () => {
    expect((await owner.get('/revocations/rev_never')).status).toBe(404)
  })
})

describe.skipIf(!hasChromium())('the confirmation', () => {
  let browser: Browser
  let node: TestNode
  let page: Page
  let complaints: string[]

  beforeAll(async () => {
    node = await startNode()
    await node.addServer('events', events.url)
    browser = await launch()
    const watched = await openPage(browser)
    page = watched.page
    complaints = watched.complaints
    await page.goto(await setupLinkOf(node))
    await page.getByLabel('Name').fill('ada')
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
    await page.getByLabel('The same password again').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${node.console}/`)
  })
  afterAll(async () => {
    await browser.close()
    await node.stop()
  })

  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('name') ?? document.activeElement?.id)
  /** Opens it for one token from the page of that token, by the keyboard. */
  const ask = async (id: string) => {
    await page.goto(`${node.console}/tokens/${id}`)
    await tabTo(page, `[href="/revocations/new?token=${id}"]`)
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.waitFor()
    return dialog
  }

  test('in a dialog: named and described, the focus in the note, the reason before it, and the red button never first', async () => {
    const { id } = await node.createToken('Cursor IDE', ['events'], { subject: 'dev@example.com' })
    const dialog = await ask(id)
    const described = page.getByRole('dialog', {
      name: 'Revoke Cursor IDE of dev@example.com?',
      description: /Cursor IDE of dev@example\.com, 0 live connections, for ever\./,
    })
    await described.waitFor()
    expect(await focused()).toBe('note')
    await page.keyboard.press('Shift+Tab')
    expect(await focused()).toBe('reason')
    expect(await dialog.getByLabel('Reason').inputValue()).toBe('compromised')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Revoke for ever')
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(await page.evaluate(() => document.activeElement?.getAttribute('href'))).toBe(`/revocations/new?token=${id}`)
    expect(await statusOf(node, id)).toBe('active')
    expect(complaints).toEqual([])
  })

  test('Enter in the note sends it, but not the key that opened it and is still held down', async () => {
    const { id, token } = await node.createToken('held down', ['events'])
    using stream = await streamOf(node, token)
    await page.goto(`${node.console}/tokens/${id}`)
    await tabTo(page, `[href="/revocations/new?token=${id}"]`)
    await page.keyboard.down('Enter')
    await page.getByRole('dialog').waitFor()
    // The same key again without a release is what a keyboard sends for one that is held.
    for (let repeated = 0; repeated < 10; repeated += 1) await page.keyboard.down('Enter')
    expect(await statusOf(node, id)).toBe('active')
    expect(stream.ended).toBe('open')
    await page.keyboard.up('Enter')
    await page.keyboard.type('seen in a log')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/revocations/rev_*')
    expect(await page.innerText('main')).toContain('seen in a log')
    await stream.done()
    expect(stream.text).toContain('token_revoked')
    expect(complaints).toEqual([])
  })

  test('several: the list can be scrolled with the keyboard, and stands outside of what is read out', async () => {
    for (let made = 0; made < 60; made += 1) await node.createToken(`many ${made}`, ['events'], { group: 'many' })
    await page.goto(`${node.console}/revocations/new?group=many`)
    // A page gives the focus a moment after it has loaded.
    await eventually(async () => (await focused()) === 'note')
    expect(await page.locator('#doomed').innerText()).not.toContain('many 1')
    const list = page.getByRole('list', { name: 'What will die' })
    expect(await list.getByRole('listitem').count()).toBe(50)
    await tabTo(page, '.dying')
    await page.keyboard.press('End')
    await eventually(() => list.evaluate((element) => element.scrollTop > 100))
    expect(await page.getByText('and 10 more').getByRole('link').getAttribute('href')).toBe('/tokens?group=many')
  })

  test('what is dead already is said in place of the question', async () => {
    const { id } = await node.createToken('dead', ['events'])
    await node.revoke({ tokens: [id] })
    await page.goto(`${node.console}/revocations/new?token=${id}`)
    expect(await page.innerText('main')).toContain('The token that you named is dead already.')
    expect(await page.locator('main form').count()).toBe(0)
  })
})

const isRoot = process.getuid?.() === 0
if (!isRoot && !process.env['CI']) console.warn('SKIPPED: a full disk can only be made as root (mount -t tmpfs)')

/** A node whose data folder is a file system of a few MB, which can be filled and freed. */
const withSmallDisk = async (work: (node: TestNode, disk: { fill(): void; free(): void }) => Promise<void>) => {
  const [data, home] = [tempFolder(), tempFolder()]
  await Bun.$`mount -t tmpfs -o size=6m,mode=0700 portcullis-test ${data}`
  const fill = () => {
    for (const [name, size] of [
      ['fill-1', 65_536],
      ['fill-2', 1],
    ] as const) {
      const fd = openSync(join(data, name), 'w')
      try {
        for (;;) writeSync(fd, new Uint8Array(size).fill(1))
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      } finally {
        closeSync(fd)
      }
    }
  }
  const free = () => ['fill-1', 'fill-2'].forEach((name) => rmSync(join(data, name)))
  const node = await startNode({ data, env: { HOME: home } })
  try {
    await work(node, { fill, free })
  } finally {
    node.kill('SIGKILL')
    await node.exited
    await Bun.$`umount ${data}`.nothrow()
    for (const folder of [data, home]) removeFolder(folder)
  }
}

test.skipIf(!isRoot || !hasChromium())(
  'a full disk: an owner with a restricted sign-in revokes, and the receipt tells plainly until it is written',
  async () => {
    const browser = await launch()
    await withSmallDisk(async (node, disk) => {
      await new Visitor(node.console).usePasswordLink(await setupLinkOf(node), 'ada')
      await node.addServer('events', events.url)
      const { token } = await node.createToken('dies', ['events'], { group: 'doomed' })
      await node.createToken('dies as well', ['events'], { group: 'doomed' })
      using stream = await streamOf(node, token)
      disk.fill()

      const { page } = await openPage(browser)
      await page.goto(`${node.console}/sign-in`)
      await page.getByLabel('Name').fill('ada')
      await page.getByLabel('Password').fill(PASSWORD)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByText('only revoke, kill and close work').waitFor()
      await page.goto(`${node.console}/revocations/new`)
      await page.getByLabel('Of the group').fill('doomed')
      await page.getByRole('button', { name: 'Show what would die' }).click()
      const answered = page.waitForResponse((response) => response.request().method() === 'POST')
      await page.getByRole('button', { name: 'Revoke 2 tokens for ever' }).click()
      expect((await answered).status()).toBe(507)
      await stream.done()
      expect(stream.text).toContain('token_revoked')

      const verdict = page.locator('#verdict')
      expect(await verdict.innerText()).toMatch(/^2 tokens are dead\. 1 connection was cut in [\d.]+ ms\.$/)
      await page.getByText('But the database could not be written').waitFor()
      const link = await page.locator('#link').innerText()
      const read = async (path: string) => {
        const response = await page.request.get(path)
        return { status: response.status(), text: await response.text() }
      }
      // The permanent link is good already, and still has the figures.
      const waiting = await read(link)
      expect(waiting.status).toBe(200)
      expect(waiting.text).toContain('in force, not in the database yet')
      expect(waiting.text).toContain('1 connection was cut in')
      expect(waiting.text).toContain('Written to the journal')
      expect(waiting.text).not.toContain('complete: in the database')

      disk.free()
      // By itself.
      await page.getByText('complete: in the database').waitFor({ timeout: 20_000 })
      expect(await page.locator('#not-durable').count()).toBe(0)
      expect(await verdict.innerText()).toContain('1 connection was cut in')
      await page.locator('#hash').waitFor()
      await eventually(
        async () => {
          const { json } = await node.api<RevocationJson>('GET', new URL(link).pathname)
          return json.connections.cut === 1
        },
        { timeoutMs: 10_000 },
      )
      await page.getByText('1 connection died').waitFor()
    })
    await browser.close()
  },
)
