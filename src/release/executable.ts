import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { AppError } from '../error.ts'
import { stampOf } from './stamp.ts'

export const ROOT = join(import.meta.dir, '../..')

/** Workers are files of their own in the executable, so each is an entry point. */
const ENTRY_POINTS = ['src/main.ts', 'src/worker/verify.ts', 'src/worker/snapshot.ts']

const FLAGS = [
  '--compile',
  // Bytecode of ES modules: in any other format `import.meta.dir` becomes the folder of the build, which no other machine has.
  '--format=esm',
  '--bytecode',
  '--minify-syntax',
  '--sourcemap=none',
  // Else the executable reads `.env` and `bunfig.toml` of the folder that it is started in.
  '--no-compile-autoload-dotenv',
  '--no-compile-autoload-bunfig',
  '--asset=drizzle',
  // CommonJS packages name their folder: it is in no machine's executable, and the build's must not be either.
  '--define=__dirname="/"',
]

/** For another machine than this one. */
interface Foreign {
  /** As Bun names it. */
  target: string
  /** The file that is to carry the program there. */
  runtime: string
}

/**
 * Builds the executable, for this machine unless another is named. It appears at `to` in one step, since something may
 * be running there. The same sources give the same bytes, in whatever folder they lie. Throws `unavailable`.
 */
export const buildExecutable = (to: string, foreign: Foreign | null = null): void => {
  const stamp = stampOf(ROOT, process.env)
  mkdirSync(dirname(to), { recursive: true })
  const folder = mkdtempSync(join(dirname(to), '.building-'))
  try {
    // The file's name is in its bytecode, so that it is the same one for all.
    const built = join(folder, 'portcullis')
    const { exitCode, stderr } = Bun.spawnSync(
      [
        ...[process.execPath, 'build', ...FLAGS],
        `--define=BUILD_COMMIT=${JSON.stringify(stamp.commit)}`,
        `--define=BUILD_DATE=${JSON.stringify(stamp.date)}`,
        ...(foreign ? [`--target=${foreign.target}`, `--compile-executable-path=${foreign.runtime}`] : []),
        ...ENTRY_POINTS,
        `--outfile=${built}`,
      ],
      { cwd: ROOT, stdout: 'ignore', stderr: 'pipe' },
    )
    if (exitCode !== 0) throw new AppError('unavailable', `the build failed: ${stderr.toString().trim()}`)
    renameSync(built, to)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
