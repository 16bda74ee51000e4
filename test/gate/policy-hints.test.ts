import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import type { ToolHint } from '../../src/gate/introduce.ts'
import { ToolHints } from '../../src/gate/tool-hints.ts'
import { type Limits, limits } from '../../src/limits.ts'
import { stdioSpec } from '../../src/stdio.ts'
import type { Upstream } from '../../src/upstream.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startSmallGate } from '../support/small-gate.ts'
import { INITIALIZED, type Script, startScripted } from '../support/upstreams/scripted.ts'

const reads = (name: string) => ({ name, annotations: { readOnlyHint: true } })

describe('what is remembered of a server', () => {
  let now: number
  let asked: string[]
  let answer: () => Promise<ToolHint[] | null>
  let hints: ToolHints
  const server = { id: 'srv' } as Upstream
  const is = (tool: string, url = 'http://x/mcp', of = server) => hints.isReadOnly(of, new URL(url), tool)
  const make = (small: Partial<Limits> = {}) =>
    new ToolHints(
      (of, url) => {
        asked.push(`${of.id} ${url.href}`)
        return answer()
      },
      { ...limits, ...small },
      () => now,
    )
  beforeEach(() => {
    now = 1_000_000
    asked = []
    answer = () =>
      Promise.resolve([
        { name: 'get', readOnly: true },
        { name: 'set', readOnly: false },
      ])
    hints = make()
  })

  test('it is asked once, whatever is called then, also at the same time', async () => {
    expect(await Promise.all([is('get'), is('set'), is('get'), is('none')])).toEqual([true, false, true, false])
    expect(await Promise.all(Array.from({ length: 100 }, (_, index) => is(`invented_${index}`)))).not.toContain(true)
    expect(asked).toEqual(['srv http://x/mcp'])
  })

  test('a command that was changed is asked anew, and answers of the old one count no more', async () => {
    const command = { ...server, stdio: stdioSpec({ command: ['old'] }, 'n') }
    expect(await is('get', undefined, command)).toBe(true)
    answer = () => Promise.resolve([{ name: 'get', readOnly: false }])
    command.stdio = stdioSpec({ command: ['new'] }, 'n')
    expect(await is('get', undefined, command)).toBe(false)
    expect(asked.length).toBe(2)
  })

  test('invented names ask again no sooner than after the retry, and known ones not at all', async () => {
    await is('get')
    now += limits.toolHintsRetryMs - 1
    await is('none')
    expect(asked.length).toBe(1)
    now += 1
    await Promise.all([is('none'), is('none2'), is('get')])
    expect(asked.length).toBe(2)
    now += limits.toolHintsMs - 1
    expect(await is('get')).toBe(true)
    expect(asked.length).toBe(2)
  })

  test('what changes is learnt when its time is up, and what is new after the retry', async () => {
    expect([await is('get'), await is('new')]).toEqual([true, false])
    answer = () =>
      Promise.resolve([
        { name: 'get', readOnly: false },
        { name: 'new', readOnly: true },
      ])
    now += limits.toolHintsRetryMs
    expect([await is('new'), await is('get')]).toEqual([true, false])
    answer = () => Promise.resolve([])
    now += limits.toolHintsMs
    expect(await is('new')).toBe(false)
  })

  test.each<[string, () => Promise<ToolHint[] | null>]>([
    ['can not be asked', () => Promise.reject(new Error('down'))],
    ['lists nothing', () => Promise.resolve(null)],
  ])('of one that %s nothing is read-only, until it can be', async (_, failing) => {
    await is('get')
    answer = failing
    now += limits.toolHintsMs
    expect(await is('get')).toBe(false)
    answer = () => Promise.resolve([{ name: 'get', readOnly: true }])
    expect(await is('get')).toBe(false)
    now += limits.toolHintsRetryMs
    expect(await is('get')).toBe(true)
  })

  test('each endpoint of each server has its own; one past the limit makes room', async () => {
    hints = make({ toolHintEndpointsMax: 2 })
    const other = { id: 'other' } as Upstream
    await is('get', 'http://x/a')
    await is('get', 'http://x/a', other)
    await is('get', 'http://x/a')
    expect(asked.length).toBe(2)
    await is('get', 'http://x/b')
    await is('get', 'http://x/a', other)
    expect(asked.length).toBe(3)
    await is('get', 'http://x/a')
    expect(asked.length).toBe(4)
  })
})

describe('through the gate', () => {
  let upstream: ReturnType<typeof startScripted>
  let gate: ReturnType<typeof startSmallGate>
  let secret: string
  let tools: unknown
  const calls = () => upstream.asked('tools/call').map(({ message }) => message?.params?.['name'])
  const call = async (name: string) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } })
    const headers = {
      ...bearer(secret),
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
    }
    const answer = await ask(gate.url, { method: 'POST', target: '/s/up', headers, body })
    const { error } = answer.json as { error?: { data: { type: string } } }
    return error?.data.type ?? answer.status
  }
  const start = (script: Script = {}) => {
    upstream = startScripted({
      initialize: () => INITIALIZED(),
      'tools/list': () => ({ tools }),
      'tools/call': () => ({ content: [] }),
      ...script,
    })
    gate = startSmallGate(`${upstream.url}/mcp`, { toolHintsMs: 60_000, toolHintsRetryMs: 60_000, probeMs: 500 })
    const issued = gate.issue('reader', { readOnly: true })
    secret = issued.secret
  }
  beforeEach(() => {
    tools = [reads('get'), { name: 'set' }, { name: 'odd', annotations: { readOnlyHint: 'true' } }]
  })
  afterEach(async () => {
    await gate?.[Symbol.asyncDispose]()
    await upstream?.stop()
  })

  test('what the server annotates may be called, nothing else, and it is asked once', async () => {
    start()
    expect(await call('get')).toBe(200)
    for (const name of ['set', 'odd', 'GET', 'get ', 'none']) expect(await call(name)).toMatch(/^tool_/)
    expect([calls(), upstream.asked('tools/list').length]).toEqual([['get'], 1])
  })

  test('what passes through the gate is not believed: a client can not teach it', async () => {
    start()
    const said = [
      { jsonrpc: '2.0', id: 1, result: { tools: [reads('set')] } },
      { jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { tools: [reads('set')] } },
    ]
    const headers = { ...bearer(secret), 'Content-Type': 'application/json' }
    for (const body of said.map((message) => JSON.stringify(message)))
      await ask(gate.url, { method: 'POST', target: '/s/up', headers, body })
    expect(await call('set')).toBe('tool_not_read_only')
    expect(calls()).toEqual([])
  })

  test.each<[string, Script]>([
    ['fails at the list', { 'tools/list': () => new Response('no', { status: 500 }) }],
    ['lists without end', { 'tools/list': () => ({ tools: [reads('get')], nextCursor: 'again' }) }],
    ['has no tools', { initialize: () => INITIALIZED({ capabilities: {} }) }],
    ['is no MCP server', { initialize: () => new Response('<html>', { status: 404 }) }],
  ])('a server that %s has none that only read', async (_, script) => {
    start(script)
    expect(await call('get')).toBe('tool_not_read_only')
    expect(calls()).toEqual([])
  })

  test('a server that is down', async () => {
    start()
    await upstream.stop()
    expect(await call('get')).toBe('tool_not_read_only')
  })
})
