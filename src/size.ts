import { invalid } from './error.ts'

const UNITS = ['', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** A size as people type it (`64MiB`, `1GiB`, `512m`, or a number of bytes), in bytes. Throws `invalid`. */
export const parseSize = (text: string, what: string): number => {
  const [, count, unit = ''] = /^(\d{1,16})\s*(?:([KMGT])(?:iB)?)?$/i.exec(text.trim()) ?? []
  const bytes = Number(count) * 1024 ** UNITS.findIndex((known) => known.charAt(0) === unit.toUpperCase())
  if (!count || !Number.isSafeInteger(bytes)) throw invalid(`${what}: not a size; write it like 512MiB or 1GiB`)
  return bytes
}

/** What `parseSize` reads, in the largest unit that is exact. */
export const sizeText = (bytes: number): string => {
  const unit = UNITS.findLastIndex((_, power) => bytes > 0 && bytes % 1024 ** power === 0)
  return unit < 1 ? String(bytes) : `${bytes / 1024 ** unit}${UNITS[unit]}`
}
