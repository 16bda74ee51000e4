import { expect, test } from 'bun:test'
import { Client, type ClientOptions, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { ServerJson } from '../../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../../support/node.ts'
import { eventually } from '../../support/poll.ts'
import { bearer } from '../../support/secret.ts'
import { mcp, textOf } from './fronted.ts'
import { isAlive } from './supervised.ts'

/** A revocation, through the whole node: at shared processes, and where there are no sessions. */

const MODERN: ClientOptions = { versionNegotiation: { mode: { pin: '2026-07-28' } } }

const GENERATIONS = [
  ['2025', {}],
  ['2026', MODERN],
] as const

const addCommand = async (node: TestNode, command: string[], shared: boolean) => {
  const answer = await node.api('POST', '/servers', { name: 's', probe: false, stdio: { command, shared } })
  if (answer.status !== 201) throw new Error(`${answer.status}: ${JSON.stringify(answer.json)}`)
}

const statusOf = async (node: TestNode) => (await node.api<ServerJson>('GET', '/servers/s')).json.stdio?.status

const connect = async (node: TestNode, secret: string, options: ClientOptions) => {
  const client = new Client({ name: 'test', version: '1' }, options)
  const requestInit = { headers: bearer(secret) }
  await client.connect(new StreamableHTTPClientTransport(new URL(`${node.gate}/s/s`), { requestInit }))
  return {
    call: async (name: string, args: Record<string, unknown> = {}) =>
      textOf(await client.callTool({ name, arguments: args })),
    /** Resolves when it runs, to how it failed. */
    slow: async () => {
      const progressed = Promise.withResolvers<void>()
      const failed = client
        .callTool({ name: 'slow', arguments: { seconds: 600 } }, { onprogress: () => progressed.resolve() })
        .then(() => 'answered', String)
      await progressed.promise
      return { failed }
    },
    [Symbol.asyncDispose]: () => client.close(),
  }
}

test.each(GENERATIONS)(
  '%s, shared: a revocation ends the calls of its token, and nothing of others',
  async (era, options) => {
    await using node = await startNode()
    await addCommand(node, mcp(era), true)
    const [victim, other] = [await node.createToken('victim', ['s']), await node.createToken('other', ['s'])]
    await using dead = await connect(node, victim.token, options)
    await using alive = await connect(node, other.token, options)
    const pid = await alive.call('pid')
    expect(await dead.call('pid')).toBe(pid)
    const doomed = await dead.slow()
    const going = await alive.slow()
    let ended = false
    void going.failed.then(() => (ended = true))
    await node.revoke({ tokens: [victim.id] })
    expect(await doomed.failed).toContain('Connection token revoked')
    // The process is told, once, since only the one call is given up.
    const given = async () => (await statusOf(node))?.stderr.filter(({ line }) => line === 'slow was cancelled').length
    await eventually(async () => (await given()) === 1)
    expect(await alive.call('pid')).toBe(pid)
    expect(ended).toBe(false)
    expect(await given()).toBe(1)
    expect(await dead.call('pid').then(() => 'answered', String)).toContain('401')
    expect(await statusOf(node)).toMatchObject({ processes: 1, crashes: 0 })
  },
  20_000,
)

test('2026, own: a revocation ends the process of its token', async () => {
  await using node = await startNode()
  await addCommand(node, mcp('2026', 'stubborn'), false)
  const [victim, other] = [await node.createToken('victim', ['s']), await node.createToken('other', ['s'])]
  await using dead = await connect(node, victim.token, MODERN)
  await using alive = await connect(node, other.token, MODERN)
  const [pid, another] = [await dead.call('pid'), await alive.call('pid')]
  const doomed = await dead.slow()
  await node.revoke({ tokens: [victim.id] })
  expect(await doomed.failed).toContain('Connection token revoked')
  await eventually(() => !isAlive(Number(pid)))
  expect(await alive.call('pid')).toBe(another)
  expect(await statusOf(node)).toMatchObject({ processes: 1, crashes: 0 })
}, 20_000)

test('a shared process ends with its server', async () => {
  await using node = await startNode()
  await addCommand(node, mcp(), true)
  const token = await node.createToken('one', ['s'])
  await using old = await connect(node, token.token, {})
  await using modern = await connect(node, token.token, MODERN)
  const pids = [await old.call('pid'), await modern.call('pid')]
  const doomed = [await old.slow(), await modern.slow()]
  await node.api('PUT', '/servers/s/gate', { state: 'closed' })
  for (const { failed } of doomed) expect(await failed).toContain('Server closed by an operator')
  await eventually(() => pids.every((pid) => !isAlive(Number(pid))))
  await node.api('PUT', '/servers/s/gate', { state: 'open' })
  expect(pids).not.toContain(await modern.call('pid'))
  expect((await statusOf(node))?.crashes).toBe(0)
}, 20_000)
