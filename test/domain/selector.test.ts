import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { RevocationRecord, Selector } from '../../src/revocation-record.ts'
import { denyRecord, matches, matching } from '../../src/revocation.ts'
import { fold } from '../../src/text.ts'
import { denialOf, type NewToken, type Secret } from '../../src/token.ts'
import { TokenIndex } from '../../src/token-index.ts'
import type { Upstream } from '../../src/upstream.ts'

const ids = ['tok_1', 'tok_2', 'tok_3', 'tok_4']
const people = [null, 'dev@example.com', 'DEV@example.com', 'Ｄev@example.com', 'other@example.com']
const servers = ['srv_a', 'srv_b']

const token = (id: string): fc.Arbitrary<NewToken & { secrets: never[] }> =>
  fc.record({
    id: fc.constant(id),
    name: fc.constant(id),
    subject: fc.constantFrom(...people),
    group: fc.constantFrom(...people),
    servers: fc.subarray(servers).map((list) => new Set(list)),
    createdAt: fc.integer({ min: 1, max: 10 }),
    createdBy: fc.constant('local:0'),
    expiresAt: fc.constantFrom(null, 5, 50),
    revokedAt: fc.constantFrom(null, null, 3),
    revocationId: fc.constant(null),
    policy: fc.constant(null),
    secrets: fc.constant([]),
  })

const selector: fc.Arbitrary<Selector> = fc.record(
  {
    tokens: fc.subarray(ids, { minLength: 1 }),
    subject: fc.constantFrom('dev@example.com', 'nobody'),
    group: fc.constantFrom('dev@example.com', 'nobody'),
    server: fc.constantFrom(...servers),
    issuedBefore: fc.integer({ min: 1, max: 10 }),
    all: fc.constant(true as const),
  },
  { requiredKeys: [] },
)

const population = fc.tuple(...ids.map(token))

const record = (chosen: Selector, at: number): RevocationRecord => ({
  id: `rev_${at}`,
  at,
  actor: 'local:0',
  reason: 'other',
  note: '',
  selector: chosen,
  tokens: [],
})

const clone = (tokens: readonly NewToken[]): TokenIndex => {
  const index = new TokenIndex()
  for (const one of tokens) index.add({ ...one })
  return index
}

const state = (index: TokenIndex) => [...index].map(({ revokedAt }) => revokedAt !== null)

test('an empty selector matches nothing', () => {
  fc.assert(fc.property(token('tok_1'), (one) => !matches({}, one)))
})

test('each further condition only narrows what matches', () => {
  fc.assert(
    fc.property(population, selector, selector, (tokens, a, b) =>
      tokens.every(
        (one) => !matches({ ...a, ...b }, one) || matches(b, one) || Object.keys(b).length === 0 || b.all === true,
      ),
    ),
  )
})

test('those found at once are those that match one by one', () => {
  // Who has no group is in none that nobody ever had.
  const alone = clone(
    fc.sample(token('tok_1'), 1).map((one) => ({ ...one, subject: 'dev@example.com', group: null, revokedAt: null })),
  )
  expect(matching({ subject: 'dev@example.com' }, alone).length).toBe(1)
  expect(matching({ subject: 'dev@example.com', group: 'nobody' }, alone)).toEqual([])
  expect(matching({ subject: 'nobody', group: 'dev@example.com' }, alone)).toEqual([])
  fc.assert(
    fc.property(population, selector, (tokens, chosen) => {
      const index = clone(tokens)
      const wanted = [...index].filter((one) => one.revokedAt === null && matches(chosen, one)).map(({ id }) => id)
      const found = matching(chosen, index).map(({ id }) => id)
      return Bun.deepEquals(found.toSorted(), wanted)
    }),
  )
})

test('subjects are compared folded', () => {
  fc.assert(
    fc.property(population, (tokens) =>
      tokens.every(
        (one) =>
          matches({ subject: 'dev@example.com' }, one) ===
          (one.subject !== null && fold(one.subject) === 'dev@example.com'),
      ),
    ),
  )
})

test('revoking is monotone, idempotent and independent of order', () => {
  fc.assert(
    fc.property(population, fc.array(selector, { maxLength: 5 }), fc.nat(), (tokens, selectors, turn) => {
      const records = selectors.map((one, index) => record(one, 20 + index))
      const forward = clone(tokens)
      const before = state(forward)
      for (const one of records) denyRecord(one, forward)
      const after = state(forward)
      if (before.some((dead, index) => dead && !after[index])) return false
      const again = clone(tokens)
      const rotated = [...records.slice(turn % (records.length + 1)), ...records.slice(0, turn % (records.length + 1))]
      for (const one of [...rotated.toReversed(), ...records]) denyRecord(one, again)
      return Bun.deepEquals(state(again), after)
    }),
  )
})

test('the predicate lets a token pass exactly when it lives, is for the server, and the server is open', () => {
  const upstream = (id: string, open: boolean, removed: boolean): Upstream => ({
    id,
    name: 'x',
    url: new URL('http://localhost'),
    kind: 'auto',
    path: '',
    headers: [],
    stdio: null,
    state: open ? 'open' : 'closed',
    reason: null,
    createdAt: 0,
    removedAt: removed ? 1 : null,
  })
  fc.assert(
    fc.property(
      token('tok_1'),
      fc.constantFrom(null, 4, 40),
      fc.boolean(),
      fc.boolean(),
      fc.integer({ min: 0, max: 60 }),
      (one, diesAt, open, removed, now) => {
        const secret: Secret = { digest: 'd', keyId: 'k', token: { ...one, seen: null, secrets: [] }, diesAt }
        const passes =
          one.revokedAt === null &&
          (one.expiresAt === null || now < one.expiresAt) &&
          (diesAt === null || now < diesAt) &&
          one.servers.has('srv_a') &&
          open &&
          !removed
        return (denialOf(secret, upstream('srv_a', open, removed), now, null) === null) === passes
      },
    ),
  )
  expect(
    denialOf(
      {
        digest: '',
        keyId: '',
        diesAt: null,
        token: {
          ...record({}, 0),
          name: '',
          subject: null,
          group: null,
          servers: new Set(),
          createdAt: 0,
          createdBy: '',
          expiresAt: null,
          revokedAt: null,
          revocationId: null,
          policy: null,
          seen: null,
          secrets: [],
        },
      },
      undefined,
      0,
      null,
    ),
  ).toBe('server_unknown')
})
