import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders = new Set<string>()
const removeAll = () => {
  for (const folder of folders) {
    try {
      removeFolder(folder)
    } catch (error) {
      // Something is still mounted there; whoever mounted it takes both away.
      if (!(error instanceof Error && 'code' in error && error.code === 'EBUSY')) throw error
    }
  }
}

// The test runner ends without an 'exit'; outside of it there are no hooks.
if (process.env.NODE_ENV === 'test') (await import('bun:test')).afterAll(removeAll)
else process.on('exit', removeAll)

/** A fresh folder that only this user may enter; gone when the test process ends, at the latest. */
export const tempFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  folders.add(folder)
  return folder
}

export const removeFolder = (folder: string): void => {
  folders.delete(folder)
  rmSync(folder, { recursive: true, force: true })
}
