import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { limits } from '../src/limits.ts'
import { parseSize, sizeText } from '../src/size.ts'

test('sizes as people type them', () => {
  const said = {
    '0': 0,
    '512': 512,
    '64MiB': 2 ** 26,
    ' 1 GiB ': 2 ** 30,
    '512m': 2 ** 29,
    '2G': 2 ** 31,
    '3KIB': 3072,
  }
  for (const [text, bytes] of Object.entries(said)) expect([text, parseSize(text, '--memory')]).toEqual([text, bytes])
  for (const wrong of ['', '-1', '1.5GiB', '1GB', 'GiB', '1 G i B', '9999999999TiB', '1e9', '0x10', '1MiBs'])
    expect(() => parseSize(wrong, '--memory')).toThrow('--memory: not a size; write it like 512MiB or 1GiB')
})

test('what is said is read as the very same', () => {
  expect(sizeText(limits.stdioMemoryBytes)).toBe('1GiB')
  expect(sizeText(1536 * 2 ** 20)).toBe('1536MiB')
  fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(sizeText(bytes), 'it') === bytes))
})
