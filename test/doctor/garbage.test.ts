import { expect, test } from 'bun:test'
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { loadConfig } from '../../src/config.ts'
import { CHECKS, doctor } from '../../src/doctor/doctor.ts'
import { limits } from '../../src/limits.ts'
import { filesOf } from '../../src/store/folder.ts'
import { readKeyFile } from '../../src/store/keyfile.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { pictureOf, stoppedFolder } from './run.ts'

const stopped = await stoppedFolder()

/** In this process, since it is done hundreds of times; the addresses are free, so that only the folder decides. */
const diagnose = (folder: string) =>
  doctor({
    version: '0.0.0',
    folders: [folder],
    filesOf,
    settingsOf: (data) =>
      loadConfig(['--data', data, '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0'], {}, false),
    readKeyFile,
    limits,
    now: () => Date.now(),
    sudo: () => 'sudo portcullis doctor',
  })

const NAMES = [
  ...['db', 'db-wal', 'db-shm', 'key', 'journal', 'lock', 'toml', 'db.before-0.1.0'].map((end) => `portcullis.${end}`),
  'control.sock',
  'restore.tmp',
]

/** Ways to spoil a path; each is random where it can be. */
const SPOILS: Record<string, (path: string, bytes: Uint8Array) => void> = {
  'a folder': (path) => mkdirSync(path),
  'a link to itself': (path) => symlinkSync(path, path),
  'a link to nothing': (path) => symlinkSync('/nowhere', path),
  'a pipe': (path) => void Bun.spawnSync(['mkfifo', path]),
  'nothing in it': (path) => writeFileSync(path, ''),
  'a device without end': (path) => symlinkSync('/dev/zero', path),
  'a file that nobody may read': (path, bytes) => {
    writeFileSync(path, bytes)
    chmodSync(path, 0)
  },
  garbage: (path, bytes) => writeFileSync(path, bytes),
  'half a database': (path, bytes) => writeFileSync(path, Buffer.concat([Buffer.from('SQLite format 3\0'), bytes])),
  'half a document': (path, bytes) => writeFileSync(path, `{"portcullis":"key-file","keys":[{"id":"${bytes}`),
}

const spoiling = fc.record({
  name: fc.constantFrom(...NAMES),
  how: fc.constantFrom(...Object.keys(SPOILS)),
  bytes: fc.uint8Array({ maxLength: 9_000, size: 'max' }),
})

test('whatever is in the folder: never a throw, never a wait without end, never a change', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(spoiling, { minLength: 1, maxLength: 4 }), fc.boolean(), async (spoilings, filled) => {
      const folder = tempFolder()
      if (filled)
        await Bun.$`cp -a ${stopped}/portcullis.db ${stopped}/portcullis.key ${stopped}/portcullis.journal ${folder}`
      for (const { name, how, bytes } of spoilings) {
        const path = join(folder, name)
        rmSync(path, { recursive: true, force: true })
        SPOILS[how]?.(path, bytes)
      }
      const before = pictureOf(folder)
      const found = await diagnose(folder)
      expect(found.map(({ check }) => check).filter((check) => !(check in CHECKS))).toEqual([])
      for (const { ok, todo, level } of found) expect([level, todo !== '']).toEqual([level, !ok])
      expect(pictureOf(folder)).toEqual(before)
      removeFolder(folder)
    }),
    { numRuns: 150, endOnFailure: true },
  )
}, 60_000)

test.each(Object.entries(SPOILS))('%s in place of the folder itself', async (_, spoil) => {
  const path = join(tempFolder(), 'data')
  spoil(path, new Uint8Array([1, 2, 3]))
  const found = await diagnose(path)
  expect(found.filter(({ check }) => check === 'data folder')).toHaveLength(1)
  expect(found.every(({ check }) => check in CHECKS)).toBe(true)
})

test.each(Object.entries(SPOILS))('each file of a whole folder: %s in its place is said', async (how, spoil) => {
  for (const name of ['portcullis.db', 'portcullis.key']) {
    const folder = tempFolder()
    await Bun.$`cp -a ${stopped}/portcullis.db ${stopped}/portcullis.key ${folder}`
    const path = join(folder, name)
    rmSync(path)
    spoil(path, new Uint8Array([1, 2, 3]))
    const found = await diagnose(folder)
    // An empty database is one that is not there yet; root may read what nobody may.
    const isSaid = found.some(({ ok, finding, todo }) => !ok && (finding + todo).includes(path))
    expect([how, name, isSaid]).toEqual([how, name, true])
  }
})
