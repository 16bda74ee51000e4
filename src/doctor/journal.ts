import { closeSync, openSync, readSync } from 'node:fs'
import { messageOf } from '../error.ts'
import { type Finding, finding } from '../finding.ts'
import { codeOf, quoted, seen } from './path.ts'
import type { Subject } from './subject.ts'

/** How many entries the journal holds that the database has not taken. */
const entriesIn = (file: string, bytesMax: number): number => {
  const fd = openSync(file, 'r')
  try {
    const content = Buffer.alloc(bytesMax)
    const length = readSync(fd, content, 0, bytesMax, 0)
    const zero = content.subarray(0, length).indexOf(0)
    const lines = content
      .subarray(0, zero === -1 ? length : zero)
      .toString('utf8')
      .split('\n')
      .slice(0, -1)
    for (const line of lines) JSON.parse(line)
    return lines.length
  } finally {
    closeSync(fd)
  }
}

/** Whether the journal holds what was done while the database could not be written. */
export const journal = ({ files, deps, node, folder }: Subject): Finding[] => {
  const at = seen(files.journal)
  if (typeof at !== 'object' || !at.isFile()) return []
  let entries: number
  try {
    entries = entriesIn(files.journal, deps.limits.journalBytes)
  } catch (error) {
    if (codeOf(error) === 'EACCES')
      return [finding('journal', 'fail', `you may not read ${files.journal}`, deps.sudo(folder))]
    const text = `${files.journal} is damaged, and may hold a revocation: ${messageOf(error)}`
    return [finding('journal', 'fail', text, `keep a copy, then remove it: rm ${quoted(files.journal)}`)]
  }
  if (entries === 0) return [finding('journal', 'ok', 'holds nothing that the database has not taken')]
  const what = entries === 1 ? 'one revocation, kill or closing' : `${entries} revocations, kills or closings`
  const text = `holds ${what} that the database has not taken; do not remove it`
  const todo = node
    ? 'they are in force, and written as soon as the disk lets them: free some space'
    : 'start the node: it puts them in force before it answers anybody'
  return [finding('journal', 'fail', text, todo)]
}
