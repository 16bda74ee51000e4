import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders = new Set<string>()
process.on('exit', () => folders.forEach(removeFolder))

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
