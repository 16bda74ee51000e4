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

export interface Account {
  name: string
  uid: number
  gid: number
  home: string
}

/** The user of that name, or that number; null: there is none. */
export const accountNamed = (user: string): Account | null => {
  const row = rowsOf('/etc/passwd').find(([name, , id]) => name === user || id === user)
  if (!row) return null
  const [name = '', , uid, gid, , home = '/'] = row
  return { name, uid: Number(uid), gid: Number(gid), home }
}

/** Whether the mode of a file lets a user do something, as `others` may (4 read, 1 execute); access lists are not asked. */
export const may = (uid: number, others: 1 | 4, { mode, uid: owner, gid }: Stats): boolean => {
  if (mode & others) return true
  if (uid === 0) return others === 4 || (mode & 0o111) !== 0
  if (uid === owner) return (mode & (others << 6)) !== 0
  const [name, , , primary] = accountOf(uid) ?? []
  const isMember = rowsOf('/etc/group').some(
    ([, , id, members = '']) => id === String(gid) && name !== undefined && members.split(',').includes(name),
  )
  return (mode & (others << 3)) !== 0 && (primary === String(gid) || isMember)
}

export const mayRead = (uid: number, at: Stats): boolean => may(uid, 4, at)
