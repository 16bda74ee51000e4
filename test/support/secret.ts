const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

const base62 = (value: number): string => {
  let digits = ''
  for (let rest = value; digits.length < 6; rest = Math.floor(rest / 62)) digits = ALPHABET[rest % 62] + digits
  return digits
}

/** A secret that was never issued, with the right checksum: it takes a look-up to refuse it. */
export const unknownSecret = (): string => {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(30)), (byte) => ALPHABET[byte % 62]).join('')
  return `pcl_${random}${base62(Bun.hash.crc32(random))}`
}

/** The same secret with its last character changed: the checksum is wrong. */
export const misspelt = (secret: string): string => secret.slice(0, -1) + (secret.endsWith('x') ? 'y' : 'x')

export const bearer = (secret: string): Record<string, string> => ({ Authorization: `Bearer ${secret}` })
