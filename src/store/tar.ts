import { readSync } from 'node:fs'
import { invalid } from '../error.ts'

/** The ustar format (POSIX.1-1988), as much of it as a backup needs: whole regular files with short names. */

const BLOCK = 512
/** More entries than a backup has: what follows is not read. */
const ENTRIES_MAX = 16

export interface TarEntry {
  name: string
  /** Bytes. */
  size: number
  /** Where its first byte is in the archive. */
  offset: number
}

/** What ends an archive. */
export const TAR_END = new Uint8Array(2 * BLOCK)

const CHECKSUM_AT = 148
const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`

/** The sum of a header's bytes, those of the sum itself read as spaces. */
const checksum = (header: Uint8Array): number =>
  header.reduce((sum, byte, at) => sum + (at >= CHECKSUM_AT && at < CHECKSUM_AT + 8 ? 0x20 : byte), 0)

/** What stands before the bytes of a file. */
export const tarHeader = (name: string, size: number, at: number): Uint8Array => {
  const header = Buffer.alloc(BLOCK)
  header.write(name, 0, 100)
  header.write(octal(0o600, 7), 100)
  header.write(octal(0, 7) + octal(0, 7), 108)
  header.write(octal(size, 11) + octal(Math.floor(at / 1000), 11), 124)
  header.write('0', 156)
  header.write('ustar\x0000', 257)
  header.write(`${octal(checksum(header), 6)} `, CHECKSUM_AT)
  return header
}

/** What stands after them. */
export const tarPadding = (size: number): Uint8Array => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK)

const textAt = (header: Buffer, at: number, length: number): string => {
  const field = header.subarray(at, at + length)
  const end = field.indexOf(0)
  return field.subarray(0, end === -1 ? length : end).toString('latin1')
}

const numberAt = (header: Buffer, at: number, length: number): number => {
  const text = textAt(header, at, length).trim()
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN
}

/** The files in an archive of that size. Throws `invalid` for what is cut off, damaged, or no plain file. */
export const readTar = (fd: number, size: number): TarEntry[] => {
  const entries: TarEntry[] = []
  const header = Buffer.alloc(BLOCK)
  for (let at = 0; entries.length < ENTRIES_MAX;) {
    if (readSync(fd, header, 0, BLOCK, at) < BLOCK) throw invalid('it is cut off, or no backup')
    if (header.every((byte) => byte === 0)) return entries
    if (numberAt(header, CHECKSUM_AT, 8) !== checksum(header)) throw invalid('it is damaged, or no backup')
    const entry = { name: textAt(header, 0, 100), size: numberAt(header, 124, 12), offset: at + BLOCK }
    const plain = /^[0\0]$/.test(String.fromCharCode(header[156] as number)) && textAt(header, 345, 155) === ''
    if (!plain || Number.isNaN(entry.size)) throw invalid(`it holds ${JSON.stringify(entry.name)}, which is no file`)
    entries.push(entry)
    at = entry.offset + entry.size + tarPadding(entry.size).length
    if (at > size) throw invalid('it is cut off')
  }
  throw invalid('it holds more than a backup does')
}
