import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { generateKeyPairSync, sign } from 'node:crypto'
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashRow } from '../../src/audit.ts'
import { checkpointText } from '../../src/checkpoint.ts'
import type { AuditRowJson, CheckpointJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { documentOf, portcullis } from '../cli/run.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { ask, open } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { consoleApi, makeKey } from './console.ts'
import { expectProblem } from './shape.ts'

let data: string
let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
beforeAll(async () => {
  data = tempFolder()
  events = await startEvents({ intervalMs: 20 })
  node = await startNode({ data })
})
afterAll(async () => {
  await node.stop()
  events.stop()
  removeFolder(data)
})

const rows = async (query = '') =>
  (await node.api<{ items: AuditRowJson[] }>('GET', `/audit?limit=1000${query}`)).json.items
/** What the act added to the log. */
const added = async (act: () => Promise<unknown>): Promise<AuditRowJson[]> => {
  const before = (await rows()).length
  await act()
  // What strangers caused is written when a minute ends, which may be now.
  return (await rows()).slice(before).filter(({ actor }) => !actor.startsWith('address:'))
}

describe('each change is one row', () => {
  const socket = (method: string, path: string, body?: unknown) => async () => {
    const { status, json } = await node.api(method, path, body)
    if (status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(json)}`)
  }
  const post = (path: string, body?: unknown) => socket('POST', path, body)
  const server = { name: 'a', url: 'http://127.0.0.1:1', probe: false, headers: { 'X-Key': 'sealed' } }
  const changes: [what: string, act: () => Promise<unknown>, row: Partial<AuditRowJson>][] = [
    ['add', post('/servers', server), { action: 'server.add', targetName: 'a' }],
    ['change', socket('PATCH', '/servers/a', { kind: 'http' }), { action: 'server.change', targetName: 'a' }],
    ['issue', post('/tokens', { name: 't', servers: ['a'], subject: 's' }), { action: 'token.issue', targetName: 't' }],
    ['rotate', post('/tokens/t/rotations', { graceSeconds: 60 }), { action: 'token.rotate', targetName: 't' }],
    [
      'close',
      socket('PUT', '/servers/a/gate', { state: 'closed', reason: 'r' }),
      { action: 'server.close', targetName: 'a', reason: 'r' },
    ],
    ['open', socket('PUT', '/servers/a/gate', { state: 'open' }), { action: 'server.open', targetName: 'a' }],
    ['close all', socket('PUT', '/gate', { state: 'closed' }), { action: 'server.close', targetName: 'all servers' }],
    ['open all', socket('PUT', '/gate', { state: 'open' }), { action: 'server.open', targetName: 'all servers' }],
    ['kill', socket('DELETE', '/servers/a/connections'), { action: 'server.kill', targetName: 'a' }],
    [
      'revoke',
      post('/revocations', { tokens: ['t'], reason: 'rogue_behavior', note: 'n' }),
      { action: 'token.revoke', targetName: 't', reason: 'rogue_behavior' },
    ],
    ['an API key', post('/apikeys', { name: 'k', role: 'operator' }), { action: 'apikey.create', targetName: 'k' }],
    ['its removal', socket('DELETE', '/apikeys/k'), { action: 'apikey.remove', targetName: 'k' }],
    [
      'an operator',
      post('/operators', { name: 'Ada', role: 'auditor' }),
      { action: 'operator.create', targetName: 'Ada' },
    ],
    ['its removal', socket('DELETE', '/operators/Ada'), { action: 'operator.remove', targetName: 'Ada' }],
    ['a key of the ring', post('/keys'), { action: 'key.rotate' }],
    // Its answer is no JSON, and nothing more than a read but for what it holds.
    ['a backup', () => node.api('GET', '/backup').catch(() => null), { action: 'node.backup' }],
    ['remove', socket('DELETE', '/servers/a'), { action: 'server.remove', targetName: 'a' }],
  ]
  test.each(changes)('%s', async (_what, act, row) => {
    const since = Date.now()
    const found = await added(act)
    expect(found).toHaveLength(1)
    expect(structuredClone(found[0])).toMatchObject({ actor: 'local:0', ...row } as AuditRowJson)
    expect(Date.parse(found[0]?.time ?? '')).toBeGreaterThanOrEqual(since)
    expect(JSON.stringify(found)).not.toContain('sealed')
  })

  test('a kill of one connection names it', async () => {
    await node.addServer('events', events.url)
    const { token, id } = await node.createToken('streams', ['events'])
    const stream = await open(node.gate, {
      target: '/s/events/x',
      headers: { ...bearer(token), 'User-Agent': 'tester' },
    })
    await stream.until(({ text }) => text.includes('data:'))
    const [connection] = (await node.api<{ items: { id: string }[] }>('GET', '/connections')).json.items
    const found = await added(socket('DELETE', `/connections/${connection?.id}`))
    expect(found).toMatchObject([
      { action: 'connection.kill', targetId: connection?.id, details: { connection: { token: id } } },
    ])
  })

  test('what is refused, read or dry is none', async () => {
    const found = await added(async () => {
      for (const noun of ['servers', 'tokens', 'audit/verification', 'audit/checkpoint', 'keys', 'node']) {
        await node.api('GET', `/${noun}`)
      }
      await node.api('POST', '/tokens', { name: 'x', servers: ['nowhere'] })
      await node.api('POST', '/revocations', { all: true, reason: 'other', dryRun: true })
      await node.api('DELETE', '/servers/nowhere')
    })
    expect(found).toEqual([])
  })

  test('the actor is who did it', async () => {
    const { key } = await makeKey(node, 'ci', 'operator')
    const found = await added(async () => {
      await consoleApi(node, key)('POST', '/servers', { name: 'by-key', url: 'http://127.0.0.1:1', probe: false })
      await node.api('DELETE', '/servers/by-key', undefined, { 'X-Portcullis-Actor': 'local:4711' })
      await node.api('PUT', '/gate', { state: 'open' }, { 'X-Portcullis-Actor': 'operator:owner' })
    })
    expect(found.map(({ actor, action }) => `${actor} ${action}`)).toEqual([
      'apikey:ci server.add',
      'local:4711 server.remove',
      'local:unknown server.open',
    ])
  })

  test('rows follow each other', async () => {
    const all = await rows()
    for (const [index, row] of all.entries()) {
      expect(row.sequence).toBe(index + 1)
      expect(row.previousHash).toBe(all[index - 1]?.hash ?? '0'.repeat(64))
      expect(row.hash).toMatch(/^[0-9a-f]{64}$/)
      expect(row.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    }
  })
})

describe('what strangers cause is folded', () => {
  test('50 refused calls are one row with their count, a minute and source', async () => {
    const { token, id } = await node.createToken('dead', ['events'])
    await node.revoke({ tokens: [id] })
    const before = (await rows()).length
    for (let call = 0; call < 50; call += 1) {
      await ask(node.gate, { target: '/s/events/x', headers: bearer(token) })
      await ask(node.gate, { target: '/s/events/x', headers: bearer(unknownSecret()) })
      await consoleApi(node, unknownSecret().replace('pcl_', 'pca_'))('GET', '/tokens')
    }
    // At the end of each minute, and when it stops: a minute may have ended in between.
    await node.stop()
    node = await startNode({ data })
    // A start may add rows of its own.
    const found = (await rows()).slice(before).filter(({ actor }) => actor !== 'system')
    const byAction = Map.groupBy(found, ({ action }) => action)
    expect([...byAction.keys()].toSorted()).toEqual(['apikey.refused', 'gate.dead-token', 'gate.unknown-token'])
    for (const [action, folded] of byAction) {
      expect(folded.length).toBeLessThanOrEqual(2)
      expect(folded.reduce((sum, { details }) => sum + Number(details['count']), 0)).toBe(50)
      for (const row of folded) {
        expect(row.actor).toBe('address:127.0.0.1')
        expect(row.targetId).toBe(action === 'gate.dead-token' ? id : null)
      }
      const minutes = folded.map(({ details }) => Math.floor(Number(details['firstAt']) / 60_000))
      expect(new Set(minutes).size).toBe(folded.length)
    }
    expect(JSON.stringify(found)).not.toContain('pcl_')
    expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
  })
})

describe('the database itself refuses', () => {
  const database = (): Database => new Database(join(data, 'portcullis.db'))
  test.each([
    "UPDATE audit SET actor = 'nobody'",
    'DELETE FROM audit',
    `INSERT OR REPLACE INTO audit SELECT sequence, at, node, 'nobody', action, target_id, target_name, reason, details,
      previous_hash, hash FROM audit WHERE sequence = 1`,
    'UPDATE OR REPLACE audit SET sequence = 1 WHERE sequence = 2',
    'UPDATE tokens SET revoked_at = NULL WHERE revoked_at IS NOT NULL',
    'UPDATE tokens SET revoked_at = revoked_at + 1 WHERE revoked_at IS NOT NULL',
    'DELETE FROM tokens',
    `INSERT OR REPLACE INTO tokens (id, name, created_at, created_by)
      SELECT id, name, created_at, created_by FROM tokens`,
    'DELETE FROM secrets',
    'INSERT OR REPLACE INTO secrets SELECT digest, key_id, token_id, created_at, NULL FROM secrets',
    'DELETE FROM revocations',
    "UPDATE revocations SET actor = 'nobody'",
    'DELETE FROM facts',
    "UPDATE facts SET payload = '{}'",
  ])('%s', (sql) => {
    const client = database()
    const count = () =>
      client
        .query(
          'SELECT (SELECT count(*) FROM audit) AS a, (SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL) AS t',
        )
        .get()
    const before = count()
    expect(() => client.run(sql)).toThrow(/immutable|stays revoked|kept|unique/i)
    expect(count()).toEqual(before)
    client.close()
  })
})

describe('audit verify', () => {
  let folder: string
  let checkpoint: CheckpointJson
  let kept: string
  const sql = (file: string, ...statements: string[]) => {
    const client = new Database(file)
    const triggers = client.query("SELECT name FROM sqlite_master WHERE type = 'trigger'").all() as { name: string }[]
    for (const { name } of triggers) client.run(`DROP TRIGGER ${name}`)
    for (const statement of statements) client.run(statement)
    client.close()
  }
  /** A copy of the stopped node's database, changed by whoever may write the file. */
  const altered = (name: string, ...statements: string[]): string => {
    const file = join(folder, `${name}.db`)
    copyFileSync(join(data, 'portcullis.db'), file)
    sql(file, 'PRAGMA journal_mode = DELETE', ...statements)
    return file
  }
  const verify = async (file: string, ...more: string[]) => {
    const ran = await portcullis(['audit', 'verify', '--db', file, '--data', data, '--json', ...more])
    return { code: ran.code, found: documentOf<VerificationJson>(ran) }
  }
  const save = (name: string, document: unknown): string => {
    const file = join(folder, name)
    writeFileSync(file, JSON.stringify(document))
    return file
  }

  beforeAll(async () => {
    folder = tempFolder()
    checkpoint = (await node.api<CheckpointJson>('GET', '/audit/checkpoint')).json
    kept = save('checkpoint.json', checkpoint)
    await node.stop()
  })
  afterAll(async () => {
    node = await startNode({ data })
    removeFolder(folder)
  })

  test('0: intact, with and without a checkpoint', async () => {
    const file = altered('intact')
    for (const more of [[], ['--checkpoint', kept]]) {
      expect(await verify(file, ...more)).toMatchObject({
        code: 0,
        found: { status: 'intact', ok: true, rows: checkpoint.sequence, sequence: null },
      })
    }
  })

  test.each([
    ['a field', "UPDATE audit SET actor = 'local:1' WHERE sequence = 3", 3],
    ['a detail', "UPDATE audit SET details = replace(details, ':', ': ') WHERE sequence = 2", 2],
    ['the time', 'UPDATE audit SET at = at + 1 WHERE sequence = 5', 5],
    [
      'a hash',
      "UPDATE audit SET hash = CASE hash WHEN lower(hash) THEN upper('a' || substr(hash, 2)) END WHERE sequence = 4",
      4,
    ],
    ['a row in the middle', 'DELETE FROM audit WHERE sequence = 4', 5],
    ['the first row', 'DELETE FROM audit WHERE sequence = 1', 2],
  ])('1: altered: %s', async (_what, statement, at) => {
    const { code, found } = await verify(altered(crypto.randomUUID(), statement))
    expect([code, found.ok, found.status]).toEqual([1, false, 'altered'])
    expect([at, at + 1]).toContain(found.sequence as number)
    expect(found.message).toMatch(/row \d+/)
  })

  test('4: cut off at the end, seen only against a checkpoint', async () => {
    const file = altered('short', `DELETE FROM audit WHERE sequence > ${checkpoint.sequence - 2}`)
    expect(await verify(file)).toMatchObject({ code: 0 })
    expect(await verify(file, '--checkpoint', kept)).toMatchObject({
      code: 4,
      found: { status: 'truncated', sequence: checkpoint.sequence - 1 },
    })
    const empty = altered('empty', 'DELETE FROM audit')
    expect(await verify(empty, '--checkpoint', kept)).toMatchObject({ code: 4, found: { status: 'truncated' } })
  })

  /** Rewrites the last row and chains it anew, as whoever knows how it is done can. */
  const forked = (name: string): string => {
    const file = altered(name)
    const client = new Database(file)
    const columns = `sequence, at, node, actor, action, target_id AS targetId, target_name AS targetName,
      reason, details, previous_hash AS previousHash`
    const row = client.query(`SELECT ${columns} FROM audit ORDER BY sequence DESC LIMIT 1`).get() as Parameters<
      typeof hashRow
    >[0]
    const next = { ...row, actor: 'somebody else' }
    client.query('UPDATE audit SET actor = ?, hash = ? WHERE sequence = ?').run(next.actor, hashRow(next), row.sequence)
    client.close()
    return file
  }

  test('5: forked, seen only against a checkpoint', async () => {
    const file = forked('forked')
    expect(await verify(file)).toMatchObject({ code: 0 })
    expect(await verify(file, '--checkpoint', kept)).toMatchObject({
      code: 5,
      found: { status: 'forked', sequence: checkpoint.sequence },
    })
  })

  describe('a checkpoint that is forged', () => {
    const forge = (changes: Partial<CheckpointJson>, keyId: string): CheckpointJson => {
      const pair = generateKeyPairSync('ed25519')
      const said = { ...checkpoint, ...changes, keyId }
      const publicKey = pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64')
      return {
        ...said,
        publicKey,
        signature: sign(null, Buffer.from(checkpointText(said)), pair.privateKey).toString('base64'),
      }
    }
    const forgeries = (): [string, object][] => [
      ['another sequence', { ...checkpoint, sequence: checkpoint.sequence + 1 }],
      ['another hash', { ...checkpoint, hash: '0'.repeat(64) }],
      ['another database', { ...checkpoint, database: 'db_other' }],
      ['no signature', { ...checkpoint, signature: '' }],
      ['a signature of another key', { ...checkpoint, signature: forge({}, checkpoint.keyId).signature }],
      ["a stranger's key under our id", forge({ sequence: 1_000 }, checkpoint.keyId)],
      ["a stranger's key under its own id", forge({ sequence: 1_000 }, 'k0123456789')],
    ]
    test('is refused offline', async () => {
      const file = altered('for-forgeries')
      for (const [what, document] of forgeries()) {
        const ran = await portcullis([
          'audit',
          'verify',
          '--db',
          file,
          '--data',
          data,
          '--checkpoint',
          save('forged.json', document),
        ])
        expect([what, ran.code, ran.stdout]).toEqual([what, 1, ''])
        expect(ran.stderr).toMatch(/checkpoint/)
      }
      const garbage = await portcullis(['audit', 'verify', '--db', file, '--checkpoint', file])
      expect([garbage.code, garbage.stdout]).toEqual([1, ''])
    })

    test('is refused online', async () => {
      await using online = await startNode({ data })
      for (const [, document] of forgeries()) {
        expectProblem(await online.api('POST', '/audit/verification', document), 400)
      }
      expect((await online.api<VerificationJson>('POST', '/audit/verification', checkpoint)).json.status).toBe('intact')
    })
  })

  test('online: the same codes, also for what happens behind its back', async () => {
    const copy = tempFolder()
    copyFileSync(join(data, 'portcullis.db'), join(copy, 'portcullis.db'))
    copyFileSync(join(data, 'portcullis.key'), join(copy, 'portcullis.key'))
    await using online = await startNode({ data: copy })
    const code = async (...more: string[]) => (await portcullis(['audit', 'verify', '--data', copy, ...more])).code
    expect([await code(), await code('--checkpoint', kept)]).toEqual([0, 0])
    const file = join(copy, 'portcullis.db')
    sql(file, 'DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)')
    expect([await code(), await code('--checkpoint', kept)]).toEqual([4, 4])
    sql(file, `DELETE FROM audit WHERE sequence >= ${checkpoint.sequence}`)
    expect([await code(), await code('--checkpoint', kept)]).toEqual([4, 4])
    sql(file, "UPDATE audit SET actor = 'x' WHERE sequence = 2")
    expect([await code(), await code('--checkpoint', kept)]).toEqual([1, 1])
    expect((await online.api<VerificationJson>('GET', '/audit/verification')).json).toMatchObject({
      status: 'altered',
      sequence: 2,
    })
  })

  test('no such file, or none of ours', async () => {
    for (const file of [join(folder, 'nowhere.db'), kept, folder]) {
      const ran = await portcullis(['audit', 'verify', '--db', file, '--data', data])
      expect([ran.code, ran.stdout]).toEqual([1, ''])
      expect(ran.stderr).toContain(file)
    }
  })
})
