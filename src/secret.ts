import { AppError } from './error.ts'

/** `pcl_`: a connection token's secret. `pca_`: an API key. */
export type SecretPrefix = 'pcl_' | 'pca_'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** What each digit is worth, by its character code. */
const VALUES = Uint8Array.from({ length: 128 }, (_, code) => Math.max(0, ALPHABET.indexOf(String.fromCharCode(code))))
const RANDOM_LENGTH = 30
const CHECKSUM_LENGTH = 6

/** Finds anything shaped like one of our secrets, wherever it stands in a text. */
export const SECRET_SHAPE = /pc[la]_[0-9A-Za-z]{36}/
const SECRET_SHAPES = new RegExp(SECRET_SHAPE, 'g')

/** CRC-32 (IEEE) over the random part, in base62, zero-padded: 62^6 is more than 2^32. */
const checksum = (random: string): string => {
  let rest = Bun.hash.crc32(random)
  let text = ''
  for (let digit = 0; digit < CHECKSUM_LENGTH; digit++) {
    text = ALPHABET[rest % 62] + text
    rest = Math.floor(rest / 62)
  }
  return text
}

/** A new secret with 178 bits of randomness, every character equally likely. */
export const generateSecret = (prefix: SecretPrefix): string => {
  let random = ''
  while (random.length < RANDOM_LENGTH) {
    for (const byte of crypto.getRandomValues(new Uint8Array(40))) {
      // 248 is the largest multiple of 62 in a byte; what is above would favour the first characters.
      if (byte < 248 && random.length < RANDOM_LENGTH) random += ALPHABET[byte % 62]
    }
  }
  return prefix + random + checksum(random)
}

/** Whether the text is a secret of that prefix with a right checksum: no look-up is spent on any other. */
export const isSecret = (prefix: SecretPrefix, text: string): boolean => {
  if (text.length !== 40 || !text.startsWith(prefix) || !SECRET_SHAPE.test(text)) return false
  // As a number: each request pays for it, and making its digits took longer than all the rest.
  let stated = 0
  for (let digit = 34; digit < 40; digit++) stated = stated * 62 + (VALUES[text.charCodeAt(digit)] as number)
  return Bun.hash.crc32(text.slice(4, 34)) === stated
}

/**
 * Whether a text from outside holds one of our secrets, also when it is percent-encoded once or stands
 * in the base64 of HTTP Basic (RFC 7617).
 */
export const holdsSecret = (text: string): boolean => {
  if (SECRET_SHAPE.test(text)) return true
  if (text.includes('%') && SECRET_SHAPE.test(percentDecode(text))) return true
  const basic = /basic\s+([0-9A-Za-z+/=_-]{40,})/i.exec(text)
  return basic !== null && SECRET_SHAPE.test(Buffer.from(basic[1] as string, 'base64').toString('latin1'))
}

const percentDecode = (text: string): string =>
  text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** The same text with every secret taken out, for logs and answers. */
export const redact = (text: string): string => text.replace(SECRET_SHAPES, (found) => `${found.slice(0, 4)}…`)

/** Refuses a text for people (a name, a note) into which a secret was pasted: it would be stored. */
export const refuseSecretIn = (text: string, what: string): void => {
  if (SECRET_SHAPE.test(text)) {
    throw new AppError('invalid', `${what} holds a secret; secrets are never stored: write something else there`)
  }
}
