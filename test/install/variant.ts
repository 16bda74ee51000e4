import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempFolder } from '../support/temp.ts'

const ROOT = join(import.meta.dir, '../..')

const edit = (file: string, change: (text: string) => string): void => {
  const before = readFileSync(file, 'utf8')
  const after = change(before)
  if (after === before) throw new Error(`nothing was changed in ${file}`)
  writeFileSync(file, after)
}

/** What is put into `main.ts` where the command line is read, or where the database is open. */
const FAULTS = {
  ends: ['void (startNode(argv', "console.error('fails on purpose'); process.exit(1)"],
  hangs: ['void (startNode(argv', 'setInterval(() => {}, 1000); await new Promise(() => {})'],
  endsMigrated: ['  // The domain, and its doors to the disk', "console.error('fails on purpose'); process.exit(1)"],
} as const

interface Variant {
  /** How its `serve` fails. */
  fault?: keyof typeof FAULTS
  /** Whether it brings the database to a schema of its own. */
  migrates?: boolean
}

const migration = (folder: string): void => {
  writeFileSync(join(folder, 'drizzle/9999_later.sql'), 'CREATE TABLE later (id TEXT PRIMARY KEY);\n')
  edit(join(folder, 'drizzle/meta/_journal.json'), (text) => {
    const journal = JSON.parse(text) as { entries: Record<string, unknown>[] }
    journal.entries.push({ ...journal.entries.at(-1), idx: 9999, when: Date.now(), tag: '9999_later' })
    return JSON.stringify(journal)
  })
}

/** Builds another version out of these sources. Returns the executable's path. */
export const buildVariant = (version: string, { fault, migrates = false }: Variant = {}): string => {
  const folder = tempFolder()
  for (const name of ['src', 'drizzle', 'package.json', 'bun.lock', 'tsconfig.json']) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  edit(join(folder, 'package.json'), (text) => text.replace(/"version": "[^"]*"/, `"version": "${version}"`))
  if (fault) {
    const [place, failing] = FAULTS[fault]
    const faulty = `if (process.argv.includes('serve')) { ${failing} }\n${place}`
    edit(join(folder, 'src/main.ts'), (text) => text.replace(place, () => faulty))
  }
  if (migrates) migration(folder)
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, 'src/release/build.ts'], { cwd: folder })
  if (exitCode !== 0) throw new Error(`the build failed\n${stderr.toString()}`)
  return join(folder, 'dist/portcullis')
}
