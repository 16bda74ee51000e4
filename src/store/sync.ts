import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Makes the bytes of a file, or the renames in a folder, last over a power cut. */
export const syncPath = (path: string): void => {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
