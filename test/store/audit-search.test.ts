import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import fc from 'fast-check'
import type { AuditRow } from '../../src/audit.ts'
import { limits } from '../../src/limits.ts'
import type { AuditFilter } from '../../src/node.ts'
import { AuditSearch } from '../../src/store/audit-search.ts'
import { AuditStore } from '../../src/store/audit.ts'
import { openStore, type Store } from '../../src/store/open.ts'
import { fold } from '../../src/text.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

/** More than two blocks of times. */
const ROWS = 10_000
const ACTORS = ['operator:ada', 'operator:Ada', 'local:0', 'address:10.0.0.1', 'address:10.0.0.2', 'system']
const ACTIONS = ['token.issue', 'token.revoke', 'tokens.other', 'operator.sign-in', 'gate.dead-token']
const NAMES = [
  'Cursor',
  'CURSOR',
  'cursor two',
  'Straße',
  'STRASSE',
  'ＦＵＬＬ',
  '100%',
  'a_b',
  '<b>"\'',
  '\u202eabc',
  ' ',
]
const IDS = ['tok_1', 'tok_2', 'rev_1', 'Cursor']

let folder: string
let store: Store
let all: AuditRow[]
beforeAll(() => {
  folder = tempFolder()
  let at = 0
  store = openStore({ folder, keyFile: join(folder, 'portcullis.key'), version: '0.0.0', now: () => at })
  const random = fc.sample(fc.nat({ max: 2 ** 30 }), { numRuns: ROWS, seed: 7 })
  const of = <T>(values: readonly T[], number: number) => values[number % values.length] as T
  store.log.write(() => {
    for (const [index, number] of random.entries()) {
      // The clock goes on, is wrong for the whole of the second block, and is set back a little now and then.
      at += index === 4_095 ? 20_000 : index === 8_191 ? -20_000 : index % 1_000 === 0 ? -500 : number % 3
      const named = number % 5 < 3
      store.log.change(
        {
          actor: of(ACTORS, number >> 2),
          // One that comes only at the beginning, and one that comes once.
          action: index === 4_321 ? 'key.rotate' : index < 500 ? 'server.add' : of(ACTIONS, number >> 5),
          targetId: named ? of(IDS, number >> 8) : null,
          targetName: number % 7 === 0 ? null : number % 11 === 0 ? `name ${number % 900}` : of(NAMES, number >> 11),
        },
        [],
        () => {},
      )
    }
  })
  all = store.client
    .query('SELECT *, target_id AS targetId, target_name AS targetName FROM audit ORDER BY sequence')
    .all() as AuditRow[]
})
afterAll(() => {
  store.close()
  removeFolder(folder)
})

/** The same, without any index. */
const filtered = ({ actor, action, target, since = -Infinity, until = Infinity }: AuditFilter): number[] =>
  all
    .filter(
      (row) =>
        (!actor || row.actor === actor) &&
        (!action || row.action === action || (action.endsWith('.') && row.action.startsWith(action))) &&
        (!target ||
          row.targetId === target ||
          (row.targetName !== null && fold(row.targetName).includes(fold(target)))) &&
        row.at >= since &&
        row.at < until,
    )
    .map(({ sequence }) => sequence)

const maybe = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined, freq: 2 })
const filters = fc.record<AuditFilter>({
  actor: maybe(fc.constantFrom(...ACTORS, 'nobody', '')),
  action: maybe(fc.constantFrom(...ACTIONS, 'server.add', 'key.rotate', 'token.', 'operator.', 'no.', 'nothing', '')),
  target: maybe(fc.constantFrom(...IDS, ...NAMES, 'curs', 'strasse', 'full', 'name 8', 'name', '%', '_', 'zzz', '')),
  since: maybe(fc.oneof(fc.integer({ min: -100, max: 8_000 }), fc.integer({ min: 20_000, max: 28_000 }))),
  until: maybe(fc.oneof(fc.integer({ min: -100, max: 8_000 }), fc.integer({ min: 20_000, max: 28_000 }))),
}) as fc.Arbitrary<AuditFilter>
const small = fc.record({
  auditSliceMs: fc.constantFrom(0, 5),
  auditRowsSlice: fc.constantFrom(1, 3, 50, 2_000),
  auditNamesMax: fc.constantFrom(0, 5, 500),
  auditExportSlice: fc.constantFrom(1_000, 700),
})
const searchWith = (some: Partial<typeof limits>) => new AuditSearch(store, { ...limits, ...some })

describe('reads by index equal a plain filter over all rows', () => {
  test('page by page', async () => {
    const pages = fc.record({
      limit: fc.constantFrom(1, 2, 51, 1_001),
      after: fc.option(fc.integer({ min: 0, max: ROWS + 5 }), { freq: 3 }),
      order: fc.constantFrom('asc', 'desc'),
    })
    await fc.assert(
      fc.asyncProperty(filters, pages, small, async (filter, { limit, after, order }, some) => {
        const rows = await searchWith(some).page({ limit, after, order, ...filter })
        const matching = filtered(filter)
        const wanted =
          order === 'asc'
            ? matching.filter((sequence) => sequence > (after ?? 0))
            : matching.filter((sequence) => sequence < (after ?? Infinity)).toReversed()
        expect(rows.map(({ sequence }) => sequence)).toEqual(wanted.slice(0, limit))
        for (const row of rows) expect(row).toMatchObject({ actor: all[row.sequence - 1]?.actor ?? '' })
      }),
      { numRuns: 400 },
    )
  }, 120_000)

  test('all of them, in slices', async () => {
    await fc.assert(
      fc.asyncProperty(filters, small, async (filter, some) => {
        const found: number[] = []
        for await (const rows of searchWith(some).rows(filter)) {
          expect(rows.length).toBeLessThanOrEqual(some.auditExportSlice)
          found.push(...rows.map(({ sequence }) => sequence))
        }
        expect(found).toEqual(filtered(filter))
      }),
      { numRuns: 40 },
    )
  }, 120_000)
})

test('the loop gets its turn in the middle of a read', async () => {
  let turns = 0
  const turn = () => {
    turns += 1
    if (turns < 1_000_000) immediate = setImmediate(turn)
  }
  let immediate = setImmediate(turn)
  await searchWith({ auditSliceMs: 0, auditRowsSlice: 100, auditNamesMax: 0 }).page({
    limit: 5_000,
    after: null,
    order: 'desc',
    target: '100%',
  })
  clearImmediate(immediate)
  expect(turns).toBeGreaterThan(50)
})

test('an export holds what there was when it began', async () => {
  const found: number[] = []
  for await (const rows of searchWith({ auditExportSlice: 4_000 }).rows({})) {
    found.push(...rows.map(({ sequence }) => sequence))
    if (found.length === 4_000) new AuditStore(store).append([{ actor: 'local:0', action: 'late.come' }])
  }
  expect(found).toEqual(all.map(({ sequence }) => sequence))
  expect(await searchWith({}).page({ limit: 5, after: ROWS, order: 'asc' })).toMatchObject([{ action: 'late.come' }])
})

test('what there is to choose from: without addresses, and bounded', () => {
  expect(searchWith({}).actors()).toEqual(['local:0', 'operator:Ada', 'operator:ada', 'system'])
  expect(searchWith({ auditChoicesMax: 2 }).actors()).toEqual(['local:0', 'operator:Ada'])
  expect(searchWith({}).actions()).toContain('key.rotate')
  expect(searchWith({}).actions()).toEqual([...new Set(searchWith({}).actions())].toSorted())
  expect(searchWith({ auditChoicesMax: 3 }).actions()).toHaveLength(3)
})

test('no read of an index sorts, or walks all rows', () => {
  const planOf = (sql: string) =>
    (store.client.query(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[])
      .map(({ detail }) => detail)
      .join('; ')
  const index: [where: string, index: string][] = [
    ["actor = 'a' AND action = 'b'", 'audit_actor'],
    ["action = 'b'", 'audit_action'],
    ["target_id = 'a' AND action = 'b'", 'audit_target'],
    ["target_name = 'a'", 'audit_target_name'],
  ]
  for (const [where, name] of index) {
    const plan = planOf(
      `SELECT details FROM audit WHERE ${where} AND sequence BETWEEN 1 AND 9 ORDER BY sequence DESC LIMIT 5`,
    )
    expect(plan).toContain(`USING INDEX ${name} `)
    expect(plan).not.toMatch(/SCAN|TEMP B-TREE/)
  }
  const times = planOf('SELECT at FROM audit WHERE sequence / 4096 = 7 ORDER BY at DESC LIMIT 1')
  expect(times).toContain('USING COVERING INDEX audit_time ')
  expect(times).not.toMatch(/SCAN|TEMP B-TREE/)
})
