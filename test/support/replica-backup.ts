import { Database } from 'bun:sqlite'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../../src/limits.ts'
import type { Restored } from '../../src/restored.ts'
import { openBackup } from '../../src/store/archive.ts'
import { Backups } from '../../src/store/backup.ts'
import { filesOf } from '../../src/store/folder.ts'
import { restoreBackup } from '../../src/store/restore.ts'
import { OWNER, type TestNode } from './replica.ts'
import { tempFolder } from './temp.ts'

/** A backup of the node as it is now. */
export const backUp = async ({ folder, files, store }: TestNode): Promise<string> => {
  const backups = new Backups({
    folder,
    version: '0.4.0',
    store,
    limits,
    flush: () => true,
    async snapshot(to) {
      const client = new Database(files.database, { readonly: true })
      client.query('VACUUM INTO ?').run(to)
      client.close()
      const content = await Bun.file(to).bytes()
      return { bytes: content.length, sha256: new Bun.CryptoHasher('sha256').update(content).digest('hex') }
    },
  })
  const parts: Uint8Array[] = []
  for await (const part of await backups.make(OWNER)) parts.push(part)
  const file = join(tempFolder(), 'backup')
  writeFileSync(file, Buffer.concat(parts), { mode: 0o600 })
  return file
}

/** Restores it over a folder that no node runs on. */
export const restore = (
  file: string,
  folder: string,
  said: { wholeCluster?: boolean; alone?: boolean } = {},
): Restored => {
  const backup = openBackup(file)
  try {
    const keyFile = filesOf(folder).key
    const given = { folder, keyFile, version: '0.4.0', actor: 'local:0', now: () => Date.now() }
    return restoreBackup(backup, { ...given, ...said })
  } finally {
    backup.close()
  }
}
