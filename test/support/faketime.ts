import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const LIBRARIES = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`)
const library = LIBRARIES.find((file) => existsSync(file))

/** Whether processes can be given a wall clock of their own (Debian's libfaketime). Must be there in CI. */
export const hasFaketime = (): boolean => {
  if (library === undefined && process.env['CI']) throw new Error('libfaketime is missing: apt-get install libfaketime')
  return library !== undefined
}

const inSeconds = (ms: number): string => `${ms < 0 ? '-' : '+'}${(Math.abs(ms) / 1_000).toFixed(3)}`

/** Only the wall clock: what is measured and waited for goes on as it is, and files keep their times. */
const wallClockOnly = (): Record<string, string> => ({
  LD_PRELOAD: library ?? '',
  DONT_FAKE_MONOTONIC: '1',
  NO_FAKE_STAT: '1',
})

/** The environment of a process whose wall clock is ahead of ours. */
export const clockAhead = (ms: number): Record<string, string> => ({ ...wallClockOnly(), FAKETIME: inSeconds(ms) })

/** A wall clock that is set while its process runs. */
export const settableClock = (folder: string) => {
  const file = join(folder, 'clock')
  const set = (aheadMs: number): void => {
    // By a rename: the process reads it each time it looks at its clock.
    writeFileSync(`${file}.new`, `${inSeconds(aheadMs)}\n`)
    renameSync(`${file}.new`, file)
  }
  set(0)
  return { env: { ...wallClockOnly(), FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' }, set }
}
