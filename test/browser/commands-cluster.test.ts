import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import { TestCluster, type TestMember } from '../support/cluster.ts'
import { initialize } from '../support/initialize.ts'
import { eventually } from '../support/poll.ts'
import { fieldsOf, textOf } from './text.ts'
import { PASSWORD, setupLinkOf, Visitor } from './visitor.ts'

const MCP = join(import.meta.dir, '../support/upstreams/stdio/mcp.ts')

let cluster: TestCluster
let [a, b]: TestMember[] = []
const owners = new Map<TestMember | undefined, Visitor>()

beforeAll(async () => {
  cluster = new TestCluster({})
  a = cluster.member()
  await a.start()
  const first = new Visitor(a.running.console)
  await first.usePasswordLink(await setupLinkOf(a.running), 'ada')
  owners.set(a, first)
  b = await cluster.join()
  await cluster.settled()
  const owner = new Visitor(b.running.console)
  await eventually(async () => (await owner.post('/sign-in', { name: 'ada', password: PASSWORD })).status === 303)
  owners.set(b, owner)
})
afterAll(() => cluster[Symbol.asyncDispose]())

const read = async (member: TestMember | undefined, path: string) =>
  textOf((await (await owners.get(member)?.get(path))?.text()) ?? '')
const filesOn = async (member: TestMember | undefined) =>
  (await member?.running.api<ServerJson>('GET', '/servers/files'))?.json

test('a command runs where it was added; the other node says so, and says where', async () => {
  const owner = owners.get(a)
  const html = (await (await owner?.get('/servers/new/command'))?.text()) ?? ''
  expect(textOf(html)).toContain('On every node')
  const command = `${process.execPath}\n${MCP}`
  const fields = { ...fieldsOf(html), name: 'files', command, env: 'A=1', allow: '', anyway: 'yes' }
  expect((await owner?.post('/servers/new/command', fields))?.status).toBe(303)
  await cluster.spread()
  expect(await read(a, '/servers/files')).toMatch(/Runs on a Processes now none/)
  const elsewhere = await read(b, '/servers/files')
  expect(elsewhere).toContain('Runs on a This node answers 421')
  expect(elsewhere).not.toContain('Processes now')
  expect(await read(b, '/servers')).toMatch(/on a open/)
})

test('on every node it runs on both, each with processes of its own', async () => {
  const owner = owners.get(b)
  const html = (await (await owner?.get('/servers/files/edit'))?.text()) ?? ''
  expect(html).not.toMatch(/name="everywhere"[^>]*checked/)
  const command = `${process.execPath}\n${MCP}`
  const fields = { ...fieldsOf(html), command, env: 'A=***', allow: '', everywhere: 'yes' }
  expect((await owner?.post('/servers/files/edit', fields))?.status).toBe(303)
  await cluster.spread()
  expect((await filesOn(a))?.stdio).toMatchObject({ everywhere: true, node: null, env: { A: '***' } })
  const token = await a?.running.createToken('everywhere', ['files'])
  await cluster.spread()
  for (const member of [a, b]) {
    const answer = await initialize(`${member?.running.gate}/s/files`, token?.token ?? '')
    expect(answer.status).toBe(200)
    expect(await read(member, '/servers/files')).toMatch(/Runs on every node Processes now [12] /)
  }
  // Left as it is by a form that is sent as it came.
  const again = (await (await owner?.get('/servers/files/edit'))?.text()) ?? ''
  expect(again).toMatch(/name="everywhere"[^>]*checked/)
  await owner?.post('/servers/files/removal', {})
  await eventually(async () => (await a?.running.api('GET', '/servers/files'))?.status === 404)
})
