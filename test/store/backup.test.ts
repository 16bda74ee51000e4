import { afterEach, beforeEach, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { limits } from '../../src/limits.ts'
import { SYSTEM } from '../../src/operator.ts'
import { openBackup } from '../../src/store/archive.ts'
import { Backups } from '../../src/store/backup.ts'
import { filesOf } from '../../src/store/folder.ts'
import { openStore, type Store } from '../../src/store/open.ts'
import { eventually } from '../support/poll.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

let folder: string
let store: Store
beforeEach(() => {
  folder = tempFolder()
  store = openStore({ folder, keyFile: filesOf(folder).key, version: '0.4.0', now: Date.now })
})
afterEach(() => {
  store.close()
  removeFolder(folder)
})

const snapshot = async (to: string) => {
  const client = new Database(filesOf(folder).database, { readonly: true })
  client.query('VACUUM INTO ?').run(to)
  client.close()
  const content = await Bun.file(to).bytes()
  return { bytes: content.length, sha256: Bun.SHA256.hash(content, 'hex') }
}
const backups = (own: Partial<typeof limits> = {}, meanwhile = (): void => undefined) =>
  new Backups({
    folder,
    version: '0.4.0',
    store,
    limits: { ...limits, ...own },
    flush: () => true,
    snapshot: async (to) => {
      const made = await snapshot(to)
      meanwhile()
      return made
    },
  })
const taken = async (parts: AsyncGenerator<Uint8Array>): Promise<string> => {
  const chunks: Uint8Array[] = []
  for await (const part of parts) chunks.push(part)
  const file = join(folder, 'taken')
  writeFileSync(file, Buffer.concat(chunks))
  return file
}

test('whoever takes nothing for too long gets no more, and the next one does', async () => {
  const idleMs = 30
  const all = backups({ backupIdleMs: idleMs, backupSliceBytes: 4096 })
  const abandoned = await all.make(SYSTEM)
  const stopped = await eventually(() => all.make(SYSTEM))
  await stopped.next()
  const last = await eventually(() => all.make(SYSTEM))
  await expect(taken(stopped)).rejects.toThrow()
  await expect(taken(abandoned)).rejects.toThrow()
  openBackup(await taken(last)).close()
  expect(readdirSync(folder).filter((name) => /tmp/.test(name))).toEqual([])
})

test('a key that is made or removed while the copy is taken is in the backup', async () => {
  const [first] = store.keys.data.keys
  const second = { id: 'k2', createdAt: 1, secret: new Uint8Array(32).fill(2) }
  const all = backups({}, () => store.keys.replace([second]))
  const backup = openBackup(await taken(await all.make(SYSTEM)))
  const ring = JSON.parse(backup.text('portcullis.key')) as { keys: { id: string }[] }
  expect(ring.keys.map(({ id }) => id)).toEqual([first?.id ?? '', 'k2'])
  backup.close()
})

test('one past the largest database that fits the format, and a copy that fails', async () => {
  await expect(backups({ backupBytesMax: 1 }).make(SYSTEM)).rejects.toThrow('too large')
  const failing = backups({}, () => {
    throw new Error('disk I/O error')
  })
  await expect(failing.make(SYSTEM)).rejects.toThrow('no backup was made: disk I/O error')
  // Neither keeps the next one from being made.
  await expect(failing.make(SYSTEM)).rejects.toThrow('no backup was made')
  expect(readdirSync(folder).filter((name) => /tmp/.test(name))).toEqual([])
})
