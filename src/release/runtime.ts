import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../error.ts'
import { ROOT } from './executable.ts'

/** What was fetched once is kept beside the packages; it is checked each time. */
const CACHE = join(ROOT, 'node_modules/.cache/portcullis-release')

interface Locked {
  /** `name@version` */
  spec: string
  /** `sha512-…`, as bun.lock states it. */
  integrity: string
}

/** Throws `unavailable` when bun.lock does not name the package. */
const lockedIn = (lock: string, name: string): Locked => {
  const { packages } = Bun.JSONC.parse(lock) as { packages: Record<string, [spec: string, ...unknown[]]> }
  const [spec, ...rest] = packages[name] ?? []
  const integrity = rest.at(-1)
  if (spec === undefined || typeof integrity !== 'string') {
    throw new AppError('unavailable', `bun.lock does not name ${name}`)
  }
  return { spec, integrity }
}

const run = (command: string[]): string => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stderr: 'pipe' })
  if (exitCode === 0) return stdout.toString()
  throw new AppError('unavailable', `${command.slice(0, 3).join(' ')} failed: ${stderr.toString().trim()}`)
}

/** What a package's archive must hash to; throws `unavailable`, and forgets the archive, when it doesn't. */
const check = (archive: string, { spec, integrity }: Locked): void => {
  const found = `sha512-${new Bun.CryptoHasher('sha512').update(readFileSync(archive)).digest('base64')}`
  if (found === integrity) return
  rmSync(archive)
  throw new AppError('unavailable', `${spec} is not what bun.lock names: it is ${found}, not ${integrity}`)
}

/**
 * Bun's own executable out of a package, put into `folder`. Bun would fetch it too, but unchecked, and would take
 * whatever lies in its cache under that name. Returns its path; throws `unavailable`.
 */
export const fetchRuntime = (name: string, folder: string): string => {
  const locked = lockedIn(readFileSync(join(ROOT, 'bun.lock'), 'utf8'), name)
  const archive = join(CACHE, `${locked.spec.replaceAll(/[@/]+/g, '-').slice(1)}.tgz`)
  if (!existsSync(archive)) {
    mkdirSync(CACHE, { recursive: true })
    const fetched = mkdtempSync(join(CACHE, '.fetching-'))
    const [{ filename }] = JSON.parse(run(['npm', 'pack', locked.spec, '--json', `--pack-destination=${fetched}`])) as [
      { filename: string },
    ]
    renameSync(join(fetched, filename), archive)
    rmSync(fetched, { recursive: true })
  }
  check(archive, locked)
  const into = join(folder, name.replaceAll('/', '-'))
  mkdirSync(into)
  run(['tar', '-xzf', archive, '-C', into, 'package/bin/bun'])
  return join(into, 'package/bin/bun')
}
