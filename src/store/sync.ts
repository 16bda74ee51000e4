import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'

const SLICE_BYTES = 1024 * 1024

/** Makes the bytes of a file, or the renames in a folder, last over a power cut. */
export const syncPath = (path: string): void => {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } catch (error) {
    // A file system that syncs no folders says so by EINVAL: there is nothing more that could be done.
    if (!(error instanceof Error && 'code' in error && error.code === 'EINVAL' && fstatSync(fd).isDirectory()))
      throw error
  } finally {
    closeSync(fd)
  }
}

/** Writes all of the bytes at a place: a disk that fills up on the way takes some, and says nothing. */
export const writeAll = (fd: number, bytes: Uint8Array, position: number): void => {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, position + done)
}

/**
 * Writes a file's own bytes to it again, and syncs them. After a sync that failed the kernel shows what was written to
 * whoever reads, holds it for clean, and leaves it out of every later sync: only a write makes it last.
 */
export const rewrite = (path: string): void => {
  const fd = openSync(path, 'r+')
  try {
    const slice = new Uint8Array(SLICE_BYTES)
    for (let at = 0, length = 0; ; at += length) {
      length = readSync(fd, slice, 0, SLICE_BYTES, at)
      if (length === 0) break
      writeAll(fd, slice.subarray(0, length), at)
    }
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
