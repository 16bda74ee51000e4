import { realpathSync } from 'node:fs'
import { formatTime } from '../time.ts'
import { invalid } from '../error.ts'

/** What an executable says of the sources that it was built from. */
export interface Stamp {
  commit: string | null
  date: string | null
}

type Environment = Record<string, string | undefined>

/** What git prints, or null where it is not installed or refuses. Only read: whoever works there may hold its lock. */
const git = (folder: string, ...args: string[]): string | null => {
  if (!Bun.which('git')) return null
  const { exitCode, stdout } = Bun.spawnSync(['git', '--no-optional-locks', '-C', folder, ...args], {
    stderr: 'ignore',
  })
  return exitCode === 0 ? stdout.toString().trim() : null
}

const fromSeconds = (seconds: string): string => {
  if (!/^\d{1,11}$/.test(seconds)) throw invalid(`SOURCE_DATE_EPOCH: "${seconds}" is not a count of seconds`)
  return formatTime(Number(seconds) * 1_000)
}

/**
 * The commit of a checkout and its date. `PORTCULLIS_COMMIT` and `SOURCE_DATE_EPOCH` (seconds) win: a container is built
 * without `.git`. Never the clock, so that a commit always gives the same bytes.
 */
export const stampOf = (root: string, env: Environment): Stamp => {
  // Sources that were unpacked inside another project's checkout are not of that project's commit.
  const top = git(root, 'rev-parse', '--show-toplevel')
  const own = top !== null && realpathSync(top) === realpathSync(root)
  const head = own ? git(root, 'show', '--no-patch', '--format=%H %ct', 'HEAD') : null
  const [commit = '', seconds = ''] = head?.split(' ') ?? []
  const dirty = commit !== '' && git(root, 'status', '--porcelain') !== ''
  return {
    commit: env['PORTCULLIS_COMMIT'] || (dirty ? `${commit}-dirty` : commit) || null,
    date: env['SOURCE_DATE_EPOCH'] || seconds ? fromSeconds(env['SOURCE_DATE_EPOCH'] || seconds) : null,
  }
}
