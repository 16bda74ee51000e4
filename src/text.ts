import { invalid } from './error.ts'
import { limits } from './limits.ts'
import { holdsSecret, refuseSecretIn } from './secret.ts'

// Control characters would let a name forge a line in a terminal or a log.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/

const PLAIN_ASCII = /^[\x20-\x7e]*$/

/**
 * How subjects and groups are compared: casefolded and NFKC-normalised. By way of upper case, since that
 * takes apart what lower case alone leaves different, such as ß and ss.
 */
export const fold = (text: string): string => {
  // Most are of these alone, for which the long way says the same and takes six times as long.
  if (PLAIN_ASCII.test(text)) return text.toLowerCase().trim()
  return text.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase().trim()
}

// Control characters act on a terminal, format characters make one name look like another, and half a
// character is no text.
const NOT_PLAIN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/** A stranger's text as it may be shown and kept. */
export const plain = (text: string): string => text.replace(NOT_PLAIN, '\ufffd')

/** A name that a stranger's program gave, as it may be kept: bounded, in plain characters, and none of our secrets. */
export const keepable = (text: string, lengthMax: number): string => {
  if (holdsSecret(text)) return '(secret)'
  return plain(text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text)
}

/** The parts of a text between commas, trimmed; empty ones are none. */
export const partsOf = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')

/** One line of text from a person, trimmed. Throws `invalid`. */
export const line = (text: string, what: string, lengthMax = limits.nameLengthMax): string => {
  const trimmed = text.trim()
  if (trimmed === '') throw invalid(`${what} is empty`)
  if (trimmed.length > lengthMax) throw invalid(`${what} is longer than ${lengthMax} characters`)
  if (CONTROL.test(trimmed)) throw invalid(`${what} holds a control character`)
  refuseSecretIn(trimmed, what)
  return trimmed
}

export const lineOrNull = (text: string | null | undefined, what: string, lengthMax?: number): string | null =>
  text === null || text === undefined || text.trim() === '' ? null : line(text, what, lengthMax)
