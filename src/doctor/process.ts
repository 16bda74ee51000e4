import { readFileSync } from 'node:fs'
import { codeOf } from './path.ts'

/** What the system tells of a process. */
export interface Process {
  uid: number
  openFiles: { soft: number; hard: number }
  /** How many processes and threads its user may have in all. */
  userTasksMax: number
  /** Where it looks for programs; null: this user may not know. */
  path: string | null
}

const numberOf = (text: string | undefined): number => (text === 'unlimited' ? Infinity : Number(text))

const pathOf = (pid: number | 'self'): string | null => {
  try {
    const environ = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    return environ.find((entry) => entry.startsWith('PATH='))?.slice(5) ?? ''
  } catch (error) {
    // Another user's process.
    if (codeOf(error) === null) throw error
    return null
  }
}

/** This process, or a node's; null: it is gone, in another container, or this system does not tell. */
export const processOf = (pid: number | 'self'): Process | null => {
  try {
    const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'utf8')
    // A number out of another container is somebody else's here.
    if (pid !== 'self' && !/\0(?:serve|demo)\0/.test(read('cmdline'))) return null
    const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(read('limits')) ?? []
    const tasks = /^Max processes\s+(\S+)/m.exec(read('limits'))?.[1]
    const uid = /^Uid:\s+(\d+)/m.exec(read('status'))?.[1]
    return {
      uid: Number(uid),
      openFiles: { soft: numberOf(soft), hard: numberOf(hard) },
      userTasksMax: numberOf(tasks),
      path: pathOf(pid),
    }
  } catch (error) {
    if (codeOf(error) === null) throw error
    return null
  }
}
