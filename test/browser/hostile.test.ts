import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser, Page } from 'playwright-core'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import { initialize } from '../support/initialize.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { INITIALIZED, startScripted } from '../support/upstreams/scripted.ts'
import { hasChromium, launch, refresh, signIn } from './chromium.ts'
import { sweep } from './pages.ts'
import { setupLinkOf, Visitor } from './visitor.ts'
import type { World } from './world.ts'

/** Breaks out of text, of attributes with either quote, of a script, of a comment; and runs, where it may. */
const BREAKOUT = `"'><img src=x onerror="document.title='taken'"><script>document.title='taken'</script><!--`
/** Right-to-left letters, which turn the words around them unless they are kept apart. */
const RTL = 'שלום abc مرحبا 123'
const LONG = 'W'.repeat(100)
/** What passes as a header: a client may call itself anything. */
const CLIENT = `${BREAKOUT} `.padEnd(10_000, 'x')
const TEN_KB = `${BREAKOUT}‮`.padEnd(10_000, 'y')

describe.skipIf(!hasChromium())('hostile names', () => {
  let browser: Browser
  let world: World
  let quiet: World
  const streams: RawClient[] = []

  /** A node on which everything that somebody else may name is named so. */
  const startHostile = async (name: string): Promise<World> => {
    const events = await startEvents({ intervalMs: 500, burst: 2 })
    const mcp = startScripted({
      initialize: () => INITIALIZED({ serverInfo: { name: TEN_KB, version: BREAKOUT, title: BREAKOUT } }),
      'tools/list': () => ({ tools: [{ name: TEN_KB, description: BREAKOUT, inputSchema: { type: 'object' } }] }),
      'tools/call': () => ({ content: [] }),
    })
    const node = await startNode()
    const owner = new Visitor(node.console)
    await owner.usePasswordLink(await setupLinkOf(node), name)
    await node.addServer('events', events.url)
    await node.api('POST', '/servers', { name: 'hostile', url: mcp.url, path: '/mcp' })
    await node.addServer('closed', events.url)
    await node.api('PUT', '/servers/closed/gate', { state: 'closed', reason: `${name} `.repeat(9).slice(0, 900) })
    const make = async (suffix: string) => {
      // The suffix keeps names apart; names have a hundred characters at the most.
      const named = `${name.slice(0, 96)} ${suffix}`
      return node.createToken(named, ['events', 'hostile'], { subject: name, group: named, policy: { deny: ['x<y>'] } })
    }
    const busy = await make('b')
    const rotated = await make('r')
    const dead = await make('d')
    await node.api('POST', `/tokens/${rotated.id}/rotations`, { graceSeconds: 600 })
    for (const { token } of [busy, dead]) {
      const headers = { ...bearer(token), accept: 'application/json, text/event-stream', 'user-agent': CLIENT }
      const stream = await open(node.gate, { target: '/s/events/sse', headers })
      streams.push(await stream.until(({ text }) => text.includes('data:')))
      const body = JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: TEN_KB, arguments: {} },
      })
      await fetch(`${node.gate}/s/hostile/mcp`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body,
      })
    }
    const { id: revocation } = await node.revoke({ tokens: [dead.id], note: `${name} `.repeat(9).slice(0, 900) })
    await fetch(`${node.gate}/s/events/x`, { headers: bearer(dead.token) })
    const idOf = async (path: string, body: unknown) => (await node.api<{ id: string }>('POST', path, body)).json.id
    const apiKey = await idOf('/apikeys', { name: name.slice(0, 100), role: 'operator' })
    const person = await idOf('/operators', { name: `${name.slice(0, 96)} o`, role: 'auditor' })
    await addCommands(node, name)
    const { json: ring } = await node.api<{ items: { id: string }[] }>('GET', '/keys')
    const oldKey = ring.items[0]?.id ?? ''
    await node.api('POST', '/keys', {})
    return {
      node,
      owner,
      ids: {
        ...{ busy: busy.id, quiet: busy.id, rotated: rotated.id, dead: dead.id },
        ...{ revocation, several: revocation, person, apiKey, oldKey },
      },
      [Symbol.asyncDispose]: async () => {
        await node.stop()
        events.stop()
        await mcp.stop()
      },
    }
  }

  /** A command whose every word is hostile, and one that says so on its standard error, more than a page may hold. */
  const addCommands = async (node: TestNode, name: string) => {
    const says = 'for n in $(seq 100); do echo "$0" >&2; done; exit 1'
    const stdio = { sandbox: true, allow: [`/${name}`], command: [name, ...Array.from({ length: 30 }, () => name)] }
    // It is looked at as well: its health says which program is not there.
    await node.api('POST', '/servers', { name: 'project-files', stdio })
    const command = ['/bin/sh', '-c', says, `${name} `.repeat(15)]
    await node.api('POST', '/servers', { name: 'weather', probe: false, stdio: { command } })
    const { token } = await node.createToken('forecast', ['weather'])
    await initialize(`${node.gate}/s/weather`, token)
    await eventually(async () => {
      const { json } = await node.api<ServerJson>('GET', '/servers/weather')
      return (json.stdio?.status.stderr.length ?? 0) >= 100
    })
  }

  beforeAll(async () => {
    browser = await launch()
    world = await startHostile(BREAKOUT.slice(0, 100))
    quiet = await startHostile(`${RTL} ${LONG}`.slice(0, 100))
  })
  afterAll(async () => {
    await browser.close()
    for (const stream of streams) stream[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
    await quiet[Symbol.asyncDispose]()
  })

  const TITLES = sweep({ ids: {} } as World).map(({ title }) => title)

  const visit = async (on: World, title: string, viewport: { width: number; height: number }) => {
    const context = await browser.newContext({ viewport })
    await signIn(context, on.owner)
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (/Content.Security|Refused|blocked/i.test(message.text())) complaints.push(message.text())
    })
    page.on('dialog', () => complaints.push('a dialog of a script'))
    const found = sweep(on).find((candidate) => candidate.title === title)
    if (!found) throw new Error(`no page is called ${title}`)
    await page.goto(on.node.console + found.path)
    await found.ready?.(page)
    return { page, complaints, context }
  }

  const nothingGotOut = async (page: Page, complaints: string[]) => {
    expect(await page.title()).toEndWith(' · Portcullis')
    expect(await page.locator('img, body script, iframe, [onerror], [onclick], [style]').count()).toBe(0)
    expect(complaints).toEqual([])
  }

  test.each(TITLES)('%s shows them as text', async (title) => {
    const { page, complaints, context } = await visit(world, title, { width: 1280, height: 900 })
    await nothingGotOut(page, complaints)
    // After it has refreshed itself too, where it does.
    if ((await page.locator('#live').count()) > 0) {
      await refresh(page)
      await nothingGotOut(page, complaints)
    }
    await context.close()
  })

  test.each(TITLES)('%s stays within 320 pixels, and within 100 KB', async (title) => {
    const { page, context } = await visit(quiet, title, { width: 320, height: 700 })
    const wide = await page.evaluate(() =>
      document.documentElement.scrollWidth <= 320
        ? []
        : [...document.querySelectorAll('main *')]
            .filter((element) => element.getBoundingClientRect().right > 320)
            .map((element) => element.outerHTML.slice(0, 160)),
    )
    expect(wide).toEqual([])
    // Names of right-to-left letters turn the words around them, unless they stand apart.
    const loose = await page.evaluate(() => {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
      const found: string[] = []
      while (walker.nextNode()) {
        const { data, parentElement } = walker.currentNode as Text
        if (data.includes('שלום') && !parentElement?.closest('bdi, option, code, pre, textarea'))
          found.push(parentElement?.outerHTML.slice(0, 200) ?? '')
      }
      return found
    })
    expect(loose).toEqual([])
    const path = sweep(quiet).find((candidate) => candidate.title === title)?.path ?? ''
    expect((await (await quiet.owner.get(path)).text()).length).toBeLessThan(100_000)
    await context.close()
  })

  test('what is typed into a field comes back as text', async () => {
    const stranger = new Visitor(world.node.console)
    const answers = await Promise.all([
      stranger.post('/sign-in', { name: TEN_KB, password: 'x' }),
      world.owner.post('/tokens/new', { name: TEN_KB, form: 'f', server: BREAKOUT, subject: TEN_KB }),
      world.owner.post('/find', { q: TEN_KB }),
      world.owner.get(`/tokens?${new URLSearchParams({ q: TEN_KB })}`),
      world.owner.get(`/revocations/new?${new URLSearchParams({ subject: BREAKOUT })}`),
      world.owner.get(`/audit?${new URLSearchParams({ target: TEN_KB, actor: BREAKOUT })}`),
      world.owner.get(`/${encodeURIComponent(BREAKOUT)}`),
      world.owner.get(`/tokens/${encodeURIComponent(BREAKOUT)}`),
      world.owner.get(`/servers/${encodeURIComponent(BREAKOUT)}`),
    ])
    for (const answer of answers) {
      const html = await answer.text()
      expect({ url: answer.url.slice(0, 60), large: html.length > 100_000 && html.length }).toMatchObject({
        large: false,
      })
      expect(html).toStartWith('<!doctype html>')
      expect(html).not.toContain('<img')
      expect(html).not.toContain('<script>')
    }
  })
})
