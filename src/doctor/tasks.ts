import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOf } from './path.ts'

const readOrNull = (file: string): string | null => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === null) throw error
    return null
  }
}

/** How many processes and threads the control groups of a process allow together (`pids.max`); Infinity: any number. */
export const groupTasksMax = (pid: number | 'self'): number => {
  const rows = (readOrNull(`/proc/${pid}/cgroup`) ?? '').split('\n').map((row) => row.split(':'))
  const places = rows.flatMap(([, controllers, group = '/']) => {
    if (controllers === '') return [['/sys/fs/cgroup', group]]
    return controllers === 'pids' ? [['/sys/fs/cgroup/pids', group]] : []
  })
  const limits = places.flatMap(([root = '', group = '/']) => {
    const found: number[] = []
    for (let at = group; ; at = dirname(at)) {
      const text = readOrNull(join(root, at, 'pids.max'))?.trim()
      if (text !== undefined && text !== 'max') found.push(Number(text))
      if (at === '/' || at === '.') return found
    }
  })
  return Math.min(Infinity, ...limits)
}
