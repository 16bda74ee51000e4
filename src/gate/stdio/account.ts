import { readFileSync } from 'node:fs'

/** A user of this machine. */
export interface Account {
  uid: number
  gid: number
  home: string
}

/** By name, out of a file like /etc/passwd (passwd(5)); null when it has none. Throws when it can't be read. */
export const accountOf = (name: string, file: string): Account | null => {
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [user, , uid, gid, , home = ''] = line.split(':')
    if (user !== name || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '')) continue
    return { uid: Number(uid), gid: Number(gid), home }
  }
  return null
}
