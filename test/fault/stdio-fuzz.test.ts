import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { startNode } from '../support/node.ts'
import { Random } from '../support/random.ts'
import { bearer } from '../support/secret.ts'
import { addCommand, calling, initializing, stdioClient } from '../support/stdio-client.ts'

/** Nonsense from clients to a command that talks nonsense: nothing of it ends the gate, or who talks sense meanwhile. */
const ROUNDS = Number(process.env['ROUNDS'] ?? 1_500)
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const BABBLE = join(import.meta.dir, '../support/upstreams/stdio/babble.ts')

test(`${ROUNDS} rounds of nonsense from both sides (SEED=${SEED})`, async () => {
  const random = new Random(SEED)
  await using node = await startNode()
  for (const shared of [false, true])
    await addCommand(node, shared ? 'shared' : 'own', {
      command: [process.execPath, BABBLE, String(SEED)],
      shared,
      idleMs: 1_000,
    })
  const { token } = await node.createToken('client', ['own', 'shared'])
  const sane = await node.createToken('sane', ['own', 'shared'])
  const sessions: { server: string; id: string }[] = []
  for (const server of ['own', 'own', 'shared', 'shared'])
    sessions.push({ server, id: await stdioClient(node, server, token).open() })

  const anyOf = <T>(...all: [T, ...T[]]): T => random.pick(all)
  const id = () => anyOf<unknown>(random.below(40), random.below(40), 'x', -1, null, {}, '', '__proto__', 1e300)
  const METHODS = [
    'tools/call',
    'tools/list',
    'ping',
    'initialize',
    'notifications/cancelled',
    'notifications/progress',
  ]
  const method = () =>
    anyOf(...(METHODS as [string]), 'resources/subscribe', 'logging/setLevel', 'subscriptions/listen', 'tasks/list', '')
  const params = () =>
    anyOf<() => unknown>(
      () => ({ name: 'any', arguments: {}, _meta: { progressToken: id() } }),
      () => ({ requestId: id() }),
      () => ({ uri: id(), level: anyOf('debug', 'no') }),
      () => ({ protocolVersion: id(), capabilities: {}, clientInfo: { name: 'x', version: '1' } }),
      () => anyOf<unknown>(null, [], 5),
    )()
  const message = (): unknown =>
    anyOf<() => unknown>(
      () => ({ jsonrpc: '2.0', id: id(), method: method(), params: params() }),
      () => ({ jsonrpc: '2.0', method: method(), params: params() }),
      () => ({ jsonrpc: '2.0', id: id(), result: anyOf<unknown>({}, null, 5) }),
      () => ({ jsonrpc: '2.0', id: id(), error: { code: 1, message: 'no' } }),
      () => [message(), message()],
    )()
  const MODERN = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const asModern = (said: unknown): unknown =>
    typeof said === 'object' && said !== null && 'params' in said && typeof said.params === 'object'
      ? { ...said, params: { ...said.params, _meta: MODERN } }
      : said

  const statuses = new Map<number, number>()
  const nonsense = async (): Promise<void> => {
    const at = random.below(sessions.length)
    const { server, id: sessionId } = sessions[at] as (typeof sessions)[0]
    const modern = random.chance(0.3)
    const verb = random.chance(0.8) ? 'POST' : anyOf('GET', 'PUT')
    const said = message()
    const text = JSON.stringify(modern ? asModern(said) : said)
    const headers: Record<string, string> = {
      ...bearer(token),
      'content-type': random.chance(0.95) ? 'application/json' : 'text/plain',
      accept: random.chance(0.9) ? 'application/json, text/event-stream' : anyOf('text/event-stream', '*/*'),
      ...(!modern && random.chance(0.8) && { 'mcp-session-id': anyOf(sessionId, sessionId, sessionId, 'none') }),
      ...(modern && { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method(), 'mcp-name': anyOf('any', 'x') }),
      ...(random.chance(0.1) && { 'last-event-id': anyOf('1-x', 'x', '-1-_', '99999999999999999999-a') }),
    }
    const path = random.chance(0.9) ? anyOf('', '/mcp') : anyOf('/sse', '/messages?sessionId=x', '/x')
    // Who waits for what never comes leaves.
    const signal = AbortSignal.timeout(100 + random.below(200))
    const body = verb === 'GET' ? {} : { body: random.chance(0.05) ? text.slice(0, 20) : text }
    try {
      const answer = await fetch(`${node.gate}/s/${server}${path}`, { method: verb, headers, signal, ...body })
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      await answer.text()
      // The session is over, and another takes its place.
      if (answer.status !== 404 || headers['mcp-session-id'] !== sessionId || sessions[at]?.id !== sessionId) return
      const next = await stdioClient(node, server, token).post(initializing())
      if (next.session !== null) sessions[at] = { server, id: next.session }
    } catch (error) {
      if (!(error instanceof Error) || !/abort|timed? ?out/i.test(`${error.name} ${error.message}`)) throw error
    }
  }
  let left = ROUNDS
  const lane = async () => {
    for (; left > 0; left -= 1) await nonsense()
  }
  await Promise.all(Array.from({ length: 12 }, lane))

  for (const server of ['own', 'shared']) {
    const client = stdioClient(node, server, sane.token)
    const session = await client.open()
    const { status, text } = await client.post(calling(7, 'sane'), session)
    expect([status, text]).toEqual([200, expect.stringContaining('"text":"sane"')])
    const answer = await client.modern(calling(8, 'sane'))
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('"text":"sane"')])
  }
  // The gate never blames itself.
  expect(statuses.get(500) ?? 0).toBe(0)
  expect(node.stderr()).not.toMatch(/unhandled|defect|TypeError|RangeError|ReferenceError/i)
  expect(statuses.get(200) ?? 0).toBeGreaterThan(0)
  console.log(
    [...statuses]
      .toSorted()
      .map(([status, count]) => `${status}: ${count}`)
      .join(', '),
  )
}, 300_000)
