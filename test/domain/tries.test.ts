import { expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import type { Receipt } from '../../src/revocation-record.ts'
import { triesOf } from '../../src/tries.ts'
import { Evidence, type EvidenceAddress, OTHER_ADDRESSES } from '../../src/usage.ts'

const AT = 1_000
const receiptOf = (count: number): Receipt =>
  ({ at: AT, tokens: Array.from({ length: count }, (_, index) => ({ id: `tok_${index}` })) }) as unknown as Receipt
type Row = [token: string, address: string, count: number, firstAt: number, lastAt: number]
const evidenceWith = (rows: Row[]): Evidence => {
  const stored = new Map<string, EvidenceAddress[]>()
  for (const [token, address, count, firstAt, lastAt] of rows) {
    stored.set(token, [...(stored.get(token) ?? []), { address, count, firstAt, lastAt }])
  }
  return new Evidence(
    {
      evidenceOf: (ids) => new Map(ids.flatMap((id) => (stored.has(id) ? [[id, stored.get(id) ?? []]] : []))),
      putEvidence: () => undefined,
    },
    limits,
  )
}

test('nobody tried', async () => {
  expect(await triesOf(receiptOf(3), evidenceWith([]), limits)).toEqual({
    count: 0,
    atLeast: false,
    lastAt: null,
    addresses: [],
  })
})

test('over all tokens, the busiest address first; not those of other tokens', async () => {
  const evidence = evidenceWith([
    ['tok_0', '10.0.0.1', 2, 1_100, 1_500],
    ['tok_1', '10.0.0.1', 3, 1_050, 1_400],
    ['tok_1', '10.0.0.2', 9, 1_200, 1_300],
    ['tok_7', '10.0.0.3', 99, 1_200, 9_999],
  ])
  expect(await triesOf(receiptOf(2), evidence, limits)).toEqual({
    count: 14,
    atLeast: false,
    lastAt: 1_500,
    addresses: [
      { address: '10.0.0.2', count: 9, firstAt: 1_200, lastAt: 1_300 },
      { address: '10.0.0.1', count: 5, firstAt: 1_050, lastAt: 1_500 },
    ],
  })
})

test('tries with a secret that was dead before are not counted; where both are counted together, the last is', async () => {
  const evidence = evidenceWith([
    ['tok_0', '10.0.0.1', 50, 100, 900],
    ['tok_0', '10.0.0.2', 50, 900, 1_100],
    ['tok_0', '10.0.0.3', 4, AT, AT],
  ])
  expect(await triesOf(receiptOf(1), evidence, limits)).toEqual({
    count: 5,
    atLeast: true,
    lastAt: 1_100,
    addresses: [
      { address: '10.0.0.3', count: 4, firstAt: AT, lastAt: AT },
      { address: '10.0.0.2', count: 1, firstAt: 1_100, lastAt: 1_100 },
    ],
  })
})

test('what is not written yet counts, and once', async () => {
  const evidence = evidenceWith([['tok_0', '10.0.0.1', 2, 1_100, 1_200]])
  evidence.add('tok_0', '10.0.0.1', 2_000)
  evidence.add('tok_1', '10.0.0.2', 2_500)
  expect(await triesOf(receiptOf(2), evidence, limits)).toMatchObject({ count: 4, lastAt: 2_500 })
  evidence.flush()
  expect(await triesOf(receiptOf(2), evidence, limits)).toMatchObject({ count: 4, lastAt: 2_500 })
})

test('past the limits: shown are the busiest, told apart only so many, counted all', async () => {
  const rows = Array.from({ length: 30 }, (_, n): Row => ['tok_0', `10.0.0.${n}`, n + 1, 1_100, 1_100 + n])
  const evidence = evidenceWith(rows)
  const shown = await triesOf(receiptOf(1), evidence, { ...limits, triesAddressesShownMax: 2 })
  expect(shown.addresses.map(({ address }) => address)).toEqual(['10.0.0.29', '10.0.0.28'])
  expect([shown.count, shown.lastAt]).toEqual([465, 1_129])
  const told = await triesOf(receiptOf(1), evidence, { ...limits, triesAddressesMax: 5 })
  expect(told.count).toBe(465)
  expect(told.addresses[0]).toMatchObject({ address: OTHER_ADDRESSES, count: 450 })
  expect(told.addresses).toHaveLength(6)
})

test('many tokens died: the loop gets its turns', async () => {
  let turns = 0
  const turn = () => {
    turns += 1
    immediate = setImmediate(turn)
  }
  let immediate = setImmediate(turn)
  const rows = Array.from({ length: 10_000 }, (_, n): Row => [`tok_${n}`, `10.0.0.${n % 100}`, 1, 1_100, 1_100])
  const { count, addresses } = await triesOf(receiptOf(10_000), evidenceWith(rows), limits)
  clearImmediate(immediate)
  expect([count, addresses.length]).toEqual([10_000, limits.triesAddressesShownMax])
  expect(turns).toBeGreaterThan(100)
})
