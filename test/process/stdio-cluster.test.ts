import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import { portcullis } from '../cli/run.ts'
import { startCluster, type TestCluster, type TestMember, ticketOf } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

/** A server that is a command runs where it was added, or everywhere; the other nodes say where. Real processes. */

const COMMAND = [process.execPath, join(import.meta.dir, '../support/upstreams/stdio/mcp.ts')]

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}

const initialize = (member: TestMember, server: string, token: string) =>
  fetch(`${member.running.gate}/s/${server}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify(INITIALIZE),
  })

/** Whether a session begins there; it is ended again. */
const begins = async (member: TestMember, server: string, token: string): Promise<boolean> => {
  const answer = await initialize(member, server, token)
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`${member.name} answered ${answer.status}: ${text}`)
  const headers = {
    authorization: `Bearer ${token}`,
    'mcp-session-id': answer.headers.get('mcp-session-id') ?? '',
  }
  await fetch(`${member.running.gate}/s/${server}/mcp`, { method: 'DELETE', headers })
  return text.includes('"serverInfo"')
}

const refusal = async (member: TestMember, server: string, token: string) => {
  const answer = await initialize(member, server, token)
  const { type, detail } = (await answer.json()) as { type: string; detail: string }
  return { status: answer.status, slug: type.split(':').at(-1), detail }
}

const shown = async (member: TestMember, server: string) =>
  (await member.running.api<ServerJson>('GET', `/servers/${server}`)).json

const add = async (member: TestMember, name: string, stdio: object = {}) => {
  const body = { name, stdio: { command: COMMAND, ...stdio }, probe: false }
  const { status, json } = await member.running.api<ServerJson>('POST', '/servers', body)
  if (status !== 201) throw new Error(JSON.stringify(json))
  return json
}

/** Nothing was ever started there: not even its working folder is. */
const nothingRan = async (member: TestMember, { id, name }: ServerJson) => {
  expect((await shown(member, name)).stdio?.status).toMatchObject({ processes: 0, startedInAll: 0 })
  expect(existsSync(join(member.data, 'stdio', id))).toBe(false)
}

describe('three nodes', () => {
  let cluster: TestCluster
  let [a, b, c] = [] as unknown as [TestMember, TestMember, TestMember]
  beforeAll(async () => {
    cluster = await startCluster(3)
    ;[a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
  }, 60_000)
  afterAll(() => cluster[Symbol.asyncDispose]())

  test('it runs where it was added; another node starts nothing, names that one, and does not look at it', async () => {
    const fs = await add(a, 'fs')
    const { token } = await a.running.createToken('for fs', ['fs'])
    await cluster.spread()
    expect(await begins(a, 'fs', token)).toBe(true)
    expect(await refusal(b, 'fs', token)).toEqual({
      status: 421,
      slug: 'server-elsewhere',
      detail: 'This server runs on node "a" only; ask that node.',
    })
    const looked = await b.running.api('POST', '/servers/fs/probes')
    expect(looked.json).toMatchObject({ reachable: false, found: 'nothing', detail: 'runs on node a' })
    const there = await shown(b, 'fs')
    expect(there.stdio?.node).toBe('a')
    expect(there.health).toMatchObject({ reachable: null, lookedAt: null, detail: 'runs on node a' })
    expect((await shown(a, 'fs')).stdio?.node).toBe('a')
    await nothingRan(b, fs)
  })

  test('what is refused anyway is refused so first', async () => {
    await add(a, 'closed')
    const { token } = await a.running.createToken('for closed', ['closed'])
    const { token: other } = await a.running.createToken('for fs alone', ['fs'])
    const { id, token: dead } = await a.running.createToken('dead', ['closed'])
    await a.running.revoke({ tokens: [id] })
    await cluster.spread()
    expect((await initialize(b, 'closed', 'pcl_nothing')).status).toBe(401)
    expect((await refusal(b, 'closed', dead)).slug).toBe('token-revoked')
    expect((await refusal(b, 'closed', other)).slug).toBe('insufficient-scope')
    expect((await refusal(b, 'closed', token)).slug).toBe('server-elsewhere')
    await b.running.api('PUT', '/servers/closed/gate', { state: 'closed' })
    expect((await refusal(b, 'closed', token)).slug).toBe('server-closed')
  })

  test('with everywhere it runs on each', async () => {
    await add(a, 'all', { everywhere: true })
    const { token } = await a.running.createToken('for all', ['all'])
    await cluster.spread()
    for (const member of [a, b]) {
      expect(await begins(member, 'all', token)).toBe(true)
      const { stdio } = await shown(member, 'all')
      expect(stdio).toMatchObject({ everywhere: true, node: null })
      expect(stdio?.status.startedInAll).toBeGreaterThan(0)
    }
  })

  test('an owner changes it from any node, also which one runs it', async () => {
    const moving = await add(a, 'moving')
    const { token } = await a.running.createToken('for moving', ['moving'])
    await cluster.spread()
    const held = await initialize(a, 'moving', token)
    await held.text()
    expect((await shown(a, 'moving')).stdio?.status.processes).toBe(1)
    const change = (stdio: object) => b.running.api<ServerJson>('PATCH', '/servers/moving', { stdio })
    expect((await change({ idleMs: 5_000 })).json.stdio).toMatchObject({ idleMs: 5_000, node: 'a' })
    await cluster.spread()
    expect((await shown(a, 'moving')).stdio).toMatchObject({ idleMs: 5_000, node: 'a' })
    // What runs is of the command as it was: it ends, and with it the session.
    const headers = { authorization: `Bearer ${token}`, 'mcp-session-id': held.headers.get('mcp-session-id') ?? '' }
    const ping = () =>
      fetch(`${a.running.gate}/s/moving/mcp`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
        body: '{"jsonrpc":"2.0","id":2,"method":"ping"}',
      })
    await eventually(async () => (await ping()).status === 404)
    expect((await change({ node: 'nobody' })).status).toBe(400)
    expect((await change({ node: 'c' })).json.stdio?.node).toBe('c')
    await cluster.spread()
    expect(await begins(c, 'moving', token)).toBe(true)
    for (const member of [a, b]) expect((await refusal(member, 'moving', token)).detail).toContain('node "c"')
    await nothingRan(b, moving)
  })

  test('a node that was restored runs what it ran, under the id that it has now', async () => {
    await add(c, 'kept')
    const { token } = await c.running.createToken('for kept', ['kept'])
    await cluster.spread()
    const folder = tempFolder()
    const before = await c.id()
    for (const args of [
      ['backup', join(folder, 'backup'), '--data', c.data],
      ['restore', join(folder, 'backup'), '--data', c.data],
    ]) {
      if (args[0] === 'restore') await c.stop()
      const { code, stderr } = await portcullis(args)
      expect([code, stderr]).toEqual([0, expect.any(String)])
    }
    removeFolder(folder)
    await c.start()
    await cluster.settled(20_000)
    expect(await c.id()).not.toBe(before)
    expect(await begins(c, 'kept', token)).toBe(true)
    await cluster.spread()
    for (const member of [a, b, c]) expect((await shown(member, 'kept')).stdio?.node).toBe('c')
    expect((await refusal(a, 'kept', token)).detail).toContain('node "c"')
    // The place of a folder is remembered until it has it; what it runs is not forgotten by the next start.
    await c.stop()
    await c.start()
    await cluster.settled(20_000)
    expect(await begins(c, 'kept', token)).toBe(true)
  }, 60_000)

  test('of a node that left the others say so, until an owner lets another one run it', async () => {
    const left = await add(c, 'left')
    const { token } = await a.running.createToken('for left', ['left'])
    await cluster.spread()
    expect((await a.running.api('DELETE', '/cluster/members/c')).status).toBeLessThan(300)
    await eventually(async () => (await refusal(a, 'left', token)).detail.includes('no member'))
    expect(await refusal(b, 'left', token)).toMatchObject({ status: 421, slug: 'server-elsewhere' })
    expect(await shown(a, 'left')).toMatchObject({ stdio: { node: null }, health: { reachable: null } })
    await nothingRan(a, left)
    expect((await a.running.api('PATCH', '/servers/left', { stdio: { node: 'b' } })).status).toBe(200)
    await eventually(async () => (await shown(b, 'left')).stdio?.node === 'b')
    expect(await begins(b, 'left', token)).toBe(true)
  })
})

test('who takes the place of a lost node runs what it ran, and no other command', async () => {
  await using cluster = await startCluster(3)
  const [a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
  await add(c, 'kept')
  await add(b, 'other')
  const { token } = await a.running.createToken('for both', ['kept', 'other'])
  await cluster.spread()
  await c.kill()
  const again = cluster.member()
  await again.start('--cluster-join', a.url, '--ticket', await ticketOf(a), '--node-name', 'c')
  await cluster.settled()
  await cluster.spread()
  expect(await begins(again, 'kept', token)).toBe(true)
  for (const member of [a, b]) expect((await refusal(member, 'kept', token)).detail).toContain('node "c"')
  expect((await refusal(again, 'other', token)).detail).toContain('node "b"')
  expect(await begins(b, 'other', token)).toBe(true)
}, 60_000)
