import type { Database } from 'bun:sqlite'
import { messageOf } from '../error.ts'
import { type Finding, finding } from '../finding.ts'
import { lookAt, seen } from './path.ts'
import { openUntouched } from './records.ts'
import type { Subject } from './subject.ts'
import { asRoot } from './user.ts'

const MIB = 1024 * 1024
const mebibytes = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`
const RESTORE = 'stop the node, keep a copy of the folder, then: portcullis restore FILE'

/** Damage found, table by table until the time is up; and how many tables it did not come to. */
const damageOf = (client: Database, { limits }: Subject['deps']): { damage: string | null; left: number } => {
  const until = performance.now() + limits.databaseCheckMs
  const names = (
    client.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").all() as { name: string }[]
  ).map(({ name }) => name)
  let left = 0
  for (const name of names) {
    const table = `"${name.replaceAll('"', '""')}"`
    const { rows } = client.query(`SELECT max(rowid) AS rows FROM ${table}`).get() as { rows: number | null }
    if (performance.now() > until || Number(rows) > limits.databaseCheckRowsMax) {
      left += 1
      continue
    }
    const { quick_check: said } = client.query(`PRAGMA quick_check(${table})`).get() as { quick_check: string }
    if (said !== 'ok') return { damage: said, left }
  }
  return { damage: null, left }
}

/** Whether the database can be read, is whole, and is of a schema that this version knows. */
export const database = ({ files, records, deps, folder, closed }: Subject): Finding[] => {
  const file = files.database
  const say = (level: Finding['level'], text: string, todo = '') => [finding('database', level, text, todo)]
  switch (records.kind) {
    case 'hidden':
      return closed ? [] : say('fail', `you may not read ${file}`, deps.sudo(folder))
    case 'absent':
      return seen(folder) === 'absent' ? [] : say('warn', `${file} is not there yet`, 'it is made by the first start')
    case 'broken':
      return say('fail', `${file} can't be used: ${records.why}`, RESTORE)
    case 'newer':
      return say(
        'fail',
        `${file} is of portcullis ${records.version}, whose schema this one (${deps.version}) does not know`,
        `run portcullis ${records.version} or newer; this one refuses to start`,
      )
    case 'known': {
      const at = lookAt(file)
      const bytes = typeof at === 'object' ? at.size : 0
      if (records.older) {
        const text = `${file}, ${mebibytes(bytes)}, is of portcullis ${records.version}: the next start migrates it, and copies it before`
        return say(
          'warn',
          text,
          `have ${mebibytes(deps.limits.upgradeRoomFactor * bytes)} free, take a backup, then start`,
        )
      }
      const client = openUntouched(file)
      try {
        const { damage, left } = damageOf(client, deps)
        if (damage !== null) return say('fail', `${file} is damaged: ${damage}`, RESTORE)
        const rest = left === 0 ? '' : `; ${left} of its tables are too large to check here`
        return say('ok', `${file}, ${mebibytes(bytes)}, whole${rest}`)
      } catch (error) {
        return say('fail', `${file} is damaged: ${messageOf(error)}`, RESTORE)
      } finally {
        client.close()
      }
    }
  }
}

/** The size of SQLite's own log, which is emptied as a node goes along. */
export const log = ({ files, deps, node }: Subject): Finding[] => {
  const at = seen(`${files.database}-wal`)
  if (typeof at !== 'object') return []
  const text = `the database's log is ${mebibytes(at.size)}`
  if (at.size <= deps.limits.walBytesMax) return [finding('log', 'ok', text)]
  const todo = node
    ? 'something reads the database all the time and keeps the log from being emptied: stop it, or restart the node'
    : 'start the node: it takes what is in it'
  return [finding('log', 'warn', `${text}: too much`, todo)]
}

/** What the running node found when it last read its audit log. */
export const auditLog = ({ node }: Subject): Finding[] => {
  if (!node) return []
  const last = node.verification ?? null
  if (last === null)
    return [finding('audit log', 'ok', 'not verified since the start; `portcullis audit verify` does it now')]
  if (last.status === 'intact') return [finding('audit log', 'ok', `intact, verified ${last.checkedAt}`)]
  const todo = 'somebody changed the database behind the node: keep a copy of the folder, and see docs/emergency.md'
  return [finding('audit log', 'fail', `${last.status}: ${last.message}`, todo)]
}

/** Whether anybody can sign in to the console. */
export const owner = ({ records, said, closed, uid }: Subject): Finding[] => {
  if (closed || (!said && records.kind !== 'known')) return []
  const known = records.kind === 'known' && records.hasOwner
  const has = said ? said.operators.some(({ role, ready }) => role === 'owner' && ready) : known
  if (has) return [finding('owner', 'ok', 'there is one who can sign in to the console')]
  const todo = `with the node running: ${asRoot('portcullis setup', uid ?? undefined)}`
  return [finding('owner', 'warn', 'nobody can sign in to the console yet', todo)]
}
