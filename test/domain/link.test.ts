import { expect, test } from 'bun:test'
import { Links } from '../../src/link.ts'

const HOUR_MS = 3_600_000
const setUp = () => {
  const clock = { now: 1_000 * HOUR_MS }
  return { clock, links: new Links(() => clock.now, HOUR_MS) }
}
const ADA = { kind: 'password', operatorId: 'op_ada' } as const
const BOB = { kind: 'password', operatorId: 'op_bob' } as const

test('a link is good for an hour, and not a moment longer', () => {
  const { clock, links } = setUp()
  const { code, expiresAt } = links.make(ADA)
  expect(expiresAt).toBe(clock.now + HOUR_MS)
  clock.now += HOUR_MS - 1
  expect(links.peek(code)).toEqual(ADA)
  clock.now += 1
  expect([links.peek(code), links.take(code)]).toEqual([null, null])
  // Nor does the clock, set back, bring it back.
  clock.now -= 1
  expect(links.take(code)).toBeNull()
})

test('there is one of each purpose: the newest', () => {
  const { links } = setUp()
  const [setup, ada, bob] = [{ kind: 'setup' } as const, ADA, BOB].map((purpose) => links.make(purpose).code) as [
    string,
    string,
    string,
  ]
  const newer = links.make(ADA).code
  expect([setup, ada, bob, newer].map((code) => links.peek(code)?.kind)).toEqual([
    'setup',
    undefined,
    'password',
    'password',
  ])
  expect([links.take(newer), links.take(newer), links.take(bob)]).toEqual([ADA, null, BOB])
})
