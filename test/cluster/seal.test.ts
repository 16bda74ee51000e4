import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { decodeMessage, encodeMessage } from '../../src/cluster/frame.ts'
import type { Membership, Message } from '../../src/cluster/message.ts'
import { openFrame, SEAL_BYTES, sealFrame, Session } from '../../src/cluster/seal.ts'
import { limits } from '../../src/limits.ts'
import { digest, membership as aMembership } from './nodes.ts'

const KNOWN = { vector: {}, unknown: [] }

const sessions = () => {
  const [one, two] = [randomBytes(32), randomBytes(32)]
  return [new Session(one, two), new Session(two, one)] as const
}

const id = fc.constantFrom('node_0189', 'a', 'B-2').map(String)
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const text = fc.string({ unit: 'binary', maxLength: 40 })
const stream = fc.constantFrom('revocation' as const, 'change' as const)
const hlc = fc.stringMatching(/^[0-9a-z]{9}-[0-9a-z]{4}$/)
const vector = fc.dictionary(id, fc.tuple(count, count), { noNullPrototype: true })
const factIds = fc.array(fc.record({ origin: id, stream, seq: count }), { maxLength: 5 })
const member = fc.record({ id, name: text, url: text, key: fc.base64String({ maxLength: 44 }) })
const members = fc.array(member, { maxLength: 5 })
const known = fc.record({ vector, unknown: factIds })
const membership: fc.Arbitrary<Membership> = fc.record({
  version: count,
  ballot: text,
  floor: known,
  members,
  policy: fc.constantFrom('lease' as const, 'serve' as const),
  auto: fc.boolean(),
  leaseMs: fc.integer({ min: limits.leaseMsMin, max: limits.leaseMsMax }),
  void: members,
  off: fc.array(id, { maxLength: 3 }),
  heir: fc.option(member),
  secret: text,
  actor: text,
  change: text,
})
const view = fc.array(fc.tuple(count, text), { maxLength: 3 })
const facts = fc.array(
  fc.record({
    origin: id,
    stream,
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    kind: fc.constantFrom('token.issue', 'new-kind.of_9'),
    hlc,
    payload: fc.oneof(fc.json(), text),
  }),
  { maxLength: 5 },
)
const former = fc.option(fc.record({ ids: fc.array(id, { maxLength: 3 }), retired: fc.boolean(), member }))
const is = <T extends Message['t']>(t: T) => fc.constant(t)
const bool = fc.boolean()
const accepted = fc.option(fc.record({ ballot: text, membership }))
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ t: is('digest'), ask: count, vector, unknown: factIds, view, version: text, synced: bool, former }),
  fc.record({ t: is('answer'), ask: count, granted: bool, known }),
  fc.record({ t: is('facts'), facts, pulled: bool, more: bool }),
  fc.record({ t: is('pull'), vector, bytesMax: count }),
  fc.record({
    t: is('ack'),
    acks: fc.array(fc.record({ origin: id, seq: count, cut: count })),
    vector,
    unknown: factIds,
    view,
  }),
  fc.record({ t: is('relay'), record: fc.constant({ id: 'rev_1', selector: { all: true } }), issuedUntil: count }),
  fc.record({ t: is('prepare'), version: count, ballot: text }),
  fc.record({ t: is('promise'), version: count, ballot: text, ok: bool, known, accepted }),
  fc.record({ t: is('accept'), ballot: text, membership }),
  fc.record({ t: is('accepted'), version: count, ballot: text, ok: bool }),
  fc.record({ t: is('view'), memberships: fc.array(membership, { maxLength: 3 }) }),
  fc.record({ t: is('which') }),
  fc.record({ t: is('chosen'), membership }),
)

test('any message comes out as it went in', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 4 }), (messages) => {
      const [one, two] = sessions()
      for (const said of messages) {
        const opened = two.open(one.seal(encodeMessage(said)))
        expect(typeof opened === 'string' ? opened : decodeMessage(opened)).toEqual(said)
      }
    }),
    { numRuns: 1_000 },
  )
})

test('with any bit turned, or any part missing, nothing comes out', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.nat(7), fc.nat(), (said, at, bit, length) => {
      const [one, two] = sessions()
      const frame = one.seal(encodeMessage(said))
      const turned = Buffer.from(frame)
      const place = at % turned.length
      turned[place] = (turned[place] as number) ^ (1 << bit)
      expect(two.open(turned)).toBeOneOf(['wrong_key', 'wrong_version', 'malformed', 'replayed'])
      expect(two.open(frame.subarray(0, length % frame.length))).toBeOneOf(['truncated', 'wrong_key'])
      expect(two.open(Buffer.concat([frame, Buffer.from([0])]))).toBe('wrong_key')
      // None of that spoilt the link for the right one.
      expect(typeof two.open(frame)).not.toBe('string')
    }),
    { numRuns: 2_000 },
  )
})

test('a frame comes once, and never after a later one; those between may be lost', () => {
  const [one, two] = sessions()
  const frames = [1, 2, 3, 4].map((byte) => one.seal(Buffer.from([byte])))
  expect(two.open(frames[0] as Buffer)).toEqual(Buffer.from([1]))
  expect(two.open(frames[0] as Buffer)).toBe('replayed')
  expect(two.open(frames[2] as Buffer)).toEqual(Buffer.from([3]))
  expect(two.open(frames[1] as Buffer)).toBe('replayed')
  expect(two.open(frames[3] as Buffer)).toEqual(Buffer.from([4]))
  // What a node sealed never comes back to it.
  expect(one.open(one.seal(Buffer.from([5])))).toBe('wrong_key')
})

test('one byte above the largest frame is neither sealed nor opened', () => {
  const key = randomBytes(32)
  const most = limits.clusterFrameBytesMax - SEAL_BYTES
  const frame = sealFrame(key, 1, new Uint8Array(most))
  expect(frame).toHaveLength(limits.clusterFrameBytesMax)
  expect(typeof openFrame(key, 0, frame)).not.toBe('string')
  expect(() => sealFrame(key, 1, new Uint8Array(most + 1))).toThrow('too large')
  expect(openFrame(key, 0, Buffer.concat([frame, Buffer.alloc(1)]))).toBe('too_large')
})

test.each<[string, unknown, ReturnType<typeof decodeMessage>]>([
  ['what only a newer node says', { t: 'gossip', about: 1 }, null],
  ['no type', { ask: 1 }, 'malformed'],
  ['no object', [1], 'malformed'],
  ['null', null, 'malformed'],
  ['a field missing', { t: 'answer', ask: 1 }, 'malformed'],
  ['a number that is none', { t: 'answer', ask: 1.5, granted: true, known: KNOWN }, 'malformed'],
  ['a number below zero', { t: 'answer', ask: -1, granted: true, known: KNOWN }, 'malformed'],
  ['a number too large to count with', { t: 'answer', ask: 2 ** 53, granted: true, known: KNOWN }, 'malformed'],
  ['half a reach', { t: 'pull', vector: { a: [1] }, bytesMax: 1 }, 'malformed'],
  ['a vector by names that are no ids', { t: 'pull', vector: { 'a b': [1, 1] }, bytesMax: 1 }, 'malformed'],
  ['a clock of another length', { t: 'facts', facts: [fact({ hlc: 'z-z' })], pulled: true, more: true }, 'malformed'],
  ['a fact before the first', { t: 'facts', facts: [fact({ seq: 0 })], pulled: true, more: true }, 'malformed'],
  ['a stream that there is not', { t: 'facts', facts: [fact({ stream: 'x' })], pulled: true, more: true }, 'malformed'],
  ['an unheard-of policy', { t: 'chosen', membership: { ...aMembership(), policy: 'maybe' } }, 'malformed'],
  [
    'a name one too long',
    { t: 'prepare', version: 1, ballot: 'x'.repeat(limits.memberTextLengthMax + 1) },
    'malformed',
  ],
  ['a lease of no time', { t: 'chosen', membership: { ...aMembership(), leaseMs: 0 } }, 'malformed'],
  [
    'one membership too many',
    { t: 'view', memberships: Array(limits.membershipsMax + 1).fill({ ...aMembership(), members: [] }) },
    'malformed',
  ],
  ['a whole membership instead of its name', { ...digest(1), view: [aMembership()] }, 'malformed'],
  ['half a name', { ...digest(1), view: [[1]] }, 'malformed'],
  [
    'one member too many',
    {
      t: 'chosen',
      membership: { ...aMembership(), members: Array(limits.membersMax + 1).fill(aMembership().members[0]) },
    },
    'malformed',
  ],
])('%s', (_what, said, expected) => {
  expect(decodeMessage(Buffer.concat([Buffer.from([1]), Buffer.from(JSON.stringify(said))]))).toBe(expected)
})

test('what is no message at all', () => {
  expect(decodeMessage(Buffer.alloc(0))).toBe('wrong_version')
  expect(decodeMessage(Buffer.from([2, 1, 1]))).toBe('wrong_version')
  expect(decodeMessage(Buffer.from('\x01{"t":'))).toBe('malformed')
  // The name that every object answers to.
  expect(decodeMessage(Buffer.from('\x01{"t":"pull","bytesMax":1,"vector":{"__proto__":[1,1]}}'))).toBe('malformed')
})

test('fields that a newer node adds are passed over', () => {
  const said = { t: 'answer', ask: 1, granted: true, known: KNOWN, mood: 'good' }
  expect(decodeMessage(Buffer.from(`\x01${JSON.stringify(said)}`))).toMatchObject({ t: 'answer', ask: 1 })
})

function fact(change: Record<string, unknown>) {
  return { origin: 'a', stream: 'change', seq: 1, kind: 'x.y', hlc: '000000000-0000', payload: '{}', ...change }
}
