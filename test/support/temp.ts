import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders = new Set<string>()
const removeAll = () => folders.forEach(removeFolder)

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
