import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { HeardKey, SenderKey } from '../../src/cluster/sender-key.ts'

const heardOf = (key: SenderKey): HeardKey => {
  const heard = HeardKey.of(key.told())
  if (typeof heard === 'string') throw new Error(heard)
  return heard
}

test('whatever one road loses and however the two mix, what came by either is heard once', () => {
  const roads = fc.array(fc.record({ sent: fc.boolean(), stored: fc.boolean() }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(roads, fc.infiniteStream(fc.boolean()), (facts, storedNext) => {
      const key = new SenderKey()
      const heard = heardOf(key)
      const frames = facts.map((_, index) => key.seal('facts', Buffer.of(index)))
      const waiting = {
        facts: frames.filter((_, index) => facts[index]?.sent),
        stored: frames.filter((_, index) => facts[index]?.stored),
      }
      const came: number[] = []
      while (waiting.facts.length + waiting.stored.length > 0) {
        const what =
          (storedNext.next().value && waiting.stored.length > 0) || waiting.facts.length === 0 ? 'stored' : 'facts'
        const plain = heard.open(what, waiting[what].shift() as Buffer)
        expect(typeof plain).not.toBe('string')
        if (plain !== null) came.push((plain as Buffer)[0] as number)
      }
      const expected = facts.flatMap(({ sent, stored }, index) => (sent || stored ? [index] : []))
      expect(came.toSorted((one, other) => one - other)).toEqual(expected)
    }),
  )
})

test('no frame passes twice on a road, none that is older, and none of before the key was told', () => {
  const key = new SenderKey()
  const [old, oldFact] = [key.seal('digests', Buffer.of(1)), key.seal('facts', Buffer.of(1))]
  const heard = heardOf(key)
  expect(heard.open('digests', old)).toBe('replayed')
  expect(heard.open('facts', oldFact)).toBe('replayed')
  expect(heard.open('stored', oldFact)).toBe('replayed')
  const [first, second] = [key.seal('digests', Buffer.of(2)), key.seal('digests', Buffer.of(3))]
  expect(heard.open('digests', second)).toEqual(Buffer.of(3))
  expect(heard.open('digests', first)).toBe('replayed')
  expect(heard.open('digests', second)).toBe('replayed')
  // A digest is no fact, though both are of one sender.
  expect(heard.open('facts', key.seal('digests', Buffer.of(4)))).toBe('wrong_key')
})

test('another key is passed over, a changed frame refused', () => {
  const key = new SenderKey()
  const heard = heardOf(key)
  expect(heard.open('facts', new SenderKey().seal('facts', Buffer.of(1)))).toBeNull()
  const frame = key.seal('facts', randomBytes(20))
  for (let index = 8; index < frame.length; index += 1) {
    const changed = Buffer.from(frame)
    changed[index] = (changed[index] as number) ^ 1
    expect([index, typeof heard.open('facts', changed)]).toEqual([index, 'string'])
  }
  expect(heard.open('facts', frame.subarray(0, 12))).toBe('truncated')
  expect(HeardKey.of(key.told().subarray(1))).toBe('malformed')
  expect(heard.open('facts', frame)).toBeInstanceOf(Buffer)
})
