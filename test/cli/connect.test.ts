import { afterAll, beforeAll, expect, test } from 'bun:test'
import { CLIENT_IDS, PLACEHOLDER } from '../../src/connect.ts'
import { SECRET_SHAPE } from '../../src/secret.ts'
import { Connect, type ConnectJson, Snippet, TokenIssued, type TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { expectShape } from '../api/shape.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { documentOf, portcullis } from './run.ts'

let node: TestNode
let id: string
let connect: ConnectJson
beforeAll(async () => {
  node = await startNode()
  await node.addServer('tools', 'http://127.0.0.1:1', { kind: 'mcp', path: '/mcp' })
  await node.addServer('llm', 'http://127.0.0.1:1', { kind: 'http', path: '/v1' })
  id = (await node.createToken('ide', ['tools', 'llm'])).id
  connect = (await node.api<ConnectJson>('GET', `/tokens/${id}/connect`)).json
})
afterAll(() => node.stop())

const cli = (...args: string[]) => portcullis([...args, '--data', node.data])
const only = <T>(found: T | undefined): T => {
  if (found === undefined) throw new Error('there is none')
  return found
}

test.each([...CLIENT_IDS])('connect --client %s: stdout is the snippet and nothing else', async (client) => {
  const snippet = only(connect[client])
  const { code, stdout, stderr } = await cli('connect', 'ide', '--client', client)
  expect([code, stdout]).toEqual([0, `${snippet.text}\n`])
  expect(stderr).toStartWith(`${snippet.title}: `)
  expect(stderr).toContain(snippet.file ?? '')
  expect(stderr).toContain(snippet.note ?? '')
  for (const { url } of snippet.links) expect(stderr).toContain(url)
  expect(stderr.includes(PLACEHOLDER)).toBe(snippet.text.includes(PLACEHOLDER))
  expect(stdout + stderr).not.toMatch(SECRET_SHAPE)
})

test('without a client it lists those that can be named', async () => {
  const { code, stdout, stderr } = await cli('connect', id)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(['CLIENT', ...CLIENT_IDS, ''])
  expect(stdout).toContain('~/.cursor/mcp.json')
})

test("--json prints the API's own shapes", async () => {
  const one = documentOf<object>(await cli('connect', id, '--client', 'codex', '--json'))
  expectShape(Snippet, one)
  expect(one).toEqual(only(connect['codex']))
  const all = documentOf<object>(await cli('connect', id, '--json'))
  expectShape(Connect, all)
  expect(all).toEqual(connect)
})

test("what can't be had is said", async () => {
  const unknown = await cli('connect', id, '--client', 'emacs')
  expect([unknown.code, unknown.stdout]).toEqual([2, ''])
  for (const client of CLIENT_IDS) expect(unknown.stderr).toContain(client)
  const nobody = await cli('connect', 'nobody', '--client', 'cursor')
  expect([nobody.code, nobody.stdout]).toEqual([1, ''])
  await node.createToken('plain', ['llm'])
  const unusable = await cli('connect', 'plain', '--client', 'cursor')
  expect([unusable.code, unusable.stdout]).toEqual([1, ''])
  expect(unusable.stderr).toContain('curl')
  const dead = await node.createToken('dead', ['tools'])
  await node.revoke({ tokens: [dead.id] })
  const refused = await cli('connect', 'dead', '--client', 'cursor')
  expect([refused.code, refused.stdout]).toEqual([1, ''])
  expect(refused.stderr).toContain('revoked')
})

test('token create says how to go on', async () => {
  const { code, stdout, stderr } = await cli('token', 'create', 'told', '--server', 'tools,llm')
  const [secret = ''] = SECRET_SHAPE.exec(stdout) ?? []
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toContain(`\n  curl -N --header "Authorization: Bearer ${secret}" `)
  expect(stdout).toContain(`${node.gate}/s/tools/mcp\n`)
  const [made = ''] = /tok_\w+/.exec(stdout) ?? []
  expect(stdout).toContain(`\n  portcullis connect ${made} [--client CLIENT]\n`)
  const ofMcp = await cli('token', 'create', 'told of MCP', '--server', 'tools')
  expect(ofMcp.stdout).toContain('"method":"initialize"')
})

test("token create and rotate print one client's snippet, ready", async () => {
  const created = await cli('token', 'create', 'ready', '--server', 'tools', '--client', 'claude-code')
  const line = new RegExp(
    `^claude mcp add --scope user --transport http tools ${node.gate}/s/tools/mcp --header "Authorization: Bearer (pcl_\\w{36})"\n$`,
  )
  expect(created.code).toBe(0)
  expect(created.stdout).toMatch(line)
  expect(created.stderr).toContain('Created token ready (tok_')
  expect(created.stderr).not.toMatch(SECRET_SHAPE)
  const rotated = await cli('token', 'rotate', 'ready', '--client', 'claude-code')
  expect(rotated.stdout).toMatch(line)
  expect(rotated.stdout).not.toBe(created.stdout)
  const [, secret = ''] = line.exec(rotated.stdout) ?? []
  const { json } = await node.api<{ items: { name: string; status: string }[] }>('GET', '/tokens')
  expect(json.items.filter(({ name }) => name === 'ready')).toMatchObject([{ status: 'active' }])
  expect(secret).toMatch(SECRET_SHAPE)
})

test('a secret is seen though the client gets none of it', async () => {
  const asks = await cli('token', 'create', 'asks', '--server', 'tools', '--client', 'vscode')
  expect([asks.code, SECRET_SHAPE.test(asks.stdout)]).toEqual([0, false])
  expect(JSON.parse(asks.stdout)).toMatchObject({ inputs: [{ password: true }] })
  expect(asks.stderr).toMatch(SECRET_SHAPE)
  const unusable = await cli('token', 'create', 'unusable', '--server', 'llm', '--client', 'cursor')
  expect([unusable.code, SECRET_SHAPE.test(unusable.stdout)]).toEqual([1, true])
  expect(unusable.stderr).toContain('cursor can call no server of this token')
})

test("token create --client --json prints the API's own shape", async () => {
  const issued = documentOf<TokenIssuedJson>(
    await cli('token', 'create', 'json', '--server', 'tools', '--client', 'cursor', '--json'),
  )
  expectShape(TokenIssued, issued)
  expect(issued.connect?.['cursor']?.text).toContain(issued.token ?? 'no secret')
})
