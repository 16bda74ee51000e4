import { closeSync, existsSync, fdatasyncSync, fstatSync, fsyncSync, openSync, readSync } from 'node:fs'
import { dirname } from 'node:path'
import type { EmergencyEntry, Journal } from '../emergency.ts'
import { AppError, messageOf } from '../error.ts'
import { syncPath, writeAll } from './sync.ts'

const OPS: ReadonlySet<string> = new Set<EmergencyEntry['op']>(['revocation', 'gate'])

/** Zeros up to a size, and a name that lasts. */
const reserve = (fd: number, file: string, bytes: number): void => {
  try {
    const { size } = fstatSync(fd)
    if (size >= bytes) return
    syncPath(dirname(file))
    writeAll(fd, new Uint8Array(bytes - size), size)
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
  /** Where the next line goes, and up to where there may be something else than zeros. */
  let [end, touched] = [0, 0]

  /**
   * A line goes where nothing but zeros are: of one that is cut short, or was written but not synced, the rest would
   * else be read as the end of a later line.
   */
  const wipe = (): void => {
    if (touched <= end) return
    writeAll(fd, new Uint8Array(touched - end), end)
    fdatasyncSync(fd)
    touched = end
  }

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
    // A power cut may leave pieces behind what is read. Where they can't be wiped now, the next line waits for it.
    touched = content.subarray(end).every((byte) => byte === 0) ? end : bytes
    return entries
  }

  return {
    read,
    get bytesUsed() {
      return end
    },
    append(entry) {
      const line = Buffer.from(`${JSON.stringify(entry)}\n`)
      if (end + line.length > bytes) throw new AppError('storage', `the journal of ${bytes} bytes is full`)
      wipe()
      touched = end + line.length
      writeAll(fd, line, end)
      fdatasyncSync(fd)
      end = touched
    },
    clear() {
      end = 0
      wipe()
    },
    close: () => closeSync(fd),
  }
}
