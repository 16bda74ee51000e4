import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type AuditRow, Fold, type Folded, GENESIS, hashRow, verifyChain } from '../../src/audit.ts'

const chain = (length: number, salt = ''): AuditRow[] => {
  const rows: AuditRow[] = []
  for (let sequence = 1; sequence <= length; sequence++) {
    const row = {
      sequence,
      at: sequence,
      node: 'n',
      actor: `local:${salt}`,
      action: 'token.issue',
      targetId: `t${sequence}`,
      targetName: null,
      reason: null,
      details: '{}',
      previousHash: rows.at(-1)?.hash ?? GENESIS,
    }
    rows.push({ ...row, hash: hashRow(row) })
  }
  return rows
}

const headOf = (rows: AuditRow[], at: number) => ({ sequence: at, hash: rows[at - 1]?.hash ?? GENESIS })

test('an untouched chain is intact, also against a head of its own', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(), (length, pick) => {
      const rows = chain(length)
      return verifyChain(rows, [headOf(rows, (pick % length) + 1)]).status === 'intact'
    }),
  )
})

test('any changed field of any row is found, at that row or the next', () => {
  const fields = [
    'at',
    'node',
    'actor',
    'action',
    'targetId',
    'targetName',
    'reason',
    'details',
    'previousHash',
    'hash',
    'sequence',
  ] as const
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 20 }), fc.nat(), fc.constantFrom(...fields), (length, pick, field) => {
      const rows = chain(length)
      const at = pick % length
      const row = rows[at] as AuditRow
      rows[at] = { ...row, [field]: typeof row[field] === 'number' ? Number(row[field]) + 1 : `${row[field]}x` }
      const { status, sequence } = verifyChain(rows)
      return status === 'altered' && sequence !== null && Math.abs(sequence - (at + 1)) <= 1
    }),
  )
})

test('a missing or a swapped row is found', () => {
  expect(verifyChain(chain(5).filter((row) => row.sequence !== 3)).status).toBe('altered')
  const [first, second, ...rest] = chain(5)
  expect(verifyChain([second as AuditRow, first as AuditRow, ...rest]).status).toBe('altered')
})

test('cut off and forked are told apart', () => {
  const rows = chain(10)
  expect(verifyChain(rows.slice(0, 7), [headOf(rows, 10)])).toMatchObject({ status: 'truncated', sequence: 8 })
  expect(verifyChain([], [headOf(rows, 10)]).status).toBe('truncated')
  expect(verifyChain(chain(12, 'other'), [headOf(rows, 10)])).toMatchObject({ status: 'forked', sequence: 10 })
})

test('what strangers do is counted by source, and past the bound together', () => {
  const counts = new Fold(2)
  for (let round = 0; round < 5; round++) counts.add('gate.refuse', '10.0.0.1', null, round)
  for (const source of ['10.0.0.2', '10.0.0.3', '10.0.0.4']) counts.add('gate.refuse', source, null, 9)
  const written: Folded[][] = []
  const store = { appendFolded: (folded: readonly Folded[]) => void written.push([...folded]) }
  const refusing = {
    appendFolded: () => {
      throw new Error('disk full')
    },
  }
  // What the store refuses stays for the next time; what it took is gone.
  expect(() => counts.flush(refusing)).toThrow('disk full')
  counts.flush(store)
  counts.flush(store)
  expect(written).toHaveLength(1)
  expect(written[0]).toMatchObject([
    { source: '10.0.0.1', count: 5, firstAt: 0, lastAt: 4 },
    { source: '10.0.0.2', count: 1 },
    { source: 'many', count: 2 },
  ])
})
