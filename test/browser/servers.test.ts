import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser } from 'playwright-core'
import type { AuditRowJson, ServerJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { startSessionMcp } from '../support/upstreams/mcp.ts'
import { hasChromium, launch, openSignedIn, type Watched } from './chromium.ts'
import { fieldsOf, textOf } from './text.ts'
import { linkOfNew, setupLinkOf, Visitor } from './visitor.ts'

const CREDENTIAL = 'Bearer of-the-upstream-4711'
const HOSTILE = '<img src=x onerror=alert(1)>"\'&\u202e'

let node: TestNode
let owner: Visitor
let auditor: Visitor
let mcp: Awaited<ReturnType<typeof startSessionMcp>>
let echo: Awaited<ReturnType<typeof startEcho>>
let events: Awaited<ReturnType<typeof startEvents>>

beforeAll(async () => {
  mcp = await startSessionMcp()
  echo = await startEcho()
  events = await startEvents({ burst: 1 })
  node = await startNode()
  owner = new Visitor(node.console)
  auditor = new Visitor(node.console)
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
  await auditor.usePasswordLink(await linkOfNew(node, 'grace', 'auditor'), '')
})
afterAll(async () => {
  await node.stop()
  await mcp.stop()
  echo.stop()
  events.stop()
})

/** Of a request that is let go again. */
const statusOf = async (server: string, secret: string) => {
  const answer = await fetch(`${node.gate}/s/${server}/x`, { headers: bearer(secret) })
  await answer.body?.cancel()
  return answer.status
}
const isOver = ({ ended, complete }: RawClient) => ended !== 'open' || complete
const read = async (visitor: Visitor, path: string): Promise<string> => textOf(await (await visitor.get(path)).text())
const serverNamed = async (name: string) => (await node.api<ServerJson>('GET', `/servers/${name}`)).json
const lastRow = async () =>
  (await node.api<{ items: AuditRowJson[] }>('GET', '/audit?order=desc&limit=1')).json.items.at(-1)
const addForm = async (fields: Record<string, string>) => {
  const { form = '' } = fieldsOf(await (await owner.get('/servers/new')).text())
  return owner.post('/servers/new', { form, kind: 'auto', path: '', headers: '', ...fields })
}
const streamTo = async (server: string, secret: string) => {
  const stream = await open(node.gate, { target: `/s/${server}/sse`, headers: bearer(secret) })
  return stream.until(({ text }) => text.includes('data:'))
}

test('where nothing is yet, the list says what to do', async () => {
  expect(await read(owner, '/servers')).toContain('No server yet')
  expect(await read(owner, '/servers')).toContain('Add a server')
  expect(await read(auditor, '/servers')).not.toContain('Add a server')
})

describe('adding', () => {
  test('a server that answers is added, and its page says what was found', async () => {
    const answer = await addForm({ name: 'notes', url: mcp.url, headers: `Authorization: ${CREDENTIAL}` })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/servers/notes'])
    const html = await (await owner.get('/servers/notes')).text()
    expect(textOf(html)).toContain('test-upstream 1.0.0 revision 2025-11-25 over HTTP, 2 tools')
    expect(textOf(html)).toContain('reachable MCP answers at')
    expect(textOf(html)).toContain('Authorization ***')
    expect(html).not.toContain('of-the-upstream')
    expect(mcp.requests.at(-1)?.headers.get('authorization')).toBe(CREDENTIAL)
  })

  test('plain HTTP is said to be that', async () => {
    await addForm({ name: 'plain', url: echo.url, kind: 'http' })
    expect(await read(owner, '/servers/plain')).toContain('HTTP answers (200)')
    expect(await read(owner, '/servers/plain')).toContain('no MCP was found')
  })

  test('one that does not answer is not added, unless one says so again; no value of a header comes back', async () => {
    const typed = { name: 'silent', url: 'http://127.0.0.1:9', headers: `X-Key: ${CREDENTIAL}\nX-Other: of-the-other` }
    const refused = await addForm(typed)
    const html = await refused.text()
    expect(refused.status).toBe(422)
    expect(textOf(html)).toMatch(/No server was added\. silent does not answer: connecting failed.*type them again/)
    expect(html).not.toContain('of-the-')
    expect(fieldsOf(html)).toMatchObject({ name: 'silent', url: 'http://127.0.0.1:9' })
    expect(html).toContain('X-Key: \nX-Other: ')
    expect((await node.api('GET', '/servers/silent')).status).toBe(404)

    // Sent as it came back, the values are missing, and that is said.
    const missing = await addForm({ ...typed, headers: 'X-Key: \nX-Other: ', anyway: 'yes' })
    expect([missing.status, textOf(await missing.text())]).toMatchObject([
      400,
      expect.stringContaining('value is missing'),
    ])
    const added = await addForm({ ...typed, anyway: 'yes' })
    expect(added.status).toBe(303)
    expect(Object.keys((await serverNamed('silent')).headers)).toEqual(['X-Key', 'X-Other'])
    // It is looked at by itself soon.
    await eventually(async () => (await read(owner, '/servers/silent')).includes('not reachable'))
  })

  test.each<[string, Record<string, string>, number, RegExp]>([
    ['no name', { name: '', url: 'http://127.0.0.1:9' }, 400, /The name is empty/],
    ['a name that no URL can have', { name: 'My Server', url: 'http://127.0.0.1:9' }, 400, /stands in URLs/],
    ['a name that is taken', { name: 'notes', url: 'http://127.0.0.1:9' }, 409, /has that name already/],
    ['no URL', { name: 'x', url: 'nowhere' }, 400, /can't be read/],
    ['a link-local URL', { name: 'x', url: 'http://169.254.169.254/' }, 400, /link-local/],
    ['a path that leads up', { name: 'x', url: 'http://127.0.0.1:9', path: '/../x' }, 400, /path must be like/],
    ['a header of the gate', { name: 'x', url: 'http://127.0.0.1:9', headers: 'Host: evil' }, 400, /gate's own/],
    ['a header twice', { name: 'x', url: 'http://127.0.0.1:9', headers: 'X-A: 1\nx-a: 2' }, 400, /line 2: that name/i],
    ['no header at all', { name: 'x', url: 'http://127.0.0.1:9', headers: 'sk-topsecret' }, 400, /line 1: write it/i],
  ])('%s is refused beside its field', async (_, fields, status, says) => {
    const answer = await addForm(fields)
    const html = await answer.text()
    expect(answer.status).toBe(status)
    expect(textOf(html)).toMatch(says)
    expect(html).toMatch(/aria-invalid="true"/)
    expect(html).not.toContain('topsecret')
    expect((await node.api('GET', '/servers/x')).status).toBe(404)
  })

  test('neither a secret of ours nor credentials of a URL come back', async () => {
    const { token } = await node.createToken('pasted', ['notes'])
    const html = await (
      await addForm({ name: token, url: 'http://user:hunter2@127.0.0.1:9', path: `/${token}` })
    ).text()
    expect(html).not.toContain(token)
    expect(html).not.toContain('hunter2')
    const query = await (await addForm({ name: 'x', url: 'http://127.0.0.1:9/?key=hunter2' })).text()
    expect(textOf(query)).toContain('no query')
    expect(query).not.toContain('hunter2')
  })

  test('the same form sent twice makes one server', async () => {
    const { form = '' } = fieldsOf(await (await owner.get('/servers/new')).text())
    const fields = { form, name: 'twice', url: echo.url, kind: 'http', path: '', headers: '' }
    const answers = await Promise.all([owner.post('/servers/new', fields), owner.post('/servers/new', fields)])
    expect(answers.map(({ status, headers }) => [status, headers.get('location')])).toEqual([
      [303, '/servers/twice'],
      [303, '/servers/twice'],
    ])
    const { json } = await node.api<{ items: AuditRowJson[] }>('GET', '/audit?action=server.add&limit=1000')
    expect(json.items.filter(({ targetName }) => targetName === 'twice')).toHaveLength(1)
  })

  test('one that is called "new" has a page too', async () => {
    await node.addServer('new', echo.url)
    expect(await read(owner, '/servers')).toContain('new http')
    expect(await (await owner.get('/servers')).text()).toContain('href="/servers/%6eew"')
    expect(await read(owner, '/servers/%6eew')).toContain('/s/new')
    await node.api('DELETE', '/servers/new')
  })
})

describe('editing', () => {
  const edit = (name: string, fields: [string, string][]) => owner.post(`/servers/${name}/edit`, fields)
  const as = async (name: string, over: Record<string, string> = {}): Promise<[string, string][]> => {
    const { url, kind, path } = await serverNamed(name)
    return Object.entries({ url: url ?? '', kind, path, headers: '', ...over })
  }

  test('what is not touched is kept, credentials too, and nothing is written', async () => {
    const before = await lastRow()
    const answer = await edit('notes', [...(await as('notes')), ['known', 'Authorization'], ['value', '']])
    expect(answer.status).toBe(303)
    expect((await lastRow())?.sequence).toBe(before?.sequence as number)
  })

  test('a header is replaced, dropped, added, each by its own field', async () => {
    await node.addServer('headed', echo.url, { headers: { 'X-A': 'old-a', 'X-B': 'old-b', 'X-C': 'old-c' } })
    const { token } = await node.createToken('reader', ['headed'])
    const html = await (await owner.get('/servers/headed/edit')).text()
    expect(html).not.toContain('old-')
    const answer = await edit('headed', [
      ...(await as('headed', { headers: 'X-D: new-d' })),
      ...['X-A', 'X-B', 'X-C'].flatMap((name): [string, string][] => [
        ['known', name],
        ['value', name === 'X-B' ? 'new-b' : ''],
      ]),
      ['drop', 'X-C'],
    ])
    expect(answer.status).toBe(303)
    const { headers } = (await (await fetch(`${node.gate}/s/headed/x`, { headers: bearer(token) })).json()) as {
      headers: [string, string][]
    }
    const sent = Object.fromEntries(headers.filter(([name]) => /^x-[a-d]$/i.test(name)))
    expect(sent).toEqual({ 'X-A': 'old-a', 'X-B': 'new-b', 'X-D': 'new-d' })
    const row = await lastRow()
    expect(row).toMatchObject({ action: 'server.change', actor: 'operator:ada', details: { changed: ['headers'] } })
    expect(JSON.stringify(row)).not.toMatch(/(?:old|new)-[a-d]/)
  })

  test('credentials do not go to another origin by a change of the URL', async () => {
    const answer = await edit('headed', [
      ...(await as('headed', { url: 'http://127.0.0.1:9' })),
      ['known', 'X-A'],
      ['value', ''],
    ])
    const html = await answer.text()
    expect([answer.status, textOf(html)]).toMatchObject([400, expect.stringContaining('leads to another origin')])
    expect(fieldsOf(html)).toMatchObject({ url: 'http://127.0.0.1:9' })
    expect((await serverNamed('headed')).url).toBe(`${echo.url}/`)
  })

  test('what could not be saved is asked for again: new values are not shown, what is dropped stays dropped', async () => {
    const answer = await edit('headed', [
      ...(await as('headed', { url: 'nowhere' })),
      ...['X-A', 'X-B'].flatMap((name): [string, string][] => [
        ['known', name],
        ['value', name === 'X-A' ? 'newer-a' : ''],
      ]),
      ['drop', 'X-B'],
    ])
    const html = await answer.text()
    expect([answer.status, textOf(html)]).toMatchObject([400, expect.stringContaining('type them again')])
    expect(html).not.toContain('newer-a')
    expect(html).toMatch(/placeholder="Type its new value again"[^>]*aria-invalid="true"/)
    expect(html.match(/<input[^>]*name="drop"[^>]*checked/g)).toHaveLength(1)
    expect(Object.keys((await serverNamed('headed')).headers)).toEqual(['X-A', 'X-B', 'X-D'])
  })

  test('a header that is there is not added a second time', async () => {
    const answer = await edit('headed', await as('headed', { headers: 'x-a: again-1' }))
    const html = await answer.text()
    expect([answer.status, textOf(html)]).toMatchObject([400, expect.stringContaining('X-A is there already')])
    expect(html).not.toContain('again-1')
  })

  test('one that never was is 404', async () => {
    expect((await owner.get('/servers/never-was/edit')).status).toBe(404)
    expect((await owner.get('/servers/never-was')).status).toBe(404)
  })
})

test('it is looked at again on demand', async () => {
  const before = (await serverNamed('plain')).health.lookedAt
  const answer = await owner.post('/servers/plain/probes', {})
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/servers/plain'])
  expect((await serverNamed('plain')).health.lookedAt).not.toBe(before as string)
})

describe('roles', () => {
  const writes = ['/servers/new', '/servers/notes/edit', '/servers/notes/probes', '/servers/notes/gate']
  const paths = [...writes, '/servers/notes/kill', '/servers/notes/removal', '/gate']

  test('an auditor sees all of it, and gets no button', async () => {
    for (const path of ['/servers', '/servers/notes']) {
      const html = await (await auditor.get(path)).text()
      expect(textOf(html)).toContain('test-upstream')
      expect(/<main.*<\/main>/s.exec(html)?.[0]).not.toMatch(
        />\s*(?:Add a server|Look again|Edit|Close|Remove|Kill|make one)\s*</,
      )
    }
  })

  test.each(paths)('what an auditor posts to %s is refused', async (path) => {
    expect((await auditor.post(path, { state: 'closed', word: 'close' })).status).toBe(403)
    expect((await serverNamed('notes')).state).toBe('open')
  })

  test.each(paths)('POST %s without a session is 401', async (path) => {
    expect((await new Visitor(node.console).post(path, { state: 'closed', word: 'close' })).status).toBe(401)
    expect((await serverNamed('notes')).state).toBe('open')
  })

  test.each(['/servers', '/servers/new', '/servers/notes', ...paths.slice(1).map((path) => `${path}?state=closed`)])(
    'GET %s without a session leads to sign-in',
    async (path) => {
      if (path.includes('/probes')) return
      const answer = await new Visitor(node.console).get(path)
      expect([answer.status, answer.headers.get('location'), await answer.text()]).toEqual([303, '/sign-in', ''])
    },
  )
})

describe('close, open, kill, remove', () => {
  let secret: string
  beforeAll(async () => {
    await node.addServer('live', events.url)
    const token = await node.createToken(HOSTILE.replace('\u202e', ''), ['live'], { subject: 'eve@example.com' })
    secret = token.token
    await node.createToken('elsewhere too', ['live', 'notes'])
  })

  test('the page names who reaches it, and what is live', async () => {
    using _ = await streamTo('live', secret)
    const html = await (await owner.get('/servers/live')).text()
    expect(textOf(html)).toContain('2 live tokens')
    expect(html).toContain('href="/tokens?server=live"')
    expect(html).toContain('href="/connections?server=live"')
    expect(textOf(html)).toContain(`${HOSTILE.replace('\u202e', '')} eve@example.com sse`)
    expect(html).not.toContain('<img')
  })

  test('a kill names what dies, and answers with the proof', async () => {
    using one = await streamTo('live', secret)
    using two = await streamTo('live', secret)
    const question = await read(owner, '/servers/live/kill')
    expect(question).toContain('2 live connections of 1 token at live, cut at once.')
    expect(question).toContain('Tokens stay valid')
    expect([one.ended, two.ended]).toEqual(['open', 'open'])
    const answer = await owner.post('/servers/live/kill', {})
    const html = await answer.text()
    expect(answer.status).toBe(200)
    expect(textOf(html)).toMatch(/Connections cut 2 Last cut after \d+\.\d{3} ms from the arrival/)
    expect(textOf(html)).toContain('By operator:ada')
    const row = await lastRow()
    expect(row).toMatchObject({ action: 'server.kill', targetName: 'live' })
    expect(html).toContain(`href="/audit/${row?.sequence}"`)
    await Promise.all([one, two].map((stream) => stream.until(isOver)))
    expect(one.text).toContain('connection_killed')
    expect(await statusOf('live', secret)).toBe(200)
    await eventually(async () => (await serverNamed('live')).connections === 0)
  })

  test('closing takes a reason, cuts, refuses; opening is offered and lets in again', async () => {
    using stream = await streamTo('live', secret)
    const question = await read(owner, '/servers/live/gate?state=closed')
    expect(question).toContain('1 live connection of 1 token at live, cut at once.')
    expect(question).toContain('2 tokens that reach it will be refused here until it is opened again')
    const answer = await owner.post('/servers/live/gate', { state: 'closed', reason: HOSTILE.replace('\u202e', '') })
    const html = await answer.text()
    expect([answer.status, textOf(html)]).toMatchObject([200, expect.stringContaining('live is closed')])
    expect(html).not.toContain('<img')
    expect(html).toContain('href="/servers/live/gate?state=open"')
    await stream.until(isOver)
    expect(stream.text).toContain('server_closed')
    expect(await statusOf('live', secret)).toBe(503)
    expect(await read(owner, '/servers?show=closed')).toContain('1 of')
    expect((await (await owner.get('/servers?show=closed')).text()).match(/id="server-/g)).toHaveLength(1)
    expect(await read(owner, '/servers/live/gate?state=open')).toContain('It was closed because: <img')
    const opened = await owner.post('/servers/live/gate', { state: 'open', reason: 'moved' })
    const said = textOf(await opened.text())
    expect([opened.status, said]).toMatchObject([200, expect.stringContaining('live is open')])
    expect(said).not.toContain('Connections cut')
    expect(await lastRow()).toMatchObject({ action: 'server.open', reason: 'moved' })
    expect(await statusOf('live', secret)).toBe(200)
    await eventually(async () => (await serverNamed('live')).connections === 0)
  })

  test('a state that is none, a server that never was', async () => {
    expect((await owner.post('/servers/live/gate', { state: 'ajar' })).status).toBe(400)
    expect((await owner.get('/servers/live/gate')).status).toBe(400)
    expect((await owner.post('/servers/never-was/gate', { state: 'closed' })).status).toBe(404)
    expect((await owner.post('/servers/never-was/removal', {})).status).toBe(404)
    expect((await serverNamed('live')).state).toBe('open')
  })

  test('a removal says which tokens are left with nothing', async () => {
    using stream = await streamTo('live', secret)
    const question = await read(owner, '/servers/live/removal')
    expect(question).toContain('2 live tokens lose it; 1 of them then reaches nothing')
    const answer = await owner.post('/servers/live/removal', {})
    const html = await answer.text()
    expect(textOf(html)).toMatch(/live is removed Connections cut 1 Last cut after \d+\.\d{3} ms/)
    expect(html).not.toContain('href="/servers/live')
    await stream.until(isOver)
    expect((await owner.get('/servers/live')).status).toBe(404)
    expect((await owner.post('/servers/live/removal', {})).status).toBe(404)
  })
})

test('the list is paged by name', async () => {
  await using many = await startNode()
  const visitor = new Visitor(many.console)
  await visitor.usePasswordLink(await setupLinkOf(many), 'ada')
  for (let n = 0; n < 120; n += 1) await many.addServer(`s${String(n).padStart(3, '0')}`, 'http://127.0.0.1:9')
  const seen: string[] = []
  for (let path = '/servers'; path !== '';) {
    const html = await (await visitor.get(path)).text()
    seen.push(...[...html.matchAll(/<a href="\/servers\/(s\d+)"/g)].map(([, name]) => name as string))
    path = /href="([^"]*)" rel="next"/.exec(html)?.[1]?.replaceAll('&amp;', '&') ?? ''
    expect(html.length).toBeLessThan(100_000)
  }
  expect(seen).toHaveLength(120)
  expect(new Set(seen).size).toBe(120)
  expect(await (await visitor.get('/servers?q=S01')).text()).toContain('s019')
  expect(await read(visitor, '/servers?q=nothing')).toContain('No server is like that')
}, 60_000)

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  let desk: Watched

  const signedIn = (options = {}) => openSignedIn(browser, owner, options)
  beforeAll(async () => {
    browser = await launch()
    desk = await signedIn()
    await node.addServer('stage', events.url)
  })
  afterAll(() => browser.close())

  test('adds a server by the keyboard alone', async () => {
    const { page, complaints } = desk
    await page.goto(`${node.console}/servers/new`)
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('name')
    await page.keyboard.type('typed')
    await page.keyboard.press('Tab')
    await page.keyboard.type(mcp.url)
    await page.keyboard.press('Enter')
    await page.waitForURL('**/servers/typed')
    expect(await page.innerText('main')).toContain('test-upstream')
    expect(complaints).toEqual([])
  })

  test('kills in the dialog: the red button has no focus, a held key takes nothing, the page stays live', async () => {
    const { page, complaints } = desk
    const { token } = await node.createToken('watched', ['stage'])
    await page.goto(`${node.console}/servers/stage`)
    await page.getByText('Nothing is connected').waitFor()
    using stream = await streamTo('stage', token)
    await page.getByRole('rowheader', { name: 'watched' }).waitFor()

    await page.locator('#kill').focus()
    for (let times = 0; times < 30; times += 1) await page.keyboard.down('Enter')
    await page.keyboard.up('Enter')
    const dialog = page.locator('#confirm')
    await dialog.getByText('1 live connection of 1 token').waitFor()
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('P')
    expect(stream.ended).toBe('open')
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('kill')

    await page.keyboard.press('Enter')
    await dialog.waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'The connections of stage are cut' }).waitFor()
    await stream.until(isOver)
    expect(complaints).toEqual([])
  })

  test('works without scripts, 320 px wide', async () => {
    const { page } = await signedIn({ javaScriptEnabled: false, viewport: { width: 320, height: 640 } })
    await page.goto(`${node.console}/servers`)
    await page.getByRole('link', { name: 'stage', exact: true }).click()
    await page.getByRole('link', { name: 'Close', exact: true }).click()
    await page.getByLabel('Reason').fill('for a while')
    await page.getByRole('button', { name: 'Close stage' }).click()
    expect(await page.innerText('main')).toContain('stage is closed')
    await page.getByRole('link', { name: 'Open it again' }).click()
    await page.getByRole('button', { name: 'Open stage' }).click()
    expect(await page.innerText('main')).toContain('stage is open')
    for (const path of ['/', '/servers', '/servers/notes', '/servers/notes/edit', '/servers/new', '/gate']) {
      await page.goto(node.console + path)
      const width = await page.evaluate(() => document.documentElement.scrollWidth)
      expect(width <= 320 ? 'fits' : path).toBe('fits')
    }
  })

  test('what is typed and chosen outlives the refreshes', async () => {
    const { page } = desk
    await page.goto(`${node.console}/servers`)
    await page.getByLabel('Part of a name').fill('half typ')
    const refreshed = () => page.waitForResponse((answer) => answer.request().headers()['x-live'] === '1')
    await refreshed()
    await refreshed()
    expect(await page.getByLabel('Part of a name').inputValue()).toBe('half typ')
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('q')
  })
})
