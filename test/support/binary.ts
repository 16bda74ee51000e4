import { statSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dir, '../..')
const BINARY = join(ROOT, 'dist/portcullis')

const changedAt = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

const newestSource = (): number => {
  const files = [...new Bun.Glob('{src,drizzle}/**/*').scanSync(ROOT), 'package.json', 'bun.lock']
  return Math.max(...files.map((file) => changedAt(join(ROOT, file))))
}

/** The executable as users run it, built again when the sources are newer. */
export const builtBinary = (): string => {
  if (changedAt(BINARY) > newestSource()) return BINARY
  console.error('building dist/portcullis …')
  const build = Bun.spawnSync([process.execPath, 'run', 'build'], { cwd: ROOT, stdout: 'ignore', stderr: 'pipe' })
  if (build.exitCode !== 0) throw new Error(`the build failed\n${build.stderr.toString()}`)
  return BINARY
}
