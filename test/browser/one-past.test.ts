import { afterAll, beforeAll, expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { textOf } from './text.ts'
import { setupLinkOf, Visitor } from './visitor.ts'

/** One past what pages show at once: the rest is counted, and there is a way to it. */
let node: TestNode
let owner: Visitor
let events: Awaited<ReturnType<typeof startEvents>>
const streams: RawClient[] = []
const servers = limits.serverChoicesMax + 1

const read = async (path: string) => (await owner.get(path)).text()
const times = (html: string, part: string) => html.split(part).length - 1

beforeAll(async () => {
  events = await startEvents({ burst: 1 })
  node = await startNode()
  owner = new Visitor(node.console)
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
  for (let index = 0; index < servers; index += 1) await node.addServer(`server-${index}`, events.url)
  let secret = ''
  for (let index = 0; index <= limits.foundPerKindMax; index += 1) {
    const made = await node.createToken(`alike ${index}`, ['server-0'], { subject: `somebody-${index}@example.com` })
    secret = made.token
  }
  for (let index = 0; index <= limits.serverConnectionsShownMax; index += 1) {
    const stream = await open(node.gate, { target: '/s/server-0/sse', headers: bearer(secret) })
    streams.push(await stream.until(({ text }) => text.includes('data:')))
  }
})
afterAll(async () => {
  for (const stream of streams) stream[Symbol.dispose]()
  await node.stop()
  events.stop()
})

test('the palette', async () => {
  const html = await (await owner.post('/find', { q: 'alike' }, { 'hx-request': 'true' })).text()
  expect(times(html, 'id="find-token-')).toBe(limits.foundPerKindMax)
  expect(textOf(html)).toContain('and 1 token more')
})

test('the filter by server is typed instead of chosen', async () => {
  expect(await read('/tokens')).toMatch(/<input name="server"/)
  expect(await read('/connections')).toMatch(/<input name="server"/)
})

test('the page of a server leads to its other connections', async () => {
  const html = await read('/servers/server-0')
  expect(times(html, '<tr ') - 1).toBe(limits.serverConnectionsShownMax)
  expect(html).toContain('href="/connections?server=server-0"')
})

test('the overview', async () => {
  const html = await read('/')
  expect(times(html, 'id="server-srv_')).toBe(limits.overviewServersMax)
  expect(textOf(html)).toContain(`All ${servers}`)
  // All of them never expire: the first ones by name, and how many more there are.
  expect(textOf(html)).toContain(`and ${limits.foundPerKindMax + 1 - limits.namesShownMax} more`)
  expect(times(html, 'href="/audit/')).toBeLessThanOrEqual(limits.overviewEventsMax)
})

test('the lists of access', async () => {
  for (let index = 0; index <= limits.rowsBesideOthersMax; index += 1)
    await node.api('POST', '/apikeys', { name: `key ${index}`, role: 'auditor' })
  const html = await read('/access')
  expect(times(html, '/removal"')).toBeLessThanOrEqual(2 * limits.rowsBesideOthersMax)
  expect(html).toContain('href="/access/keys')
  expect(times(await read('/access/keys'), '/removal"')).toBeGreaterThan(limits.rowsBesideOthersMax)
})

test('a receipt names the first rows, and counts the rest', async () => {
  const ids: string[] = []
  for (let index = 0; index <= limits.rowsShownMax; index += 1)
    ids.push((await node.createToken(`dies ${index}`, ['server-1'])).id)
  const { id } = await node.revoke({ tokens: ids })
  const html = await read(`/revocations/${id}`)
  expect(times(html, 'href="/tokens/tok_')).toBe(limits.rowsShownMax)
  expect(textOf(html)).toContain('and 1 more')
})

test('every gate: the servers that were closed are named up to the limit', async () => {
  for (let index = 0; index <= limits.closedShownMax; index += 1)
    await node.api('PUT', `/servers/server-${index}/gate`, { state: 'closed' })
  const html = await read('/gate?state=open')
  expect(textOf(html)).toMatch(/and 1 more/)
})
