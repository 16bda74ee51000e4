import { closeSync, existsSync, fdatasyncSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import type { EmergencyEntry, Journal } from '../emergency.ts'
import { AppError, messageOf } from '../error.ts'

const OPS: ReadonlySet<string> = new Set<EmergencyEntry['op']>(['revocation', 'gate'])

/** Zeros up to a size; a disk that fills up on the way writes some of them, and says nothing. */
const reserve = (fd: number, file: string, bytes: number): void => {
  try {
    let { size } = fstatSync(fd)
    if (size >= bytes) return
    while (size < bytes) size += writeSync(fd, new Uint8Array(bytes - size), 0, bytes - size, size)
    fsyncSync(fd)
  } catch (cause) {
    const todo = 'free some space, then start again'
    throw new AppError(
      'storage',
      `${file}: can't be given its ${bytes} bytes (${messageOf(cause)}); ${todo}`,
      'journal',
      {
        cause,
      },
    )
  }
}

/**
 * A file of a size reserved beforehand (written with zeros, so that the blocks are there), in which
 * entries stand as lines of JSON. A line that a crash cut short has no line feed, and is not read.
 */
export const openJournal = (file: string, bytes: number): Journal & { close(): void } => {
  const fd = openSync(file, existsSync(file) ? 'r+' : 'w+', 0o600)
  reserve(fd, file, bytes)
  let end = 0

  const read = (): EmergencyEntry[] => {
    const content = Buffer.alloc(bytes)
    readSync(fd, content, 0, bytes, 0)
    const zero = content.indexOf(0)
    const text = content.subarray(0, zero === -1 ? bytes : zero).toString('utf8')
    const lines = text.split('\n')
    lines.pop()
    end = Buffer.byteLength(lines.map((line) => `${line}\n`).join(''))
    const entries = lines.map((line, index) => {
      // To pass over one, or take it for another, could bring a dead token back.
      const refuse = (why: string, options?: ErrorOptions) =>
        new AppError('invalid', `${file}: line ${index + 1} ${why}`, 'journal', options)
      let entry: EmergencyEntry | null
      try {
        entry = JSON.parse(line) as EmergencyEntry | null
      } catch (cause) {
        throw refuse('is damaged; it may hold a revocation. Keep a copy, then remove the file', { cause })
      }
      if (entry && OPS.has(entry.op)) return entry
      throw refuse('is not known to this version: start the newer one that wrote it, and it goes to the database')
    })
    // A power cut may leave pieces behind what is read, which would be read as the end of a later line.
    if (content.subarray(end).some((byte) => byte !== 0)) {
      writeSync(fd, new Uint8Array(bytes - end), 0, bytes - end, end)
      fdatasyncSync(fd)
    }
    return entries
  }

  return {
    read,
    append(entry) {
      const line = Buffer.from(`${JSON.stringify(entry)}\n`)
      if (end + line.length > bytes) throw new AppError('storage', `the journal of ${bytes} bytes is full`)
      writeSync(fd, line, 0, line.length, end)
      fdatasyncSync(fd)
      end += line.length
    },
    clear() {
      if (end === 0) return
      writeSync(fd, new Uint8Array(end), 0, end, 0)
      fdatasyncSync(fd)
      end = 0
    },
    close: () => closeSync(fd),
  }
}
