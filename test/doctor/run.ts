import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Finding } from '../../src/finding.ts'
import { documentOf, portcullis, type RunOptions } from '../cli/run.ts'
import { startNode } from '../support/node.ts'
import { tempFolder } from '../support/temp.ts'

/** No environment of the test's decides, and no folder of this machine's is found. */
const env = () => ({ HOME: tempFolder() })

/** What the machine decides that the tests run on; each has tests of its own. */
const OF_THE_MACHINE = new Set(['file system', 'disk', 'fsync', 'clock', 'open files'])

/** One run of the doctor, with what it said of a check at hand. */
export const diagnose = async (args: string[], options: RunOptions = {}) => {
  const ran = await portcullis(['doctor', '--json', ...args], { ...options, env: { ...env(), ...options.env } })
  const { ok, checks } = documentOf<{ ok: boolean; checks: Finding[] }>(ran)
  const of = (check: string) => checks.filter((finding) => finding.check === check)
  return {
    ...ran,
    ok,
    checks,
    of,
    /** `level: finding → todo` of each of a check's findings. */
    say: (check: string) => of(check).map(({ level, finding, todo }) => `${level}: ${finding} → ${todo}`),
    /** What is not well, as `check: level`. */
    bad: checks
      .filter(({ ok: isWell, check }) => !isWell && !OF_THE_MACHINE.has(check))
      .map(({ check, level }) => `${check}: ${level}`),
  }
}

/** A folder that a node ran on and left. */
export const stoppedFolder = async (): Promise<string> => {
  const data = tempFolder()
  const node = await startNode({ data })
  await node.stop()
  return data
}

/** Everything that could have been changed in a folder, itself included. */
export const pictureOf = (folder: string): string[] =>
  ['.', ...readdirSync(folder)].toSorted().map((name) => {
    const path = join(folder, name)
    const { mode, uid, gid, size, ino, mtimeMs } = lstatSync(path)
    const hash = lstatSync(path).isFile() ? Bun.hash(readFileSync(path)) : 0
    return [name, mode, uid, gid, size, ino, mtimeMs, hash].join(' ')
  })

/** Whether owners can be changed here; where tests must not be skipped, that they can't is a failure. */
export const isRoot = (): boolean => {
  if (process.getuid?.() === 0) return true
  if (process.env['CI']) throw new Error('this test needs root: run it as root in CI')
  console.warn('SKIPPED LOUDLY: only root can be another user')
  return false
}
