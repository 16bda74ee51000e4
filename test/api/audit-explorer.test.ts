import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { AuditRow, type AuditRowJson, type VerificationJson } from '../../src/server/api/schemas.ts'
import { makeBigDatabase } from '../support/big-database.ts'
import { readCsv } from '../support/csv.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem, expectShape } from './shape.ts'

const ROWS = 20_000
let data: string
let node: TestNode
/** All rows, as one page after the other gave them. */
let all: AuditRowJson[]
beforeAll(async () => {
  data = tempFolder()
  makeBigDatabase({ folder: data, tokens: 300, auditRows: ROWS })
  node = await startNode({ data })
  await node.createToken('=cmd|calc "quoted",<b>', ['big'])
  all = (await pages('')).flat()
}, 30_000)
afterAll(async () => {
  await node.stop()
  removeFolder(data)
})

type Page = { items: AuditRowJson[]; next: string | null }
const page = async (query: string): Promise<Page> => {
  const { status, json } = await node.api<Page>('GET', `/audit?${query}`)
  expect([query, status]).toEqual([query, 200])
  return json
}
const pages = async (query: string, limit = 1_000): Promise<AuditRowJson[][]> => {
  const read: AuditRowJson[][] = []
  for (let next: string | null = ''; next !== null;) {
    const answer: Page = await page(`${query}&limit=${limit}${next === '' ? '' : `&after=${next}`}`)
    read.push(answer.items)
    next = answer.next
  }
  return read
}
const exported = async (query: string) => {
  const response = await fetch(`http://localhost/api/v1/audit/export?${query}`, { unix: `${data}/control.sock` })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

test('what was seeded is a log that holds', async () => {
  expect(all.length).toBeGreaterThan(ROWS)
  expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
})

describe('filters', () => {
  const middle = () => all[ROWS / 2] as AuditRowJson
  const rows: [what: string, query: () => string, is: (row: AuditRowJson) => boolean][] = [
    ['an actor', () => 'actor=operator:ada', ({ actor }) => actor === 'operator:ada'],
    ['an action', () => 'action=token.revoke', ({ action }) => action === 'token.revoke'],
    ['a noun', () => 'action=token.', ({ action }) => action.startsWith('token.')],
    ['an id', () => `target=${all[5]?.targetId}`, ({ targetId }) => targetId === all[5]?.targetId],
    ['a part of a name', () => 'target=NOTEBOOK%201', ({ targetName }) => /notebook 1/i.test(targetName ?? '')],
    ['since', () => `since=${middle().time}`, ({ time }) => time >= middle().time],
    ['until', () => `until=${middle().time}`, ({ time }) => time < middle().time],
    [
      'a day, from its beginning to its end',
      () => `since=${middle().time.slice(0, 10)}&until=${middle().time.slice(0, 10)}`,
      ({ time }) => time.slice(0, 10) === middle().time.slice(0, 10),
    ],
    [
      'all at once',
      () => `actor=operator:ada&action=token.&target=notebook&until=${middle().time}`,
      ({ actor, action, targetName, time }) =>
        actor === 'operator:ada' &&
        action.startsWith('token.') &&
        targetName?.includes('notebook') === true &&
        time < middle().time,
    ],
    ['what a form left empty', () => 'actor=&action=&target=&since=&until=', () => true],
  ]
  test.each(rows)('%s: page by page, from either end, and as an export', async (_what, query, is) => {
    const wanted = all.filter(is).map(({ sequence }) => sequence)
    expect(wanted).not.toBeEmpty()
    const sequences = (read: AuditRowJson[][]) => read.flat().map(({ sequence }) => sequence)
    expect(sequences(await pages(query()))).toEqual(wanted)
    expect(sequences(await pages(`${query()}&order=desc`))).toEqual(wanted.toReversed())
    const { text } = await exported(query())
    const lines = text.trimEnd().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as AuditRowJson).sequence)).toEqual(wanted)
  })

  test('how long ago', async () => {
    expect((await page('since=1h&limit=1000')).items).toEqual(
      all.filter(({ time }) => Date.parse(time) > Date.now() - 3_600_000),
    )
  })

  test.each(['since=yesterday', 'until=soon', 'since=2026-02-31', 'after=x', 'order=up', 'limit=1001'])(
    '%s is refused',
    async (query) => {
      expectProblem(await node.api('GET', `/audit?${query}`), 400)
    },
  )
})

describe('one row', () => {
  test('by its sequence', async () => {
    const { status, json } = await node.api<AuditRowJson>('GET', `/audit/${all[7]?.sequence}`)
    expect(status).toBe(200)
    expectShape(AuditRow, json)
    expect(json).toEqual(all[7] as AuditRowJson)
  })
  test.each(['0', '99999999', 'x', '-1', '1.5', '1e3', '%20'])('%s: there is none', async (sequence) => {
    expectProblem(await node.api('GET', `/audit/${sequence}`), 404)
  })
})

describe('an export', () => {
  test('JSON lines: the rows as the API shows them', async () => {
    const { status, headers, text } = await exported('')
    expect([status, headers.get('content-type')]).toEqual([200, 'application/jsonl; charset=utf-8'])
    expect(headers.get('content-disposition')).toMatch(/^attachment; filename="audit-\d{4}-\d\d-\d\d\.jsonl"$/)
    expect(
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as AuditRowJson),
    ).toEqual(all)
  })

  test('CSV: the same, and no formula', async () => {
    const { headers, text } = await exported('format=csv')
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8')
    const [head, ...records] = readCsv(text)
    expect(head).toEqual(Object.keys(all[0] as AuditRowJson))
    expect(records).toHaveLength(all.length)
    const last = records.at(-1) as string[]
    expect(last[6]).toBe(`'${all.at(-1)?.targetName}`)
    expect(JSON.parse(last[8] ?? '')).toEqual(all.at(-1)?.details ?? null)
    expect(text).not.toMatch(/(^|,)"?=cmd/m)
  })

  test('nothing matches: nothing, or the head', async () => {
    expect((await exported('actor=nobody')).text).toBe('')
    expect((await exported('actor=nobody&format=csv')).text).toMatch(/^sequence,.*hash\r\n$/)
  })

  test('auditors may, strangers may not; what is malformed is refused', async () => {
    const { key } = await makeKey(node, 'reader', 'auditor')
    const get = (headers: Record<string, string>, query = '') =>
      fetch(`${node.console}/api/v1/audit/export?actor=system${query}`, { headers })
    expect((await get({ Authorization: `Bearer ${key}` })).status).toBe(200)
    expect((await get({})).status).toBe(401)
    for (const query of ['&format=xml', '&since=x']) {
      expect((await get({ Authorization: `Bearer ${key}` }, query)).status).toBe(400)
    }
    expectProblem(await consoleApi(node)('GET', '/audit/1'), 401)
  })
})
