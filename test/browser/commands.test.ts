import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { limits } from '../../src/limits.ts'
import type { AuditRowJson, ConnectionJson, ServerJson } from '../../src/server/api/schemas.ts'
import { initialize as initializeAt } from '../support/initialize.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { hasChromium, launch, openSignedIn, refresh } from './chromium.ts'
import { fieldsOf, textOf } from './text.ts'
import { linkOfNew, setupLinkOf, Visitor } from './visitor.ts'

const MCP = join(import.meta.dir, '../support/upstreams/stdio/mcp.ts')
const BUN = process.execPath
const VALUE = 'of-the-environment-4711'
const HOSTILE = '<img src=x onerror=alert(1)>"\'&'
const DYING = ['/bin/sh', '-c', 'echo "$0" >&2; exit 3', HOSTILE]

let node: TestNode
let owner: Visitor
let operator: Visitor
let auditor: Visitor

beforeAll(async () => {
  node = await startNode()
  ;[owner, operator, auditor] = [new Visitor(node.console), new Visitor(node.console), new Visitor(node.console)]
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
  await operator.usePasswordLink(await linkOfNew(node, 'olga', 'operator'), '')
  await auditor.usePasswordLink(await linkOfNew(node, 'grace', 'auditor'), '')
})
afterAll(() => node.stop())

const read = async (visitor: Visitor, path: string): Promise<string> => textOf(await (await visitor.get(path)).text())
const serverNamed = async (name: string) => (await node.api<ServerJson>('GET', `/servers/${name}`)).json
const lastRow = async () =>
  (await node.api<{ items: AuditRowJson[] }>('GET', '/audit?order=desc&limit=1')).json.items.at(-1)
const isThere = async (name: string) => (await node.api('GET', `/servers/${name}`)).status === 200
const addCommand = async (name: string, words: string[], stdio: Record<string, unknown> = {}) => {
  const { status } = await node.api('POST', '/servers', {
    name,
    probe: false,
    stdio: { command: [BUN, MCP, ...words], ...stdio },
  })
  expect(status).toBe(201)
}

const USUAL = { env: '', allow: '', user: '', idle: '10m', memory: '1GiB', cpuTime: '' }
const addForm = async (fields: Record<string, string>, visitor = owner) => {
  const { form = '' } = fieldsOf(await (await owner.get('/servers/new/command')).text())
  return visitor.post('/servers/new/command', { form, ...USUAL, ...fields })
}
const initialize = (server: string, secret: string) => initializeAt(`${node.gate}/s/${server}`, secret)

describe('adding', () => {
  test('a command that answers is added, and its page says what runs, and what was found', async () => {
    const answer = await addForm({
      name: 'notes',
      command: `${BUN}\n${MCP}\nstderr=two words`,
      env: `API_KEY=${VALUE}\nROOT= spaces stay `,
      shared: 'yes',
    })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/servers/notes'])
    const html = await (await owner.get('/servers/notes')).text()
    expect(textOf(html)).toContain(`${MCP} 'stderr=two words'`)
    expect(textOf(html)).toContain('One process for all clients')
    expect(textOf(html)).toMatch(/Environment API_KEY \*\*\* ROOT \*\*\*/)
    expect(textOf(html)).toMatch(/revision 20[\d-]+ over stdio, 19 tools/)
    expect(html).not.toContain(VALUE)
    const row = await lastRow()
    expect(row).toMatchObject({ action: 'server.add', targetName: 'notes', actor: 'operator:ada' })
    expect(JSON.stringify(row?.details)).toContain('stderr=two words')
    expect(JSON.stringify(row)).not.toContain(VALUE)
  })

  test('a line out of a README is taken apart', async () => {
    await addForm({ name: 'line', command: `${BUN} ${MCP} 'stderr=two words'`, anyway: 'yes' })
    expect((await serverNamed('line')).stdio?.command).toEqual([BUN, MCP, 'stderr=two words'])
  })

  test('one that does not start is not added, unless one says so again; what it said itself stands there', async () => {
    const typed = { name: 'silent', command: DYING.join('\n'), env: `A=${VALUE}\nB=***` }
    expect(textOf(await (await addForm(typed)).text())).toContain('is no value')
    const refused = await addForm({ ...typed, env: `A=${VALUE}` })
    const html = await refused.text()
    expect(refused.status).toBe(422)
    expect(textOf(html)).toMatch(/No server was added\. silent does not answer: [^.]*exit code 3\. .*type them again/)
    expect(textOf(html)).toContain(HOSTILE)
    expect(html).not.toContain('<img')
    expect(html).not.toContain(VALUE)
    expect(fieldsOf(html)).toMatchObject({ name: 'silent', idle: '10m' })
    expect(await isThere('silent')).toBe(false)

    // Sent as it came back, the value is missing, and that is said.
    const missing = await addForm({ ...typed, env: 'A', anyway: 'yes' })
    expect([missing.status, textOf(await missing.text())]).toMatchObject([400, expect.stringContaining('NAME=value')])
    expect((await addForm({ ...typed, env: `A=${VALUE}`, anyway: 'yes' })).status).toBe(303)
    expect(Object.keys((await serverNamed('silent')).stdio?.env ?? {})).toEqual(['A'])
  })

  test.each<[string, Record<string, string>, number, RegExp]>([
    ['no name', { name: '' }, 400, /The name is empty/],
    ['a name that is taken', { name: 'notes' }, 409, /has that name already/],
    ['no command', { command: ' \n' }, 400, /The command is missing/],
    ['what only a shell reads', { command: 'server | tee log' }, 400, /No shell reads the command/],
    ['a variable that is none', { env: 'topsecret' }, 400, /Line 1: write it like NAME=value/],
    ['a variable twice', { env: 'A=topsecret\nA=topsecret' }, 400, /Line 2: that name is given twice/],
    ['a name that no variable has', { env: '1A=topsecret' }, 400, /none that a variable may have/],
    ['a path without a sandbox', { allow: '/data' }, 400, /in a --sandbox/],
    ['no network without a sandbox', { noNetwork: 'yes' }, 400, /in a --sandbox/],
    ['a path that is none', { sandbox: 'yes', allow: 'data' }, 400, /begin with a slash/],
    ['no time', { idle: 'soon' }, 400, /not a duration/],
    ['a time that is too short', { idle: '0s' }, 400, /from 1s to 30d/],
    ['no size', { memory: '1GB' }, 400, /not a size/],
    ['a size that is too small', { memory: '63MiB' }, 400, /at least 64MiB/],
    ['no CPU time', { cpuTime: '0s' }, 400, /at least 1s/],
  ])('%s is refused beside its field, and nothing else that was typed is lost', async (_, fields, status, says) => {
    const answer = await addForm({ name: 'x', command: 'true\n--as typed', ...fields, anyway: 'yes' })
    const html = await answer.text()
    expect(answer.status).toBe(status)
    expect(textOf(html)).toMatch(says)
    expect(html.match(/aria-invalid="true"/g)).toHaveLength(1)
    expect(html).toMatch(/aria-invalid="true"|type="checkbox"[^>]*aria-describedby="\w+-hint \w+-wrong"/)
    if (!('command' in fields)) expect(html).toContain('true\n--as typed</textarea>')
    expect(html).not.toContain('topsecret')
    expect(await isThere('x')).toBe(false)
  })

  test('a secret of ours does not come back', async () => {
    const { token } = await node.createToken('pasted', ['notes'])
    const html = await (
      await addForm({ name: 'x', command: `server\n${token}`, env: `${token}=1`, user: token })
    ).text()
    expect(html).not.toContain(token)
    expect(await isThere('x')).toBe(false)
  })

  test('the same form sent twice makes one server', async () => {
    const { form = '' } = fieldsOf(await (await owner.get('/servers/new/command')).text())
    const fields = { ...USUAL, form, name: 'twice', command: `${BUN}\n${MCP}` }
    const send = () => owner.post('/servers/new/command', fields)
    const answers = await Promise.all([send(), send()])
    expect(answers.map(({ status, headers }) => [status, headers.get('location')])).toEqual([
      [303, '/servers/twice'],
      [303, '/servers/twice'],
    ])
    const { json } = await node.api<{ items: AuditRowJson[] }>('GET', '/audit?action=server.add&limit=1000')
    expect(json.items.filter(({ targetName }) => targetName === 'twice')).toHaveLength(1)
  })
})

describe('editing', () => {
  const edit = (fields: Record<string, string>) => owner.post('/servers/edited/edit', fields)
  const asItIs = async (): Promise<Record<string, string>> => {
    const html = await (await owner.get('/servers/edited/edit')).text()
    expect(html).not.toContain(VALUE)
    const areas = [...html.matchAll(/<textarea name="(\w+)".*?>(.*?)<\/textarea>/gs)]
    const boxes = [...html.matchAll(/<input type="checkbox" name="(\w+)"[^>]* checked/g)]
    return {
      ...fieldsOf(html),
      ...Object.fromEntries(
        areas.map(([, name = '', text = '']) => [
          name,
          textOf(`<main>${text.replaceAll('\n', '¶')}</main>`).replaceAll('¶', '\n'),
        ]),
      ),
      ...Object.fromEntries(boxes.map(([, name = '']) => [name, 'yes'])),
    }
  }
  beforeAll(() =>
    addCommand('edited', ['a "quoted" argument', 'two\nlines'], {
      env: { A: `${VALUE}-a`, B: `${VALUE}-b`, C: `${VALUE}-c` },
      sandbox: true,
      allow: ['/srv', '/usr/share:ro'],
      idleMs: 1_500,
    }),
  )

  test('what is not touched is kept, values and odd limits too, and nothing is written', async () => {
    const [before, row] = [await serverNamed('edited'), await lastRow()]
    const fields = await asItIs()
    expect(fields).toMatchObject({
      env: 'A=***\nB=***\nC=***',
      allow: '/srv\n/usr/share:ro',
      idle: '1.5s',
      sandbox: 'yes',
    })
    expect((await edit({ ...fields, idle: '10m' })).status).toBe(303)
    expect((await serverNamed('edited')).stdio).toMatchObject({ idleMs: 600_000, command: before.stdio?.command })
    await node.api('PATCH', '/servers/edited', { stdio: { idleMs: 1_500 } })
    const same = await edit(await asItIs())
    expect(same.status).toBe(303)
    expect((await lastRow())?.sequence).toBe((row?.sequence ?? 0) + 2)
    const { status: _, ...spec } = (await serverNamed('edited')).stdio ?? { status: null }
    expect(spec).toEqual({ ...before.stdio, status: undefined })
  })

  test('a variable is replaced, dropped, added, kept', async () => {
    expect((await edit({ ...(await asItIs()), env: `A=***\nB=new=b\nD=` })).status).toBe(303)
    const row = await lastRow()
    expect(row).toMatchObject({ action: 'server.change', actor: 'operator:ada' })
    expect(JSON.stringify(row)).not.toMatch(/of-the-environment|new=b/)
    expect(Object.keys((await serverNamed('edited')).stdio?.env ?? {})).toEqual(['A', 'B', 'D'])
  })

  test('what could not be saved is asked for again; *** of a name that is not there keeps nothing', async () => {
    const refused = await edit({ ...(await asItIs()), env: 'A=***\nB=typed-4711', memory: 'much' })
    const html = await refused.text()
    expect([refused.status, textOf(html)]).toMatchObject([400, expect.stringContaining('type them again')])
    expect(html).toContain('A=***\nB</textarea>')
    expect(html).not.toContain('typed-4711')
    const unknown = await edit({ ...(await asItIs()), env: 'E=***' })
    expect([unknown.status, textOf(await unknown.text())]).toMatchObject([
      400,
      expect.stringContaining('there is no E'),
    ])
    expect(Object.keys((await serverNamed('edited')).stdio?.env ?? {})).toEqual(['A', 'B', 'D'])
  })

  test('the sandbox is left, with all that is only for it', async () => {
    const { sandbox: _, ...fields } = await asItIs()
    expect((await edit(fields)).status).toBe(400)
    expect((await edit({ ...fields, allow: '' })).status).toBe(303)
    expect((await serverNamed('edited')).stdio).toMatchObject({ sandbox: false, allow: [], network: true })
  })
})

describe('roles', () => {
  const forms = ['/servers/new/command', '/servers/notes/edit', '/servers/notes/removal']

  test.each(forms)('%s is for owners alone', async (path) => {
    for (const visitor of [operator, auditor]) {
      expect((await visitor.get(path)).status).toBe(403)
      const posted = await visitor.post(path, { ...USUAL, form: 'f', name: 'x', command: 'true', anyway: 'yes' })
      expect(posted.status).toBe(403)
    }
    expect((await new Visitor(node.console).post(path, {})).status).toBe(401)
    expect((await new Visitor(node.console).get(path)).headers.get('location')).toBe('/sign-in')
    expect(await isThere('x')).toBe(false)
    expect(await isThere('notes')).toBe(true)
  })

  test('operators see the rest, close and open; auditors see', async () => {
    const page = await (await operator.get('/servers/notes')).text()
    expect(textOf(page)).toContain(`${MCP} 'stderr=two words'`)
    expect(page).toMatch(/id="close"/)
    expect(page).toMatch(/id="kill"/)
    expect(page).not.toMatch(/id="edit"|id="remove"/)
    expect(await read(operator, '/servers/new')).not.toContain('A command')
    expect(await read(owner, '/servers/new')).toContain('A command')
    expect(textOf(await (await auditor.get('/servers/notes')).text())).toContain("'stderr=two words'")
    expect((await operator.post('/servers/notes/gate', { state: 'closed' })).status).toBe(200)
    expect((await operator.post('/servers/notes/gate', { state: 'open' })).status).toBe(200)
  })

  test('a URL does not become a command by its form, nor the other way round', async () => {
    await node.addServer('by-url', 'http://127.0.0.1:9')
    await owner.post('/servers/by-url/edit', { ...USUAL, command: 'true' })
    expect(await serverNamed('by-url')).toMatchObject({ stdio: null, url: 'http://127.0.0.1:9/' })
    await owner.post('/servers/notes/edit', { url: 'http://127.0.0.1:9', kind: 'auto', path: '', headers: '' })
    expect(await serverNamed('notes')).toMatchObject({ url: null, kind: 'stdio' })
  })
})

describe('what runs', () => {
  test('a process is a connection of its token: it is listed, named, and killed', async () => {
    await addCommand('running', [])
    const { token } = await node.createToken('runner', ['running'])
    expect(await initialize('running', token)).toMatchObject({ status: 200 })
    expect(await read(owner, '/servers/running')).toMatch(/Processes now 1/)
    expect(await read(owner, '/servers')).toContain('1 process')
    const { json } = await node.api<{ items: ConnectionJson[] }>('GET', '/connections')
    const running = json.items.find(({ kind, server }) => kind === 'process' && server === 'running')
    expect(await read(owner, '/connections')).toContain('running process')
    const question = await read(owner, `/connections/${running?.id}/kill`)
    expect(question).toContain('The process of runner to running')
    expect(question).toContain('The process ends')
    expect(await read(owner, '/servers/running/removal')).toContain('Its command and environment are gone')
    expect((await owner.post(`/connections/${running?.id}/kill`, {})).status).toBe(200)
    await eventually(async () => (await serverNamed('running')).stdio?.status.processes === 0)
    expect(await read(owner, '/servers/running')).toMatch(/Processes now none/)
  })

  test('a crash is told with its time and what was said before it; then that nothing is started for a while', async () => {
    await node.api('POST', '/servers', { name: 'crashing', probe: false, stdio: { command: DYING } })
    const { token } = await node.createToken('crasher', ['crashing'])
    await initialize('crashing', token)
    await eventually(async () => ((await serverNamed('crashing')).stdio?.status.crashes ?? 0) > 0)
    await eventually(async () => ((await serverNamed('crashing')).stdio?.status.stderr.length ?? 0) > 0)
    const html = await (await owner.get('/servers/crashing')).text()
    expect(textOf(html)).toMatch(
      /1 start and 1 crash since the node started The last crash: exit code 3, .*UTC ; the next start in \d:\d\d/,
    )
    expect(textOf(html)).toContain(HOSTILE)
    expect(html).not.toContain('<img')
  })

  test('a crash loop closes the server; its page and the overview say why', async () => {
    await addCommand('looping', ['exit=3'])
    const { token } = await node.createToken('looper', ['looping'])
    await eventually(
      async () => {
        await initialize('looping', token)
        return (await serverNamed('looping')).state === 'closed'
      },
      { timeoutMs: 50_000, everyMs: 200 },
    )
    const { reason } = await serverNamed('looping')
    expect(reason).toContain('crash')
    expect(await read(auditor, '/servers/looping')).toContain(`closed ${reason}`)
    expect(await read(auditor, '/')).toContain(`looping is closed: ${reason}`)
    expect(await read(owner, '/servers/looping')).toContain('Open')
    // On any page; what somebody closed for another reason is not said there.
    await node.api('PUT', '/servers/running/gate', { state: 'closed', reason: 'a holiday' })
    const page = await (await auditor.get('/tokens')).text()
    expect(page).toMatch(/id="alarm-crash-loop".*href="\/servers\/looping"/s)
    expect(textOf(page)).toContain('looping is closed: its processes ended by themselves again and again.')
    await node.api('PUT', '/servers/looping/gate', { state: 'open' })
    expect(await (await auditor.get('/tokens')).text()).not.toContain('alarm-crash-loop')
    await node.api('PUT', '/servers/running/gate', { state: 'open' })
  }, 60_000)

  test('what it said on standard error is shown up to its limit, the newest', async () => {
    const says = `y=$(printf %0${limits.stdioStderrLineLengthMax - 4}d 0 | tr 0 y)
      for n in 00 01 02 03 04 05 06 07 08 09 10 11; do echo $n-$y >&2; done`
    await node.api('POST', '/servers', { name: 'wordy', probe: false, stdio: { command: ['/bin/sh', '-c', says] } })
    const { token } = await node.createToken('reader', ['wordy'])
    await initialize('wordy', token)
    await eventually(
      async () => (await serverNamed('wordy')).stdio?.status.stderr.at(-1)?.line.startsWith('11-') ?? false,
    )
    const html = await (await owner.get('/servers/wordy')).text()
    expect((await serverNamed('wordy')).stdio?.status.stderr).toHaveLength(12)
    const { json } = await node.api<{ items: ServerJson[] }>('GET', '/servers?limit=1000')
    expect(json.items.find(({ name }) => name === 'wordy')?.stdio?.status.stderr).toEqual([])
    // Ten of them are 19,990 characters; one more is past the limit.
    expect([...html.matchAll(/(\d\d)-y/g)].map(([, n]) => n)).not.toContain('01')
    expect(html).toContain('02-y')
    expect(html).toContain('11-y')
  })
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  test('adds a command by the keyboard alone; what it says stays unfolded and at its end', async () => {
    const { page, complaints } = await openSignedIn(browser, owner)
    await page.goto(`${node.console}/servers/new`)
    await page.getByRole('link', { name: 'A command' }).click()
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('name')
    await page.keyboard.type('typed')
    await page.keyboard.press('Tab')
    await page.keyboard.type(`${BUN} ${MCP} stderr=hello`)
    await page.getByRole('button', { name: 'Start it and add it' }).press('Enter')
    await page.waitForURL('**/servers/typed')
    const { token } = await node.createToken('talker', ['typed'])
    for (let times = 0; times < 2; times += 1) await initialize('typed', token)
    await page.getByText('2 lines').or(page.getByText('3 lines')).waitFor()
    await page.locator('#stderr summary').click()
    await page.locator('#stderr pre').waitFor()
    await refresh(page)
    await refresh(page)
    expect(await page.locator('#stderr pre').innerText()).toContain('hello')
    expect(complaints).toEqual([])
  })

  test('works without scripts, 320 px wide: a form that is wrong unfolds where', async () => {
    const options = { javaScriptEnabled: false, viewport: { width: 320, height: 640 } }
    const { page } = await openSignedIn(browser, owner, options)
    const width = () => page.evaluate(() => document.documentElement.scrollWidth)
    await page.goto(`${node.console}/servers/new/command`)
    expect(await page.getByLabel('Memory of each').isVisible()).toBe(false)
    await page.getByLabel('Name', { exact: true }).fill('narrow')
    await page.getByLabel('Command', { exact: true }).fill(`${BUN}\n${MCP}\n${'long'.repeat(100)}`)
    await page.getByText('How many processes').click()
    await page.getByLabel('Memory of each').fill('much')
    await page.getByRole('button', { name: 'Start it and add it' }).click()
    expect(await page.innerText('main [role=alert]')).toContain('1 field below must be put right')
    expect(await page.getByLabel('Memory of each').isVisible()).toBe(true)
    expect(await width()).toBeLessThanOrEqual(320)
    await page.getByLabel('Memory of each').fill('512MiB')
    await page.getByRole('button', { name: 'Start it and add it' }).click()
    await page.getByRole('heading', { name: 'narrow' }).waitFor()
    for (const path of ['/servers/narrow', '/servers', '/servers/narrow/edit', '/servers/crashing']) {
      await page.goto(node.console + path)
      expect([path, (await width()) <= 320]).toEqual([path, true])
    }
  })
})
