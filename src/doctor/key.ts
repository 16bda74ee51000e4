import { messageOf } from '../error.ts'
import { type Finding, finding } from '../finding.ts'
import { lookAt, quoted } from './path.ts'
import type { Subject } from './subject.ts'
import { asRoot, userName } from './user.ts'

/** Whether the key file can be used, and belongs to this database. Without it no token can be checked. */
export const key = ({ keyFile, deps, uid, closed, records, folder }: Subject): Finding[] => {
  const say = (level: Finding['level'], text: string, todo = '') => [finding('key file', level, text, todo)]
  const at = lookAt(keyFile)
  if (closed && at === 'hidden') return []
  if (at === 'hidden') return say('fail', `you may not look at ${keyFile}`, deps.sudo(folder))
  if (at === 'absent') {
    if (lookAt(folder) === 'absent') return []
    if (records.kind === 'absent' || closed)
      return say('warn', `${keyFile} is not there yet`, 'it is made by the first start')
    const todo = `put it back from your backup: portcullis restore FILE, or copy the file to ${keyFile}`
    return say('fail', `${keyFile} is missing, and without it no token can be checked`, todo)
  }
  const putBack = `put it back from your backup: copy it to ${keyFile}`
  if (!at.isFile() || at.size > deps.limits.smallFileBytesMax) return say('fail', `${keyFile} is no key file`, putBack)
  if (at.mode & 0o077) {
    const text = `${keyFile} has mode ${(at.mode & 0o777).toString(8)}: others could read it`
    return say('fail', text, asRoot(`chmod 600 ${quoted(keyFile)}`, at.uid))
  }
  if (uid !== null && at.uid !== uid && uid !== 0) {
    const text = `${keyFile} is ${userName(at.uid)}'s, and the data folder ${userName(uid)}'s`
    return say('fail', text, asRoot(`chown -h ${uid} ${quoted(keyFile)}`))
  }
  try {
    const { database, keys } = deps.readKeyFile(keyFile)
    if (records.kind === 'known' && records.database !== null && records.database !== database)
      return say('fail', `${keyFile} is the key file of another database`, putBack)
    return say('ok', `${keyFile}, ${keys.length === 1 ? 'one key' : `${keys.length} keys`}; keep a backup of it`)
  } catch (error) {
    return say('fail', messageOf(error), /EACCES|EPERM/.test(messageOf(error)) ? deps.sudo(folder) : putBack)
  }
}
