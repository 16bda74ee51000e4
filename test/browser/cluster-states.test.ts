import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import axe from 'axe-core'
import type { Browser, BrowserContext } from 'playwright-core'
import { limits } from '../../src/limits.ts'
import { eventually } from '../support/poll.ts'
import { hasChromium, launch, refresh } from './chromium.ts'
import { gone, member, peer, SELF, startStates, STATES, type State, status } from './cluster-states.ts'
import { fieldsOf, textOf } from './text.ts'

let world: ReturnType<typeof startStates>
beforeAll(() => {
  world = startStates()
})
afterAll(() => world.stop())

const stateOf = (name: string): State => {
  const make = STATES[name]
  if (!make) throw new Error(`no state is called ${name}`)
  return make()
}
const get = async (path: string, role = 'owner') => fetch(world.url + path, { headers: { cookie: `role=${role}` } })
const post = (path: string, fields: Record<string, string>, role = 'owner') =>
  fetch(world.url + path, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: `role=${role}` },
    body: new URLSearchParams(fields),
  })
const read = async (path: string, role = 'owner') => (await get(path, role)).text()

/** What is said over every page, each alarm as it is read. */
const alarmsOn = async (path: string): Promise<string[]> =>
  [...(await read(path)).matchAll(/<p id="alarm-[^>]*>(.*?)<\/p>/gs)].map(([, html]) => textOf(html ?? ''))

describe('over every page', () => {
  test.each(['alone', 'founded', 'healthy', 'nine', 'joining', 'unreachable'])('nothing is said: %s', async (name) => {
    world.show(stateOf(name))
    expect(await alarmsOn('/revocations')).toEqual([])
    expect(await read('/revocations')).not.toContain('Not ready')
  })

  test.each([
    ['isolated', [/^This node hears from no majority of the nodes\. It lets clients in for another 0:02/]],
    [
      'stale',
      [/^This node lets nobody in: .*lease ran out.*503.*serves again by itself/, /^1 revocation is not known/],
    ],
    ['isolated-serve', [/Under the policy serve it goes on letting clients in: what is revoked elsewhere/]],
    ['not-synced', [/^This node lets nobody in yet: .* It is asking them/]],
    ['not-synced-cut-off', [/^This node lets nobody in yet: .* It reaches none of them/]],
    ['removed', [/^This node is no member of its cluster\. It lets nobody in/]],
    ['waiting-lease', [/^2 revocations are not known to be complete: c can't be reached, .* for another 0:04/]],
    ['waiting-serve', [/^1 revocation is .*: c and d can't be reached: under the policy serve they go on/]],
    ['waiting-linked', [/^1 revocation is .*: b has not said yet that it refuses its tokens/]],
    ['void', [/^51 revocations are .* was removed, and may let their tokens in until it is off/]],
  ] as [string, RegExp[]][])('one sentence of what it means: %s', async (name, wanted) => {
    world.show(stateOf(name))
    const said = await alarmsOn('/revocations')
    expect(said).toHaveLength(wanted.length)
    for (const [index, pattern] of wanted.entries()) expect(said[index]).toMatch(pattern)
    // The same is not said a second time in the words of /readyz.
    expect(await read('/revocations')).not.toContain('Not ready')
    for (const text of said) expect(text).toMatch(/See (?:the cluster|its receipt)$/)
  })

  test('many nodes at once are named up to a few, and counted', async () => {
    const names = [...'bcdefgh']
    world.show({
      status: status({
        policy: 'serve',
        members: [SELF, ...names.map((name) => gone(name))],
        incomplete: [{ id: 'rev_1', waitsFor: names }],
        incompleteCount: 1,
      }),
      completions: {
        rev_1: { complete: false, peers: names.map((name) => peer(name, { state: 'pending', ms: null, cut: null })) },
      },
    })
    const [said] = await alarmsOn('/revocations')
    expect(said).toContain("b, c, d and 4 nodes more can't be reached")
    expect(said).toContain('they go on')
  })

  test('who lets nobody in any more is not waited for', async () => {
    world.show({
      status: status({
        policy: 'serve',
        members: [SELF, gone('b'), gone('c')],
        incomplete: [{ id: 'rev_1', waitsFor: ['b'] }],
        incompleteCount: 1,
      }),
      completions: {
        rev_1: {
          complete: false,
          peers: [
            peer('b', { state: 'pending', ms: null, cut: null }),
            peer('c', { state: 'lease_expired', ms: null, cut: null }),
          ],
        },
      },
    })
    const [said] = await alarmsOn('/revocations')
    expect(said).toContain("complete: b can't be reached: under the policy serve it goes on")
    expect(said).not.toContain('b and c')
  })

  test('what linked nodes are about to answer is not told over every page, whatever a clock says', async () => {
    const waiting = stateOf('waiting-linked')
    for (const [agoMs, told] of [
      [limits.ackToldMs - 500, 0],
      [limits.ackToldMs, 1],
      [-60_000, 1],
    ] as const) {
      world.show({ ...waiting, revokedAgoMs: agoMs })
      expect([agoMs, await alarmsOn('/revocations')]).toEqual([
        agoMs,
        Array(told).fill(expect.stringMatching(/^1 rev/)),
      ])
      expect(textOf(await read('/cluster')).includes('All is well')).toBe(told === 0)
      expect(textOf(await read('/revocations/rev_1'))).toContain('Not known to be complete')
    }
    world.show({ ...stateOf('waiting-serve'), revokedAgoMs: 0 })
    expect(await alarmsOn('/revocations')).toHaveLength(1)
  })

  test('the latest of several leases of one node is told, once', async () => {
    const lapsing = (leaseLeftMs: number) => ({
      complete: false,
      peers: [peer('c', { state: 'pending', ms: null, cut: null, leaseEndsAt: leaseLeftMs })],
    })
    world.show({
      status: status({
        members: [SELF, member('b'), gone('c')],
        incomplete: ['rev_1', 'rev_2'].map((id) => ({ id, waitsFor: ['c'] })),
        incompleteCount: 2,
      }),
      completions: { rev_1: lapsing(3_500), rev_2: lapsing(9_500) },
    })
    const [said] = await alarmsOn('/revocations')
    expect(said).toMatch(/complete: c can't be reached, and can let their tokens in for another 0:10/)
  })
})

describe('the page of the cluster', () => {
  test('alone: what it is for, and how it begins', async () => {
    world.show(stateOf('alone'))
    const text = textOf(await read('/cluster'))
    for (const part of ['This node stands alone', '--cluster-listen HOST:PORT', 'portcullis cluster ticket'])
      expect(text).toContain(part)
    expect(text).not.toContain('lease')
  })

  test('who is there, how they are linked, and what they lack', async () => {
    world.show({
      status: status({
        members: [SELF, member('b', { roundTripMs: 12.34, behind: 3 }), gone('c', 61_000)],
        behind: 1_234,
        changing: 'd joins',
      }),
    })
    const text = textOf(await read('/cluster'))
    for (const part of [
      '3 nodes',
      'a ws://a.example.com:7072 this node lease left 0:05',
      'b ws://b.example.com:7072 linked now 12.3 ms 3 changes 0.7.0',
      'c ws://c.example.com:7072 unreachable 1 min 1 s ago – 12 changes',
      'This node lacks 1,234 changes',
      'lease of 5 s',
      'd joins',
      "Node c can't be reached",
    ])
      expect(text).toContain(part)
    expect(text).not.toContain('All is well')
  })

  test('all is well only when it is', async () => {
    for (const name of Object.keys(STATES).filter((other) => other !== 'alone')) {
      world.show(stateOf(name))
      const isWell = textOf(await read('/cluster')).includes('All is well')
      expect([name, isWell]).toEqual([name, ['founded', 'healthy', 'nine', 'joining'].includes(name)])
    }
  })

  test('what is not complete leads to its receipt, and says for whom it waits', async () => {
    world.show(stateOf('void'))
    const html = await read('/cluster')
    expect(html).toContain('href="/revocations/rev_1"')
    expect(textOf(html)).toContain('and 49 before these')
    expect(textOf(html)).toContain('3 tokens of the group contractors-phoenix')
    expect(textOf(html)).toContain('Removed, and not known to be off')
    expect(html).toContain('href="/cluster/removed/node_c/off"')
  })

  test('of names that came from elsewhere nothing is taken for HTML', async () => {
    const name = '<img src=x onerror=alert(1)>'
    world.show({
      status: status({
        members: [SELF, member('b', { name, version: name })],
        void: [{ id: 'node_x', name, url: name }],
        changing: name,
        incomplete: [{ id: 'rev_1', waitsFor: [name] }],
        incompleteCount: 1,
      }),
      completions: { rev_1: { complete: false, peers: [peer('x', { node: name, state: 'removed' })] } },
    })
    for (const path of ['/cluster', '/revocations/rev_1', '/cluster/members/node_b/removal'])
      expect(await read(path)).not.toContain('<img')
  })
})

describe('roles', () => {
  const PATHS = ['/cluster/tickets/new', '/cluster/members/node_b/removal', '/cluster/removed/node_c/off']

  test.each(['operator', 'auditor'])('an %s looks, and gets no button', async (role) => {
    world.show(stateOf('void'))
    const html = await read('/cluster', role)
    expect(textOf(html)).toContain('2 nodes')
    expect(html).not.toMatch(/Add a node|removal|\/off"/)
    const asked = world.removals.length
    for (const path of PATHS) {
      expect([path, (await get(path, role)).status]).toEqual([path, 403])
      expect([path, (await post(path, { force: 'yes' }, role)).status]).toEqual([path, 403])
    }
    expect(world.removals).toHaveLength(asked)
  })
})

describe('a ticket', () => {
  test('is shown once, with the command for the other machine; the same form makes no second one', async () => {
    world.show(stateOf('alone'))
    const form = await read('/cluster/tickets/new')
    expect(textOf(form)).toContain('becomes the first of a cluster')
    const made = await post('/cluster/tickets/new', fieldsOf(form))
    expect(made.status).toBe(201)
    const html = await made.text()
    const ticket = /pcj_\w+/.exec(html)?.[0] ?? ''
    expect(textOf(html)).toContain(
      `portcullis serve --cluster-listen HOST:PORT \\ --cluster-join ws://a.example.com:7072 \\ --ticket ${ticket}`,
    )
    expect(textOf(html)).toContain('for another 10:00')
    expect(html).not.toContain('id="live"')
    const again = await post('/cluster/tickets/new', fieldsOf(form))
    expect(again.status).toBe(200)
    expect(await again.text()).not.toContain('pcj_')
    expect(textOf(await read('/cluster/tickets/new'))).not.toContain('becomes the first')
  })

  test('that can be used on this machine alone says so', async () => {
    world.show({ status: status({ members: [{ ...SELF, url: 'ws://127.0.0.1:7072' }] }) })
    const made = await post('/cluster/tickets/new', fieldsOf(await read('/cluster/tickets/new')))
    expect(textOf(await made.text())).toContain('is reached from this machine alone')
  })
})

describe('removing', () => {
  test('a node that answers: the question says what it means, and then it is gone', async () => {
    world.show(stateOf('healthy'))
    const question = textOf(await read('/cluster/members/node_b/removal'))
    expect(question).toContain('b leaves the cluster')
    expect(question).not.toContain("can't be reached")
    const done = await post('/cluster/members/node_b/removal', {})
    expect(done.headers.get('location')).toBe('/cluster?gone=node_b')
    expect(world.removals.at(-1)).toEqual({ node: 'node_b', force: false, off: false })
    expect(textOf(await read('/cluster?gone=node_b'))).toContain('The node is removed from the cluster.')
    expect(textOf(await read('/cluster?gone=node_c'))).not.toContain('The node is removed')
    expect((await get('/cluster/members/node_b/removal')).status).toBe(404)
  })

  test('one that can not be asked: under lease it stops by itself, under serve only force does', async () => {
    world.show(stateOf('unreachable'))
    expect(textOf(await read('/cluster/members/node_c/removal'))).toContain('once its lease of 5 s has run out')
    world.show(stateOf('isolated-serve'))
    expect(textOf(await read('/cluster/members/node_b/removal'))).toContain('may go on letting clients in')
    const refused = await post('/cluster/members/node_b/removal', {})
    expect(refused.status).toBe(409)
    expect(textOf(await refused.text())).toContain("B can't be reached and may go on serving: remove it by force.")
    expect((await post('/cluster/members/node_b/removal', { force: 'yes' })).status).toBe(303)
    expect(world.removals.at(-1)).toEqual({ node: 'node_b', force: true, off: false })
  })

  test('itself: it leaves, and there is no force in that', async () => {
    world.show(stateOf('healthy'))
    const question = await read('/cluster/members/node_a/removal')
    expect(textOf(question)).toContain('This node leaves its cluster.')
    expect(question).not.toContain('name="force"')
  })

  test('by force, until somebody says that it is off', async () => {
    world.show(stateOf('void'))
    expect(textOf(await read('/cluster/removed/node_c/off'))).toContain('Say this only if its process has ended')
    expect((await get('/cluster/removed/node_b/off')).status).toBe(404)
    const done = await post('/cluster/removed/node_c/off', {})
    expect(done.headers.get('location')).toBe('/cluster?off=node_c')
    expect(world.removals.at(-1)).toEqual({ node: 'node_c', force: false, off: true })
    expect(textOf(await read('/cluster?off=node_c'))).toContain('It counts as off')
  })
})

describe('a receipt', () => {
  test('says of each node what it did, and that it is complete', async () => {
    world.show(stateOf('healthy'))
    const text = textOf(await read('/revocations/rev_1'))
    expect(text).toContain('4 connections were cut in 1.6 ms, and 2 on other nodes.')
    expect(text).toContain('Complete: no node anywhere lets it in any more.')
    expect(text).toContain('b refuses it 3.100 ms 2 c refuses it 24.271 ms 0')
    expect(text).not.toContain('Not known')
  })

  test('names who may still let it in, and until when', async () => {
    world.show(stateOf('waiting-lease'))
    const html = await read('/revocations/rev_1')
    expect(textOf(html)).toContain("Not known to be complete: c can't be reached, and can let it in for another 0:04 .")
    expect(textOf(html)).toContain('c unreachable it can let it in for another 0:04')
    expect(html).toContain('hx-trigger="every 2s')
    expect(textOf(html)).not.toContain('no node anywhere')
  })

  test('an ack that came much later squashes nothing that is drawn', async () => {
    world.show({ status: status(), completions: { rev_1: { complete: true, peers: [peer('b', { ms: 63_000 })] } } })
    const text = textOf(await read('/revocations/rev_1'))
    expect(text).toContain('Node b refuses it after 1 min 3 s')
    expect(text).toMatch(/ 3 ms The last cut/)
  })

  test('whoever could not be heard lets nobody in once its lease has run out', async () => {
    world.show(stateOf('unreachable'))
    const text = textOf(await read('/revocations/rev_1'))
    expect(text).toContain("c lets nobody in it can't be reached, and its lease has run out")
    expect(text).toContain('Complete: no node anywhere')
  })

  test('on a node that stands alone nothing is said of others', async () => {
    world.show(stateOf('alone'))
    const text = textOf(await read('/revocations/rev_1'))
    expect(text).toContain('complete: in the database; there is one node')
    expect(text).not.toContain('other nodes')
    expect(text).not.toContain('no node anywhere')
  })

  test('in the list those that are not complete say so', async () => {
    world.show(stateOf('waiting-serve'))
    const text = textOf(await read('/revocations'))
    expect(text).toContain('Cursor IDE of dev@example.com not known to be complete')
    expect(text).not.toContain('contractors-phoenix not known')
  })
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser
  let wide: BrowserContext
  let dark: BrowserContext
  let narrow: BrowserContext
  beforeAll(async () => {
    browser = await launch()
    wide = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' })
    dark = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'dark' })
    narrow = await browser.newContext({ viewport: { width: 320, height: 700 }, hasTouch: true })
  })
  afterAll(() => browser.close())

  const pathsOf = ({ completions }: State): string[] =>
    completions?.['rev_1'] ? ['/cluster', '/revocations/rev_1'] : ['/cluster']

  const open = async (context: BrowserContext, path: string) => {
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => void complaints.push(message.text()))
    page.on('pageerror', (error) => void complaints.push(error.message))
    await page.goto(world.url + path)
    return { page, complaints }
  }

  test.each(Object.keys(STATES))('%s: no violation of axe, fits 320 pixels, and stays small', async (name) => {
    const state = stateOf(name)
    world.show(state)
    for (const path of pathsOf(state)) {
      expect(Buffer.byteLength(await read(path))).toBeLessThanOrEqual(100_000)
      for (const context of [wide, dark]) {
        const { page, complaints } = await open(context, path)
        await page.evaluate(axe.source)
        const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run())
        expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([])
        expect(complaints).toEqual([])
        await page.close()
      }
      const { page } = await open(narrow, path)
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320)
      await page.close()
    }
  })

  test.each([
    ['healthy', '/cluster/tickets/new'],
    ['unreachable', '/cluster/members/node_c/removal'],
    ['void', '/cluster/removed/node_c/off'],
  ])('of %s, %s too, and what it leads to', async (name, path) => {
    world.show(stateOf(name))
    const { page } = await open(narrow, path)
    for (const step of [1, 2]) {
      await page.evaluate(axe.source)
      const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run())
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([])
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320)
      if (step === 1) await page.locator('form.stack button[type=submit]').click()
    }
    await page.close()
  })

  test('a lease is counted down while one looks, and the end of it all is seen without a reload', async () => {
    world.show(stateOf('waiting-lease'))
    const { page, complaints } = await open(wide, '/revocations/rev_1')
    const left = page.locator('#completion + time, .state .countdown').first()
    const first = await left.innerText()
    expect(first).toMatch(/^0:0[1-4]$/)
    await eventually(async () => (await left.innerText()) !== first)
    expect(await page.locator('#alarm-incomplete .countdown').getAttribute('role')).toBe('timer')
    world.show(stateOf('unreachable'))
    await refresh(page)
    expect(await page.locator('#completion').innerText()).toBe('Complete')
    expect(await page.locator('#alarm-incomplete').count()).toBe(0)
    expect(complaints).toEqual([])
    await page.close()
  })

  test('a node is removed in the dialog, by the keyboard, and Escape removes nothing', async () => {
    world.show(stateOf('healthy'))
    const { page, complaints } = await open(wide, '/cluster')
    const asked = world.removals.length
    await page.locator('#remove-node_c').focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.getByText('leaves the cluster').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    expect(world.removals).toHaveLength(asked)
    await page.locator('#remove-node_c').click()
    await dialog.getByRole('button', { name: 'Remove it' }).click()
    await page.getByText('The node is removed from the cluster.').waitFor()
    expect(await page.locator('#member-node_c').count()).toBe(0)
    expect(complaints).toEqual([])
    await page.close()
  })
})
