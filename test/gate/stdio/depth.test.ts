import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { isDeeper } from '../../../src/gate/stdio/depth.ts'

const depthOf = (value: unknown): number =>
  typeof value === 'object' && value !== null
    ? 1 + Math.max(0, ...Object.values(value).map((inner) => depthOf(inner)))
    : 0

test('any JSON is as deep as its value, whatever its texts and names hold', () => {
  const text = fc.string({ unit: fc.constantFrom('"', '\\', '[', ']', '{', '}', 'a', '\n') })
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'medium' },
      text,
      fc.integer(),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(text, tie('value'), { maxKeys: 3 }),
    ),
  }))
  fc.assert(
    fc.property(value, fc.boolean(), (any, spaced) => {
      const json = JSON.stringify(any, null, spaced ? 1 : undefined)
      const depth = depthOf(any)
      expect(isDeeper(json, depth)).toBeFalse()
      if (depth > 0) expect(isDeeper(json, depth - 1)).toBeTrue()
    }),
    { numRuns: 500 },
  )
})

test('what is no JSON ends too', () => {
  for (const text of ['', '"', '"\\', '[[["', ']]]', '{"a":"\\"']) expect(isDeeper(text, 3)).toBeFalse()
  expect(isDeeper('[[[["', 3)).toBeTrue()
})
