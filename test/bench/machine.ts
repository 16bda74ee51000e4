import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'

/** `0-1,4` as 0, 1, 4: what this process may run on, which in a container is not always all there is. */
const allowedCores = (): number[] => {
  const [, list = '0'] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, at) => first + at)
  })
}

const [first = 0, ...others] = allowedCores()

/**
 * What is measured has a core to itself; clients and origins have the others. Nobody's rate is then limited by who
 * shares a core with whom, and all contenders have the same.
 */
const CORES = { contender: [first], load: others.length > 0 ? others : [first] }
export type Side = keyof typeof CORES

/** taskset becomes the program, so the process is the program's own. */
export const pinned = (side: Side, command: string[]): string[] => ['taskset', '-c', CORES[side].join(','), ...command]

export const machine = () => ({
  cpus: cpus().length,
  model: cpus()[0]?.model ?? '',
  memoryMiB: Math.round(totalmem() / 2 ** 20),
  kernel: release(),
  contenderCores: CORES.contender,
  loadCores: CORES.load,
})
