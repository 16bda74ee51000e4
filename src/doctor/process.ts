import { readFileSync } from 'node:fs'
import { codeOf } from './path.ts'

/** What the system tells of a process. */
export interface Process {
  uid: number
  openFiles: { soft: number; hard: number }
}

const numberOf = (text: string | undefined): number => (text === 'unlimited' ? Infinity : Number(text))

/** This process, or a node's; null: it is gone, in another container, or this system does not tell. */
export const processOf = (pid: number | 'self'): Process | null => {
  try {
    const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'utf8')
    // A number out of another container is somebody else's here.
    if (pid !== 'self' && !/\0(?:serve|demo)\0/.test(read('cmdline'))) return null
    const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(read('limits')) ?? []
    const uid = /^Uid:\s+(\d+)/m.exec(read('status'))?.[1]
    return { uid: Number(uid), openFiles: { soft: numberOf(soft), hard: numberOf(hard) } }
  } catch (error) {
    if (codeOf(error) === null) throw error
    return null
  }
}
