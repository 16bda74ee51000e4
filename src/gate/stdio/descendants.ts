import { readdirSync, readFileSync } from 'node:fs'

/** A process, told from a later one of the same number by when it began. */
export interface Descendant {
  pid: number
  began: string
}

/** Empty where the kernel doesn't tell, or nobody is there any more (proc(5)). */
export const childrenOf = (pid: number): number[] => {
  try {
    // Each thread has its own.
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    )
  } catch {
    // It has just ended, or this is no Linux.
    return []
  }
}

/** When a process began; null: it has ended. */
const beganAt = (pid: number): string | null => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    // It is gone.
    return null
  }
}

/** What a process started, and what those did, up to so many; also where they left its group, as browsers do. */
export const descendantsOf = (pid: number, max: number): Descendant[] => {
  const found: Descendant[] = []
  const open = [pid]
  for (let parent = open.pop(); parent !== undefined && found.length < max; parent = open.pop())
    for (const child of childrenOf(parent).slice(0, max - found.length)) {
      const began = beganAt(child)
      if (began === null) continue
      found.push({ pid: child, began })
      open.push(child)
    }
  return found
}

export const isAlive = ({ pid, began }: Descendant): boolean => beganAt(pid) === began
