import { chownSync, statSync } from 'node:fs'

export interface Owner {
  uid: number
  gid: number
}

/**
 * Whose a file or folder is, where root acts for them: what root makes there must be theirs, or their service can't
 * open it. Null: whoever runs this makes it for themselves, or there is nothing yet.
 */
export const ownerOf = (path: string): Owner | null => {
  if (process.getuid?.() !== 0) return null
  const { uid = 0, gid = 0 } = statSync(path, { throwIfNoEntry: false }) ?? {}
  return uid === 0 && gid === 0 ? null : { uid, gid }
}

export const giveTo = (owner: Owner | null, path: string): void => {
  if (owner) chownSync(path, owner.uid, owner.gid)
}
