import { join } from 'node:path'
import { GENESIS, hashRow } from '../../src/audit.ts'
import { generateSecret } from '../../src/secret.ts'
import { filesOf, makeFolder } from '../../src/store/folder.ts'
import { openStore } from '../../src/store/open.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

export interface BigDatabase {
  /** A data folder, made where it is not there; it must hold no database yet. */
  folder: string
  tokens?: number
  auditRows?: number
  /** Minutes of usage that each token has, the last of them now. */
  usageMinutes?: number
  /** Addresses that tried each dead token. */
  evidenceAddresses?: number
  /** One token in so many is dead; 0: none. */
  deadEvery?: number
  /** Where the one server, `big`, leads. */
  upstream?: string
  seed?: number
}

export interface BigToken {
  id: string
  name: string
  secret: string
  dead: boolean
}

/** The same numbers for the same seed (mulberry32), from 0 to 1. */
const randomFrom = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

const idAt = (kind: string, at: number): string => `${kind}_${Bun.randomUUIDv7('hex', at).replaceAll('-', '')}`

/** How often what is done, out of a thousand: strangers most, and some things hardly ever. */
const ACTIONS: [perMille: number, action: string, by: 'address' | 'person' | 'program' | 'system', onToken: boolean][] =
  [
    [550, 'gate.dead-token', 'address', true],
    [250, 'gate.unknown-token', 'address', false],
    [100, 'token.policy', 'program', true],
    [60, 'operator.sign-in', 'person', false],
    [25, 'token.rotate', 'person', true],
    [14, 'connection.kill', 'person', true],
    [1, 'key.rotate', 'system', false],
  ]
const PEOPLE = ['operator:owner', 'operator:ada', 'operator:grace', 'local:0']
const PROGRAMS = ['apikey:ci', 'apikey:deploy']

/**
 * Fills a data folder that a node then starts on: tokens with their secrets, usage, tries, and an audit log whose
 * chain holds. A year of it in seconds, past everything that makes a change slow; returns the tokens.
 */
export const makeBigDatabase = (options: BigDatabase): BigToken[] => {
  const {
    folder,
    tokens: tokenCount = 10_000,
    auditRows = 1_000_000,
    usageMinutes = 0,
    evidenceAddresses = 0,
  } = options
  const { deadEvery = 10, upstream = 'http://127.0.0.1:1', seed = 1 } = options
  const random = randomFrom(seed)
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T
  const now = Date.now()
  const start = now - 365 * DAY_MS
  makeFolder(folder)
  const keyFile = join(folder, 'portcullis.key')
  const store = openStore({ folder, keyFile, version: '0.0.0', now: () => now })
  const { client, keys, node } = store
  // One row after the other into an index is slow; all at once is not.
  const indexes = client
    .query("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    .all() as { name: string; sql: string }[]
  client.run('PRAGMA synchronous = OFF')
  client.run('BEGIN')
  for (const { name } of indexes) client.run(`DROP INDEX ${name}`)

  const server = idAt('srv', start)
  client
    .query(
      'INSERT INTO servers (id, name, url, kind, path, headers, state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    )
    .run(server, 'big', `${upstream}/`, 'http', '', keys.encrypt('[]', `headers of ${server}`), 'open', start)

  const insertAudit = client.query('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const head = { sequence: store.log.head.sequence, hash: store.log.head.hash || GENESIS }
  const log = (
    at: number,
    actor: string,
    action: string,
    target: BigToken | null,
    details: object,
    reason?: string,
  ) => {
    const row = {
      sequence: head.sequence + 1,
      at: Math.round(at),
      node,
      actor,
      action,
      targetId: target?.id ?? null,
      targetName: target?.name ?? null,
      reason: reason ?? null,
      details: JSON.stringify(details),
      previousHash: head.hash,
    }
    head.hash = hashRow(row)
    head.sequence = row.sequence
    insertAudit.run(...Object.values(row), head.hash)
  }

  const insertToken = client.query(
    'INSERT INTO tokens (id, name, subject, group_name, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const insertSecret = client.query('INSERT INTO secrets VALUES (?, ?, ?, ?, NULL)')
  const insertReach = client.query('INSERT INTO token_servers VALUES (?, ?)')
  const insertUsage = client.query('INSERT INTO usage_minutes VALUES (?, ?, ?, ?, ?, ?, ?)')
  const insertTotal = client.query('INSERT INTO usage_totals VALUES (?, ?, ?, ?, ?, ?, ?)')
  const minute = now - (now % MINUTE_MS)
  const made = Array.from({ length: tokenCount }, (_, index): BigToken => {
    const at = start + index
    const token = {
      id: idAt('tok', at),
      name: `${pick(['Cursor', 'Claude Code', 'Codex', 'build', 'nightly', 'notebook'])} ${index}`,
      secret: generateSecret('pcl_'),
      dead: deadEvery > 0 && index % deadEvery === deadEvery - 1,
    }
    const subject = `dev${index % 997}@example.com`
    const group = index % 3 === 0 ? null : `team-${index % 41}`
    const { keyId, digest } = keys.digest(token.secret)
    insertToken.run(token.id, token.name, subject, group, at, PEOPLE[0] ?? '')
    insertSecret.run(digest, keyId, token.id, at)
    insertReach.run(token.id, server)
    for (let ago = 0; ago < usageMinutes; ago += 1) {
      insertUsage.run(token.id, minute - ago * MINUTE_MS, 1 + Math.floor(random() * 50), 0, 1_000, 9_000, 'cursor')
    }
    if (usageMinutes > 0) insertTotal.run(token.id, now, 25 * usageMinutes, 0, 1_000, 9_000, 'cursor')
    log(at, PEOPLE[0] ?? '', 'token.issue', token, { subject, group, servers: [server], expiresAt: null })
    return token
  })

  const revokeToken = client.query('UPDATE tokens SET revoked_at = ?, revocation_id = ? WHERE id = ?')
  const insertRevocation = client.query(
    'INSERT INTO revocations (id, at, actor, reason, note, selector, tokens, cut, timings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
  )
  const insertEvidence = client.query('INSERT INTO evidence VALUES (?, ?, ?, ?, ?)')
  const dead = made.filter((token) => token.dead)
  for (const [index, token] of dead.entries()) {
    const at = start + DAY_MS + index * MINUTE_MS
    const id = idAt('rev', at)
    const actor = pick(PEOPLE)
    const selector = { tokens: [token.id] }
    const only = { id: token.id, name: token.name, subject: null }
    const timings = JSON.stringify({ commitMs: 0.5, firstCutMs: null, lastCutMs: null })
    insertRevocation.run(
      ...[id, at, actor, 'rotation', '', JSON.stringify(selector), JSON.stringify([only]), 0, timings],
    )
    revokeToken.run(at, id, token.id)
    const details = { revocation: id, at, note: '', selector, count: 1, tokens: [{ id: token.id, name: token.name }] }
    log(at, actor, 'token.revoke', token, details, 'rotation')
    for (let address = 0; address < evidenceAddresses; address += 1) {
      insertEvidence.run(token.id, `10.${index % 250}.0.${address}`, 3, at + 1, now)
    }
  }

  const from = start + 30 * DAY_MS
  const missing = auditRows - head.sequence
  for (let row = 0; row < missing; row += 1) {
    const at = from + ((now - from) * row) / missing
    let chance = random() * 1_000
    const [, action, by, onToken] =
      ACTIONS.find(([share]) => (chance -= share) < 0) ?? (ACTIONS[0] as (typeof ACTIONS)[0])
    const address = `address:203.0.${Math.floor(random() * 20)}.${Math.floor(random() * 250)}`
    const actor = { address, person: pick(PEOPLE), program: pick(PROGRAMS), system: 'system' }[by]
    const target =
      onToken && made.length > 0 ? pick(action === 'gate.dead-token' && dead.length > 0 ? dead : made) : null
    log(
      at,
      actor,
      action,
      target,
      by === 'address' ? { count: 1 + Math.floor(random() * 20), firstAt: at, lastAt: at } : {},
    )
  }
  for (const { sql } of indexes) client.run(sql)
  client.run('COMMIT')
  client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  store.close()
  return made
}

if (import.meta.main) {
  const [folder, tokens, auditRows, usageMinutes] = process.argv.slice(2)
  if (!folder) {
    console.error('usage: bun test/support/big-database.ts FOLDER [TOKENS [AUDIT-ROWS [USAGE-MINUTES]]]')
    process.exit(2)
  }
  const began = performance.now()
  const given = Object.entries({ tokens, auditRows, usageMinutes }).filter(([, count]) => count !== undefined)
  const made = makeBigDatabase({ folder, ...Object.fromEntries(given.map(([name, count]) => [name, Number(count)])) })
  console.log(`${filesOf(folder).database}: ${made.length} tokens, in ${Math.round(performance.now() - began)} ms`)
}
