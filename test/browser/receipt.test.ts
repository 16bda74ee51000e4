import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Browser, Page } from 'playwright-core'
import type { AuditRowJson, RevocationJson } from '../../src/server/api/schemas.ts'
import { milliseconds, type Phase, scaleFor, Timeline } from '../../src/views/timeline.tsx'
import { startNode, type TestNode } from '../support/node.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openPage, openSignedIn } from './chromium.ts'
import { linkOfNew, PASSWORD, setupLinkOf, Visitor } from './visitor.ts'

const phase = (ms: number | null, name = 'a phase', fromMs = 0): Phase => ({
  name,
  kind: 'plain',
  fromMs,
  ms,
  missing: 'not recorded',
})

describe('the scale of a timeline', () => {
  test('begins at 0, has few round and even steps, and holds every phase without much room to spare', () => {
    const duration = fc.oneof(
      fc.double({ min: 0.001, max: 50, noNaN: true }),
      fc.double({ min: 50, max: 10_000_000, noNaN: true }),
    )
    fc.assert(
      fc.property(fc.array(fc.option(duration), { maxLength: 12 }), (all) => {
        const { endMs, ticksMs } = scaleFor(all.map((ms) => phase(ms)))
        const longest = Math.max(0, ...all.map((ms) => ms ?? 0))
        expect(ticksMs[0]).toBe(0)
        expect(ticksMs.at(-1)).toBe(endMs)
        expect(ticksMs.length).toBeGreaterThanOrEqual(2)
        expect(ticksMs.length).toBeLessThanOrEqual(5)
        const step = ticksMs[1] ?? Number.NaN
        for (const [index, tick] of ticksMs.entries()) expect(tick).toBeCloseTo(index * step, 6)
        expect(step.toExponential()).toMatch(/^[125]e/)
        expect(endMs * (1 + 1e-9)).toBeGreaterThanOrEqual(longest)
        if (longest > 0) expect(endMs).toBeLessThanOrEqual(longest * 2.5 + 1e-9)
      }),
      { numRuns: 500 },
    )
  })

  test('of nothing at all it is still a scale', () => {
    expect(scaleFor([])).toEqual({ endMs: 1, ticksMs: [0, 0.5, 1] })
    expect(scaleFor([phase(null), phase(0)])).toEqual({ endMs: 1, ticksMs: [0, 0.5, 1] })
  })
})

const css = readFileSync(join(import.meta.dir, '../../src/views/app.css'), 'utf8')

/** Where things are on the screen: each row's drawing, its mark, and every text. */
const measure = (page: Page) =>
  page.evaluate(() => {
    const boxOf = (element: Element) => {
      const { left, right, top, bottom } = element.getBoundingClientRect()
      return { left, right, top, bottom, text: element.textContent ?? '' }
    }
    const rows = [...document.querySelectorAll('.phase[role=row]')].map((row) => {
      const track = row.querySelector('svg')
      const mark = row.querySelector('circle')
      const span = row.querySelector('rect')
      return {
        name: row.querySelector('[role=rowheader]')?.textContent ?? '',
        figure: row.querySelector('[role=cell]')?.textContent ?? '',
        track: track && boxOf(track),
        mark: mark && boxOf(mark),
        span: span && boxOf(span),
      }
    })
    const ticks = [...document.querySelectorAll('.scale text')].map(boxOf)
    const texts = [...document.querySelectorAll('.phase [role=rowheader], .phase [role=cell], .scale text')].map(boxOf)
    return { rows, ticks, texts, wide: document.documentElement.scrollWidth, high: innerWidth }
  })

type Measured = Awaited<ReturnType<typeof measure>>

const expectToScale = ({ rows, texts, wide, high }: Measured, phases: Phase[]) => {
  const { endMs } = scaleFor(phases)
  expect(rows).toHaveLength(phases.length)
  for (const [index, { ms, fromMs }] of phases.entries()) {
    const row = rows[index]
    if (ms === null) {
      expect([row?.mark, row?.span, row?.figure]).toEqual([null, null, phases[index]?.missing ?? ''])
      continue
    }
    const { track, mark, span } = row ?? {}
    if (!track || !mark || !span) throw new Error(`nothing is drawn for ${row?.name}`)
    const at = (of: number) => track.left + (of / endMs) * (track.right - track.left)
    expect(Math.abs((mark.left + mark.right) / 2 - at(ms))).toBeLessThan(1)
    expect(Math.abs(span.left - at(Math.min(fromMs, ms)))).toBeLessThan(1)
    expect(Math.abs(span.right - at(ms))).toBeLessThan(1)
    expect(row?.figure).toBe(milliseconds(ms))
  }
  for (const [index, one] of texts.entries())
    for (const other of texts.slice(index + 1)) {
      const apart =
        one.right <= other.left + 0.5 ||
        other.right <= one.left + 0.5 ||
        one.bottom <= other.top + 0.5 ||
        other.bottom <= one.top + 0.5
      expect([one.text, other.text, apart]).toEqual([one.text, other.text, true])
    }
  expect(wide).toBeLessThanOrEqual(high)
}

const CROWDED = [0, 0.398, 0.401, 0.402, 0.403, 0.404].map((ms, index, all) =>
  phase(ms, `phase ${index}`, all[index - 1]),
)
const SPREAD = [0, 1.2, 8.4, 17.3, 29.9, 38.6].map((ms, index, all) => phase(ms, `phase ${index}`, all[index - 1]))
const PEERS = [
  ...CROWDED,
  ...[3.1, 240.5, 11_998.004, null].map((ms, index) =>
    phase(ms, `Node node_01a1fd00319076689d1b8c40eed8e25${index}: lease expired`, 0.401),
  ),
]
const PARTLY = [
  phase(0, 'Request arrived'),
  phase(2.5, 'b'),
  phase(null, 'c'),
  phase(null, 'd'),
  phase(31.25, 'e', 2.5),
]

describe.skipIf(!hasChromium())('the timeline on a screen', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  test.each([1440, 768, 360])('is to scale within a pixel at %i pixels, and no label meets another', async (width) => {
    const page = await browser.newPage({ viewport: { width, height: 900 } })
    for (const phases of [CROWDED, SPREAD, PEERS, PARTLY]) {
      const drawing = String(Timeline({ phases, labelledBy: 't' }))
      await page.setContent(
        `<!doctype html><style>${css}</style><main><div class="sheet receipt"><h2 id="t">t</h2><div class="card">${drawing}</div></div></main>`,
      )
      expectToScale(await measure(page), phases)
    }
    await page.close()
  })

  test('any timings', async () => {
    const page = await browser.newPage({ viewport: { width: 360, height: 900 } })
    // Timings are kept to the microsecond.
    const timing = fc.option(
      fc.oneof(fc.nat(5_000), fc.nat(100_000_000), fc.maxSafeNat()).map((us) => us / 1_000),
      { freq: 8 },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(timing, { minLength: 1, maxLength: 8 }), async (all) => {
        const phases = all.map((ms, index) => phase(ms, `Phase number ${index}`, all[index - 1] ?? 0))
        const drawing = String(Timeline({ phases, labelledBy: 't' }))
        await page.setContent(`<!doctype html><style>${css}</style><main><div class="card">${drawing}</div></main>`)
        expectToScale(await measure(page), phases)
      }),
      { numRuns: 40 },
    )
    await page.close()
  })
})

const HOSTILE = '"><script>alert(1)</script>\u05d0\u05d1'

describe('the receipt', () => {
  let node: TestNode
  let events: Awaited<ReturnType<typeof startEvents>>
  let owner: Visitor
  const data = tempFolder()

  const start = async () => {
    node = await startNode({ data })
    owner = new Visitor(node.console)
  }
  const signIn = () => owner.post('/sign-in', { name: 'ada', password: PASSWORD })
  const streamOf = async (secret: string, client = 'Cursor/1.9'): Promise<RawClient> => {
    const stream = await open(node.gate, {
      target: '/s/events/sse',
      headers: { ...bearer(secret), 'user-agent': client },
    })
    return stream.until(({ text }) => text.includes('data:'))
  }
  const read = async (path: string): Promise<string> => {
    const answer = await owner.get(path)
    expect(answer.status).toBe(200)
    return answer.text()
  }
  const textOf = (html: string): string =>
    html
      .slice(html.indexOf('<main'), html.indexOf('</main>'))
      .replaceAll(/<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ')

  beforeAll(async () => {
    events = await startEvents({ intervalMs: 50, burst: 1 })
    await start()
    await owner.usePasswordLink(await setupLinkOf(node), 'ada')
    await node.addServer('events', events.url)
  })
  afterAll(async () => {
    await node.stop()
    events.stop()
    removeFolder(data)
  })

  test('has all of it: what, whose, by whom, when, why, how fast, what died, and the proof', async () => {
    const { id, token } = await node.createToken('Cursor IDE', ['events'], { subject: 'dev@example.com' })
    using first = await streamOf(token)
    using second = await streamOf(token, HOSTILE.replaceAll(/[^\x20-\x7e]/g, ''))
    const answer = await owner.post('/revocations', { token: id, reason: 'lost_device', note: 'left in a taxi' })
    const path = answer.headers.get('location') ?? ''
    await Promise.all([first.done(), second.done()])
    const html = await read(path)
    const text = textOf(html)
    const { json } = await node.api<RevocationJson>('GET', path)
    const { commitMs, deniedMs, firstCutMs, lastCutMs, upstreamCancelledMs } = json.timings
    for (const ms of [commitMs, deniedMs, firstCutMs, lastCutMs, upstreamCancelledMs]) {
      if (ms === null) throw new Error('a phase was not measured')
      expect(text).toContain(milliseconds(ms))
    }
    expect(text).toMatch(/Cursor IDE of dev@example\.com is dead\. 2 connections were cut in [\d.]+ ms\./)
    for (const part of ['operator:ada', 'lost device', 'left in a taxi', 'this token alone', json.at, json.id])
      expect(text).toContain(part)
    expect(text).toContain((lastCutMs ?? 0) < 40 ? 'within the promised 40 ms' : 'later than the promised 40 ms')
    expect(html).toContain(`href="/tokens/${id}"`)

    expect(text).toContain('2 connections died')
    expect(text).toContain('Cursor/1.9')
    expect(text).toContain('127.0.0.1')
    expect(html).not.toContain('<script>alert')
    expect(html).toContain('&lt;script&gt;alert')

    const { json: audit } = await node.api<{ items: AuditRowJson[] }>('GET', '/audit?order=desc&action=token.revoke')
    const row = audit.items[0]
    expect(row?.targetId).toBe(id)
    expect(html).toContain(`href="/audit/${row?.sequence}"`)
    expect(html).toContain(`<code id="hash">${row?.hash}</code>`)
    expect(html).toContain(`<code id="previous-hash">${row?.previousHash}</code>`)
    expect(text).toContain('portcullis audit verify')
    expect(html).toContain(`<code id="link">${node.console}${path}</code>`)
    expect(text).toContain('complete: in the database; there is one node')
    expect(text).toContain(row?.node ?? '')
    expect(html).not.toMatch(/<[^>]+ (?:style|on\w+)=/)
  })

  test('an auditor reads it, and may not revoke', async () => {
    const auditor = new Visitor(node.console)
    await auditor.usePasswordLink(await linkOfNew(node, 'grace', 'auditor'), 'grace')
    const list = await (await auditor.get('/revocations')).text()
    const [path = ''] = /\/revocations\/rev_\w+/.exec(list) ?? []
    const receipt = await auditor.get(path)
    expect(receipt.status).toBe(200)
    expect(await receipt.text()).toContain('Cursor IDE')
    expect(list).not.toContain('Revoke several')
  })

  test('pages through the connections that died, each of them once', async () => {
    const { id, token } = await node.createToken('busy', ['events'])
    const streams = await Promise.all(Array.from({ length: 120 }, (_, index) => streamOf(token, `client-${index}`)))
    const { id: revocation } = await node.revoke({ tokens: [id] })
    const seen: string[] = []
    let path: string | undefined = `/revocations/${revocation}`
    let pages = 0
    while (path !== undefined) {
      const html: string = await read(path)
      expect(Buffer.byteLength(html)).toBeLessThanOrEqual(100_000)
      seen.push(...[...html.matchAll(/<bdi>(client-\d+)</g)].map(([, name]) => name ?? ''))
      path = /href="(\/revocations\/rev_\w+\?after=\d+)" rel="next"/.exec(html)?.[1]
      pages += 1
      expect(html).toContain('120 connections died')
    }
    expect(pages).toBe(3)
    expect(seen).toHaveLength(120)
    expect(new Set(seen).size).toBe(120)
    expect((await owner.get(`/revocations/${revocation}?after=x`)).status).toBe(400)
    expect(textOf(await read(`/revocations/${revocation}?after=999`))).toContain('There are no more.')
    for (const stream of streams) stream[Symbol.dispose]()
  })

  test('says what an older version did not record, and what was slow', async () => {
    const old = await node.createToken('from before', ['events'])
    const { token } = old
    using stream = await streamOf(token)
    const { id } = await node.revoke({ tokens: [old.id] })
    const lost = await node.createToken('no figures', ['events'])
    const { id: without } = await node.revoke({ tokens: [lost.id] })
    await stream.done()
    await node.stop()
    const database = new Database(join(data, 'portcullis.db'))
    database.run('DELETE FROM revocation_connections WHERE revocation_id = ?', [id])
    const timings = JSON.stringify({ commitMs: 3.2, firstCutMs: 3.9, lastCutMs: 51.25 })
    database.run('UPDATE revocations SET timings = ? WHERE id = ?', [timings, id])
    database.run('UPDATE revocations SET timings = NULL, cut = 0 WHERE id = ?', [without])
    database.close()
    await start()
    await signIn()

    const text = textOf(await read(`/revocations/${id}`))
    expect(text).toContain('1 connection was cut in 51.3 ms.')
    expect(text).toContain('later than the promised 40 ms')
    expect(text).toContain('Which ones is not recorded')
    expect(text).toMatch(/Denied: no request passes not recorded/)
    expect(text).toMatch(/Upstream requests cancelled not recorded/)
    const bare = textOf(await read(`/revocations/${without}`))
    expect(bare).toContain('no figures is dead.')
    expect(bare).toContain('No times are kept of it')
    expect(bare).not.toContain('Nothing was connected')
    expect(bare).not.toContain('promised 40 ms')
  })

  describe.skipIf(!hasChromium())('in a browser', () => {
    let browser: Browser
    let page: Page
    let complaints: string[]

    beforeAll(async () => {
      browser = await launch()
      const watched = await openPage(browser)
      page = watched.page
      complaints = watched.complaints
      await page.goto(`${node.console}/sign-in`)
      await page.getByLabel('Name').fill('ada')
      await page.getByLabel('Password').fill(PASSWORD)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.waitForURL(`${node.console}/`)
    })
    afterAll(() => browser.close())

    test('is drawn to scale in the page itself', async () => {
      const { id, token } = await node.createToken('drawn', ['events'])
      const streams = await Promise.all(Array.from({ length: 30 }, () => streamOf(token)))
      const { id: revocation } = await node.revoke({ tokens: [id] })
      const { json } = await node.api<RevocationJson>('GET', `/revocations/${revocation}`)
      const { commitMs, deniedMs, firstCutMs, lastCutMs, upstreamCancelledMs } = json.timings
      for (const width of [1440, 768, 360]) {
        await page.setViewportSize({ width, height: 900 })
        await page.goto(`${node.console}/revocations/${revocation}`)
        expectToScale(await measure(page), [
          phase(0),
          phase(commitMs),
          phase(deniedMs, '', commitMs ?? 0),
          phase(firstCutMs, '', deniedMs ?? 0),
          phase(lastCutMs, '', firstCutMs ?? 0),
          phase(upstreamCancelledMs, '', lastCutMs ?? 0),
        ])
      }
      for (const stream of streams) stream[Symbol.dispose]()
      await page.setViewportSize({ width: 1280, height: 900 })
    })

    test('hears of tries by itself, and keeps what one selects', async () => {
      const { id, token } = await node.createToken('tried later', ['events'])
      const { id: revocation } = await node.revoke({ tokens: [id] })
      await page.goto(`${node.console}/revocations/${revocation}`)
      const tries = page.locator('#tries')
      expect(await tries.innerText()).toContain('Nobody has tried to use it since: good.')
      await page.evaluate(() => {
        const hash = document.querySelector('#hash')
        if (hash) getSelection()?.selectAllChildren(hash)
      })
      const hash = await page.locator('#hash').innerText()
      for (let asked = 0; asked < 3; asked += 1) await fetch(`${node.gate}/s/events/x`, { headers: bearer(token) })
      await tries.getByText('3 times, and refused each time').waitFor()
      expect(await tries.innerText()).toContain('127.0.0.1')
      expect(await tries.innerText()).not.toContain('good')
      expect(await page.evaluate(() => getSelection()?.toString())).toBe(hash)
      expect(complaints).toEqual([])
    })

    test('says the time in the zone of whoever reads it, and in UTC', async () => {
      const { id } = await node.createToken('timed', ['events'])
      const { id: revocation, at } = await node.revoke({ tokens: [id] })
      const abroad = { timezoneId: 'Asia/Kolkata', locale: 'en-GB' }
      const { page: other } = await openSignedIn(browser, owner, abroad)
      await other.goto(`${node.console}/revocations/${revocation}`)
      const local = new Date(Date.parse(at) + 330 * 60_000).toISOString().slice(11, 19)
      expect(await other.innerText('dl')).toContain(local)
      expect(await other.innerText('dl')).toContain(at)
      await other.context().close()
    })

    test('on paper: no menu and no buttons, the hashes whole, tables as tables, dark ink', async () => {
      const { id, token } = await node.createToken('printed', ['events'])
      using stream = await streamOf(token)
      const { id: revocation } = await node.revoke({ tokens: [id] })
      await stream.done()
      await page.setViewportSize({ width: 720, height: 1_000 })
      await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
      await page.goto(`${node.console}/revocations/${revocation}`)
      for (const gone of ['#menu', '.thumbs', '.crumb', '.copy', '.pager', '.screen', 'dialog'])
        expect([gone, await page.locator(gone).filter({ visible: true }).count()]).toEqual([gone, 0])
      const hash = page.locator('#hash')
      expect(await hash.innerText()).toMatch(/^[0-9a-f]{64}$/)
      const box = await hash.boundingBox()
      if (!box) throw new Error('the hash is not on the paper')
      expect(box.x + box.width).toBeLessThanOrEqual(720)
      const styles = await page.evaluate(() => ({
        table: getComputedStyle(document.querySelector('table') as Element).display,
        cell: getComputedStyle(document.querySelector('td') as Element).display,
        ink: getComputedStyle(document.body).color,
        ground: getComputedStyle(document.body).backgroundColor,
        fits: document.documentElement.scrollWidth <= innerWidth,
      }))
      expect(styles).toEqual({
        table: 'table',
        cell: 'table-cell',
        ink: 'rgb(0, 0, 0)',
        ground: 'rgb(255, 255, 255)',
        fits: true,
      })
      expect((await measure(page)).rows.filter(({ mark }) => mark !== null).length).toBeGreaterThanOrEqual(5)
      const pdf = await page.pdf({ format: 'A4' })
      expect(pdf.subarray(0, 5).toString()).toBe('%PDF-')
      await page.emulateMedia({ media: 'screen', colorScheme: 'light' })
      await page.setViewportSize({ width: 1280, height: 900 })
    })
  })
})
