import { statSync } from 'node:fs'

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

/**
 * Where root acts in a folder that is somebody else's: goes on as them, for good. Whoever may write there could have
 * put a link to any file of the system in the place of one of ours, and root would write to it, or give it to them.
 */
export const becomeOwnerOf = (folder: string): void => {
  const owner = ownerOf(folder)
  if (!owner) return
  process.setgroups?.([owner.gid])
  process.setgid?.(owner.gid)
  process.setuid?.(owner.uid)
}
