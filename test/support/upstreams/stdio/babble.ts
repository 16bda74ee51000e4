import { writeSync } from 'node:fs'
import { Random } from '../../random.ts'

/**
 * A server that answers each line with what no server should say: `bun babble.ts SEED`. Only how it is initialized, and
 * what it is asked by the tool `sane`, is answered as it should be.
 */
const random = new Random(Number(process.argv[2]))

const write = (text: string): void => {
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
      Bun.sleepSync(1)
    }
  }
}

const ids: unknown[] = [0, -1, 1e308, 1.5, '', 'x', null, true, {}, [], '__proto__', 'constructor', 2 ** 53]
const anyId = (): unknown => (random.chance(0.5) ? random.below(40) : ids[random.below(ids.length)])
const values: unknown[] = [null, 1, 'text', [], {}, { _meta: null }, { _meta: { progressToken: {} } }, { content: 5 }]
const anyValue = (): unknown => values[random.below(values.length)]
const METHODS = [
  ...['progress', 'cancelled', 'message', 'tools/list_changed', 'resources/updated', 'initialized', '', 'é'].map(
    (name) => `notifications/${name}`,
  ),
  ...['ping', 'sampling/createMessage', 'roots/list', 'elicitation/create', 'initialize', 'toString'],
] as [string]

const params = (): unknown =>
  random.pick<() => unknown>([
    () => anyValue(),
    () => ({ progressToken: anyId(), progress: anyValue() }),
    () => ({ requestId: anyId(), reason: anyValue() }),
    () => ({ uri: anyValue(), level: anyValue(), data: anyValue(), _meta: anyValue() }),
    () => ({ _meta: { 'io.modelcontextprotocol/subscriptionId': anyId() } }),
  ])()

const message = (): unknown =>
  random.pick<() => unknown>([
    () => ({ jsonrpc: '2.0', method: random.pick(METHODS), params: params() }),
    () => ({ jsonrpc: '2.0', id: anyId(), method: random.pick(METHODS), params: params() }),
    () => ({ jsonrpc: '2.0', id: anyId(), result: anyValue() }),
    () => ({ jsonrpc: '2.0', id: anyId(), error: anyValue() }),
    () => ({ jsonrpc: '2.0', id: anyId(), error: { code: anyId(), message: anyValue(), data: anyValue() } }),
    () => ({ jsonrpc: '1.0', id: anyId(), result: {}, error: {} }),
    () => [message(), message()],
    () => anyValue(),
  ])()

const line = (): string =>
  random.pick<() => string>([
    () => JSON.stringify(message()),
    () => JSON.stringify(message()),
    () => JSON.stringify(message()).slice(0, random.below(40)),
    () => '{"jsonrpc":"2.0","id":1,"result":{"__proto__":{"x":1}},"__proto__":{"method":"ping"}}',
    () => '\u0000\ufffd\u2028 {',
    () => '',
  ])()

for await (const text of console) {
  const {
    id,
    method,
    params: asked,
  } = JSON.parse(text) as { id?: unknown; method?: string; params?: { name?: string } }
  const base = {
    capabilities: { tools: {}, logging: {}, resources: { subscribe: true } },
    serverInfo: { name: 'b', version: '1' },
  }
  const say = (result: unknown) => write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`)
  if (method === 'initialize') say({ protocolVersion: '2025-11-25', ...base })
  else if (method === 'server/discover')
    say({ resultType: 'complete', supportedVersions: ['2026-07-28'], ttlMs: 0, cacheScope: 'private', ...base })
  else if (asked?.name === 'sane') say({ resultType: 'complete', content: [{ type: 'text', text: 'sane' }] })
  else {
    for (let count = random.below(6); count > 0; count -= 1) write(`${line()}\n`)
    if (id !== undefined && random.chance(0.5)) say(anyValue())
  }
}
