import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from './poll.ts'
import { tempFolder } from './temp.ts'

/** What a disk does to a process: which calls on which files it refuses, how, and which of each kind of call. */
export interface DiskFault {
  paths: readonly string[]
  /** `pwrite64,fsync`: strace counts each kind by itself. */
  calls: string
  error: 'EIO' | 'ENOSPC'
  /** As strace has it: `3` is the third alone, `3+` the third and all after it. */
  when: string
}

const argumentsOf = (faults: readonly DiskFault[], log: string): string[] => [
  ...['strace', '-f', '-qq', '-o', log, '-e', `trace=${faults.map(({ calls }) => calls).join(',')}`],
  ...[...new Set(faults.flatMap(({ paths }) => paths))].flatMap((path) => ['-P', path]),
  ...faults.flatMap(({ calls, error, when }) => ['-e', `inject=${calls}:error=${error}:when=${when}`]),
]

const hitsIn = (log: string): number =>
  existsSync(log) ? readFileSync(log, 'latin1').split('(INJECTED)').length - 1 : 0

/** A disk that fails from the first call of a process on: what stands before its command, and how often it failed. */
export const faultyFrom = (faults: readonly DiskFault[]) => {
  const log = join(tempFolder(), 'strace')
  const [strace = '', ...rest] = argumentsOf(faults, log)
  return { command: [strace, '-D', ...rest], hits: () => hitsIn(log) }
}

const isTraced = (pid: number): boolean =>
  readdirSync(`/proc/${pid}/task`).every((task) =>
    /^TracerPid:\s+[1-9]/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'latin1')),
  )

/** Lets the disk fail under a process that runs, until `mend`. */
export const faultUnder = async (pid: number, faults: readonly DiskFault[]) => {
  const log = join(tempFolder(), 'strace')
  const [strace = '', ...rest] = argumentsOf(faults, log)
  const tracer = Bun.spawn([strace, '-p', String(pid), ...rest], { stdout: 'ignore', stderr: 'pipe' })
  const kill = () => tracer.kill('SIGKILL')
  process.on('exit', kill)
  await eventually(() => tracer.exitCode !== null || isTraced(pid), { what: `strace holds ${pid}` })
  if (tracer.exitCode !== null) throw new Error(`strace: ${await new Response(tracer.stderr).text()}`)
  return {
    hits: () => hitsIn(log),
    /** The disk is well again; also when the process has ended. */
    async mend() {
      if (tracer.exitCode === null) tracer.kill('SIGINT')
      await tracer.exited
      process.off('exit', kill)
    },
  }
}
