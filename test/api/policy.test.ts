import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import {
  type AuditRowJson,
  type ConnectionJson,
  Token,
  TokenIssued,
  type TokenJson,
} from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { eventsAnswer, jsonAnswer, startLenient } from '../support/upstreams/lenient.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem, expectShape } from './shape.ts'

const FULL = {
  allow: ['get_*', 'list_*'],
  deny: ['get_secret'],
  readOnly: true,
  callsPerMinute: 60,
  concurrentStreams: 3,
}
const NOTHING = { allow: null, deny: [], readOnly: false, callsPerMinute: null, concurrentStreams: null }

let upstream: Awaited<ReturnType<typeof startLenient>>
let node: TestNode
beforeAll(async () => {
  ;[upstream, node] = await Promise.all([startLenient(), startNode()])
  await node.addServer('tools', upstream.url)
  await node.addServer('plain', upstream.url, { kind: 'http' })
})
afterAll(async () => {
  await node.stop()
  upstream.stop()
})

const put = (id: string, policy: unknown) => node.api<TokenJson>('PUT', `/tokens/${id}/policy`, policy)
const CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forbidden"}}'
const send = (of: TestNode, secret: string, body = CALL) =>
  ask(of.gate, {
    method: 'POST',
    target: '/s/tools',
    headers: { ...bearer(secret), 'Content-Type': 'application/json' },
    body,
  })

test('a policy is shown where the token is, complete, and in the audit', async () => {
  const created = await node.createToken('full', ['tools'], { policy: FULL })
  expectShape(TokenIssued, created)
  expect(created.policy).toEqual(FULL)
  const shown = await node.api<TokenJson>('GET', `/tokens/${created.id}`)
  expectShape(Token, shown.json)
  expect(shown.json.policy).toEqual(FULL)
  const partial = await node.createToken('partial', ['tools'], { policy: { deny: ['x'] } })
  expect(partial.policy).toEqual({ ...NOTHING, deny: ['x'] })
  for (const policy of [undefined, null, {}, NOTHING])
    expect((await node.createToken(`none ${JSON.stringify(policy)}`, ['tools'], { policy })).policy).toBeNull()
  const { json } = await node.api<{ items: AuditRowJson[] }>('GET', `/audit?action=token.issue&target=${created.id}`)
  expect(json.items.map(({ details }) => details['policy'])).toEqual([FULL])
})

const many = (count: number) => Array.from({ length: count }, (_, index) => `t${index}`)
const BAD: [object, number, RegExp][] = [
  [{ allow: many(limits.toolPatternsMax + 1) }, 400, /allow: more than 100 patterns/],
  [{ deny: many(limits.toolPatternsMax + 1) }, 400, /deny: more than 100 patterns/],
  [{ allow: ['a'.repeat(limits.toolNameLengthMax + 1)] }, 400, /longer than 128/],
  [{ deny: [''] }, 400, /a pattern of deny is empty/],
  [{ deny: ['a\u202eb'] }, 400, /control character/],
  [{ callsPerMinute: 0 }, 400, /callsPerMinute: write a whole number from 1 to 10000/],
  [{ callsPerMinute: limits.callsPerMinuteMax + 1 }, 400, /callsPerMinute/],
  [{ callsPerMinute: 1.5 }, 400, /callsPerMinute/],
  [{ callsPerMinute: '5' }, 400, /callsPerMinute/],
  [{ concurrentStreams: -1 }, 400, /concurrentStreams/],
  [{ concurrentStreams: limits.connectionsPerTokenMax + 1 }, 400, /concurrentStreams/],
  [{ allow: 'get_*' }, 400, /allow/],
  [{ allow: [1] }, 400, /allow/],
  [{ readOnly: 'yes' }, 400, /readOnly/],
  [{ tools: ['x'] }, 400, /tools/],
  [{ deny: null }, 400, /deny/],
]
describe('what is no policy', () => {
  test.each(BAD)('%j', async (policy, status, detail) => {
    const { id } = await node.createToken(`bad ${BAD.findIndex(([one]) => one === policy)}`, ['tools'], {
      policy: FULL,
    })
    const created = await node.api('POST', '/tokens', { name: 'never', servers: ['tools'], policy })
    // What is not of the right type is named by the outermost field.
    expect(expectProblem(created, status).detail).toMatch(new RegExp(`${detail.source}|look at policy`))
    expect(expectProblem(await put(id, policy), status).detail).toMatch(detail)
    expect((await node.api<TokenJson>('GET', `/tokens/${id}`)).json.policy).toEqual(FULL)
  })

  test('a secret in a pattern is refused, and not repeated', async () => {
    const { id, token } = await node.createToken('holds a secret', ['tools'])
    const refused = await put(id, { deny: [token] })
    expectProblem(refused, 400)
    expect(JSON.stringify(refused.json)).not.toContain(token)
  })

  test('rules about tools at a plain server; limits are no such rules', async () => {
    const both = { servers: ['tools', 'plain'] }
    for (const policy of [{ allow: ['x'] }, { allow: [] }, { deny: ['x'] }, { readOnly: true }]) {
      const refused = await node.api('POST', '/tokens', { name: 'plain', ...both, policy })
      expect(expectProblem(refused, 400).detail).toContain('plain')
    }
    const { id } = await node.createToken('plain', both.servers, { policy: { callsPerMinute: 5 } })
    expect(expectProblem(await put(id, { readOnly: true }), 400).detail).toContain('plain')
    expect((await put(id, { concurrentStreams: 5 })).status).toBe(200)
  })

  test('a server that becomes plain later is not reached under such rules, and is again when it is not', async () => {
    await node.addServer('changing', upstream.url)
    const { token } = await node.createToken('changing', ['changing'], { policy: { deny: ['forbidden'] } })
    const headers = { ...bearer(token), 'Content-Type': 'application/json' }
    const ping = { method: 'POST', target: '/s/changing', headers, body: CALL.replace('tools/call', 'ping') }
    for (const [kind, status] of [
      ['auto', 200],
      ['http', 403],
      ['mcp', 200],
    ] as const) {
      await node.api('PATCH', '/servers/changing', { kind })
      upstream.requests.length = 0
      expect((await ask(node.gate, ping)).status).toBe(status)
      // The node itself looks at a server that was changed.
      const arrived = upstream.requests.filter(({ bodyText }) => bodyText === ping.body)
      expect(arrived.length).toBe(status === 200 ? 1 : 0)
    }
  })
})

test('another policy is in force at once; what runs is cut; before and after stand in the audit', async () => {
  const { id, token } = await node.createToken('changes', ['tools'], { policy: { callsPerMinute: 100 } })
  const other = await node.createToken('stays', ['tools'])
  upstream.answering = (request) => {
    request.begin('200 OK', ['Content-Type: text/event-stream'])
    request.chunk('data: 1\n\n')
  }
  const listening = (secret: string) =>
    open(node.gate, { target: '/s/tools', headers: { ...bearer(secret), Accept: 'text/event-stream' } })
  using stream = await listening(token)
  using bystander = await listening(other.token)
  await Promise.all([stream, bystander].map((it) => it.until(({ bodyBytes }) => bodyBytes > 0)))
  const changed = await put('changes', { allow: ['echo'], readOnly: false })
  expect([changed.status, changed.json.policy]).toEqual([200, { ...NOTHING, allow: ['echo'] }])
  expectShape(Token, changed.json)
  await stream.done()
  expect(stream.text).toContain('connection_killed')
  expect([bystander.ended, bystander.text]).toEqual(['open', 'data: 1\n\n'])
  await eventually(
    async () => (await node.api<{ items: ConnectionJson[] }>('GET', '/connections')).json.items.length === 1,
  )
  upstream.answering = jsonAnswer({ jsonrpc: '2.0', id: 1, result: {} })
  upstream.requests.length = 0
  expect((await send(node, token)).text).toContain('-32081')
  expect(upstream.requests).toEqual([])
  const { json } = await node.api<{ items: AuditRowJson[] }>('GET', `/audit?action=token.policy&target=${id}`)
  expect(json.items.map(({ actor, targetName, details }) => ({ actor, targetName, details }))).toEqual([
    {
      actor: 'local:0',
      targetName: 'changes',
      details: { policy: { ...NOTHING, allow: ['echo'] }, before: { ...NOTHING, callsPerMinute: 100 } },
    },
  ])
  expect((await put(id, {})).json.policy).toBeNull()
  expect((await send(node, token)).status).toBe(200)
})

test('it survives kill -9, in force from the first request on', async () => {
  const data = tempFolder()
  const first = await startNode({ data })
  await first.addServer('tools', upstream.url)
  const { id, token } = await first.createToken('survives', ['tools'])
  await first.api('PUT', `/tokens/${id}/policy`, { ...FULL, deny: ['forbidden'] })
  first.kill('SIGKILL')
  await first.exited
  const second = await startNode({ data })
  upstream.answering = eventsAnswer([])
  upstream.requests.length = 0
  expect((await send(second, token)).text).toContain('-32081')
  expect(upstream.requests).toEqual([])
  expect((await second.api<TokenJson>('GET', `/tokens/${id}`)).json.policy).toEqual({ ...FULL, deny: ['forbidden'] })
  await second.stop()
  removeFolder(data)
})

test('who may: operators, not auditors, nobody without credentials', async () => {
  const { id } = await node.createToken('roles', ['tools'])
  const [operator, auditor] = await Promise.all([makeKey(node, 'op', 'operator'), makeKey(node, 'au', 'auditor')])
  const as = (key: string | null) => consoleApi(node, key)<TokenJson>('PUT', `/tokens/${id}/policy`, { deny: ['x'] })
  expectProblem(await as(null), 401)
  expectProblem(await as(auditor.key), 403)
  expect((await node.api<TokenJson>('GET', `/tokens/${id}`)).json.policy).toBeNull()
  expect((await as(operator.key)).json.policy).toEqual({ ...NOTHING, deny: ['x'] })
  expect((await consoleApi(node, auditor.key)<TokenJson>('GET', `/tokens/${id}`)).json.policy).not.toBeNull()
})

test('a token that is dead, or is none, has no policy to set', async () => {
  const { id } = await node.createToken('dies', ['tools'], { policy: FULL })
  await node.revoke({ tokens: [id] })
  expectProblem(await put(id, {}), 409)
  expectProblem(await put('nobody', {}), 404)
  expect((await node.api<TokenJson>('GET', `/tokens/${id}`)).json.policy).toEqual(FULL)
})

test('a rotation keeps the policy', async () => {
  const { id } = await node.createToken('rotates', ['tools'], { policy: { deny: ['forbidden'] } })
  const { json } = await node.api<{ token: string }>('POST', `/tokens/${id}/rotations`)
  upstream.requests.length = 0
  expect((await send(node, json.token)).text).toContain('-32081')
  expect(upstream.requests).toEqual([])
})
