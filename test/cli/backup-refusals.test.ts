import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { AuditRowJson, NodeJson } from '../../src/server/api/schemas.ts'
import { builtBinary } from '../support/binary.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { documentOf, portcullis } from './run.ts'

let command: string[]
let echo: Awaited<ReturnType<typeof startEcho>>
let data: string
let file: string
let secret: string
const start = (folder: string, args: string[] = []) => startNode({ data: folder, command, args })
const run = (...args: string[]) => portcullis(args, { command })
const restore = (from: string, into: string, ...more: string[]) => run('restore', from, '--data', into, ...more)

beforeAll(async () => {
  command = [builtBinary()]
  echo = await startEcho()
  data = tempFolder()
  file = join(tempFolder(), 'backup')
  const node = await start(data)
  await node.addServer('echo', echo.url)
  secret = (await node.createToken('Cursor IDE', ['echo'])).token
  expect((await run('backup', file, '--data', data)).code).toBe(0)
  await node.createToken('Claude Code', ['echo'])
  await node.stop()
})
afterAll(() => echo.stop())

/** Every file of a folder, byte for byte, with its mode. */
const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder).map((name) => {
      const path = join(folder, name)
      return [name, `${statSync(path).mode.toString(8)} ${Bun.SHA256.hash(readFileSync(path), 'hex')}`]
    }),
  )

/** The backup unpacked, changed, and packed again by GNU tar, as somebody might do it. */
const repacked = async (change: (folder: string) => void, ...names: string[]): Promise<string> => {
  const folder = tempFolder()
  await Bun.$`tar xf ${file} -C ${folder}`
  change(folder)
  const to = join(tempFolder(), 'repacked')
  await Bun.$`tar cf ${to} --format=ustar -P -C ${folder} ${names.length > 0 ? names : readdirSync(folder)}`
  return to
}
const manifestWith = (change: Record<string, unknown>) => (folder: string) => {
  const path = join(folder, 'backup.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  writeFileSync(path, JSON.stringify({ ...manifest, ...change }))
}
const inDatabase = (sql: string) => (folder: string) => {
  manifestWith({ sha256: undefined })(folder)
  const client = new Database(join(folder, 'portcullis.db'))
  client.run(sql)
  client.close()
}
const bytesChanged = (change: (bytes: Buffer) => Buffer) => () => {
  const to = join(tempFolder(), 'changed')
  writeFileSync(to, change(readFileSync(file)))
  return to
}

test('packed again with nothing changed it is as good as before', async () => {
  const into = tempFolder()
  expect((await restore(await repacked(() => undefined), into)).code).toBe(0)
})

test('one of before 0.4.0, which holds no digests, is as good too', async () => {
  const folder = tempFolder()
  await Bun.$`tar xf ${file} -C ${folder}`
  manifestWith({ sha256: undefined, version: '0.1.0' })(folder)
  const old = join(tempFolder(), 'old')
  const names = ['backup.json', 'portcullis.db', 'portcullis.key']
  // As those versions packed it.
  const archive = new Bun.Archive(Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))])))
  writeFileSync(old, await archive.bytes())
  const into = tempFolder()
  expect((await restore(old, into)).code).toBe(0)
  expect(await statusAt(into)).toBe(200)
})

describe('restore refuses, says why, and changes nothing', () => {
  test.each<[string, () => string | Promise<string>, string]>([
    ['a file that is empty', bytesChanged(() => Buffer.alloc(0)), 'cut off, or no backup'],
    ['a folder', () => tempFolder(), 'EISDIR'],
    ['zeros', bytesChanged(() => Buffer.alloc(10_240)), 'no backup.json in it'],
    ['half of it', bytesChanged((bytes) => bytes.subarray(0, bytes.length / 2)), 'cut off'],
    [
      'a bit of a revocation flipped',
      bytesChanged((bytes) => {
        const at = bytes.indexOf('Cursor IDE')
        bytes[at] = (bytes[at] as number) ^ 1
        return bytes
      }),
      'portcullis.db in it was altered, or is damaged',
    ],
    [
      'a header damaged',
      bytesChanged((bytes) => {
        bytes[0] = 0x71
        return bytes
      }),
      'it is damaged, or no backup',
    ],
    ['a file beside its own', () => repacked((folder) => writeFileSync(join(folder, 'more'), '')), '"more"'],
    [
      'a way out of the folder',
      () => repacked((folder) => mkdirSync(join(folder, 'a')), 'a/../backup.json', 'portcullis.db', 'portcullis.key'),
      'a/../backup.json',
    ],
    [
      'a link',
      () =>
        repacked((folder) => {
          rmSync(join(folder, 'portcullis.key'))
          Bun.spawnSync(['ln', '-s', '/etc/passwd', join(folder, 'portcullis.key')])
        }),
      'which is no file',
    ],
    [
      'the same name twice',
      () =>
        repacked(
          () => undefined,
          'backup.json',
          'portcullis.db',
          'portcullis.key',
          'portcullis.db',
          '--hard-dereference',
        ),
      'it holds a file twice',
    ],
    ['no keys', () => repacked(() => undefined, 'backup.json', 'portcullis.db'), 'no portcullis.key in it'],
    [
      'a manifest that is none',
      () => repacked((folder) => writeFileSync(join(folder, 'backup.json'), '{')),
      'backup.json',
    ],
    [
      'a manifest of something else',
      () => repacked(manifestWith({ portcullis: 'image' })),
      'not a backup of portcullis',
    ],
    [
      'a newer version',
      () =>
        repacked(
          inDatabase(
            "INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('x', 9e15); UPDATE meta SET value = '9.9.9' WHERE key = 'version'",
          ),
        ),
      'run 9.9.9 or newer',
    ],
    [
      'a database that is none',
      () =>
        repacked((folder) => {
          manifestWith({ sha256: undefined })(folder)
          writeFileSync(join(folder, 'portcullis.db'), 'no database'.repeat(1_000))
        }),
      'not a database',
    ],
    [
      'keys that are none',
      () =>
        repacked((folder) => {
          manifestWith({ sha256: undefined })(folder)
          writeFileSync(join(folder, 'portcullis.key'), '{}')
        }),
      "its keys can't be read",
    ],
    ["another database's manifest", () => repacked(manifestWith({ database: 'db_other' })), 'another database'],
  ])('%s', async (_what, made, why) => {
    const bad = await made()
    const before = contents(data)
    const { code, stdout, stderr } = await restore(bad, data)
    expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining(why)])
    expect(stderr).not.toMatch(/TypeError|SyntaxError|restore\.tmp|\n\s+at /)
    expect(contents(data)).toEqual(before)
  })

  test("in place: what can't be read, is newer, or is another's", async () => {
    const damage: [(folder: string) => void, string][] = [
      [(at) => writeFileSync(join(at, 'portcullis.db'), 'no database'.repeat(1_000)), 'move '],
      [
        (at) => inDatabaseAt(at, "INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('x', 9e15)"),
        'restore with',
      ],
      [(at) => inDatabaseAt(at, "UPDATE meta SET value = 'db_other' WHERE key = 'database'"), 'another database'],
    ]
    for (const [change, why] of damage) {
      const place = tempFolder()
      cpSync(data, place, { recursive: true })
      change(place)
      const before = contents(place)
      const { code, stderr } = await restore(file, place)
      expect([code, stderr]).toEqual([1, expect.stringContaining(why)])
      expect(contents(place)).toEqual(before)
    }
  })
})

const inDatabaseAt = (folder: string, sql: string): void => {
  const client = new Database(join(folder, 'portcullis.db'))
  client.run(sql)
  client.run('PRAGMA journal_mode = DELETE')
  client.close()
}

const statusAt = async (folder: string, args: string[] = []): Promise<number> => {
  const node = await start(folder, args)
  try {
    return (await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })).status
  } finally {
    await node.stop()
  }
}

test('what it says: what is kept, what is gone, and where the database is that was in place', async () => {
  const place = tempFolder()
  cpSync(data, place, { recursive: true })
  writeFileSync(join(place, 'portcullis.toml'), 'log-level = "warn"\n')
  const { code, stdout } = await restore(file, place)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^Restored the backup of 20\S+Z to \S+\.\nNothing had died since\.\n/)
  expect(stdout).toContain('and gone, so that its holder gets 401: 1 token (Claude Code).')
  const [, aside = ''] = /is kept as (\S+):/.exec(stdout) ?? []
  expect((statSync(aside).mode & 0o777).toString(8)).toBe('600')
  const names = new Database(aside, { readonly: true }).query('SELECT name FROM tokens').values().flat()
  expect(names).toEqual(['Cursor IDE', 'Claude Code'])
  expect(await statusAt(place)).toBe(200)
  const again = documentOf<object>(await restore(file, place, '--json'))
  expect(again).toMatchObject({ folder: place, merged: { tokens: 0, gone: [] }, settings: 'none' })
  const empty = await restore(file, tempFolder())
  expect(empty.stdout).toContain('what was revoked after')
})

test('a lost key file, and a database that is lost, come back', async () => {
  const place = tempFolder()
  cpSync(data, place, { recursive: true })
  rmSync(join(place, 'portcullis.key'))
  const before = contents(place)
  const started = await run('serve', '--data', place)
  expect([started.code, started.stderr]).toEqual([2, expect.stringMatching(/portcullis restore FILE.*made anew/)])
  expect(contents(place)).toEqual(before)
  expect((await restore(file, place)).code).toBe(0)
  expect(await statusAt(place)).toBe(200)

  // Its -wal is another database's business; taken for the new one's it would damage it.
  renameSync(join(place, 'portcullis.db'), join(place, 'portcullis.db.broken'))
  writeFileSync(join(place, 'portcullis.db-wal'), 'left behind')
  expect((await restore(file, place)).code).toBe(0)
  expect(await statusAt(place)).toBe(200)

  // Another database's key file is nothing to write over.
  const other = tempFolder()
  await (await start(other)).stop()
  rmSync(join(other, 'portcullis.db'))
  const refused = await restore(file, other)
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('another database')])
})

test('a key file elsewhere, named by the settings in the backup', async () => {
  const [from, keys, into] = [tempFolder(), tempFolder(), tempFolder()]
  const keyFile = join(keys, 'ring')
  writeFileSync(join(from, 'portcullis.toml'), `key-file = "${keyFile}"\n`)
  const node = await start(from)
  const backup = join(tempFolder(), 'backup')
  expect((await run('backup', backup, '--data', from)).code).toBe(0)
  await node.stop()
  rmSync(keyFile)
  const without = await restore(backup, into)
  expect([without.code, without.stderr]).toEqual([1, expect.stringContaining(`--key-file ${keyFile}`)])
  expect(readdirSync(into)).toEqual([])
  expect((await restore(backup, into, '--key-file', keyFile)).code).toBe(0)
  expect(readdirSync(keys)).toEqual(['ring'])
  await (await start(into)).stop()
})

test('a copied or restored folder is another node, a moved one is not', async () => {
  const idOf = async (folder: string) => {
    const node = await start(folder)
    const { json } = await node.api<NodeJson>('GET', '/node')
    await node.stop()
    return json.node
  }
  const [place, parent] = [tempFolder(), tempFolder()]
  cpSync(data, place, { recursive: true })
  const own = await idOf(place)
  expect(await idOf(place)).toBe(own)
  await Bun.$`cp -a ${place} ${join(parent, 'copied')}`
  mkdirSync(join(parent, 'unpacked'), { mode: 0o700 })
  await Bun.$`tar c -C ${place} . | tar x -C ${join(parent, 'unpacked')}`
  renameSync(place, join(parent, 'moved'))
  const ids = [
    await idOf(join(parent, 'moved')),
    await idOf(join(parent, 'copied')),
    await idOf(join(parent, 'unpacked')),
  ]
  expect(ids[0]).toBe(own)
  expect(new Set(ids).size).toBe(3)
})

test('with too little room nothing is restored, and nobody is told to move the database away', async () => {
  if (!mayMount()) return
  await using small = await smallFolder('4m')
  cpSync(data, small.data, { recursive: true })
  const before = contents(small.data)
  const filler = join(small.data, 'filler')
  const { size } = statSync(join(data, 'portcullis.db'))
  let refusals = 0
  for (let roomBytes = size; ; roomBytes += 20_480) {
    const { bavail, bsize } = statfsSync(small.data)
    writeFileSync(filler, new Uint8Array(bavail * bsize - roomBytes))
    const { code, stderr } = await restore(file, small.data)
    rmSync(filler)
    if (code === 0) break
    refusals += 1
    expect([roomBytes, code, stderr]).toEqual([roomBytes, 1, expect.stringMatching(/full|I\/O|ENOSPC/)])
    expect(stderr).not.toContain('move')
    const own = Object.entries(contents(small.data)).filter(([name]) => !/-(?:wal|shm)$/.test(name))
    expect(Object.fromEntries(own)).toEqual(before)
  }
  expect(refusals).toBeGreaterThan(3)
})

test('a link in a folder that is not root’s does not lead root out of it', async () => {
  if (!mayMount()) return
  const system = tempFolder()
  const shadow = join(system, 'shadow')
  writeFileSync(shadow, 'of the system', { mode: 0o600 })
  for (const [name, to] of [
    ['portcullis.key.tmp', shadow],
    ['portcullis.key', join(system, 'new')],
    ['portcullis.lock', join(system, 'new')],
    ['portcullis.db', join(system, 'new')],
    ['portcullis.restore.tmp', system],
  ] as const) {
    const place = tempFolder()
    symlinkSync(to, join(place, name))
    await Bun.$`chown -h 4711:4712 ${place} ${join(place, name)}`
    await restore(file, place)
    expect([name, contents(system)]).toEqual([name, { shadow: `100600 ${Bun.SHA256.hash('of the system', 'hex')}` }])
    expect([name, statSync(shadow).uid, statSync(system).uid]).toEqual([name, 0, 0])
  }
})

test('what root restores belongs to whom the folder does', async () => {
  if (!mayMount()) return
  const place = tempFolder()
  await Bun.$`chown 4711:4712 ${place}`
  const as = ['setpriv', '--reuid=4711', '--regid=4712', '--clear-groups']
  const owners = () =>
    new Set(readdirSync(place).map((name) => `${statSync(join(place, name)).uid}:${statSync(join(place, name)).gid}`))
  for (const round of ['into an empty folder', 'over a database']) {
    expect([round, (await restore(file, place)).code]).toEqual([round, 0])
    expect([round, ...owners()]).toEqual([round, '4711:4712'])
    // The executable is in a folder that only root may enter.
    const binary = join(place, '..', `portcullis-${process.pid}`)
    cpSync(builtBinary(), binary)
    chmodSync(binary, 0o755)
    const node = await startNode({ data: place, command: [...as, binary] })
    expect((await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })).status).toBe(200)
    expect(await node.stop()).toBe(0)
    // Whoever may not write there is told what to type.
    const closed = tempFolder()
    const denied = await portcullis(['restore', file, '--data', closed], { command: [...as, binary] })
    expect([denied.code, denied.stderr]).toEqual([
      1,
      expect.stringContaining(`permission denied; type: sudo ${binary} restore ${file} --data ${closed}`),
    ])
    rmSync(binary)
  }
  // What root left there before it acted as the owner.
  await Bun.$`chown 0:0 ${join(place, 'portcullis.lock')}`
  const left = await restore(file, place)
  expect([left.code, left.stderr]).toEqual([1, expect.stringMatching(/portcullis\.lock: .*`portcullis doctor`/)])
})

describe('a backup', () => {
  test('is an owner’s to take, and stands in the audit log', async () => {
    const place = tempFolder()
    const node = await start(place)
    expect(node.stdout()).toContain('No backup yet: portcullis backup FILE')
    expect((await node.api<NodeJson>('GET', '/node')).json.backupAt).toBeNull()
    const { json: key } = await node.api<{ key: string }>('POST', '/apikeys', { name: 'ci', role: 'operator' })
    const refused = await portcullis(['backup', join(tempFolder(), 'x'), '--url', node.console], {
      command,
      env: { PORTCULLIS_API_KEY: key.key },
    })
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('owner')])
    const rows = async () => (await node.api<{ items: AuditRowJson[] }>('GET', '/audit?action=node.backup')).json.items
    expect(await rows()).toEqual([])
    expect((await run('backup', join(tempFolder(), 'x'), '--data', place)).code).toBe(0)
    expect(await rows()).toMatchObject([{ actor: `local:${process.getuid?.()}` }])
    expect((await node.api<NodeJson>('GET', '/node')).json.backupAt).not.toBeNull()
    await node.stop()
    const again = await start(place)
    expect(again.stdout()).not.toContain('No backup yet')
    await again.stop()
  })

  test('is made one at a time, and whoever goes away leaves nothing behind', async () => {
    const place = tempFolder()
    cpSync(data, place, { recursive: true })
    const padding = new Database(join(place, 'portcullis.db'))
    // Too large to fit between the node and a client that takes nothing.
    padding.run(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64)
      INSERT INTO idempotency SELECT 'x', i, '', 0, hex(randomblob(500000)), NULL, 0 FROM n`,
    )
    padding.close()
    const node = await start(place)
    const left = () => readdirSync(place).filter((name) => /tmp|part/.test(name))
    const stopped = await fetch('http://localhost/api/v1/backup', { unix: join(place, 'control.sock') })
    const reader = (stopped.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    const second = await run('backup', join(tempFolder(), 'x'), '--data', place)
    expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('another backup is being made')])
    expect(left()).toEqual([])
    await reader.cancel()
    const to = tempFolder()
    let made = 0
    // Until the node has noticed that the one before is gone, it makes no other.
    const free = () =>
      eventually(async () => (await run('backup', join(to, `x${(made += 1)}`), '--data', place)).code === 0)
    await free()

    // A client that is killed, and one that is told to stop.
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const child = Bun.spawn([...command, 'backup', join(to, signal), '--data', place], { stderr: 'ignore' })
      await eventually(() => readdirSync(to).some((name) => name.startsWith(`.${signal}`)), { everyMs: 0 })
      child.kill(signal)
      await child.exited
      expect(readdirSync(to)).not.toContain(signal)
      expect(readdirSync(to).some((name) => name.startsWith(`.${signal}`))).toBe(signal === 'SIGKILL')
      await free()
    }
    // A node that is killed in the middle: whatever it left is gone after its next start.
    const cut = Bun.spawn([...command, 'backup', join(to, 'cut'), '--data', place], { stderr: 'pipe' })
    await eventually(() => readdirSync(to).some((name) => name.startsWith('.cut')), { everyMs: 0 })
    node.kill('SIGKILL')
    await node.exited
    expect(await cut.exited).not.toBe(0)
    expect(readdirSync(to).filter((name) => /cut/.test(name))).toEqual([])
    for (const name of ['portcullis.backup.tmp', 'portcullis.backup.tmp-journal', 'portcullis.key.tmp']) {
      writeFileSync(join(place, name), 'left behind')
    }
    mkdirSync(join(place, 'portcullis.restore.tmp'))
    await (await start(place)).stop()
    expect(left()).toEqual([])
  }, 30_000)

  test('says so when there is no room for it, and the node goes on', async () => {
    if (!mayMount()) return
    await using small = await smallFolder('12m')
    const node = await startNode({ data: small.data, command, env: { HOME: tempFolder() } })
    const to = join(tempFolder(), 'x')
    const { code, stderr } = await run('backup', to, '--data', small.data)
    expect([code, stderr]).toEqual([1, expect.stringMatching(/takes \d+ MB of room in .*, and there are \d+ MB/)])
    expect(readdirSync(small.data).filter((name) => /tmp/.test(name))).toEqual([])
    expect((await node.api<NodeJson>('GET', '/node')).json.ready).toBeTrue()
    await node.stop()
  })
})
