import { join, parse, sep } from 'node:path'
import { lookAt } from './path.ts'
import { may } from './user.ts'

/** The folders above a path, from the root on. */
const above = (path: string): string[] => {
  const names = path.split(sep).slice(1, -1)
  return [parse(path).root, ...names.map((_, index) => `${sep}${names.slice(0, index + 1).join(sep)}`)]
}

/** Why a user can't run the file at a path; null: they can. */
const obstacle = (path: string, uid: number): string | null => {
  const at = lookAt(path)
  // Whoever looks may be somebody else than who runs it; what can't be seen is not judged.
  if (typeof at !== 'object') return null
  if (!at.isFile()) return 'is no file'
  if (!may(uid, 1, at)) return 'may not be executed'
  const shut = above(path).find((folder) => {
    const state = lookAt(folder)
    return typeof state === 'object' && !may(uid, 1, state)
  })
  return shut === undefined ? null : `is in ${shut}, which is closed to it`
}

/** Where a program is that a user runs by this word, or why there is none. */
export const programOf = (word: string, path: string, uid: number): { found: string } | { why: string } => {
  const files = word.includes('/') ? [word] : path.split(':').map((folder) => join(folder, word))
  const there = files.filter((file) => lookAt(file) !== 'absent')
  const found = there.find((file) => obstacle(file, uid) === null)
  if (found !== undefined) return { found }
  const [first] = there
  if (first !== undefined) return { why: `${first} ${obstacle(first, uid)}` }
  return { why: word.includes('/') ? `${word} is not there` : `${word} is in none of ${path}` }
}
