import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser } from 'playwright-core'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openSignedIn } from './chromium.ts'
import { linkOfNew, setupLinkOf, Visitor } from './visitor.ts'

let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
let owner: Visitor
let operator: Visitor

beforeAll(async () => {
  events = await startEvents({ intervalMs: 100, burst: 1 })
  node = await startNode()
  owner = new Visitor(node.console)
  operator = new Visitor(node.console)
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
  await operator.usePasswordLink(await linkOfNew(node, 'edsger', 'operator'), '')
  await node.addServer('events', events.url)
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

const read = async (path: string, by = owner) => (await by.get(path)).text()
const ring = async () =>
  (await node.api<{ items: { id: string; current: boolean; liveTokens: number }[] }>('GET', '/keys')).json.items
const formIdOf = (html: string): string => /name="form" value="([^"]+)"/.exec(html)?.[1] ?? ''

test('says what runs here, and where', async () => {
  const html = await read('/node')
  for (const text of [node.gate, node.console, node.data, 'ready', 'openapi.json', '/metrics'])
    expect(html).toContain(text)
  expect((await owner.get('/api/v1/openapi.json')).status).toBe(200)
  expect((await owner.get('/metrics')).status).toBe(200)
})

test('a test of a revocation stands in the audit log with its verdict', async () => {
  await node.api('POST', '/selftest', {})
  expect(await read('/audit?action=node.selftest')).toMatch(/tested whether revoking works on[^:]*node_[^:]*: it does</)
})

test('the live part is fetched alone, without the ring', async () => {
  const part = await (await owner.get('/node', { 'hx-request': 'true', 'x-live': '1' })).text()
  expect(part).toStartWith('<div id="live"')
  expect(part).not.toContain('ring-title')
})

describe('roles', () => {
  const PATHS = ['/node/keys/new', '/node/keys/k0/removal']

  test('an operator looks, and gets no button and no backup', async () => {
    const html = await read('/node', operator)
    expect(html).toContain('Key ring')
    expect(html).not.toMatch(/Rotate<|>Remove<|Download a backup/)
    for (const path of PATHS) {
      expect((await operator.get(path)).status).toBe(403)
      expect((await operator.post(path, {})).status).toBe(403)
    }
    expect((await operator.get('/api/v1/backup')).status).toBe(403)
    expect(await ring()).toHaveLength(1)
  })

  test('who is not signed in is led there', async () => {
    for (const path of ['/node', ...PATHS]) {
      const answer = await new Visitor(node.console).get(path)
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/sign-in'])
    }
    expect((await new Visitor(node.console).post('/node/keys/new', {})).status).toBe(401)
  })
})

test('the backup is there to download', async () => {
  const url = /href="(\/api\/v1\/backup)" download="portcullis-[\d-]+\.backup"/.exec(await read('/node'))?.[1] ?? ''
  const answer = await owner.get(url)
  expect(answer.status).toBe(200)
  expect((await answer.bytes()).length).toBeGreaterThan(10_000)
})

describe('the ring', () => {
  test('rotates once for a form; nothing is cut, and the old key goes only with what uses it', async () => {
    const { id, token } = await node.createToken('old key', ['events'])
    using stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(token) })
    await stream.until(({ text }) => text.includes('data:'))
    const old = (await ring())[0]?.id ?? ''
    expect((await owner.get(`/node/keys/${old}/removal`)).status).toBe(409)

    const fields = { form: formIdOf(await read('/node/keys/new')) }
    const rotated = await owner.post('/node/keys/new', fields)
    expect((await owner.post('/node/keys/new', fields)).headers.get('location')).toBe(rotated.headers.get('location'))
    expect(await read(rotated.headers.get('location') ?? '')).toContain('new secrets use the new key')
    expect(await ring()).toHaveLength(2)
    expect(stream.ended).toBe('open')

    const question = await read(`/node/keys/${old}/removal`)
    expect(question).toContain('1 live token, 0 API keys, 1 live connection')
    // What was not agreed to is asked again, and nothing is done.
    for (const agreed of [{}, { revoke: '0 0' }])
      expect((await owner.post(`/node/keys/${old}/removal`, agreed as Record<string, string>)).status).toBe(409)
    expect(stream.ended).toBe('open')
    expect(await ring()).toHaveLength(2)

    const done = await owner.post(`/node/keys/${old}/removal`, { revoke: '1 0' })
    expect(done.headers.get('location')).toStartWith('/revocations/rev_')
    await stream.until((client) => client.ended !== 'open' || client.complete)
    expect(stream.text).toContain('token_revoked')
    expect((await node.api<{ status: string }>('GET', `/tokens/${id}`)).json.status).toBe('revoked')
    expect((await ring()).map((key) => key.id)).not.toContain(old)
  })

  test('a key that nothing uses goes without a word of tokens', async () => {
    const before = (await ring()).find(({ current }) => current)?.id ?? ''
    await owner.post('/node/keys/new', { form: formIdOf(await read('/node/keys/new')) })
    const question = await read(`/node/keys/${before}/removal`)
    expect(question).toContain('nothing is cut')
    expect(question).not.toContain('name="revoke"')
    const done = await owner.post(`/node/keys/${before}/removal`, {})
    expect(await read(done.headers.get('location') ?? '')).toContain('The key is removed')
    expect((await owner.post(`/node/keys/${before}/removal`, {})).status).toBe(404)
  })
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  test('counts connections while one looks; a key is removed in the dialog, by the keyboard', async () => {
    await owner.post('/node/keys/new', { form: formIdOf(await read('/node/keys/new')) })
    const old = (await ring()).find(({ current }) => !current)?.id ?? ''
    const { page, complaints } = await openSignedIn(browser, owner)
    await page.goto(`${node.console}/node`)
    const { token } = await node.createToken('counted', ['events'])
    using stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(token) })
    await stream.until(({ text }) => text.includes('data:'))
    await eventually(async () => /Connections\s+1 of/.test(await page.innerText('#live')))

    await page.locator(`#remove-${old}`).focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.getByText('nothing is cut').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect((await ring()).map(({ id }) => id)).toContain(old)
    await page.locator(`#remove-${old}`).click()
    await dialog.getByRole('button', { name: 'Remove the key' }).click()
    await page.getByText('The key is removed').waitFor()
    expect(stream.ended).toBe('open')
    expect(complaints).toEqual([])
  })
})
