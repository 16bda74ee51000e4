import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Answer, type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'

const COUNT = 7
let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
const streams: RawClient[] = []
beforeAll(async () => {
  events = await startEvents({ intervalMs: 1_000, burst: 1 })
  node = await startNode()
  await node.addServer('events', events.url)
  for (let index = 1; index < COUNT; index += 1) await node.addServer(`s${(index * 5) % COUNT}`, 'http://127.0.0.1:1')
  const issued: { id: string; token: string }[] = []
  for (let index = 0; index < COUNT; index += 1) {
    issued.push(await node.createToken(`t${(index * 3) % COUNT}`, ['events']))
    await node.api('POST', '/apikeys', { name: `k${index}`, role: 'auditor' })
    await node.api('POST', '/operators', { name: `o${index}`, role: 'auditor' })
    if (index > 0) await node.api('POST', '/keys')
  }
  for (const { token } of issued) {
    streams.push(await open(node.gate, { target: '/s/events/sse', headers: bearer(token) }))
    await streams.at(-1)?.until(({ text }) => text.includes('data:'))
  }
  for (let index = 0; index < COUNT; index += 1) {
    const { id } = await node.createToken(`dead ${index}`, ['events'])
    await node.revoke({ tokens: [id] })
  }
  await eventually(() => events.open() === COUNT)
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

type Item = Record<string, unknown>
type Page = { items: Item[]; next: string | null }
const pages = async (path: string, limit: number): Promise<Item[][]> => {
  const all: Item[][] = []
  let next: string | null = null
  do {
    const query: string = `limit=${limit}${next === null ? '' : `&after=${encodeURIComponent(next)}`}`
    const { status, json }: Answer<Page> = await node.api<Page>(
      'GET',
      `${path}${path.includes('?') ? '&' : '?'}${query}`,
    )
    expect(status).toBe(200)
    all.push(json.items)
    next = json.next
    if (all.length > 100) throw new Error(`${path} has no last page`)
  } while (next !== null)
  return all
}
const keyOf = ({ sequence, id }: Item) => sequence ?? id

const LISTS = [
  '/servers',
  '/tokens',
  '/connections',
  '/revocations',
  '/apikeys',
  '/operators',
  '/keys',
  '/audit',
  '/audit?order=desc',
]
test.each(LISTS)('%s: page by page it is the same as at once', async (path) => {
  const { json: whole } = await node.api<Page>('GET', `${path}${path.includes('?') ? '&' : '?'}limit=1000`)
  expect(whole.next).toBeNull()
  expect(whole.items.length).toBeGreaterThanOrEqual(COUNT)
  for (const limit of [1, 3, whole.items.length - 1, whole.items.length]) {
    const read = await pages(path, limit)
    expect(read.flat().map(keyOf)).toEqual(whole.items.map(keyOf))
    for (const page of read.slice(0, -1)) expect(page).toHaveLength(limit)
    expect(read.at(-1)).not.toBeEmpty()
  }
})

test('in an order that is of use', async () => {
  const names = async (path: string) => (await pages(path, 1_000)).flat()
  expect((await names('/servers')).map(({ name }) => name)).toEqual(
    (await names('/servers')).map(({ name }) => name).toSorted(),
  )
  const at = (await names('/revocations')).map(({ at }) => String(at))
  expect(at).toEqual(at.toSorted().toReversed())
  const created = (await names('/tokens')).map(({ createdAt }) => String(createdAt))
  expect(created).toEqual(created.toSorted())
  const sequences = (await names('/audit')).map(({ sequence }) => Number(sequence))
  expect(sequences).toEqual(sequences.map((_, index) => index + 1))
})

test('the audit by actor, action and target', async () => {
  const of = async (query: string) => (await node.api<Page>('GET', `/audit?limit=1000&${query}`)).json.items
  const issued = await of('action=token.issue')
  expect(issued).toHaveLength(2 * COUNT)
  expect(new Set(issued.map(({ action }) => action))).toEqual(new Set(['token.issue']))
  const [{ targetId }] = issued as [Item]
  expect(await of(`target=${String(targetId)}`)).toMatchObject([{ targetName: 't0' }])
  expect(await of('target=dead&action=token.revoke')).toHaveLength(COUNT)
  expect(await of('actor=nobody')).toEqual([])
  expect((await of('actor=local:0')).length).toBeGreaterThan(4 * COUNT)
  await node.addServer('under_score', 'http://127.0.0.1:1')
  expect(await of('target=under_score')).toMatchObject([{ action: 'server.add' }])
  expect(await of('target=u%25e')).toEqual([])
})

test('a cursor that is none: refused, or the end', async () => {
  for (const path of LISTS) {
    const { status } = await node.api(
      'GET',
      `${path}${path.includes('?') ? '&' : '?'}after=${encodeURIComponent("' OR 1=1 --")}`,
    )
    expect([200, 400]).toContain(status)
  }
})
