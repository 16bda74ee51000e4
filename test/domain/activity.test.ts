import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Activity, type ActivityRow, ActivitySummary, type Call, OTHERS } from '../../src/activity.ts'
import { csvLine } from '../../src/csv.ts'
import { limits } from '../../src/limits.ts'
import { generateSecret } from '../../src/secret.ts'
import { readCsv } from '../support/csv.ts'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const CALL: Call = {
  tokenId: 'tok_1',
  serverId: 'srv_1',
  method: 'tools/call',
  name: 'echo',
  address: '192.0.2.1',
  client: 'test 1',
}
const NOTHING = { calls: 0, errors: 0, refused: 0, argumentBytes: 0 }

const listsOf = (activity: Activity, tokenId = 'tok_1') => {
  const summary = new ActivitySummary()
  for (const row of activity.pending(tokenId)) summary.add(row)
  return { ...summary.lists, totals: summary.totals }
}

/** What is kept of one call. */
const keptOf = (call: Partial<Call>): ActivityRow => {
  const activity = new Activity(limits)
  activity.called({ ...CALL, ...call }, 0, 0)
  const [row, ...more] = activity.pending('tok_1')
  if (!row || more.length > 0) throw new Error('not one row')
  return row
}

describe('counting', () => {
  test('calls, errors and refusals of the same call stand in one row', () => {
    const activity = new Activity(limits)
    activity.called(CALL, 10, 1_000)
    activity.called(CALL, 5, 2_000)
    activity.failed(CALL, 3_000)
    activity.refused(CALL, 4_000)
    activity.called({ ...CALL, tokenId: 'tok_2' }, 1, 1_000)
    expect(activity.pending('tok_1')).toEqual([
      { ...CALL, calls: 2, errors: 1, refused: 1, argumentBytes: 15, firstAt: 1_000, lastAt: 4_000 },
    ])
    expect(activity.pending('tok_2')).toMatchObject([{ calls: 1, argumentBytes: 1 }])
    expect(activity.pending('tok_3')).toEqual([])
  })

  test('a flush hands everything over once, for the minute that holds that time', () => {
    const activity = new Activity(limits)
    const written: [number, ActivityRow[]][] = []
    const store = {
      addActivity: (minute: number, rows: Iterable<ActivityRow>) => void written.push([minute, [...rows]]),
    }
    activity.flush(store, 5 * MINUTE_MS)
    expect(written).toEqual([])
    activity.called(CALL, 10, 1_000)
    activity.flush(store, 6 * MINUTE_MS - 1)
    activity.flush(store, 6 * MINUTE_MS)
    expect(written).toMatchObject([[5 * MINUTE_MS, [{ ...CALL, calls: 1 }]]])
    expect(activity.pending('tok_1')).toEqual([])
    // An answer may come long after its call: it is an error of the minute in which it came.
    activity.failed(CALL, 7 * MINUTE_MS)
    expect(activity.pending('tok_1')).toMatchObject([{ ...CALL, ...NOTHING, errors: 1 }])
  })

  test('when the store refuses, the counts stay and go on', () => {
    const activity = new Activity(limits)
    activity.called(CALL, 10, 1_000)
    const refusing = {
      addActivity: () => {
        throw new Error('disk full')
      },
    }
    expect(() => activity.flush(refusing, MINUTE_MS)).toThrow('disk full')
    activity.called(CALL, 10, 2_000)
    expect(activity.pending('tok_1')).toMatchObject([{ calls: 2, argumentBytes: 20, firstAt: 1_000 }])
  })

  test('any rows: each list adds up to the totals', () => {
    const few = (prefix: string) => fc.integer({ min: 0, max: 3 }).map((n) => `${prefix}${n}`)
    const count = fc.integer({ min: 0, max: 1_000 })
    const row = fc.record({
      tokenId: fc.constant('tok_1'),
      serverId: few('srv_'),
      method: fc.constantFrom('tools/call', 'tools/list', 'GET'),
      name: few('tool '),
      address: few('192.0.2.'),
      client: few('client '),
      calls: count,
      errors: count,
      refused: count,
      argumentBytes: count,
      firstAt: count,
      lastAt: count,
    })
    fc.assert(
      fc.property(fc.array(row), (rows) => {
        const summary = new ActivitySummary()
        for (const one of rows) summary.add(one)
        const { tools, methods, addresses, clients } = summary.lists
        for (const key of ['calls', 'errors', 'refused', 'argumentBytes'] as const) {
          const total = (list: readonly { [k in typeof key]: number }[]) => list.reduce((sum, it) => sum + it[key], 0)
          const toolCalls = rows.filter(({ method }) => method === 'tools/call')
          expect(summary.totals[key]).toBe(total(rows))
          expect([methods, addresses, clients].map(total)).toEqual(Array(3).fill(total(rows)))
          expect(total(tools)).toBe(total(toolCalls))
        }
        for (const { name, firstAt, lastAt } of addresses) {
          const own = rows.filter(({ address }) => address === name)
          expect([firstAt, lastAt]).toEqual([
            Math.min(...own.map((it) => it.firstAt)),
            Math.max(...own.map((it) => it.lastAt)),
          ])
        }
      }),
    )
  })
})

describe('what clients invent', () => {
  const max = limits.activityKeysPerTokenMax

  test('10,000 names of tools cause few rows, and hide no address', () => {
    const activity = new Activity(limits)
    for (let index = 0; index < 10_000; index++) activity.called({ ...CALL, name: `tool ${index}` }, 1, 0)
    for (let host = 1; host <= 200; host++)
      activity.called({ ...CALL, name: 'late', address: `198.51.100.${host}` }, 1, 0)
    expect(activity.pending('tok_1').length).toBeLessThanOrEqual(2 * max)
    const { tools, addresses, clients, totals } = listsOf(activity)
    expect(totals).toEqual({ ...NOTHING, calls: 10_200, argumentBytes: 10_200 })
    expect(tools).toHaveLength(max + 1)
    // That these were calls of tools is still told.
    expect(tools[0]).toMatchObject({ name: OTHERS, calls: 10_200 - max })
    expect(addresses).toHaveLength(201)
    expect(addresses.map(({ name }) => name)).not.toContain(OTHERS)
    expect(clients).toMatchObject([{ name: CALL.client, calls: 10_200 }])
  })

  test('neither do 10,000 names of clients, or of methods', () => {
    for (const key of ['client', 'method'] as const) {
      const activity = new Activity(limits)
      for (let index = 0; index < 10_000; index++) activity.called({ ...CALL, [key]: `x/${index}`, name: '' }, 1, 0)
      for (let host = 1; host <= 200; host++) activity.called({ ...CALL, address: `198.51.100.${host}` }, 1, 0)
      expect(activity.pending('tok_1').length).toBeLessThanOrEqual(3 * max)
      const { addresses, totals } = listsOf(activity)
      expect(totals.calls).toBe(10_200)
      expect(addresses).toHaveLength(201)
      expect(addresses.map(({ name }) => name)).not.toContain(OTHERS)
    }
  })

  test('addresses are bounded too, and one token takes nothing from another', () => {
    const activity = new Activity(limits)
    for (let index = 0; index < 10_000; index++) {
      activity.called(
        { ...CALL, name: `${index}`, client: `${index}`, address: `2001:db8::${index.toString(16)}` },
        1,
        0,
      )
    }
    activity.called({ ...CALL, tokenId: 'tok_2' }, 1, 0)
    expect(activity.pending('tok_1')).toHaveLength(3 * max + 1)
    expect(listsOf(activity).totals.calls).toBe(10_000)
    expect(activity.pending('tok_2')).toMatchObject([{ name: CALL.name, address: CALL.address }])
  })

  test('what is known stays known, also after a flush; the next day begins anew', () => {
    const activity = new Activity(limits)
    for (let index = 0; index < 10_000; index++) activity.called({ ...CALL, name: `tool ${index}` }, 1, 0)
    activity.flush({ addActivity: () => undefined }, 0)
    activity.called({ ...CALL, name: 'tool 0' }, 1, MINUTE_MS)
    activity.called({ ...CALL, name: 'new' }, 1, MINUTE_MS)
    expect(activity.pending('tok_1').map(({ name }) => name)).toEqual(['tool 0', OTHERS])
    activity.flush({ addActivity: () => undefined }, MINUTE_MS)
    activity.called({ ...CALL, name: 'new' }, 1, DAY_MS)
    expect(activity.pending('tok_1').map(({ name }) => name)).toEqual(['new'])
  })

  test('past what is found at once, calls are counted all the same', () => {
    const long = 'x'.repeat(limits.callLengthMax)
    for (const callsKnownMax of [1, 2]) {
      const activity = new Activity({ ...limits, callsKnownMax })
      for (const name of ['a', 'b', 'a', 'b', long, long]) activity.called({ ...CALL, name }, 1, 0)
      expect(activity.pending('tok_1').map(({ calls }) => calls)).toEqual([2, 2, 2])
    }
  })

  test('secrets are never kept', () => {
    const [token, key] = [generateSecret('pcl_'), generateSecret('pca_')]
    for (const said of [token, key, `a ${token} b`, `${'x'.repeat(500)}${token}`, encodeURIComponent(`é${token}`)]) {
      const row = keptOf({ method: said, name: said, client: said })
      expect(row).toMatchObject({ method: OTHERS, name: '(secret)', client: '(secret)' })
      expect(JSON.stringify(row)).not.toMatch(/pc[la]_/)
    }
    // Only what is shaped like a name is kept as a method, and that leaves room for a secret.
    expect(keptOf({ method: `x/${token}` }).method).toBe(OTHERS)
  })

  test('long names are cut, and nothing that a terminal acts on is kept', () => {
    const long = keptOf({ name: 'n'.repeat(1_000_000), client: 'c'.repeat(1_000_000), method: 'm'.repeat(65) })
    expect([long.name.length, long.client.length]).toEqual([limits.toolNameLengthMax, limits.clientNameLengthMax])
    expect([long.name.at(-1), long.method]).toEqual(['…', OTHERS])
    expect(keptOf({ name: 'n'.repeat(limits.toolNameLengthMax) }).name).toBe('n'.repeat(limits.toolNameLengthMax))
    expect(keptOf({ name: 'a\u001b[2Jb\u0000\r\n\u202ec\u009bd\ud800e\u2028' }).name).toBe('a�[2Jb����c�d�e�')
    expect(keptOf({ name: `${'n'.repeat(limits.toolNameLengthMax - 2)}😀😀` }).name).toEndWith('n�…')
    expect(keptOf({ method: 'tools/call\n' }).method).toBe(OTHERS)
    expect(keptOf({ name: 'schön 名前 😀' }).name).toBe('schön 名前 😀')
  })
})

describe('csv', () => {
  test('any texts come back as they were', () => {
    const harmless = fc
      .string({ unit: 'grapheme' })
      .filter((text) => !/^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text))
    const hard = fc.stringMatching(/^[a,"\r\n' ;]{0,12}$/).filter((text) => !/^[\r\n]/.test(text))
    fc.assert(
      fc.property(fc.array(fc.array(fc.oneof(harmless, hard), { minLength: 2, maxLength: 5 })), (records) => {
        expect(readCsv(records.map(csvLine).join(''))).toEqual(records)
      }),
    )
  })

  test.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '=1', '+1', '-1', '@x'])(
    '%j is no formula',
    (text) => {
      expect(readCsv(csvLine([text, 1, null]))).toEqual([[`'${text}`, '1', '']])
    },
  )
})
