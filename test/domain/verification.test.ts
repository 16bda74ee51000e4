import { expect, test } from 'bun:test'
import type { AuditHead, Verification } from '../../src/audit.ts'
import type { Checkpoint } from '../../src/checkpoint.ts'
import { limits } from '../../src/limits.ts'
import { type VerificationState, Verifier } from '../../src/verification.ts'
import { eventually } from '../support/poll.ts'

const INTACT: Verification = { status: 'intact', rows: 9, sequence: null, message: '9 rows' }
const ALTERED: Verification = { status: 'altered', rows: 7, sequence: 7, message: 'row 7 was altered' }
const TRUNCATED: Verification = { status: 'truncated', rows: 7, sequence: 8, message: 'the log ends at row 7' }

/** Readings that end when the test says so. */
const setUp = (own: Partial<typeof limits> = {}) => {
  const readings: { expected: AuditHead[]; end(found: Verification): void; fail(error: Error): void }[] = []
  const broken: VerificationState[] = []
  const failures: unknown[] = []
  const head = { sequence: 9, hash: 'h9' }
  const clock = { now: 1_000 }
  const verifier = new Verifier({
    expected: (given) => (given ? [{ ...head }, { sequence: given.sequence, hash: given.hash }] : [{ ...head }]),
    read: (expected) => new Promise((end, fail) => readings.push({ expected, end, fail })),
    limits: { ...limits, ...own },
    now: () => clock.now,
    onBroken: (found) => broken.push(found),
    onFailed: (error) => failures.push(error),
  })
  const reading = (number: number) => eventually(() => readings[number])
  return { verifier, readings, reading, broken, failures, head, clock }
}

const checkpoint = (sequence: number) => ({ sequence, hash: 'c' }) as Checkpoint

test('what was found last is remembered, with when and how long', async () => {
  const { verifier, reading, clock } = setUp()
  expect([verifier.last, verifier.problem]).toEqual([null, null])
  const asked = verifier.verify(null)
  const { end } = await reading(0)
  clock.now = 5_000
  end(INTACT)
  expect(await asked).toEqual(INTACT)
  expect(verifier.last).toEqual({ ...INTACT, checkedAt: 5_000, tookMs: expect.any(Number) })
  expect(verifier.problem).toBeNull()
})

test('a log that does not hold is a problem until it does', async () => {
  const { verifier, reading, broken } = setUp()
  const first = verifier.verify(null)
  ;(await reading(0)).end(ALTERED)
  await first
  expect(verifier.problem).toBe('the audit log was altered: row 7 was altered')
  expect(broken).toMatchObject([{ message: 'row 7 was altered' }])
  const second = verifier.verify(null)
  // It stands while it is being looked at again.
  ;(await reading(1)).fail(new Error('no file'))
  await expect(second).rejects.toThrow('no file')
  expect(verifier.problem).toContain('row 7')
  const third = verifier.verify(null)
  ;(await reading(2)).end(INTACT)
  await third
  expect(verifier.problem).toBeNull()
})

test('one at a time; whoever expects the same gets the same answer', async () => {
  const { verifier, readings, reading, head } = setUp()
  const first = verifier.verify(null)
  const joined = verifier.verify(null)
  await reading(0)
  head.sequence = 10
  const later = verifier.verify(null)
  const joinedLater = verifier.verify(null)
  const given = verifier.verify(checkpoint(3))
  expect(readings.map(({ expected }) => expected.map(({ sequence }) => sequence))).toEqual([[9]])
  readings[0]?.end({ ...INTACT, rows: 9 })
  expect((await Promise.all([first, joined])).map(({ rows }) => rows)).toEqual([9, 9])
  ;(await reading(1)).end({ ...INTACT, rows: 10 })
  expect((await Promise.all([later, joinedLater])).map(({ rows }) => rows)).toEqual([10, 10])
  ;(await reading(2)).end(INTACT)
  await given
  expect(readings.map(({ expected }) => expected.map(({ sequence }) => sequence))).toEqual([[9], [10], [10, 3]])
})

test('one more than may wait is refused', async () => {
  const { verifier, reading } = setUp({ verificationsMax: 2 })
  const [first, second] = [verifier.verify(checkpoint(1)), verifier.verify(checkpoint(2))]
  await expect(verifier.verify(checkpoint(3))).rejects.toMatchObject({ kind: 'too_many' })
  ;(await reading(0)).end(INTACT)
  await first
  const third = verifier.verify(checkpoint(3))
  ;(await reading(1)).end(INTACT)
  ;(await reading(2)).end(INTACT)
  await Promise.all([second, third])
})

test('what only a given checkpoint contradicts is no problem of the node', async () => {
  const { verifier, reading, broken } = setUp()
  const cut = verifier.verify(checkpoint(99))
  ;(await reading(0)).end(TRUNCATED)
  expect(await cut).toEqual(TRUNCATED)
  expect([verifier.last, verifier.problem, broken]).toEqual([null, null, []])
  const altered = verifier.verify(checkpoint(3))
  ;(await reading(1)).end(ALTERED)
  await altered
  expect(verifier.problem).toContain('row 7')
})

test('by itself after the start and again and again, also after a failure; stopped, no more', async () => {
  const { verifier, readings, reading, failures } = setUp({ verifyAfterStartMs: 5, verifyEveryMs: 5 })
  verifier.start()
  ;(await reading(0)).fail(new Error('no file'))
  await eventually(() => failures.length === 1)
  ;(await reading(1)).end(INTACT)
  await eventually(() => verifier.last)
  await reading(2)
  verifier.stop()
  readings[2]?.end(INTACT)
  // As long as another one takes for three.
  const other = setUp({ verifyAfterStartMs: 5, verifyEveryMs: 5 })
  other.verifier.start()
  for (const number of [0, 1, 2]) (await other.reading(number)).end(INTACT)
  other.verifier.stop()
  expect(readings).toHaveLength(3)
})
