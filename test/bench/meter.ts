import { readdirSync, readFileSync } from 'node:fs'

/** The kernel counts a process's time in hundredths of a second. */
export const TICK_MS = 10

/** A process and all that it started: nginx works in a child of its master, a gateway's server is its child. */
export const familyOf = (pid: number): number[] => {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  )
  return [pid, ...children.flatMap(familyOf)]
}

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0)

/** How long these were on a processor, all threads, in milliseconds (proc(5): utime and stime). */
const cpuMs = (pids: number[]): number =>
  sum(
    pids.map((pid) => {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS
    }),
  )

export const cpuMsOf = (pid: number): number => cpuMs(familyOf(pid))
/** Without its children, which may be a peer's own upstream. */
export const ownCpuMsOf = (pid: number): number => cpuMs([pid])

/** How much memory these hold; exact, where `statm` counts only now and then. */
const residentKiB = (pids: number[]): number =>
  sum(pids.map((pid) => Number(/^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])))

export const residentKiBOf = (pid: number): number => residentKiB(familyOf(pid))
/** Without its children, which may be a peer's own upstream. */
export const ownResidentKiBOf = (pid: number): number => residentKiB([pid])
