import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser } from 'playwright-core'
import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { TestCluster, type TestMember } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openSignedIn } from './chromium.ts'
import { fieldsOf, textOf } from './text.ts'
import { PASSWORD, setupLinkOf, Visitor } from './visitor.ts'

/** What the consoles of real nodes say of their cluster; every state that can't be brought about is in cluster-states.test.ts. */

const LEASE_MS = 2_000
const args = ['--lease', '2s']

let events: Awaited<ReturnType<typeof startEvents>>
let cluster: TestCluster
let a: TestMember
let b: TestMember
let c: TestMember
const owners = new Map<TestMember, Visitor>()

const ownerOf = (member: TestMember): Visitor => {
  const owner = owners.get(member)
  if (!owner) throw new Error(`nobody has signed in to ${member.name}`)
  return owner
}
const read = async (member: TestMember, path: string) => (await ownerOf(member).get(path)).text()
const alarmOn = async (member: TestMember): Promise<string> =>
  textOf(/<p id="alarm-[^>]*>(.*?)<\/p>/s.exec(await read(member, '/tokens'))?.[1] ?? '')

/** Cuts a node off from all others, or joins it to them again. */
const isolate = async (member: TestMember, cut = true) => {
  for (const other of cluster.members) if (other !== member) await cluster.cut(member, other, cut)
}

beforeAll(async () => {
  events = await startEvents({ intervalMs: 100, burst: 1 })
  cluster = new TestCluster({ proxied: true, args })
  a = cluster.member()
  await a.start()
  const owner = new Visitor(a.running.console)
  await owner.usePasswordLink(await setupLinkOf(a.running), 'ada')
  owners.set(a, owner)
  await a.running.addServer('events', events.url)
})
afterAll(async () => {
  await cluster[Symbol.asyncDispose]()
  events.stop()
})

test('a node is added by what its console says, and lets in whoever the others know', async () => {
  expect(textOf(await read(a, '/cluster'))).toContain('This node stands alone')
  for (const path of ['/cluster', '/cluster/tickets/new', '/cluster/members/x/removal', '/cluster/removed/x/off']) {
    const answer = await new Visitor(a.running.console).get(path)
    expect([path, answer.status, answer.headers.get('location')]).toEqual([path, 303, '/sign-in'])
  }
  for (const member of [cluster.member(), cluster.member()]) {
    const made = await ownerOf(a).post('/cluster/tickets/new', fieldsOf(await read(a, '/cluster/tickets/new')))
    expect(made.status).toBe(201)
    const command = textOf(await made.text())
    const [, url = '', ticket = ''] = /--cluster-join (\S+) \\ --ticket (pcj_\S+)/.exec(command) ?? []
    expect(url).toBe(a.url)
    await member.start('--cluster-join', url, '--ticket', ticket)
  }
  ;[, b, c] = cluster.members as [TestMember, TestMember, TestMember]
  await cluster.settled()
  for (const member of [b, c]) {
    const owner = new Visitor(member.running.console)
    await eventually(async () => (await owner.post('/sign-in', { name: 'ada', password: PASSWORD })).status === 303)
    owners.set(member, owner)
  }
  for (const member of [a, b, c]) {
    const text = await eventually(async () => {
      const shown = textOf(await read(member, '/cluster'))
      return shown.includes('All is well') && shown.includes('lease left') && shown
    })
    expect(text).toContain('this node is linked with all 2 others')
    expect(text).toContain('lease of 2 s')
    expect(await alarmOn(member)).toBe('')
  }
})

test('a revocation on one node: its receipt says what each of the others did', async () => {
  const { id, token } = await a.running.createToken('Cursor IDE', ['events'])
  const streams = await Promise.all(
    [a, b, b].map(async (member) => {
      const stream = await eventually(async () => {
        const tried = await open(member.running.gate, { target: '/s/events/sse', headers: bearer(token) })
        await tried.until(({ text, ended }) => text.includes('data:') || ended !== 'open' || text.includes('401'))
        return tried.text.includes('data:') && tried
      })
      return stream
    }),
  )
  const answer = await ownerOf(a).post('/revocations', { token: id, reason: 'compromised', note: '' })
  const path = answer.headers.get('location') ?? ''
  for (const stream of streams) {
    await stream.done()
    expect(stream.text).toContain('token_revoked')
    stream[Symbol.dispose]()
  }
  const { json } = await a.running.api<RevocationJson>('GET', path)
  expect(json.complete).toBe(true)
  const text = textOf(await read(a, path))
  expect(text).toContain('Complete: no node anywhere lets it in any more.')
  expect(text).toMatch(/1 connection was cut in [\d.]+ ms, and 2 on other nodes\./)
  for (const { node, ms, cut } of json.peers) expect(text).toContain(`${node} refuses it ${ms?.toFixed(3)} ms ${cut}`)
  expect(json.peers.map(({ node, cut }) => [node, cut])).toEqual([
    ['b', 2],
    ['c', 0],
  ])
  const elsewhere = textOf(await read(b, path))
  expect(elsewhere).toContain('Cursor IDE is dead.')
  expect(elsewhere).toContain('operator:ada')
  for (const member of [a, b, c]) expect(await alarmOn(member)).toBe('')

  expect(elsewhere).toContain('The request came to node a')
  expect(elsewhere).toContain('2 connections were cut.')
  expect(textOf(await read(b, '/audit'))).toContain('ada revoked Cursor IDE : compromised · on node a')
  expect(textOf(await read(a, '/audit'))).not.toContain('on node a')
  expect(textOf(await read(b, '/'))).toContain('user 0 of the machine of a made the token Cursor IDE')
  expect(textOf(await read(b, '/'))).toContain('one of 3 nodes')
})

test('a token made in the console is let in by every node at once', async () => {
  const form = await read(a, '/tokens/new')
  const made = await ownerOf(a).post('/tokens/new', {
    ...fieldsOf(form),
    name: 'made by hand',
    server: 'events',
  })
  const secret = /pcl_\w{36}/.exec(await made.text())?.[0] ?? ''
  for (const member of [b, c]) {
    using stream = await open(member.running.gate, { target: '/s/events/sse', headers: bearer(secret) })
    await stream.until(({ text, ended }) => text.includes('data:') || ended !== 'open' || text.includes('401'))
    expect([member.name, stream.status]).toEqual([member.name, 200])
  }
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  test('a node that is cut off: what that means is said on both sides, until it is over', async () => {
    const { id } = await a.running.createToken('lost laptop', ['events'])
    await eventually(async () => (await c.running.api('GET', `/tokens/${id}`)).status === 200)
    const { page, complaints } = await openSignedIn(browser, ownerOf(c))
    await isolate(c)
    await page.locator('#alarm-stale').waitFor()
    expect(await page.locator('#alarm-stale').innerText()).toContain('Clients get 503 here')
    expect(await page.innerText('main')).not.toMatch(/All is well|Not ready/)
    expect(await alarmOn(a)).toBe('')

    const { page: receipt } = await openSignedIn(browser, ownerOf(a))
    const answer = await ownerOf(a).post('/revocations', { token: id, reason: 'lost_device', note: '' })
    await receipt.goto(a.running.console + (answer.headers.get('location') ?? ''))
    // Which of the two is seen first is a matter of when the lease of c ran out.
    await receipt.locator('#completion', { hasText: /^Complete$/ }).waitFor({ timeout: 10 * LEASE_MS })
    expect(await receipt.locator('#peers').innerText()).toContain('its lease has run out')

    await isolate(c, false)
    await page.locator('#alarm-stale').waitFor({ state: 'detached' })
    expect(complaints).toEqual([])
    await receipt.context().close()
    await page.context().close()
  })
})

test('who is told to go, goes, and says so itself', async () => {
  const path = `/cluster/members/${await c.id()}/removal`
  expect(textOf(await read(a, path))).toContain('c leaves the cluster')
  const done = await ownerOf(a).post(path, {})
  expect(done.status).toBe(303)
  const text = textOf(await read(a, done.headers.get('location') ?? ''))
  expect(text).toContain('The node is removed from the cluster.')
  expect(text).toContain('2 nodes')
  await eventually(async () => (await alarmOn(c)).startsWith('This node is no member of its cluster.'))
  expect(textOf(await read(c, '/cluster'))).not.toMatch(/Leave|Add a node/)
  expect(await alarmOn(a)).toBe('')
})

test('one that is lost is removed by force, and nothing is complete until somebody says that it is off', async () => {
  const id = await b.id()
  await b.kill()
  await eventually(async () => /b ws:\S+ unreachable/.test(textOf(await read(a, '/cluster'))), {
    timeoutMs: 10_000,
  })
  const path = `/cluster/members/${id}/removal`
  const refused = await ownerOf(a).post(path, {})
  expect(refused.status).toBe(409)
  expect(textOf(await refused.text())).toContain('Remove this node?')
  expect((await ownerOf(a).post(path, { force: 'yes' })).status).toBe(303)

  const { id: token } = await a.running.createToken('after the loss', ['events'])
  const answer = await ownerOf(a).post('/revocations', { token, reason: 'other', note: '' })
  const receipt = answer.headers.get('location') ?? ''
  // Who left just before counts for a lease more.
  await eventually(async () => (await alarmOn(a)).includes('b was removed, and may let its tokens in until it is off.'))
  expect(textOf(await read(a, receipt))).toContain('Not known to be complete: b was removed')
  expect((await ownerOf(a).post(`/cluster/removed/${id}/off`, {})).status).toBe(303)
  await eventually(async () => (await alarmOn(a)) === '')
  expect(textOf(await read(a, receipt))).not.toContain('Not known to be complete')
})
