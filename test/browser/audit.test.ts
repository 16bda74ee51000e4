import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import type { Browser } from 'playwright-core'
import type { AuditRowJson, CheckpointJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { unknownSecret } from '../support/secret.ts'
import { hasChromium, launch, openSignedIn } from './chromium.ts'
import { peopleOf, Visitor } from './visitor.ts'

let node: TestNode
let owner: Visitor
let auditor: Visitor
let revoked: { id: string; revocation: string }

const HOSTILE = `"'><img src=x onerror=alert(1)><script>alert(1)</script>`

beforeAll(async () => {
  node = await startNode()
  ;({ owner, auditor } = await peopleOf(node))
  await node.addServer('github', 'http://127.0.0.1:9')
  const { id } = await node.createToken('Cursor IDE', ['github'])
  const form = { token: id, reason: 'compromised', note: HOSTILE }
  const done = await owner.post('/revocations', form)
  revoked = { id, revocation: done.headers.get('location')?.split('/').at(-1) ?? '' }
})
afterAll(() => node.stop())

const read = async (path: string, by = owner) => (await by.get(path)).text()
const rows = async (query = '') =>
  (await node.api<{ items: AuditRowJson[] }>('GET', `/audit?limit=1000${query}`)).json.items
/** The numbers of the rows that a page shows, in its order. */
const shown = (html: string): number[] => [...html.matchAll(/<tr role="row" id="row-(\d+)"/g)].map(([, n]) => Number(n))
const textOf = (html: string): string =>
  html
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll(/&quot;/g, '"')
    .replaceAll(/\s+/g, ' ')

describe('the list', () => {
  test('says in words what happened, and leads to the token, the receipt and the row', async () => {
    const html = await read('/audit')
    const [row] = await rows('&action=token.revoke')
    expect(textOf(html)).toContain('ada revoked Cursor IDE: compromised · receipt')
    expect(html).toContain(`href="/tokens/${revoked.id}"`)
    expect(html).toContain(`href="/revocations/${revoked.revocation}"`)
    expect(html).toContain(`href="/audit/${row?.sequence}"`)
    expect(html).not.toContain('<img')
    expect(shown(html)).toEqual((await rows()).map(({ sequence }) => sequence).toReversed())
  })

  test.each([
    ['actor=operator%3Aada', '&actor=operator%3Aada'],
    ['action=token.', '&action=token.'],
    ['action=token.issue', '&action=token.issue'],
    ['target=cursor', '&target=cursor'],
    ['since=1h', ''],
    ['since=2020-01-01+18%3A00&action=server.', '&action=server.'],
  ])('the filter %s is in the address', async (query, api) => {
    const expected = (await rows(api)).map(({ sequence }) => sequence).toReversed()
    expect(expected.length).toBeGreaterThan(0)
    expect(shown(await read(`/audit?${query}`))).toEqual(expected)
  })

  test('a time without a zone is UTC, and its end is not in it', async () => {
    const [first] = await rows()
    const minute = first?.time.slice(0, 16).replace('T', ' ') ?? ''
    expect(shown(await read(`/audit?since=${encodeURIComponent(minute)}`))).not.toEqual([])
    const html = await read(`/audit?until=${encodeURIComponent(minute)}`)
    expect(shown(html)).toEqual([])
    expect(html).toContain('No row matches the filter')
  })

  test('what a form leaves empty is not in the address', async () => {
    const answer = await owner.get('/audit?actor=&action=token.issue&target=&since=&until=')
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toBe('/audit?action=token.issue')
  })

  test('what is wrong stands beside its field, and no row is shown', async () => {
    const answer = await owner.get('/audit?since=yesterday&target=cursor')
    const html = await answer.text()
    expect(answer.status).toBe(400)
    expect(html).toContain('id="since-wrong"')
    expect(html).toContain('value="cursor"')
    expect(shown(html)).toEqual([])
    expect(html).not.toContain('No row matches')
  })

  test('a secret in the filter is refused in words, and not repeated', async () => {
    const secret = unknownSecret()
    const answer = await owner.get(`/audit?target=${secret}`)
    const html = await answer.text()
    expect(answer.status).toBe(400)
    expect(html).toContain('Find and kill')
    expect(html).not.toContain(secret)
  })

  test('pages by key, each row once', async () => {
    const { id } = await node.createToken('rotated often', ['github'])
    for (let n = 0; n < 60; n += 1) await node.api('POST', `/tokens/${id}/rotations`, { graceSeconds: 0 })
    const first = await read(`/audit?target=${id}`)
    expect(shown(first)).toHaveLength(50)
    const next = /href="([^"]+)" rel="next"/.exec(first)?.[1]?.replaceAll('&amp;', '&') ?? ''
    const second = await read(next)
    expect(second).not.toContain('id="live"')
    expect(second).not.toContain('rel="next"')
    const all = [...shown(first), ...shown(second)]
    expect(all).toEqual((await rows(`&target=${id}`)).map(({ sequence }) => sequence).toReversed())
  })

  test('exports what the filter finds', async () => {
    const html = await read('/audit?action=server.add')
    const [jsonl = '', csv = ''] = [...html.matchAll(/href="(\/api\/v1\/audit\/export[^"]+)"/g)].map(([, url]) =>
      (url ?? '').replaceAll('&amp;', '&'),
    )
    const lines = (await read(jsonl)).trim().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as AuditRowJson).action)).toEqual(['server.add'])
    expect((await read(csv)).trim().split('\r\n')).toHaveLength(2)
  })

  test('the checkpoint is there to take away', async () => {
    const url = /href="(\/api\/v1\/audit\/checkpoint)"/.exec(await read('/audit'))?.[1] ?? ''
    const checkpoint = (await (await owner.get(url)).json()) as CheckpointJson
    expect(checkpoint.hash).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('verification', () => {
  test('by an auditor too; its state stays with the filter', async () => {
    const answer = await auditor.post('/audit/verification?action=token.', {})
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toBe('/audit?action=token.')
    const html = await read('/audit', auditor)
    expect(html).toContain('class="status intact"')
    expect(textOf(html)).toMatch(/\d+ rows, each follows the one before it\. Verified/)
  })

  test('not without a session, and not from elsewhere', async () => {
    expect((await new Visitor(node.console).post('/audit/verification', {})).status).toBe(401)
    expect((await owner.post('/audit/verification', {}, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
  })
})

describe('one row', () => {
  test('shows the very text whose hash it is, and follows the row before', async () => {
    const [before, row] = (await rows()).slice(-2)
    const html = await read(`/audit/${row?.sequence}`)
    const hashed = /id="hashed"[^>]*>([^<]*)</.exec(html)?.[1] ?? ''
    const text = hashed
      .replaceAll('&quot;', '"')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&#39;', "'")
      .replaceAll('&amp;', '&')
    expect(createHash('sha256').update(text).digest('hex')).toBe(row?.hash ?? '')
    expect(html).toContain(`<a href="/audit/${before?.sequence}">${before?.hash}</a>`)
    expect(html).not.toContain(`href="/audit/${(row?.sequence ?? 0) + 1}"`)
  })

  test('shows hostile details as text, and what can not be seen as what it is', async () => {
    await node.revoke({ tokens: [(await node.createToken('t', ['github'])).id], note: `${HOSTILE} \u00ad\u200b.` })
    const row = (await rows('&action=token.revoke')).at(-1)
    const html = await read(`/audit/${row?.sequence}`)
    const details = /id="details"[^>]*>([^<]*)</.exec(html)?.[1] ?? ''
    expect(details).toContain('\\u00ad\\u200b')
    expect(
      JSON.parse(
        details.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&#39;', "'"),
      ),
    ).toEqual(row?.details)
    expect(html).not.toContain('<img')
  })

  test.each(['0', '-1', '01', '1e3', '999999', 'x', '99999999999999999999'])('there is no row %s', async (sequence) => {
    expect((await owner.get(`/audit/${sequence}`)).status).toBe(404)
  })

  test('who is not signed in is led there', async () => {
    for (const path of ['/audit', '/audit/1']) {
      const answer = await new Visitor(node.console).get(path)
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/sign-in'])
    }
  })
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  const signedIn = (options = {}) => openSignedIn(browser, owner, options)
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  test('new rows are announced, and move nothing', async () => {
    const { page, complaints } = await signedIn()
    await page.goto(`${node.console}/audit?action=token.issue`)
    const first = page.locator('tbody tr').first()
    const before = await first.boundingBox()
    await page.getByLabel('Done to').fill('half typed')
    await node.addServer('not-of-the-filter', 'http://127.0.0.1:9')
    await node.createToken('the newest', ['github'])
    const news = page.getByRole('link', { name: '1 new row: show' })
    await news.waitFor()
    expect(await first.boundingBox()).toEqual(before)
    expect(await page.getByText('the newest').count()).toBe(0)
    expect(await page.getByLabel('Done to').inputValue()).toBe('half typed')
    await news.click()
    await first.getByText('the newest').waitFor()
    expect(new URL(page.url()).search).toBe('?action=token.issue')
    expect(complaints).toEqual([])
  })

  test('a time is typed in the own zone of the reader, and sent in UTC, in winter and in summer', async () => {
    const { page } = await signedIn({ timezoneId: 'Europe/Berlin', locale: 'en-GB' })
    await page.goto(`${node.console}/audit`)
    await page.getByLabel('Since, your time').fill('2026-07-01T10:00')
    await page.getByLabel('Until, your time').fill('2027-01-01T10:00')
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.waitForURL((url) => url.searchParams.get('since') === '2026-07-01T08:00:00.000Z')
    expect(new URL(page.url()).searchParams.get('until')).toBe('2027-01-01T09:00:00.000Z')
    expect(await page.getByLabel('Since, your time').inputValue()).toBe('2026-07-01T10:00')
    await page.getByText('What happened since 1 Jul 2026, 10:00').waitFor()
  })

  test('verifying by the button shows its state', async () => {
    const { page, complaints } = await signedIn()
    await page.goto(`${node.console}/audit`)
    await page.getByRole('button', { name: 'Verify now' }).click()
    await page.locator('.status.intact').waitFor()
    expect(complaints).toEqual([])
  })

  test('filters without a script, at 360 pixels', async () => {
    const { page } = await signedIn({ javaScriptEnabled: false, viewport: { width: 360, height: 780 } })
    await page.goto(`${node.console}/audit`)
    await page.getByLabel('Action').selectOption('token.')
    await page.getByLabel('Since, UTC').fill('24h')
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.waitForURL('**/audit?action=token.&since=24h')
    expect(await page.getByText('added the server').count()).toBe(0)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
  })

  test('copies a hash', async () => {
    const { page } = await signedIn({ permissions: ['clipboard-read', 'clipboard-write'] })
    await page.goto(`${node.console}/audit/3`)
    await page.getByRole('button', { name: 'Copy the hash', exact: true }).click()
    const hash = await page.locator('#hash').innerText()
    await eventually(async () => (await page.evaluate(() => navigator.clipboard.readText())) === hash)
  })
})
