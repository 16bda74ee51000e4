import { join } from 'node:path'
import { tempFolder } from '../support/temp.ts'

export const ROOT = join(import.meta.dir, '../..')
export const SOURCES = [process.execPath, join(ROOT, 'src/main.ts')]

export type Ran = { code: number; stdout: string; stderr: string; tookMs: number }
export type RunOptions = {
  env?: Record<string, string>
  cwd?: string
  stdin?: string
  /** What to run in place of the sources, with what stands before it: `['setpriv', …, 'dist/portcullis']`. */
  command?: string[]
  timeoutMs?: number
}

// One home for all runs: Bun keeps its cache of compiled sources there.
const home = tempFolder()

/** One command line, run to its end as a user would; only what is given here is in its environment. */
export const portcullis = async (args: string[], options: RunOptions = {}): Promise<Ran> => {
  const { env, cwd = ROOT, stdin, command = SOURCES, timeoutMs = 20_000 } = options
  const startedAt = performance.now()
  const child = Bun.spawn([...command, ...args], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', HOME: home, ...env },
    stdin: stdin === undefined ? 'ignore' : new Blob([stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const late = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  clearTimeout(late)
  return { code, stdout, stderr, tookMs: performance.now() - startedAt }
}

/** The one JSON document on stdout; throws when there is anything else. */
export const documentOf = <T>({ code, stdout, stderr }: Ran): T => {
  try {
    return JSON.parse(stdout) as T
  } catch (cause) {
    throw new Error(`exit ${code}, not one JSON document: ${stdout.slice(0, 500)}\n${stderr}`, { cause })
  }
}
