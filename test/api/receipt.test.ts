import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { Revocation, ReceiptConnectionPage, type RevocationJson } from '../../src/server/api/schemas.ts'
import type { ReceiptConnectionJson } from '../../src/server/api/schemas.ts'
import { portcullis } from '../cli/run.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem, expectShape } from './shape.ts'

let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
beforeAll(async () => {
  events = await startEvents({ burst: 1 })
  node = await startNode()
  await node.addServer('events', events.url, { kind: 'http' })
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

type Page = { items: ReceiptConnectionJson[]; next: string | null }
const page = (id: string, query = '', key: string | null = null) => {
  const path = `/revocations/${id}/connections${query}`
  return key === null ? node.api<Page>('GET', path) : consoleApi(node, key)<Page>('GET', path)
}
const streams = async (token: string, count: number, headers = {}): Promise<RawClient[]> => {
  const target = '/s/events/a/path?with=a-query'
  const clients = await Promise.all(
    Array.from({ length: count }, () => open(node.gate, { target, headers: { ...bearer(token), ...headers } })),
  )
  for (const client of clients) await client.until(({ text }) => text.includes('data:'))
  return clients
}
const timingsOf = (id: string) =>
  eventually(async () => {
    const { timings } = (await node.api<RevocationJson>('GET', `/revocations/${id}`)).json
    return timings.upstreamCancelledMs === null ? null : timings
  })

test('what died is kept, with who and how much, without paths; and nothing else', async () => {
  const one = await node.createToken('one', ['events'], { subject: 'ada@example.com', group: 'g' })
  const two = await node.createToken('two', ['events'], { group: 'g' })
  const other = await node.createToken('other', ['events'])
  const before = Date.now()
  await streams(one.token, 2, { 'User-Agent': 'curl/8.0' })
  await streams(two.token, 1)
  await streams(other.token, 1)
  const revocation = await node.revoke({ group: 'g' })
  expectShape(Revocation, revocation)
  const { status, json } = await page(revocation.id)
  expect(status).toBe(200)
  expectShape(ReceiptConnectionPage, json)
  expect([json.items.length, json.next]).toEqual([revocation.connections.cut, null])
  expect(json.items.map(({ n }) => n)).toEqual([1, 2, 3])
  expect(json.items.map(({ token }) => token.name).toSorted()).toEqual(['one', 'one', 'two'])
  for (const item of json.items) {
    expect(item).toMatchObject({ kind: 'sse', server: 'events', address: '127.0.0.1', bytesIn: 0 })
    expect(item.bytesOut).toBeGreaterThan(0)
    expect(Date.parse(item.startedAt)).toBeGreaterThanOrEqual(before)
    expect(Date.parse(item.endedAt) - Date.parse(item.startedAt)).toBe(item.ageMs)
  }
  const first = json.items.find(({ token }) => token.name === 'one')
  expect(first?.token).toEqual({ id: one.id, name: 'one', subject: 'ada@example.com' })
  expect(first?.client).toContain('curl')
  expect(JSON.stringify(json)).not.toMatch(/path|query|pcl_/)
})

test('the phases of a revocation follow each other', async () => {
  const { token, id } = await node.createToken('phases', ['events'])
  await streams(token, 3)
  const { timings, id: revocation } = await node.revoke({ tokens: [id] })
  const { commitMs, deniedMs, firstCutMs, lastCutMs, upstreamCancelledMs } = timings
  const phases = [commitMs, deniedMs, firstCutMs, lastCutMs].map(Number)
  expect(phases).toEqual(phases.toSorted((a, b) => a - b))
  expect(phases[0]).toBeGreaterThan(0)
  expect(Number(upstreamCancelledMs)).toBeGreaterThanOrEqual(Number(lastCutMs))
  expect(await timingsOf(revocation)).toEqual(timings)

  const nothing = await node.createToken('nothing', ['events'])
  const silent = await node.revoke({ tokens: [nothing.id] })
  expect(silent.timings).toMatchObject({ firstCutMs: null, lastCutMs: null, upstreamCancelledMs: null })
  expect(silent.timings.deniedMs).toBeGreaterThan(0)
  expect((await page(silent.id)).json).toEqual({ items: [], next: null })
})

test('more than fit in one slice: all of them, and the upstreams after the answer', async () => {
  const { token, id } = await node.createToken('many', ['events'])
  const clients = await streams(token, 700)
  const { connections, id: revocation, timings } = await node.revoke({ tokens: [id] })
  expect(connections.cut).toBe(700)
  expect(timings.upstreamCancelledMs).toBeNull()
  const filled = await timingsOf(revocation)
  expect(filled).toEqual({ ...timings, upstreamCancelledMs: filled.upstreamCancelledMs })
  expect(Number(filled.upstreamCancelledMs)).toBeGreaterThan(Number(timings.lastCutMs))
  const all = await eventually(async () => {
    const { items } = (await page(revocation, '?limit=1000')).json
    return items.length === 700 && items
  })
  expect(all.map(({ n }) => n)).toEqual(all.map((_, index) => index + 1))
  const paged: number[] = []
  for (let query = '?limit=300'; query !== '';) {
    const { items, next } = (await page(revocation, query)).json
    paged.push(...items.map(({ n }) => n))
    query = next === null ? '' : `?limit=300&after=${next}`
  }
  expect(paged).toEqual(all.map(({ n }) => n))
  for (const client of clients) client.close()
}, 30_000)

test('a restore keeps what died since the backup', async () => {
  const data = tempFolder()
  const file = join(tempFolder(), 'backup')
  const first = await startNode({ data })
  await first.addServer('events', events.url, { kind: 'http' })
  const { token, id } = await first.createToken('dies', ['events'])
  expect((await portcullis(['backup', file, '--data', data])).code).toBe(0)
  const client = await open(first.gate, { target: '/s/events/x', headers: bearer(token) })
  await client.until(({ text }) => text.includes('data:'))
  const { id: revocation } = await first.revoke({ tokens: [id] })
  await first.stop()
  expect((await portcullis(['restore', file, '--data', data])).code).toBe(0)
  await using second = await startNode({ data })
  const { json } = await second.api<Page>('GET', `/revocations/${revocation}/connections`)
  expect(json.items).toMatchObject([{ n: 1, token: { id, name: 'dies' }, server: 'events' }])
}, 20_000)

test('auditors read it; nobody else, and nothing that is none', async () => {
  const { id } = await node.createToken('read', ['events'])
  const { id: revocation } = await node.revoke({ tokens: [id] })
  const { key } = await makeKey(node, 'reader', 'auditor')
  expect((await page(revocation, '', key)).status).toBe(200)
  expectProblem(await consoleApi(node)('GET', `/revocations/${revocation}/connections`), 401)
  expectProblem(await page('rev_never'), 404)
  expectProblem(await page(revocation, '?after=x'), 400)
  expectProblem(await page(revocation, '?limit=0'), 400)
})
