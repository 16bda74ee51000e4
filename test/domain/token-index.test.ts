import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { limits } from '../../src/limits.ts'
import { matches, matching } from '../../src/revocation.ts'
import type { Selector } from '../../src/revocation-record.ts'
import { fold } from '../../src/text.ts'
import { type NewToken, statusOf, type Token } from '../../src/token.ts'
import { TokenIndex, type TokenRow } from '../../src/token-index.ts'
import { TokenNames } from '../../src/token-names.ts'
import { TokenSet } from '../../src/token-set.ts'

/** A digest of 32 bytes that begins as told: what shares a beginning falls into one place of the table. */
const digestOf = (start: number, rest: number): string => {
  const bytes = Buffer.alloc(32, rest & 0xff)
  bytes.writeUInt32LE(start >>> 0, 0)
  bytes.writeUInt32LE(rest >>> 0, 28)
  return bytes.toString('base64')
}
const raw = (digest: string): Uint8Array => Buffer.from(digest, 'base64')

const tokenOf = (n: number, more: Partial<NewToken> = {}): NewToken => ({
  id: `tok_${String(n).padStart(6, '0')}`,
  name: `name ${n}`,
  subject: null,
  group: null,
  policy: null,
  servers: new Set(['srv_a']),
  createdAt: n,
  createdBy: 'local:0',
  expiresAt: null,
  revokedAt: null,
  revocationId: null,
  secrets: [],
  ...more,
})

const secretOf = (digest: string, keyId = 'k1') => ({ digest, keyId, createdAt: 0, diesAt: null })

/** The same in objects and maps, as one would write it without a million tokens in mind. */
interface Plain {
  token: NewToken
  secrets: { digest: string; keyId: string; diesAt: number | null }[]
}

const seen = (token: Token) => ({
  id: token.id,
  name: token.name,
  subject: token.subject,
  group: token.group,
  policy: token.policy,
  servers: [...token.servers],
  createdAt: token.createdAt,
  createdBy: token.createdBy,
  expiresAt: token.expiresAt,
  revokedAt: token.revokedAt,
  revocationId: token.revocationId,
  secrets: token.secrets.map(({ digest, keyId, diesAt }) => ({ digest, keyId, diesAt })),
})

const seenPlain = ({ token, secrets }: Plain) => ({ ...token, servers: [...token.servers], secrets })

const NAMES = ['build', 'Build', 'büild', 'BÜILD', '雪', 'a\ud800b', '\u{1f600}', 'x'.repeat(100), '雪'.repeat(100)]
const PEOPLE = [null, 'Dev@example.com', 'dev@example.com', 'straße', 'STRASSE', '雪']
const LATER = 1_000

type Step =
  | {
      do: 'add'
      name: string
      subject: string | null
      group: string | null
      servers: string[]
      expiresAt: number | null
    }
  | { do: 'rotate'; token: number; start: number; key: string; diesAt: number | null }
  | { do: 'revoke'; token: number; at: number }
  | { do: 'policy'; token: number; calls: number | null }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('add' as const),
    name: fc.constantFrom(...NAMES),
    subject: fc.constantFrom(...PEOPLE),
    group: fc.constantFrom(...PEOPLE),
    servers: fc.subarray(['srv_a', 'srv_b', 'srv_c']),
    expiresAt: fc.constantFrom(null, LATER - 1, LATER, LATER + 1),
  }),
  fc.record({
    do: fc.constant('rotate' as const),
    token: fc.nat(40),
    // Few beginnings, so that many collide.
    start: fc.constantFrom(0, 1, 256, 0xffff_ffff),
    key: fc.constantFrom('k1', 'k2'),
    diesAt: fc.constantFrom(null, LATER, LATER + 1),
  }),
  fc.record({ do: fc.constant('revoke' as const), token: fc.nat(40), at: fc.nat(500) }),
  fc.record({ do: fc.constant('policy' as const), token: fc.nat(40), calls: fc.constantFrom(null, 5) }),
)

/** What UTF-8 makes of it, as the database does. */
const stored = (text: string): string => text.toWellFormed()

test('whatever is added, rotated and revoked, it holds what plain objects hold', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const index = new TokenIndex()
      const plain: Plain[] = []
      const handed: TokenRow[] = []
      let secrets = 0
      const newDigest = (start: number) => digestOf(start, (secrets += 1))
      for (const one of steps) {
        if (one.do === 'add') {
          const digest = newDigest(0)
          const { name, subject, group, servers, expiresAt } = one
          const made = tokenOf(plain.length, { name, subject, group, servers: new Set(servers), expiresAt })
          handed.push(index.add({ ...made, secrets: [secretOf(digest)] }))
          plain.push({ token: { ...made, name: stored(name) }, secrets: [{ digest, keyId: 'k1', diesAt: null }] })
          continue
        }
        const at = one.token % Math.max(1, plain.length)
        const known = plain[at]
        const token = handed[at]
        if (!known || !token) continue
        if (one.do === 'rotate') {
          for (const secret of token.secrets) secret.diesAt = one.diesAt
          for (const secret of known.secrets) secret.diesAt = one.diesAt
          const secret = { digest: newDigest(one.start), keyId: one.key, diesAt: null }
          index.addSecret(token.id, secret)
          known.secrets.push(secret)
        } else if (one.do === 'revoke') {
          // The second revocation of a token changes nothing.
          token.revokedAt = one.at
          token.revocationId = `rev_${one.at}`
          if (known.token.revokedAt === null)
            known.token = { ...known.token, revokedAt: one.at, revocationId: `rev_${one.at}` }
        } else {
          const policy =
            one.calls === null
              ? null
              : { allow: null, deny: [], readOnly: false, callsPerMinute: one.calls, concurrentStreams: null }
          token.policy = policy
          known.token = { ...known.token, policy }
        }
      }
      const revived = handed.filter((token) => {
        token.revokedAt = null
        return token.revokedAt !== (plain[handed.indexOf(token)] as Plain).token.revokedAt
      })
      expect(revived).toEqual([])
      expect(index.size).toBe(plain.length)
      expect([...index].map(seen)).toEqual(plain.map(seenPlain))
      for (const { token, secrets: own } of plain) {
        const found = index.get(token.id)
        expect(found === handed.find(({ id }) => id === token.id)).toBe(true)
        for (const { digest } of own) {
          const secret = index.find(raw(digest))
          expect(secret?.digest).toBe(digest)
          const other = raw(digest)
          other[31] = (other[31] as number) ^ 1
          expect(index.find(other)).toBeNull()
          expect(secret?.token === found).toBe(true)
          // Found again, it is the same: connections are kept by it.
          expect(index.find(raw(digest)) === secret).toBe(true)
          expect(secret && found?.secrets.includes(secret)).toBe(true)
        }
        const sameName = plain.filter((other) => other.token.name === token.name)
        const live = sameName.filter((other) => statusOf(seenPlain(other) as unknown as Token, LATER) === 'active')
        expect(index.named(token.name, LATER).map(({ id }) => id)).toEqual(
          (live.length > 0 ? live : sameName).map((other) => other.token.id),
        )
      }
      for (const absent of [digestOf(0, 0), digestOf(1, 0xffff), digestOf(0xffff_ffff, 99_999)])
        expect(index.find(raw(absent))).toBeNull()
      expect(index.get('tok_')).toBeUndefined()
      expect(index.named('nobody', LATER)).toEqual([])
      expect([...index].filter((token) => statusOf(token, LATER) === 'active').length).toBe(
        plain.filter((one) => statusOf(seenPlain(one) as unknown as Token, LATER) === 'active').length,
      )
    }),
    { numRuns: 300 },
  )
})

test('what columns select is what the predicate matches, and known is what was ever there', () => {
  const selector: fc.Arbitrary<Selector> = fc.record(
    {
      tokens: fc.subarray(['tok_000000', 'tok_000003', 'tok_000009'], { minLength: 1 }),
      subject: fc.constantFrom('dev@example.com', 'strasse', '雪', 'nobody'),
      group: fc.constantFrom('dev@example.com', 'strasse', '雪', 'nobody'),
      server: fc.constantFrom('srv_a', 'srv_b'),
      issuedBefore: fc.nat(12),
      all: fc.constant(true as const),
    },
    { requiredKeys: [] },
  )
  const given = fc.record({
    subject: fc.constantFrom(...PEOPLE),
    group: fc.constantFrom(...PEOPLE),
    servers: fc.subarray(['srv_a', 'srv_b']).map((servers) => new Set(servers)),
    revokedAt: fc.constantFrom(null, null, 5),
  })
  fc.assert(
    fc.property(fc.array(given, { maxLength: 12 }), selector, (tokens, wanted) => {
      const index = new TokenIndex()
      for (const [n, one] of tokens.entries()) index.add(tokenOf(n, one))
      const expected = [...index].filter((token) => token.revokedAt === null && matches(wanted, token))
      expect(
        matching(wanted, index)
          .map(({ id }) => id)
          .toSorted(),
      ).toEqual(expected.map(({ id }) => id))
      for (const text of ['dev@example.com', 'strasse', 'nobody', 'straße'])
        expect(index.isKnown('subject', text)).toBe(tokens.some(({ subject }) => subject && fold(subject) === text))
    }),
  )
})

test('20,000 tokens: all found, none invented, in order, and a set of them', async () => {
  const COUNT = 20_000
  const index = new TokenIndex()
  const digest = (n: number) => digestOf(Math.imul(n, 2_654_435_761), n)
  for (let n = 0; n < COUNT; n += 1) {
    // Every second one has the name of the one before, which is dead.
    const name = `${['Cursor', 'build', 'Ärger'][(n >>> 1) % 3]} ${n >>> 1}`
    const subject = `dev${n % 97}@example.com`
    index.load(tokenOf(n, { name, subject, revokedAt: n % 2 === 0 ? 1 : null, secrets: [secretOf(digest(n))] }))
  }
  for (let n = 0; n < COUNT; n += 1) {
    const found = index.find(raw(digest(n)))
    expect(found?.token.id).toBe(`tok_${String(n).padStart(6, '0')}`)
    expect(index.find(raw(digest(n + COUNT)))).toBeNull()
  }
  expect(index.named('build 1', 0).map(({ id }) => id)).toEqual(['tok_000003'])
  expect(await index.countActive(0)).toBe(COUNT / 2)
  expect(await index.countActive(0, (servers) => servers.has('srv_b'))).toBe(0)
  expect(index.notRevoked({ subject: 'dev3@example.com' }).length).toBe(104)
  expect(await index.liveByKey(0, 1)).toEqual(new Map([['k1', COUNT / 2]]))

  const names = new TokenNames(index, { ...limits, tokensHoldMs: 0 })
  const [order, again] = await Promise.all([names.inOrder(), names.inOrder()])
  expect(again).toBe(order)
  const texts = [...order].map((row) => fold(index.at(row).name))
  expect(texts).toEqual(texts.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
  expect(new Set(order).size).toBe(COUNT)
  const isBehind = order.every((row, at) => at === 0 || texts[at] !== texts[at - 1] || row > (order[at - 1] as number))
  expect(isBehind).toBe(true)
  const holds = await names.filter('ÄRGER 999 dev')
  const found = [...order].filter(holds).map((row) => index.at(row).name)
  expect(found.length).toBeGreaterThan(0)
  expect(found.every((name) => name.startsWith('Ärger ') && name.includes('999'))).toBe(true)
  const late = index.add(tokenOf(COUNT, { name: 'a new one' }))
  const after = await names.inOrder()
  expect(after.length).toBe(COUNT + 1)
  expect(after[0]).toBe(late.row)
  expect((await names.filter('new'))(late.row)).toBe(true)

  const some = new TokenSet(index)
  for (const token of index) if (token.row % 31 === 0) some.add(token)
  some.add(late)
  some.add(late)
  some.delete(index.at(31))
  some.delete(index.at(1))
  expect(some.size).toBe(Math.ceil(COUNT / 31))
  expect([...some].map(({ row }) => row).slice(0, 3)).toEqual([0, 62, 93])
  expect([some.has(late), some.has(index.at(31))]).toEqual([true, false])
})

test('folding takes the short way only where the long one says the same', () => {
  const long = (text: string) => text.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase().trim()
  const text = fc.oneof(fc.string({ unit: 'binary-ascii' }), fc.string({ unit: 'binary' }), fc.constantFrom(...NAMES))
  fc.assert(fc.property(text, (one) => fold(one) === long(one)))
})
