import { expect, test } from 'bun:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { generateSecret, holdsSecret, isSecret, redact } from '../../src/secret.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** The contract's checksum, written once more and another way. */
const base62 = (value: number): string => {
  const digits: string[] = []
  for (let rest = BigInt(value); digits.length < 6; rest /= 62n) digits.unshift(ALPHABET[Number(rest % 62n)] as string)
  return digits.join('')
}

test('a secret is its prefix, 30 random characters and their CRC-32 in base62', () => {
  const seen = new Set<string>()
  for (let round = 0; round < 500; round++) {
    const secret = generateSecret('pcl_')
    expect(secret).toMatch(/^pcl_[0-9A-Za-z]{36}$/)
    expect(secret.slice(34)).toBe(base62(crc32(secret.slice(4, 34))))
    expect(isSecret('pcl_', secret)).toBe(true)
    seen.add(secret)
  }
  expect(seen.size).toBe(500)
})

test('one changed character makes it none, and a prefix is not another', () => {
  const secret = generateSecret('pcl_')
  expect(isSecret('pca_', secret)).toBe(false)
  fc.assert(
    fc.property(fc.integer({ min: 4, max: 39 }), fc.constantFrom(...ALPHABET), (at, character) => {
      const other = secret.slice(0, at) + character + secret.slice(at + 1)
      return other === secret || !isSecret('pcl_', other)
    }),
  )
})

test.each([
  '',
  'pcl_',
  'pcl_short',
  `${generateSecret('pcl_')}x`,
  ` ${generateSecret('pcl_')}`,
  'PCL_'.padEnd(40, '0'),
])('%p is no secret', (text) => {
  expect(isSecret('pcl_', text)).toBe(false)
})

test('a secret is found wherever it hides, and taken out of texts', () => {
  const secret = generateSecret('pcl_')
  const encoded = [...secret].map((character) => `%${character.charCodeAt(0).toString(16)}`).join('')
  for (const text of [secret, `x=${secret}&y`, encoded, `Basic ${btoa(`user:${secret}`)}`])
    expect(holdsSecret(text)).toBe(true)
  for (const text of ['pcl_', 'pcl_of nothing', `Basic ${btoa('user:password')}`]) expect(holdsSecret(text)).toBe(false)
  expect(redact(`a ${secret} b ${secret}`)).toBe('a pcl_… b pcl_…')
})

test('no text makes the search throw', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => typeof holdsSecret(text) === 'boolean'))
})
