import { createHash } from 'node:crypto'

const LC_CODE_SIGNATURE = 0x1d
const CODE_DIRECTORY = 0xfade0c02

/** How many pages of a Mach-O executable its code signature covers, and how many of those are not what it says. */
export const signedPages = (file: Buffer): { pages: number; wrong: number; unsignedBytes: number } => {
  let command = 32
  let at = 0
  for (let left = file.readUInt32LE(16); left > 0; left -= 1) {
    if (file.readUInt32LE(command) === LC_CODE_SIGNATURE) at = file.readUInt32LE(command + 8)
    command += file.readUInt32LE(command + 4)
  }
  if (at === 0) return { pages: 0, wrong: 0, unsignedBytes: file.length }
  // The first blob of the signature; numbers in it are big-endian.
  const directory = at + file.readUInt32BE(at + 16)
  if (file.readUInt32BE(directory) !== CODE_DIRECTORY) throw new Error('the signature begins with something else')
  const field = (offset: number) => file.readUInt32BE(directory + offset)
  const [hashesAt, pages, limit] = [directory + field(16), field(28), field(32)]
  const pageBytes = 2 ** file.readUInt8(directory + 39)
  let wrong = 0
  for (let page = 0; page < pages; page += 1) {
    const text = file.subarray(page * pageBytes, Math.min((page + 1) * pageBytes, limit))
    const stated = file.subarray(hashesAt + page * 32, hashesAt + (page + 1) * 32)
    if (!createHash('sha256').update(text).digest().equals(stated)) wrong += 1
  }
  return { pages, wrong, unsignedBytes: at - limit }
}
