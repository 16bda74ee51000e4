import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Lines } from '../../../src/gate/stdio/lines.ts'

const all = (lines: Lines): string[] => {
  const found: string[] = []
  for (let line = lines.next(); line !== null; line = lines.next()) found.push(line)
  return found
}

const cutAt = (bytes: Uint8Array, places: number[]): Uint8Array[] => {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

const LINE = fc.string({ unit: 'binary', maxLength: 30 }).map((text) => text.replace(/[\r\n]/g, ''))

test('the lines are the same, however they arrive, and whenever they are asked for', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(LINE, fc.constantFrom('\n', '\r\n'))),
      LINE,
      fc.array(fc.nat()),
      fc.boolean(),
      (whole, unfinished, places, atOnce) => {
        const lines = new Lines(1_000)
        const found: string[] = []
        for (const chunk of cutAt(Buffer.from(whole.flat().join('') + unfinished), places)) {
          lines.push(chunk)
          if (atOnce) found.push(...all(lines))
        }
        found.push(...all(lines))
        const utf8 = (text: string) => Buffer.from(text).toString()
        expect(found).toEqual(whole.map(([line]) => utf8(line)))
        expect(lines.rest()).toBe(utf8(unfinished))
      },
    ),
  )
})

test('a line is cut at the limit and told once, and the rest of it is no line of its own', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 40 })), fc.array(fc.nat()), (lengths, places) => {
      let cuts = 0
      const lines = new Lines(20, () => (cuts += 1))
      const found: string[] = []
      for (const chunk of cutAt(Buffer.from(lengths.map((length) => `${'x'.repeat(length)}\n`).join('')), places)) {
        lines.push(chunk)
        found.push(...all(lines))
      }
      expect(found.map((line) => line.length)).toEqual(lengths.map((length) => Math.min(length, 20)))
      expect(cuts).toBe(lengths.filter((length) => length > 20).length)
    }),
  )
})
