import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Finding, finding } from '../finding.ts'
import { lookAt, octal, quoted, seen } from './path.ts'
import { processOf } from './process.ts'
import type { Subject } from './subject.ts'
import { asRoot, userName } from './user.ts'

/** Whether the data folder is there, for its owner alone, and its owner is who runs the node. */
export const dataFolder = ({ folder, closed, deps, node }: Subject): Finding[] => {
  const say = (level: Finding['level'], text: string, todo = '') => [finding('data folder', level, text, todo)]
  const at = lookAt(folder)
  if (at === 'absent') return say('warn', `${folder} is not there yet`, 'it is made by the first start')
  if (closed || at === 'hidden') {
    const owner = at === 'hidden' ? '' : `, which is ${userName(at.uid)}'s`
    return say('fail', `you may not look into ${folder}${owner}: its files were not checked`, deps.sudo(folder))
  }
  if (!at.isDirectory()) return say('fail', `${folder} is not a folder`, 'name another with --data DIR')
  const text = `${folder}, mode ${octal(at.mode)}, of ${userName(at.uid)}`
  if (at.mode & 0o077) return say('fail', `${text}: others may enter it`, asRoot(`chmod 700 ${quoted(folder)}`, at.uid))
  if ((at.mode & 0o700) !== 0o700)
    return say('fail', `${text}: its owner may not use it`, asRoot(`chmod 700 ${quoted(folder)}`, at.uid))
  const uid = node?.pid === undefined ? null : (processOf(node.pid)?.uid ?? null)
  if (uid !== null && uid !== at.uid) {
    const todo = `run the node as the folder's owner: stop it, then ${asRoot(`chown -R ${at.uid} ${quoted(folder)}`)}`
    return say('warn', `${text}, but the node runs as ${userName(uid)}: what it makes is not the owner's`, todo)
  }
  return say('ok', text)
}

const NETWORK = "SQLite's log and locks do not hold there, and a lost write may bring a dead token back"
const ELSEWHERE = 'put the data folder on a local disk: stop the node, copy the folder, start with --data DIR'
const GONE = 'mount a disk or a volume there'

/** File systems that are no place for a database, by the number that Linux knows them by (statfs(2)). */
const KINDS: Record<number, { name: string; level: Finding['level']; why: string; todo: string }> = {
  0x6969: { name: 'NFS', level: 'fail', why: NETWORK, todo: ELSEWHERE },
  0xff534d42: { name: 'CIFS', level: 'fail', why: NETWORK, todo: ELSEWHERE },
  0xfe534d42: { name: 'SMB', level: 'fail', why: NETWORK, todo: ELSEWHERE },
  0x517b: { name: 'SMB', level: 'fail', why: NETWORK, todo: ELSEWHERE },
  0x5346414f: { name: 'AFS', level: 'fail', why: NETWORK, todo: ELSEWHERE },
  0x00c36400: { name: 'Ceph', level: 'warn', why: 'every revocation waits for the network', todo: ELSEWHERE },
  0x01021997: { name: '9p', level: 'fail', why: NETWORK, todo: ELSEWHERE },
  0x65735546: {
    name: 'FUSE',
    level: 'warn',
    why: 'such as sshfs, whose fsync and locks may not hold',
    todo: ELSEWHERE,
  },
  0x01021994: { name: 'tmpfs', level: 'warn', why: 'it is memory, and gone with the next boot', todo: GONE },
  0x858458f6: { name: 'ramfs', level: 'warn', why: 'it is memory, and gone with the next boot', todo: GONE },
  0x794c7630: {
    name: 'overlay',
    level: 'warn',
    why: 'the layer of a container, and gone with the container',
    todo: 'mount a volume there, such as `-v portcullis:/data`',
  },
}

/** What to say of a file system of that number. */
export const kindOf = (type: number): (typeof KINDS)[number] | null => KINDS[type >>> 0] ?? null

/** The folder itself, or the nearest above it that is there. */
export const nearest = (folder: string): string => {
  let at = folder
  while (typeof seen(at) !== 'object' && dirname(at) !== at) at = dirname(at)
  return at
}

/** Whether the folder is on a file system that a database can be on. */
export const fileSystem = ({ folder }: Subject): Finding[] => {
  // The numbers are Linux's; elsewhere they mean something else.
  if (process.platform !== 'linux') return []
  const kind = kindOf(statfsSync(nearest(folder)).type)
  if (!kind) return [finding('file system', 'ok', 'a local one')]
  return [finding('file system', kind.level, `${kind.name}: ${kind.why}`, kind.todo)]
}
