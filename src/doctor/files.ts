import { lstatSync, readdirSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../error.ts'
import { type Finding, finding } from '../finding.ts'
import { lookAt, octal, quoted, seen } from './path.ts'
import type { Subject } from './subject.ts'
import { asRoot, userName } from './user.ts'

/** What portcullis makes in its folder. The rest is somebody else's. */
const OURS = /^(?:portcullis\.|control\.sock$|backup-.*\.tmp$|restore\.tmp$|doctor\.tmp$)/
const FOR_THE_MOMENT = /\.tmp$/
const BEFORE = /^portcullis\.db\.before-/

const namesIn = ({ folder, closed }: Subject): string[] => {
  const at = seen(folder)
  if (closed || typeof at !== 'object' || !at.isDirectory()) return []
  return readdirSync(folder)
    .filter((name) => OURS.test(name))
    .toSorted()
}

/** What is wrong with one file, and what to do. */
const wrongWith = (path: string, name: string, uid: number | null): { why: string; todo: string } | null => {
  let at: Stats | 'absent' | 'hidden'
  try {
    at = lookAt(path)
  } catch (error) {
    return { why: `can't be reached: ${messageOf(error)}`, todo: `look at it: ls -l ${quoted(path)}` }
  }
  if (at === 'absent') {
    // Gone since the folder was read; or a link to nowhere, which is still there.
    return lstatSync(path, { throwIfNoEntry: false })
      ? { why: 'is a link to nothing', todo: `look at it: ls -l ${quoted(path)}` }
      : null
  }
  if (at === 'hidden') return { why: 'can not be looked at', todo: `look at it: ls -l ${quoted(path)}` }
  const isRight = name === 'control.sock' ? at.isSocket() : FOR_THE_MOMENT.test(name) || at.isFile()
  if (!isRight) {
    const todo = `stop the node, look at it, and move it away: ${asRoot(`mv ${quoted(path)} ${quoted(`${path}.away`)}`, uid ?? at.uid)}`
    return { why: name === 'control.sock' ? 'is not a socket' : 'is not a file', todo }
  }
  if (uid !== null && at.uid !== uid) {
    const why = `is ${userName(at.uid)}'s, and the folder ${userName(uid)}'s: the node may not be able to use it`
    // -h: whoever owns the folder may have put a link to a file of the system there.
    return { why, todo: asRoot(`chown -h ${uid} ${quoted(path)}`) }
  }
  // The settings hold no secret, but who may write them decides where the key file is.
  const forbidden = name === 'portcullis.toml' ? 0o022 : 0o077
  if (at.isFile() && at.mode & forbidden) {
    return { why: `has mode ${octal(at.mode)}: others may use it`, todo: asRoot(`chmod 600 ${quoted(path)}`, at.uid) }
  }
  return null
}

/** Modes and owners of everything of ours in the folder. */
export const files = (subject: Subject): Finding[] => {
  const { folder, uid, deps, keyFile } = subject
  // The key file has a check of its own.
  const names = namesIn(subject).filter((name) => join(folder, name) !== keyFile)
  const found = names.flatMap((name) => {
    const path = join(folder, name)
    const wrong = wrongWith(path, name, uid)
    return wrong ? [finding('files', 'fail', `${path} ${wrong.why}`, wrong.todo)] : []
  })
  if (found.length === 0) {
    return names.length === 0 ? [] : [finding('files', 'ok', `${names.length}, all of one owner and closed to others`)]
  }
  const more = found.length - deps.limits.doctorFindingsMax
  if (more <= 0) return found
  return [...found.slice(0, -more), finding('files', 'fail', `and ${more} more`, 'run doctor again after these')]
}

/** What crashes and upgrades left. */
export const leftOvers = (subject: Subject): Finding[] => {
  const { folder, deps } = subject
  const seenAt = namesIn(subject).flatMap((name) => {
    const at = seen(join(folder, name))
    return typeof at === 'object' ? [{ name, at }] : []
  })
  const crashed = seenAt
    .filter(({ name, at }) => FOR_THE_MOMENT.test(name) && deps.now() - at.mtimeMs > deps.limits.leftOverMs)
    .map(({ name }) => {
      const path = join(folder, name)
      const text = `${path} is left from something that did not end`
      return finding('left-overs', 'warn', text, asRoot(`rm -r ${quoted(path)}`, subject.uid ?? undefined))
    })
  const copies = seenAt
    .filter(({ name }) => BEFORE.test(name) && !FOR_THE_MOMENT.test(name))
    .map(({ name, at }) => {
      const path = join(folder, name)
      const text = `${path}, ${Math.ceil(at.size / 1024 / 1024)} MiB, is from before an upgrade or a restore; it may go once you trust what came after`
      return finding('left-overs', 'ok', text)
    })
  return [...crashed, ...copies]
}
