import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openSignedIn } from './chromium.ts'
import { textOf } from './text.ts'
import { peopleOf, setupLinkOf, Visitor } from './visitor.ts'

const HOSTILE = `<script>document.title = 'taken'</script>"'&`

let node: TestNode
let owner: Visitor
let auditor: Visitor
let events: Awaited<ReturnType<typeof startEvents>>

beforeAll(async () => {
  events = await startEvents({ burst: 1, intervalMs: 200 })
  node = await startNode()
  ;({ owner, auditor } = await peopleOf(node))
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

const html = async (visitor = owner) => (await visitor.get('/')).text()
const text = async (visitor = owner) => textOf(await html(visitor))
const stateOf = async () => {
  const shown = await html()
  return textOf(/<div class="state.*?<\/div>/s.exec(shown)?.[0] ?? '')
}
const streamTo = async (server: string, secret: string) => {
  const stream = await open(node.gate, { target: `/s/${server}/sse`, headers: bearer(secret) })
  return stream.until((client) => client.text.includes('data:'))
}

describe('the first run', () => {
  test('begins with a server', async () => {
    const said = await text()
    expect(said).toContain('Nothing has passed the gate yet')
    expect(await html()).toMatch(/aria-current="step"><h2>Add a server/)
    expect(await html()).toContain('href="/servers/new"')
    expect(said).not.toContain('All is well')
    expect(await html(auditor)).not.toContain('href="/servers/new"')
  })

  test('then a token, then a client, then it is over', async () => {
    await node.addServer('github', events.url)
    expect(await html()).toMatch(/aria-current="step"><h2>Make a token/)
    expect(await html()).toContain('href="/tokens/new"')
    const { id, token } = await node.createToken('Cursor IDE', ['github'], {
      subject: 'ada@example.com',
      expires: '30d',
    })
    expect(await html()).toMatch(/aria-current="step"><h2>Point a client at it/)
    expect(await html()).toContain(`href="/tokens/${id}/connect"`)
    expect((await owner.get(`/tokens/${id}/connect`)).status).toBe(200)
    using _ = await streamTo('github', token)
    expect(await text()).not.toContain('Nothing has passed the gate yet')
  })
})

test('one line says that all is well, with the figures', async () => {
  const { token } = await node.createToken('for the line', ['github'], { expires: '30d' })
  using _ = await streamTo('github', token)
  expect(await stateOf()).toBe('All is well : 2 live tokens, 1 live connection on 1 server'.replace(' :', ':'))
  // What moves all the time is not read out.
  expect(await html()).toContain('<strong id="state" role="status">All is well</strong>')
})

test('charts say in words what they show', async () => {
  const labels = [...(await html()).matchAll(/role="img" aria-label="([^"]*)"/g)].map(([, label]) => label)
  expect(labels).toHaveLength(4)
  expect(labels[0]).toMatch(/^Live connections over the last 10 minutes: \d+ now, at most \d+/)
  expect(labels[3]).toMatch(/^Dead tokens tried over the last 10 minutes: \d+ in the last minute/)
})

describe('what is wrong, the worst first', () => {
  test('a dead token that is tried', async () => {
    const { id, token } = await node.createToken('tried dead', ['github'])
    await node.revoke({ tokens: [id] })
    for (let tries = 0; tries < 3; tries += 1) await fetch(`${node.gate}/s/github/x`, { headers: bearer(token) })
    // A slot of the pulse ends every five seconds.
    await eventually(async () => (await stateOf()).includes('Dead tokens are being tried'), {
      timeoutMs: 8_000,
      everyMs: 100,
    })
    expect(await stateOf()).toContain('3 times in the last minute')
    expect(await html()).toContain('href="/audit?action=gate.dead-token"')
  }, 15_000)

  test('is less than a server that is silent, and that than one that is closed', async () => {
    await node.addServer('nowhere', 'http://127.0.0.1:9')
    await owner.post('/servers/nowhere/probes', {})
    expect(await stateOf()).toContain("nowhere can't be reached: connecting failed")
    expect(await html()).toContain('<a class="button" id="act" href="/servers/nowhere">')
    await node.api('PUT', '/servers/github/gate', { state: 'closed', reason: HOSTILE })
    expect(await stateOf()).toContain(`github is closed: ${HOSTILE}`)
    await node.api('PUT', '/servers/nowhere/gate', { state: 'closed' })
    expect(await stateOf()).toContain('Every gate is closed')
    expect(await html()).toContain('href="/gate?state=open"')
    expect(await html(auditor)).not.toContain('href="/gate?state=open"')
    await node.addServer('alpha', events.url)
    expect(await stateOf()).toContain('2 of 3 servers are closed')
    // Not well stands first in the list.
    expect(
      [...(await html()).matchAll(/id="server-[^"]*"><a href="\/servers\/([^"]*)"/g)].map(([, name]) => name),
    ).toEqual(['github', 'nowhere', 'alpha'])
    await node.api('PUT', '/gate', { state: 'open' })
    await node.api('DELETE', '/servers/nowhere')
  })

  test('an audit log that was altered is worse than all', async () => {
    await using other = await startNode()
    const visitor = new Visitor(other.console)
    await visitor.usePasswordLink(await setupLinkOf(other), 'ada')
    await other.addServer('one', events.url)
    await other.api('PUT', '/servers/one/gate', { state: 'closed' })
    const { token } = await other.createToken('used', ['one'])
    await fetch(`${other.gate}/s/one/x`, { headers: bearer(token) })
    const database = new Database(join(other.data, 'portcullis.db'))
    for (const { name } of database
      .query<{ name: string }, []>("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'")
      .all())
      database.run(`DROP TRIGGER ${name}`)
    database.run("UPDATE audit SET actor = 'nobody' WHERE sequence = 2")
    database.close()
    await other.api('GET', '/audit/verification')
    const shown = textOf(await (await visitor.get('/')).text())
    expect(shown).toContain('The audit log does not hold: row 2 was altered')
  })
})

test('what was revoked in the last hour leads to its receipt', async () => {
  const dead = [await node.createToken(HOSTILE, ['github']), await node.createToken('and another', ['github'])]
  const { id } = await node.revoke({ tokens: dead.map((token) => token.id), reason: 'lost_device' })
  expect(await html()).toContain(`<a href="/revocations/${id}">`)
  expect(await text()).toContain('2 tokens by user 0 of this machine')
})

test('the last events are sentences that lead to their rows', async () => {
  const { id, token } = await node.createToken(HOSTILE, ['github'])
  const said = await text()
  expect(said).toContain(`made the token ${HOSTILE}`)
  expect(said).toContain('revoked 2 tokens : lost device')
  expect(await html()).not.toContain('<script>document')
  const rows = [...(await html()).matchAll(/href="\/audit\/(\d+)"/g)].map(([, sequence]) => Number(sequence))
  expect(rows).toEqual(rows.toSorted((a, b) => b - a))
  expect(rows.length).toBeLessThanOrEqual(8)
  await node.revoke({ tokens: [id] })
  expect(token).toStartWith('pcl_')
})

test('what many strangers repeat is one event, with all their tries', async () => {
  const data = tempFolder()
  const args = ['--trusted-proxy', '127.0.0.1/32']
  const first = await startNode({ data, args })
  await first.addServer('github', events.url)
  const { id, token } = await first.createToken('leaked', ['github'])
  await first.revoke({ tokens: [id] })
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.2'])
    await fetch(`${first.gate}/s/github/x`, { headers: { ...bearer(token), 'x-forwarded-for': address } })
  // What strangers do is written once a minute, and at the end.
  await first.stop()
  const second = await startNode({ data, args })
  const visitor = new Visitor(second.console)
  await visitor.usePasswordLink(await setupLinkOf(second), 'ada')
  const said = await text(visitor)
  expect(said).toContain('many addresses tried the dead token leaked, 3 times')
  expect(said.match(/tried the dead token/g)).toHaveLength(1)
  await second.stop()
  removeFolder(data)
})

test('what needs a look has its count, first names, and a link to all of them', async () => {
  for (const name of ['a', 'b', 'c', 'd']) await node.createToken(`without end ${name}`, ['alpha'])
  await node.createToken('soon', ['alpha'], { expires: '2d' })
  await node.api('DELETE', '/servers/alpha')
  // It is found out anew some seconds after a change.
  await eventually(async () => (await text()).includes('reach no server any more'), { timeoutMs: 10_000, everyMs: 50 })
  const [said, shown] = [await text(), await html()]
  expect(said).toContain('4 tokens never expire')
  expect(said).toMatch(/without end \w , without end \w , without end \w , and 1 more/)
  expect(said).toContain('1 token expires within 7 days')
  for (const look of ['never-expires', 'expiring', 'no-servers']) expect(shown).toContain(`href="/tokens?look=${look}"`)
  for (const look of ['unused', 'many-addresses']) expect(shown).not.toContain(`href="/tokens?look=${look}"`)
})

test('without a session it tells nothing', async () => {
  const answer = await new Visitor(node.console).get('/')
  expect([answer.status, answer.headers.get('location'), await answer.text()]).toEqual([303, '/sign-in', ''])
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  test('moves by itself, keeps the focus, runs nothing of strangers, and nothing shifts', async () => {
    const { page, complaints } = await openSignedIn(browser, owner)
    const { token } = await node.createToken('moving', ['github'], { expires: '30d' })
    const tile = page.locator('.stat').first()
    const box = await tile.boundingBox()
    await page.locator('a[href="/audit"]').last().focus()
    using _ = await streamTo('github', token)
    await page.locator('.state').getByText('1 live connection').waitFor()
    expect(await page.evaluate(() => document.activeElement?.getAttribute('href'))).toBe('/audit')
    expect(await tile.boundingBox()).toEqual(box)
    expect(await page.title()).toStartWith('Overview')
    expect(await page.locator('main script').count()).toBe(0)
    expect(complaints).toEqual([])
  })
})
