import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { removeFolder, tempFolder } from './temp.ts'

/** Whether a small file system can be made; where tests must not be skipped, that it can't is a failure. */
export const mayMount = (): boolean => {
  if (process.getuid?.() === 0) return true
  if (process.env['CI']) throw new Error('this test needs root: run it as root in CI')
  console.warn('SKIPPED: a full disk can only be made as root (mount -t tmpfs)')
  return false
}

/** A folder that is a file system of a few MB, and can be filled to its last byte. */
export const smallFolder = async (size = '6m') => {
  const data = tempFolder()
  await Bun.$`mount -t tmpfs -o size=${size},mode=0700 portcullis-test ${data}`
  // For whoever is broken off: a mount outlives its process.
  const takeAway = () => {
    Bun.spawnSync(['umount', '--lazy', data])
    removeFolder(data)
  }
  process.on('exit', takeAway)
  const files = ['fill-1', 'fill-2'].map((name) => join(data, name))
  return {
    data,
    fill: () => files.forEach((file, index) => writeUntilFull(file, index === 0 ? 65_536 : 1)),
    free: () => files.forEach((file) => rmSync(file)),
    [Symbol.asyncDispose]: async () => {
      await Bun.$`umount ${data}`.nothrow()
      removeFolder(data)
      process.off('exit', takeAway)
    },
  }
}

const writeUntilFull = (file: string, bytes: number): void => {
  const fd = openSync(file, 'w')
  try {
    for (;;) writeSync(fd, new Uint8Array(bytes).fill(1))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  } finally {
    closeSync(fd)
  }
}
