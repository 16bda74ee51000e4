import { type Stats, statSync } from 'node:fs'

export { shellWord as quoted } from '../shell-word.ts'

/** The `code` of a system error (`ENOENT`, `EACCES`, …), if it is one. */
export const codeOf = (error: unknown): string | null =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null

/**
 * What stands at a path, links followed: what the system tells of it, that nothing is there, or that this user may
 * not know. Throws for what is there and can't be reached, such as links in a circle.
 */
export const lookAt = (path: string): Stats | 'absent' | 'hidden' => {
  try {
    return statSync(path)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'absent'
    if (code === 'EACCES' || code === 'EPERM') return 'hidden'
    throw error
  }
}

/** The same, with what can't be reached as absent: for choosing between places. */
export const seen = (path: string): Stats | 'absent' | 'hidden' => {
  try {
    return lookAt(path)
  } catch (error) {
    if (codeOf(error) === null) throw error
    return 'absent'
  }
}

export const octal = (mode: number): string => (mode & 0o777).toString(8)
