import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Static } from '@sinclair/typebox'
import type { ServerCreated, ServerJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { INITIALIZED, startScripted } from '../support/upstreams/scripted.ts'
import { documentOf, portcullis } from './run.ts'

let node: TestNode
let upstream: ReturnType<typeof startScripted>
beforeAll(async () => {
  upstream = startScripted({
    // What a server says of itself must not act on the terminal.
    initialize: () => INITIALIZED({ serverInfo: { name: 'git\u001b[31mhub', version: '2.1' } }),
    'tools/list': () => ({ tools: [{ name: 'one' }, { name: 'two' }] }),
  })
  node = await startNode()
})
afterAll(async () => {
  await node.stop()
  await upstream.stop()
})

const run = async (...args: string[]) => {
  const ran = await portcullis([...args, '--data', node.data])
  expect([ran.code, ran.stderr]).toEqual([0, ''])
  return ran
}
const fieldsOf = (stdout: string) =>
  Object.fromEntries(
    stdout.split('\n').flatMap((line) => [...line.matchAll(/^([^:]+): +(.*)$/g)].map((m) => [m[1], m[2]])),
  )

test('server add tells what it found and which URL to paste; show and ls tell it again', async () => {
  const added = await run('server', 'add', 'github', upstream.url)
  const said = 'git\ufffd[31mhub 2.1, revision 2025-11-25 over HTTP, 2 tools'
  expect(fieldsOf(added.stdout)).toMatchObject({
    Found: `an MCP server at /mcp: ${said}`,
    'URL to paste': `${node.gate}/s/github/mcp`,
  })
  const shown = await run('server', 'show', 'github')
  expect(fieldsOf(shown.stdout)).toMatchObject({
    Health: expect.stringMatching(/^reachable: MCP answers at \S+\/mcp \(looked at \d+s ago\)$/) as unknown,
    MCP: said,
    'Errors, last hour': '-',
  })
  const { token } = await node.createToken('caller', ['github'])
  await fetch(`${node.gate}/t/${token}/s/github/nothing`)
  const [head, row] = (await run('server', 'ls')).stdout.split('\n')
  expect(head).toMatch(/^NAME +STATE +HEALTH +MCP +TOOLS +ERRORS +/)
  expect(row).toMatch(/^github +open +up +git\ufffd\[31mhub 2\.1 +2 +0% of 1 +/)
  for (const { stdout } of [added, shown]) expect(stdout).not.toContain('\u001b')
})

test('--json is the shape of the API', async () => {
  const json = documentOf<Static<typeof ServerCreated>>(await run('server', 'add', 'json', upstream.url, '--json'))
  expect(json.probe?.mcp).toMatchObject({ revision: '2025-11-25', tools: 2 })
  expect(documentOf<ServerJson>(await run('server', 'show', 'json', '--json')).health.mcp).toEqual(
    json.probe?.mcp ?? null,
  )
})

test('HTTP+SSE is named, and pasted with its path', async () => {
  const everything = await startEverything('sse')
  const { stdout } = await run('server', 'add', 'old', everything.url)
  await everything.stop()
  expect(fieldsOf(stdout)).toMatchObject({
    Found: expect.stringMatching(/^an MCP server at \/sse: .* over HTTP\+SSE, \d+ tools$/) as unknown,
    'URL to paste': `${node.gate}/s/old/sse`,
  })
})

test('what is down, locked or not looked at is said so', async () => {
  const down = await run('server', 'add', 'down', 'http://127.0.0.1:1')
  expect(fieldsOf(down.stdout).Found).toStartWith('nothing that answers yet (connecting failed')
  expect(fieldsOf((await run('server', 'show', 'down')).stdout).Health).toStartWith('not reachable: connecting failed')
  await node.addServer('unseen', 'http://127.0.0.1:1')
  expect(fieldsOf((await run('server', 'show', 'unseen')).stdout)).toMatchObject({
    Health: 'not looked at yet',
    MCP: '-',
  })
  const locked = startScripted({})
  locked.door = () => new Response(null, { status: 401 })
  expect(fieldsOf((await run('server', 'add', 'locked', locked.url)).stdout).Found).toBe(
    'an HTTP server (it answers 401: its credentials are missing or wrong)',
  )
  await locked.stop()
  const lines = (await run('server', 'ls')).stdout.split('\n')
  const row = (name: string) => lines.find((line) => line.startsWith(`${name} `))
  expect(row('down')).toMatch(/^down +open +down +- +- +- /)
  expect(row('unseen')).toMatch(/^unseen +open +- +- +- +- /)
})
