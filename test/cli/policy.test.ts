import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Token, type TokenIssuedJson, type TokenJson } from '../../src/server/api/schemas.ts'
import { expectShape } from '../api/shape.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { documentOf, portcullis } from './run.ts'

const NOTHING = { allow: null, deny: [], readOnly: false, callsPerMinute: null, concurrentStreams: null }

let node: TestNode
beforeAll(async () => {
  node = await startNode()
  await node.addServer('tools', 'http://127.0.0.1:1')
})
afterAll(() => node.stop())
const cli = (...args: string[]) => portcullis([...args, '--data', node.data])
const policyOf = async (name: string) => (await node.api<TokenJson>('GET', `/tokens/${name}`)).json.policy

test('token create takes a policy, and show says it', async () => {
  const flags = ['--allow-tool', 'get_*,list_*', '--allow-tool', 'find', '--deny-tool', 'get_secret', '--read-only']
  const limited = ['--calls-per-minute', '60', '--streams', '3']
  const made = await cli('token', 'create', 'agent', '--server', 'tools', ...flags, ...limited, '--json')
  expect(documentOf<TokenIssuedJson>(made).policy).toEqual({
    allow: ['get_*', 'list_*', 'find'],
    deny: ['get_secret'],
    readOnly: true,
    callsPerMinute: 60,
    concurrentStreams: 3,
  })
  const said = 'only get_*, list_*, find; not get_secret; read-only tools; 60 calls a minute; 3 streams at once'
  expect((await cli('token', 'show', 'agent')).stdout).toContain(said)
  const shown = await cli('token', 'policy', 'agent')
  expect([shown.code, shown.stderr]).toEqual([0, ''])
  expect(shown.stdout).toMatch(/^agent \(\w+\): /)
  expect(shown.stdout).toContain(said)
})

test('token policy sets it anew, as a whole, or takes it away', async () => {
  await node.createToken('changing', ['tools'], { policy: { callsPerMinute: 5, deny: ['x'] } })
  const set = await cli('token', 'policy', 'changing', '--allow-tool', 'a', '--json')
  expectShape(Token, documentOf<object>(set))
  expect(await policyOf('changing')).toEqual({ ...NOTHING, allow: ['a'] })
  const none = await cli('token', 'policy', 'changing', '--none')
  expect([none.code, none.stdout]).toEqual([0, expect.stringContaining(': no policy\n')])
  expect(await policyOf('changing')).toBeNull()
  // To look changes nothing.
  await cli('token', 'policy', 'changing')
  expect(await policyOf('changing')).toBeNull()
})

describe('what is wrong', () => {
  test.each<[string[], number, RegExp]>([
    [['--calls-per-minute', '0'], 2, /whole number from 1/],
    [['--calls-per-minute', 'ten'], 2, /whole number from 1/],
    [['--streams', '1.5'], 2, /whole number from 1/],
    [['--none', '--read-only'], 2, /--none goes with no other flag/],
    [['--calls-per-minute', '10001'], 1, /callsPerMinute/],
    [['--deny-tool', 'a'.repeat(129)], 1, /longer than 128/],
    [['--deny'], 2, /--deny/],
    [['--allow-tool'], 2, /--allow-tool/],
    [['--allow-tool', ','], 2, /must name a tool/],
    // A script's variable that is empty must not take the policy away.
    [['--deny-tool', ''], 2, /must name a tool/],
  ])('%j', async (flags, code, message) => {
    const name = `wrong ${flags.join(' ').slice(0, 40)}`
    const { id } = await node.createToken(name, ['tools'], { policy: { deny: ['x'] } })
    const ran = await cli('token', 'policy', id, ...flags)
    expect([ran.code, ran.stdout]).toEqual([code, ''])
    expect(ran.stderr).toMatch(message)
    expect(await policyOf(id)).toEqual({ ...NOTHING, deny: ['x'] })
  })

  test('no such token, and a dead one', async () => {
    expect((await cli('token', 'policy', 'nobody')).code).toBe(1)
    const { id } = await node.createToken('dead', ['tools'])
    await node.revoke({ tokens: [id] })
    const ran = await cli('token', 'policy', 'dead', '--read-only')
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([1, '', expect.stringContaining('revoked')])
  })
})

test('a restore does not loosen what was tightened since the backup', async () => {
  const [data, folder] = [tempFolder(), tempFolder()]
  const file = join(folder, 'backup')
  const first = await startNode({ data })
  await first.addServer('tools', 'http://127.0.0.1:1')
  const tightened = await first.createToken('tightened', ['tools'])
  const changed = await first.createToken('changed', ['tools'], { policy: { deny: ['x'] } })
  const same = await first.createToken('same', ['tools'], { policy: { readOnly: true } })
  expect((await portcullis(['backup', file, '--data', data])).code).toBe(0)
  await first.api('PUT', `/tokens/${tightened.id}/policy`, { allow: [] })
  await first.api('PUT', `/tokens/${changed.id}/policy`, { deny: ['x', 'y'], callsPerMinute: 1 })
  await first.stop()
  expect((await portcullis(['restore', file, '--data', data])).code).toBe(0)
  const second = await startNode({ data })
  const { json } = await second.api<{ items: TokenJson[] }>('GET', '/tokens')
  expect(Object.fromEntries(json.items.map(({ name, policy }) => [name, policy]))).toEqual({
    tightened: { ...NOTHING, allow: [] },
    changed: { ...NOTHING, deny: ['x', 'y'], callsPerMinute: 1 },
    [same.name]: { ...NOTHING, readOnly: true },
  })
  await second.stop()
  for (const made of [data, folder]) removeFolder(made)
})
