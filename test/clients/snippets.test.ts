import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import type { TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { COMMANDS } from '../conformance/stdio-roads.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { startEverything } from '../support/upstreams/everything.ts'
import { startSessionMcp } from '../support/upstreams/mcp.ts'
import { startOpenAI } from '../support/upstreams/openai.ts'
import { snippetEnv } from './npx.ts'
import { runInShell } from './shell.ts'

/** Snippets of real tokens, fed to the programs that they are for, as they stand. */

let node: TestNode
let sessions: Awaited<ReturnType<typeof startSessionMcp>>
let sse: Awaited<ReturnType<typeof startEverything>>
let chat: Awaited<ReturnType<typeof startOpenAI>>
let events: Awaited<ReturnType<typeof startEvents>>
const env = snippetEnv()

beforeAll(async () => {
  ;[sessions, sse, chat, events, node] = await Promise.all([
    startSessionMcp(),
    startEverything('sse'),
    startOpenAI(),
    startEvents({ burst: 3, endAfter: 3 }),
    startNode(),
  ])
  await node.addServer('ses.sions', sessions.url, { kind: 'mcp', path: '/mcp' })
  await node.addCommand('command', COMMANDS.features, { path: '/mcp' })
  await node.addServer('sse', sse.url, { kind: 'mcp', path: '/sse' })
  await node.addServer('chat', chat.url, { kind: 'http', path: '/v1' })
  await node.addServer('events', events.url, { kind: 'http', path: '/sse' })
}, 30_000)
afterAll(async () => {
  await node?.stop()
  for (const upstream of [sessions, sse, chat, events]) await upstream?.stop()
}, 30_000)

const textFor = (issued: TokenIssuedJson, client: string): string => {
  const snippet = issued.connect?.[client]
  if (!snippet) throw new Error(`no snippet for ${client}`)
  return snippet.text
}
/** What the gate counted under a token: the program really used it. */
const requestsOf = async (id: string) => (await node.api<{ requests: number }>('GET', `/tokens/${id}`)).json.requests
const failureOf = (promise: Promise<unknown>): Promise<Error | null> =>
  promise.then(
    () => null,
    (error: unknown) => error as Error,
  )

/** Both programs speak the revisions with sessions, over either transport. */
const MCP = ['ses.sions', 'sse', 'command']

describe.each(MCP)('mcp-remote, as Claude Desktop starts it, to %s', (server) => {
  type Desktop = { mcpServers: Record<string, { command: string; args: string[]; env: Record<string, string> }> }
  const start = async (issued: TokenIssuedJson) => {
    const { mcpServers } = JSON.parse(textFor(issued, 'claude-desktop')) as Desktop
    const [[, desktop] = []] = Object.entries(mcpServers)
    if (!desktop) throw new Error('no server in the snippet')
    const transport = new StdioClientTransport({ ...desktop, env: { ...env, ...desktop.env }, stderr: 'pipe' })
    const client = new Client({ name: 'test-desktop', version: '1.0.0' })
    let log = ''
    transport.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()))
    return { client, transport, log: () => log }
  }

  test('lists tools and calls one, and nothing any more after the revoke', async () => {
    const issued = await node.createToken(`desktop to ${server}`, [server])
    const { client, transport, log } = await start(issued)
    await client.connect(transport)
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo')
    const args = { text: 'hällo', message: 'hällo' }
    expect(JSON.stringify(await client.callTool({ name: 'echo', arguments: args }))).toContain('hällo')
    expect(await requestsOf(issued.id)).toBeGreaterThan(2)
    // The process list shows arguments to everybody on the machine.
    expect(log()).not.toContain(issued.token)

    await node.revoke({ tokens: [issued.id] })
    const refused = await failureOf(client.callTool({ name: 'echo', arguments: args }, undefined, { timeout: 10_000 }))
    expect(refused).toBeInstanceOf(Error)
    expect(refused?.message).not.toMatch(/timed out/)
    await client.close()

    const again = await start(issued)
    expect(await failureOf(again.client.connect(again.transport, { timeout: 10_000 }))).toBeInstanceOf(Error)
    await again.client.close()
    expect(log() + again.log()).not.toContain(issued.token)
  })
})

describe.each(MCP)('the inspector, to %s', (server) => {
  test('lists tools, and none after the revoke', async () => {
    const issued = await node.createToken(`inspector to ${server}`, [server])
    const text = textFor(issued, 'inspector')
    const listed = await runInShell(text, { env, cwd: env.HOME })
    expect(listed).toMatchObject({ code: 0 })
    const { tools } = JSON.parse(listed.stdout) as { tools: { name: string }[] }
    expect(tools.map(({ name }) => name)).toContain('echo')
    expect(await requestsOf(issued.id)).toBeGreaterThan(1)

    await node.revoke({ tokens: [issued.id] })
    const refused = await runInShell(text, { env, cwd: env.HOME })
    expect(refused.code).not.toBe(0)
    expect(refused.stdout).not.toContain('echo')
  })
})

describe('programs that are no MCP clients', () => {
  test('curl joins an MCP server, and nothing after the revoke', async () => {
    const issued = await node.createToken('curl to MCP', ['ses.sions'])
    const ask = () => runInShell(textFor(issued, 'curl'), { env, cwd: env.HOME })
    expect((await ask()).stdout).toContain('"serverInfo"')
    await node.revoke({ tokens: [issued.id] })
    expect((await ask()).stdout).toContain('token-revoked')
  })

  test('curl streams every server of the token, and nothing after the revoke', async () => {
    const issued = await node.createToken('curl', ['events'])
    const text = textFor(issued, 'curl')
    const streamed = await runInShell(text, { env, cwd: env.HOME })
    expect(streamed.code).toBe(0)
    expect(streamed.stdout.match(/^data:/gm)?.length).toBeGreaterThanOrEqual(3)
    await node.revoke({ tokens: [issued.id] })
    expect((await runInShell(text, { env, cwd: env.HOME })).stdout).toContain('token-revoked')
  })

  test('the OpenAI SDK for Node answers, and not after the revoke', async () => {
    const issued = await node.createToken('openai', ['chat'])
    const ask = "const { choices } = await client_chat.chat.completions.create({ model: 'm', messages: [] })"
    const program = `${textFor(issued, 'openai-node')}\n${ask}\nconsole.log(choices[0].message.content)\n`
    const run = async () => {
      const root = join(import.meta.dir, '../..')
      const child = Bun.spawn([process.execPath, 'run', '-'], {
        cwd: root,
        env: { ...env, PATH: process.env['PATH'] ?? '' },
        stdin: new Blob([program]),
        stdout: 'pipe',
        stderr: 'pipe',
      })
      const [stdout, code] = await Promise.all([new Response(child.stdout).text(), child.exited])
      return { stdout, code }
    }
    expect(await run()).toEqual({ code: 0, stdout: `${chat.text}\n` })
    await node.revoke({ tokens: [issued.id] })
    const asked = chat.requests.length
    const refused = await run()
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(chat.requests.length).toBe(asked)
  })
})
