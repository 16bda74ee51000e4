import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Activity, type ActivityJson } from '../../src/server/api/schemas.ts'
import { expectShape } from '../api/shape.ts'
import { readCsvRows } from '../support/csv.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { documentOf, portcullis } from './run.ts'

let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
let id: string
const HOSTILE = '=1+1\u001b[2J\u202e\u009b'
const callTool = (secret: string, server: string, name: string) =>
  ask(node.gate, {
    method: 'POST',
    target: `/s/${server}/mcp`,
    headers: {
      ...bearer(secret),
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      'User-Agent': 'raw/1',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name, arguments: { a: 'said-4711' } },
    }),
  })

beforeAll(async () => {
  echo = await startEcho()
  node = await startNode()
  await node.addServer('echo', echo.url)
  await node.addServer('down', 'http://127.0.0.1:1')
  const made = await node.createToken('Cursor IDE', ['echo', 'down'], {
    subject: 'dev@example.com',
    policy: { deny: ['no*'] },
  })
  id = made.id
  await callTool(made.token, 'echo', 'read_file')
  await callTool(made.token, 'echo', 'read_file')
  await callTool(made.token, 'down', 'write_file')
  await callTool(made.token, 'echo', 'not_this')
  const hostile = await node.createToken('hostile', ['echo'])
  await callTool(hostile.token, 'echo', HOSTILE)
  await node.createToken('idle', ['echo'])
})
afterAll(async () => {
  await node?.stop()
  echo?.stop()
})

const cli = (...args: string[]) => portcullis(['token', 'activity', ...args, '--data', node.data])
// What a terminal acts on, but the line feed.
// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/

test('for people: what, how often, from where, with what', async () => {
  for (const name of [id, 'Cursor IDE']) {
    const { code, stdout, stderr } = await cli(name)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`Cursor IDE (${id}), active`)
    expect(stdout).toContain('dev@example.com')
    expect(stdout).toContain('3 calls, 1 failed, 1 refused, 51 B of arguments')
    expect(stdout).toMatch(/^echo +read_file +2 +0 +0 +34 B +\d{4}-/m)
    expect(stdout).toMatch(/^down +write_file +1 +1 +0 +17 B /m)
    expect(stdout).toMatch(/^echo +not_this +0 +0 +1 +0 B /m)
    expect(stdout).toMatch(/^echo +tools\/call +2 +0 +1 /m)
    expect(stdout).toMatch(/^127\.0\.0\.1 +3 +1 +1 /m)
    expect(stdout).toMatch(/^raw\/1 +3 +1 +1 /m)
    expect(stdout).not.toContain('4711')
  }
})

test.each(['', '--json', '--format=json', '--format=csv'])(
  'a tool called to harm is shown harmless: %s',
  async (how) => {
    const { code, stdout } = await cli('hostile', ...(how === '' ? [] : [how]))
    expect(code).toBe(0)
    expect(stdout).toContain('=1+1\ufffd[2J\ufffd\ufffd')
    expect(stdout.replaceAll('\r\n', '\n')).not.toMatch(UNSAFE)
    if (how === '--format=csv') expect(readCsvRows(stdout)).toMatchObject([{ name: "'=1+1\ufffd[2J\ufffd\ufffd" }])
  },
)

test('a token that did nothing says so', async () => {
  const { code, stdout } = await cli('idle')
  expect([code, stdout]).toEqual([0, expect.stringContaining('0 calls')])
  expect(stdout).toContain('It called no tool.')
})

test.each(['--json', '--format=json'])("%s: the API's own document", async (how) => {
  const ran = await cli(id, how)
  const json = documentOf<ActivityJson>(ran)
  expect([ran.code, ran.stderr]).toEqual([0, ''])
  expectShape(Activity, json)
  const api = await node.api<ActivityJson>('GET', `/tokens/${id}/activity`)
  const { since: _, until: __, ...same } = json
  expect(api.json).toMatchObject(same)
})

test('--format csv', async () => {
  const { code, stdout, stderr } = await cli(id, '--format', 'csv')
  expect([code, stderr]).toEqual([0, ''])
  const rows = readCsvRows(stdout)
  const sumOf = (tool: string, key: string) =>
    rows.filter(({ name }) => name === tool).reduce((sum, row) => sum + Number(row[key]), 0)
  const tools = ['read_file', 'write_file', 'not_this']
  expect(tools.map((name) => ['calls', 'errors', 'refused'].map((key) => sumOf(name, key)))).toEqual([
    [2, 0, 0],
    [1, 1, 0],
    [0, 0, 1],
  ])
  expect(new Set(rows.map(({ server, address, client }) => `${server} ${address} ${client}`))).toEqual(
    new Set(['echo 127.0.0.1 raw/1', 'down 127.0.0.1 raw/1']),
  )
})

test('--since', async () => {
  const after = new Date(Date.now() + 1).toISOString()
  expect(documentOf<ActivityJson>(await cli(id, '--json', '--since', '1h')).calls).toBe(3)
  expect(documentOf<ActivityJson>(await cli(id, '--json', '--since', after)).calls).toBe(0)
  expect(readCsvRows((await cli(id, '--format', 'csv', '--since', after)).stdout)).toEqual([])
  for (const since of ['soon', '2999-01-01']) {
    const { code, stdout, stderr } = await cli(id, '--since', since)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('since')
  }
})

test("what can't be had is said", async () => {
  for (const args of [['nobody'], ['nobody', '--format', 'csv'], ['nobody', '--json']]) {
    const { code, stdout, stderr } = await cli(...args)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('no token')
  }
  expect(await cli(id, '--format', 'xml')).toMatchObject({ code: 2, stdout: '' })
  expect(await cli(id, '--format', 'csv', '--json')).toMatchObject({ code: 2, stdout: '' })
  expect(await cli()).toMatchObject({ code: 2, stdout: '' })
  expect((await cli('--help')).stdout).toContain('--since')
})
