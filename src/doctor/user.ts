import { readFileSync, type Stats } from 'node:fs'
import { codeOf } from './path.ts'

/** Rows of a file of the system such as /etc/passwd; none where there is no such file. */
const rowsOf = (file: string): string[][] => {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
  } catch (error) {
    if (codeOf(error) === null) throw error
    return []
  }
}

const accountOf = (uid: number) => rowsOf('/etc/passwd').find(([, , id]) => id === String(uid))

/** The user's name, or the number where nobody has it. */
export const userName = (uid: number): string => accountOf(uid)?.[0] ?? `UID ${uid}`

export const ownUid = (): number => process.getuid?.() ?? -1

/** A command for root, or for that owner: with `sudo` before it for everybody else, and for who typed `sudo` for this. */
export const asRoot = (command: string, owner?: number): string => {
  const may = ownUid() === 0 || ownUid() === owner
  return may && process.env.SUDO_USER === undefined ? command : `sudo ${command}`
}

/** Whether the mode of a file lets a user read it; access control lists are not asked. */
export const mayRead = (uid: number, { mode, uid: owner, gid }: Stats): boolean => {
  if (uid === 0 || mode & 0o004) return true
  if (uid === owner) return (mode & 0o400) !== 0
  const [name, , , primary] = accountOf(uid) ?? []
  const isMember = rowsOf('/etc/group').some(
    ([, , id, members = '']) => id === String(gid) && name !== undefined && members.split(',').includes(name),
  )
  return (mode & 0o040) !== 0 && (primary === String(gid) || isMember)
}
