import { expect, test } from 'bun:test'
import { join } from 'node:path'
import type { AuditRowJson, ServerJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const MCP = join(import.meta.dir, '../support/upstreams/stdio/mcp.ts')
const mcp = (...words: string[]): string[] => [process.execPath, MCP, ...words]

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const serverOf = async (node: TestNode, name: string) =>
  (await node.api<ServerJson>('GET', `/servers/${name}`)).json as ServerJson & { stdio: object }

const add = async (node: TestNode, name: string, stdio: Record<string, unknown>, probe = false) => {
  const { status, json } = await node.api<ServerJson>('POST', '/servers', { name, stdio, probe })
  if (status !== 201) throw new Error(JSON.stringify(json))
  return json
}

interface Rpc {
  result?: { content?: { text: string }[] }
  error?: { code: number; message: string; data?: { type: string } }
  type?: string
  detail?: string
}

/** A client of 2025-11-25 without an SDK: what it is answered, as it comes. */
const clientOf = (node: TestNode, name: string, token: string) => {
  const headers: Record<string, string> = {
    ...bearer(token),
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  }
  let id = 0
  const post = async (message: Record<string, unknown>) => {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message })
    const answer = await fetch(`${node.gate}/s/${name}`, { method: 'POST', headers, body })
    const text = await answer.text()
    const events = text.split('\n').flatMap((line) => (line.startsWith('data: {') ? [line.slice(6)] : []))
    const last = events.at(-1) ?? text
    const rpc = (last === '' ? {} : JSON.parse(last)) as Rpc
    return { status: answer.status, retryAfter: answer.headers.get('retry-after'), headers: answer.headers, rpc }
  }
  return {
    async open() {
      const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
      const answer = await post({ id: (id += 1), method: 'initialize', params })
      const session = answer.headers.get('mcp-session-id')
      if (session !== null) {
        headers['mcp-session-id'] = session
        await post({ method: 'notifications/initialized' })
      }
      return answer
    },
    call: (tool: string, args: Record<string, unknown> = {}) =>
      post({ id: (id += 1), method: 'tools/call', params: { name: tool, arguments: args } }),
    async pid() {
      const { rpc } = await this.call('pid')
      return Number(rpc.result?.content?.[0]?.text)
    },
  }
}

test('a process that dies ends its session, shows in the health at once, and another is started after a while', async () => {
  await using node = await startNode()
  await add(node, 'fs', { command: mcp() }, true)
  expect((await serverOf(node, 'fs')).health).toMatchObject({ reachable: true, mcp: { name: 'test-stdio' } })
  const { token } = await node.createToken('client', ['fs'])
  const client = clientOf(node, 'fs', token)
  expect((await client.open()).status).toBe(200)
  const waiting = client.call('slow', { seconds: 60 })
  const { rpc } = await client.call('kill')
  expect(rpc.error).toMatchObject({ code: -32082, data: { type: 'server_exited' } })
  expect((await waiting).rpc.error).toMatchObject({ code: -32082, message: 'The server exited: SIGKILL' })
  const crashed = await serverOf(node, 'fs')
  const detail = 'exited once, last: SIGKILL'
  expect(crashed.health).toMatchObject({ reachable: false, detail, mcp: { name: 'test-stdio' } })
  expect(crashed.stdio).toMatchObject({ status: { crashes: 1, lastCrash: { detail: 'SIGKILL' } } })
  expect((await client.call('pid')).status).toBe(404)

  const next = clientOf(node, 'fs', token)
  await eventually(async () => (await next.open()).status === 200, { everyMs: 50 })
  expect(await next.pid()).toBeGreaterThan(0)
  expect((await serverOf(node, 'fs')).health.reachable).toBeTrue()
  const metrics = await (await fetch(`${node.console}/metrics`)).text()
  expect(metrics).toMatch(/portcullis_stdio_crashes_total\{server="srv_\w+"\} 1\n/)
  expect(metrics).toMatch(/portcullis_stdio_processes\{server="srv_\w+"\} [12]\n/)
  expect(metrics).toMatch(/portcullis_connections\{kind="process"\} 1\n/)
})

test('a crash loop closes the server and says so, until an operator opens it', async () => {
  await using node = await startNode()
  await add(node, 'loop', { command: mcp('exit=7') })
  const { token } = await node.createToken('client', ['loop'])
  const client = clientOf(node, 'loop', token)
  const first = await client.open()
  expect(first.status).toBe(502)
  expect(first.rpc.type).toEndWith(':server-exited')
  expect(first.rpc.detail).toContain('exit code 7')
  const second = await client.open()
  expect([second.status, second.retryAfter]).toEqual([503, '1'])
  expect(second.rpc.type).toEndWith(':server-restarting')
  // Waits of 1, 2, 4 and 8 s: nobody can hurry it.
  const refused = await eventually(
    async () => {
      const answer = await client.open()
      return answer.rpc.type?.endsWith(':server-closed') && answer
    },
    { timeoutMs: 40_000, everyMs: 100 },
  )
  expect(refused.status).toBe(503)
  expect(Number(refused.retryAfter)).toBeGreaterThan(0)
  const closed = await serverOf(node, 'loop')
  const reason = 'crash loop: it exited 5 times in a row, last: exit code 7'
  expect(closed).toMatchObject({
    state: 'closed',
    reason,
    health: { reachable: false, detail: 'closed after 5 crashes, last: exit code 7' },
    stdio: { status: { crashes: 5, startedInAll: 5, processes: 0 } },
  })
  const audit = await node.api<{ items: AuditRowJson[] }>('GET', '/audit?action=server.close')
  expect(audit.json.items).toMatchObject([{ actor: 'system', action: 'server.close', reason, targetName: 'loop' }])

  expect((await node.api('PUT', '/servers/loop/gate', { state: 'open' })).status).toBeLessThan(300)
  const again = await client.open()
  expect(again.rpc.type).toEndWith(':server-exited')
  expect(await serverOf(node, 'loop')).toMatchObject({ state: 'open', stdio: { status: { crashes: 6 } } })
}, 60_000)

test('a shared process ends when its server is closed or changed', async () => {
  await using node = await startNode()
  await add(node, 'one', { command: mcp(), shared: true })
  const { token } = await node.createToken('client', ['one'])
  const pids: number[] = []
  for (const change of [
    () => node.api('PUT', '/servers/one/gate', { state: 'closed' }),
    () => node.api('PATCH', '/servers/one', { stdio: { command: mcp('2025') } }),
  ]) {
    const client = clientOf(node, 'one', token)
    expect((await client.open()).status).toBe(200)
    const pid = await client.pid()
    pids.push(pid)
    expect((await change()).status).toBeLessThan(300)
    await eventually(() => !isAlive(pid))
    expect((await client.call('pid')).status).not.toBe(200)
    await node.api('PUT', '/servers/one/gate', { state: 'open' })
  }
  expect(new Set(pids).size).toBe(2)
})

test('the settings bound processes in all and under a token', async () => {
  const args = ['--stdio-processes', '2', '--stdio-processes-per-token', '1']
  await using node = await startNode({ args })
  await add(node, 'fs', { command: mcp() })
  const tokens = await Promise.all(['a', 'b', 'c'].map((name) => node.createToken(name, ['fs'])))
  const [a, b, c] = tokens.map(({ token }) => token) as [string, string, string]
  expect((await clientOf(node, 'fs', a).open()).status).toBe(200)
  const own = await clientOf(node, 'fs', a).open()
  expect([own.status, own.rpc.type?.split(':').at(-1)]).toEqual([429, 'too-many-processes'])
  expect((await clientOf(node, 'fs', b).open()).status).toBe(200)
  const all = await clientOf(node, 'fs', c).open()
  expect([all.status, all.rpc.type?.split(':').at(-1)]).toEqual([503, 'too-many-processes'])
})

test.each(['SIGTERM', 'SIGKILL'] as const)(
  '%s of the node leaves nobody behind, whatever they ignore',
  async (signal) => {
    const data = tempFolder()
    const node = await startNode({ data })
    await add(node, 'stubborn', { command: mcp('stubborn') })
    await add(node, 'shared', { command: mcp('stubborn'), shared: true })
    const { token } = await node.createToken('client', ['stubborn', 'shared'])
    const pids: number[] = []
    const calls: Promise<unknown>[] = []
    for (const name of ['stubborn', 'stubborn', 'shared']) {
      const client = clientOf(node, name, token)
      expect((await client.open()).status).toBe(200)
      pids.push(await client.pid())
      const { rpc } = await client.call('child')
      pids.push(Number(rpc.result?.content?.[0]?.text))
      // What is asked for holds up the end for a while.
      calls.push(client.call('slow', { seconds: 60 }).catch(() => undefined))
    }
    expect(new Set(pids.filter(isAlive)).size).toBe(6)
    const before = performance.now()
    node.kill(signal)
    const code = await node.exited
    if (signal === 'SIGTERM') expect(code).toBe(0)
    await eventually(() => !pids.some(isAlive), { what: `none of ${pids.join()} lives` })
    expect(performance.now() - before).toBeLessThan(5_000)
    await Promise.all(calls)
    await node.stop()
    removeFolder(data)
  },
)
