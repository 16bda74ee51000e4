import { join } from 'node:path'
import { removeFolder, tempFolder } from '../support/temp.ts'
import type { Check, Report } from './bench.ts'

const SCRIPT = join(import.meta.dir, 'run.ts')

/** Not as a test of its own, which support/temp.ts would take it for. */
const ENV = { ...process.env, NODE_ENV: undefined }

type Written = {
  at: string
  size: string
  machine: { cpus: number; model: string; contenderCores: number[] }
  versions: Record<string, string | null>
  checks: Check[]
  failures: string[]
  missing: string[]
  parts: Record<string, Report>
}

/** `bun run bench … --short`, with its JSON. */
export const shortBench = async (words: string[], env: Record<string, string> = {}) => {
  const folder = tempFolder()
  const json = join(folder, 'bench.json')
  const child = Bun.spawn([process.execPath, SCRIPT, ...words, '--short', '--json', json], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...ENV, ...env },
  })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  const code = await child.exited
  const written = Bun.file(json)
  const found = ((await written.exists()) ? await written.json() : null) as Written | null
  removeFolder(folder)
  return { code, out, err, found }
}
