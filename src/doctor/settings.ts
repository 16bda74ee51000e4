import { type Finding, finding } from '../finding.ts'
import { quoted } from './path.ts'
import type { Subject } from './subject.ts'

/** Whether the settings can be read, as a start from here would read them. */
export const settings = ({ refusal, closed, files, node, deps, folder }: Subject): Finding[] => {
  if (closed) return []
  if (refusal === null) {
    const from = node ? 'can be read; the running node says which are in force' : 'can be read'
    return [finding('settings', 'ok', from)]
  }
  // What the node's user may read, another may not.
  if (/EACCES|EPERM/.test(refusal)) return [finding('settings', 'fail', refusal, deps.sudo(folder))]
  const todo = `correct it: the next start refuses it. The file is ${quoted(files.settings)}`
  return [finding('settings', 'fail', refusal, todo)]
}
