import { describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import migrations from '../../drizzle/meta/_journal.json' with { type: 'json' }
import packageJson from '../../package.json' with { type: 'json' }
import { kindOf } from '../../src/doctor/folder.ts'
import { portcullis } from '../cli/run.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode } from '../support/node.ts'
import { makeReleased, RELEASED } from '../support/released/released.ts'
import { tempFolder } from '../support/temp.ts'
import { diagnose, isRoot, pictureOf, stoppedFolder } from './run.ts'

const stopped = await stoppedFolder()

/** A copy of the stopped node's folder, for a test of its own. */
const copied = async (): Promise<string> => {
  const data = tempFolder()
  await Bun.$`cp -a ${stopped}/. ${data}`
  return data
}

describe('a stopped node', () => {
  test('all is well but that nobody can sign in; nothing is changed', async () => {
    const before = pictureOf(stopped)
    const found = await diagnose(['--data', stopped])
    expect(found.bad).toEqual(['owner: warn'])
    expect([found.code, found.ok]).toEqual([0, true])
    expect(found.say('node')[0]).toStartWith('ok: none runs on this folder')
    expect(found.say('database')[0]).toContain('whole')
    expect(pictureOf(stopped)).toEqual(before)
  })

  test('the text says what it found, and what to do', async () => {
    const data = await copied()
    chmodSync(join(data, 'portcullis.db'), 0o644)
    const { stdout: text, code } = await portcullis(['doctor', '--data', data])
    expect(code).toBe(1)
    expect(text).toMatch(/^FAIL {2}files +\S+portcullis\.db has mode 644: others may use it$/m)
    expect(text).toMatch(/^To do:$/m)
    expect(text).toContain(`  files: chmod 600 ${join(data, 'portcullis.db')}`)
  })

  test('after kill -9, its files are read as they were left, and nothing is changed', async () => {
    const data = tempFolder()
    const node = await startNode({ data })
    await node.addServer('left', 'http://127.0.0.1:1')
    node.kill('SIGKILL')
    await node.exited
    const before = pictureOf(data)
    expect(before.some((line) => line.startsWith('portcullis.db-wal'))).toBe(true)
    const found = await diagnose(['--data', data])
    expect(found.say('node')[0]).toContain('left from one that was killed')
    // It stands in the log alone, and is found there.
    expect(found.say('servers').join()).toContain('left (http://127.0.0.1:1')
    expect(found.bad).toEqual(['owner: warn', 'servers: warn'])
    expect(pictureOf(data)).toEqual(before)
  })
})

describe('files', () => {
  test.each([
    ['files', 'portcullis.db', 0o644, 'fail'],
    ['files', 'portcullis.journal', 0o604, 'fail'],
    ['key file', 'portcullis.key', 0o640, 'fail'],
    ['data folder', '.', 0o755, 'fail'],
    ['data folder', '.', 0o500, 'fail'],
  ])('%s: %s of mode %o', async (check, name, mode, level) => {
    const data = await copied()
    const path = name === '.' ? data : join(data, name)
    chmodSync(path, mode)
    const found = await diagnose(['--data', data])
    const right = name === '.' ? 700 : 600
    expect(found.say(check)).toEqual([expect.stringMatching(new RegExp(`^${level}: .* → chmod ${right} ${path}$`))])
    expect([found.code, found.ok]).toEqual([1, false])
    // What it says is what helps.
    await Bun.$`sh -c ${found.of(check)[0]?.todo ?? 'false'}`
    expect((await diagnose(['--data', data])).of(check).every(({ ok }) => ok)).toBe(true)
    chmodSync(data, 0o700)
  })

  test('settings may be read by others, and not written', async () => {
    const data = await copied()
    const file = join(data, 'portcullis.toml')
    writeFileSync(file, 'log-level = "warn"\n')
    chmodSync(file, 0o644)
    expect((await diagnose(['--data', data])).of('files').map(({ level }) => level)).toEqual(['ok'])
    chmodSync(file, 0o664)
    expect((await diagnose(['--data', data])).say('files')[0]).toContain(`→ chmod 600 ${file}`)
  })

  test("files of another owner than the folder's", async () => {
    if (!isRoot()) return
    const data = await copied()
    for (const name of ['.', 'portcullis.key', 'portcullis.journal', 'portcullis.lock', 'portcullis.db'])
      chownSync(join(data, name), 65_534, 65_534)
    expect((await diagnose(['--data', data])).bad).toEqual(['owner: warn'])
    chownSync(join(data, 'portcullis.db'), 0, 0)
    chownSync(join(data, 'portcullis.key'), 0, 0)
    const found = await diagnose(['--data', data])
    expect(found.say('files')).toEqual([
      expect.stringMatching(/^fail: .*portcullis\.db is root's, and the folder nobody's.* → chown -h 65534 .*\.db$/),
    ])
    expect(found.say('key file')[0]).toMatch(/^fail: .* → chown -h 65534 .*portcullis\.key$/)
  })

  test("a stranger's files are a stranger's", async () => {
    const data = await copied()
    writeFileSync(join(data, 'notes.txt'), 'mine', { mode: 0o644 })
    expect((await diagnose(['--data', data])).bad).toEqual(['owner: warn'])
  })

  test('what crashed left something, and what an upgrade copied', async () => {
    const data = await copied()
    const [old, fresh, copy] = ['backup-1.tmp', 'backup-2.tmp', 'portcullis.db.before-0.4.0'].map((name) =>
      join(data, name),
    ) as [string, string, string]
    for (const file of [old, fresh, copy]) writeFileSync(file, 'x', { mode: 0o600 })
    utimesSync(old, new Date(), new Date(Date.now() - 2 * 3_600_000))
    const found = await diagnose(['--data', data])
    expect(found.say('left-overs')).toEqual([
      `warn: ${old} is left from something that did not end → rm -r ${old}`,
      expect.stringMatching(/^ok: .*before-0\.4\.0, 1 MiB, is from before an upgrade or a restore/),
    ])
    expect(found.ok).toBe(true)
  })
})

describe('the key file', () => {
  test('missing, with a database there', async () => {
    const data = await copied()
    rmSync(join(data, 'portcullis.key'))
    const found = await diagnose(['--data', data])
    expect(found.say('key file')[0]).toMatch(
      /^fail: .* is missing, and without it no token can be checked → put it back/,
    )
    expect(found.code).toBe(1)
  })

  test("garbage, and another database's", async () => {
    const data = await copied()
    const file = join(data, 'portcullis.key')
    const other = readFileSync(join(await stoppedFolder(), 'portcullis.key'))
    writeFileSync(file, other)
    expect((await diagnose(['--data', data])).say('key file')[0]).toMatch(/^fail: .*of another database → put it back/)
    writeFileSync(file, '{"portcullis":')
    expect((await diagnose(['--data', data])).say('key file')[0]).toStartWith('fail: ')
    // Its contents are nobody's business.
    writeFileSync(file, 'secret-0815')
    expect((await diagnose(['--data', data])).stdout).not.toContain('0815')
  })

  test('elsewhere, as the settings say', async () => {
    const data = await copied()
    const file = join(tempFolder(), 'the.key')
    renameSync(join(data, 'portcullis.key'), file)
    writeFileSync(join(data, 'portcullis.toml'), `key-file = "${file}"\n`, { mode: 0o600 })
    expect((await diagnose(['--data', data])).say('key file')[0]).toStartWith(`ok: ${file}, one key`)
  })
})

describe('the database', () => {
  test('of a newer version: its name, and that this one refuses', async () => {
    const data = await copied()
    const client = new Database(join(data, 'portcullis.db'))
    client.run("INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('x', 4102444800000)")
    client.run("UPDATE meta SET value = '9.8.7' WHERE key = 'version'")
    client.close()
    const before = pictureOf(data)
    const found = await diagnose(['--data', data])
    expect(found.say('database')[0]).toMatch(/^fail: .* is of portcullis 9\.8\.7, .* → run portcullis 9\.8\.7 or newer/)
    expect(found.code).toBe(1)
    expect(pictureOf(data)).toEqual(before)
  })

  test.each(RELEASED)('of %s: whether the next start migrates it, and what waits in the journal', async (version) => {
    const data = tempFolder()
    makeReleased(version, data, 'http://127.0.0.1:1')
    const client = new Database(join(data, 'portcullis.db'))
    const { count } = client.query('SELECT count(*) AS count FROM __drizzle_migrations').get() as { count: number }
    client.close()
    const before = pictureOf(data)
    const found = await diagnose(['--data', data])
    expect(found.say('database')[0]).toContain(
      count < migrations.entries.length
        ? `warn: ${data}/portcullis.db, 1 MiB, is of portcullis ${version}: the next start migrates it`
        : `ok: ${data}/portcullis.db, 1 MiB, whole`,
    )
    expect(found.say('key file')[0]).toMatch(/^ok: .* keys; keep a backup/)
    expect(found.say('journal')[0]).toMatch(/^fail: holds \d+ revocations/)
    expect(pictureOf(data)).toEqual(before)
  })

  test('damaged in the middle, cut short, and none at all', async () => {
    const data = await copied()
    const file = join(data, 'portcullis.db')
    const bytes = readFileSync(file)
    const damaged = Buffer.from(bytes)
    damaged.fill(0x55, 8_192, 40_960)
    for (const content of [
      damaged,
      bytes.subarray(0, 20_000),
      Buffer.from('this is not a database at all'.repeat(99)),
    ]) {
      writeFileSync(file, content)
      const found = await diagnose(['--data', data])
      expect(found.say('database')[0]).toMatch(
        /^fail: .* → stop the node, keep a copy of the folder, then: portcullis restore/,
      )
      expect(found.code).toBe(1)
    }
  })

  test("another program's", async () => {
    const data = await copied()
    const file = join(data, 'portcullis.db')
    rmSync(file)
    const client = new Database(file, { create: true })
    client.run('CREATE TABLE songs (name TEXT)')
    client.close()
    chmodSync(file, 0o600)
    expect((await diagnose(['--data', data])).say('database')[0]).toContain('none of portcullis')
  })

  test('with a log that nobody empties', async () => {
    const data = await copied()
    const wal = join(data, 'portcullis.db-wal')
    writeFileSync(wal, '', { mode: 0o600 })
    truncateSync(wal, 80 * 1024 * 1024)
    expect((await diagnose(['--data', data])).say('log')).toEqual([
      "warn: the database's log is 80 MiB: too much → start the node: it takes what is in it",
    ])
  })
})

describe('the journal', () => {
  const write = (data: string, text: string) => {
    const file = join(data, 'portcullis.journal')
    const content = Buffer.alloc(1024 * 1024)
    content.write(text)
    writeFileSync(file, content)
  }

  test('holds what the database has not taken', async () => {
    const data = await copied()
    write(data, '{"op":"x"}\n{"op":"y"}\n')
    const found = await diagnose(['--data', data])
    expect(found.say('journal')[0]).toMatch(/^fail: holds 2 revocations, .*do not remove it → start the node/)
    expect(found.code).toBe(1)
  })

  test('is damaged', async () => {
    const data = await copied()
    write(data, '{"op":\n')
    expect((await diagnose(['--data', data])).say('journal')[0]).toMatch(
      /^fail: .* may hold a revocation.* → keep a copy/,
    )
  })
})

describe('where nothing was started', () => {
  test('it says so, and makes nothing', async () => {
    const home = tempFolder()
    const found = await diagnose([], { env: { HOME: home } })
    expect(found.bad).toEqual(['data folder: warn'])
    expect(found.say('data folder')[0]).toContain(`${home}/.local/state/portcullis is not there yet`)
    expect(found.code).toBe(0)
    expect(existsSync(join(home, '.local'))).toBe(false)
  })

  test('the folder is the one that other commands would take', async () => {
    const home = tempFolder()
    const data = join(home, '.local/state/portcullis')
    mkdirSync(data, { recursive: true, mode: 0o700 })
    await Bun.$`cp -a ${stopped}/. ${data}`
    expect((await diagnose([], { env: { HOME: home } })).say('data folder')[0]).toStartWith(`ok: ${data}, mode 700`)
    const other = tempFolder()
    const named = await diagnose([], { env: { HOME: home, PORTCULLIS_DATA: other } })
    expect(named.say('data folder')[0]).toStartWith(`ok: ${other}, mode 700`)
    expect(named.of('version')[0]?.finding).toContain(packageJson.version)
    const empty = await diagnose(['--data', join(other, 'not-there')], { env: { PORTCULLIS_DATA: data } })
    expect(empty.say('data folder')[0]).toContain('not-there is not there yet')
  })

  test('the executable says the same as the sources', async () => {
    const found = await diagnose(['--data', stopped], { command: [builtBinary()] })
    expect(found.bad).toEqual(['owner: warn'])
  }, 120_000)
})

describe('settings', () => {
  test.each([
    ['listen = [[', 'fail'],
    ['lissen = "127.0.0.1:1"\n', 'fail'],
    ['listen = "nowhere"\n', 'fail'],
    ['tls-cert = "/nowhere.pem"\ntls-key = "/nowhere.key"\n', 'fail'],
    ['listen = "127.0.0.1:0"\n', 'ok'],
  ])('%j: %s', async (text, level) => {
    const data = await copied()
    writeFileSync(join(data, 'portcullis.toml'), text, { mode: 0o600 })
    const found = await diagnose(['--data', data])
    expect(found.of('settings').map((one) => one.level)).toEqual([level as 'ok'])
    expect(found.code).toBe(level === 'ok' ? 0 : 1)
    // The rest is looked at all the same.
    expect(found.say('database')[0]).toContain('whole')
    expect(found.say('key file')[0]).toStartWith('ok')
  })

  test('a bad variable is named', async () => {
    const found = await diagnose(['--data', stopped], { env: { PORTCULLIS_LISTEN: 'nowhere' } })
    expect(found.say('settings')[0]).toStartWith('fail: PORTCULLIS_LISTEN: "nowhere"')
  })
})

describe('somebody else', () => {
  /** nobody, who may read and run the executable's copy, and has no rights in the folder. */
  const asNobody = () => {
    const folder = tempFolder()
    chmodSync(folder, 0o755)
    const binary = join(folder, 'portcullis')
    copyFileSync(builtBinary(), binary)
    chmodSync(binary, 0o755)
    return {
      command: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', binary],
      env: { HOME: '/nonexistent' },
      cwd: '/',
    }
  }

  test('is told what to type, with a node running and without', async () => {
    if (!isRoot()) return
    const data = tempFolder()
    const options = asNobody()
    const todo = new RegExp(`^sudo \\S+portcullis doctor --json --data ${data}$`)
    for (const running of [true, false]) {
      const node = await startNode({ data })
      if (!running) await node.stop()
      const found = await diagnose(['--data', data], options)
      expect(found.code).toBe(1)
      expect(found.of('data folder')).toEqual([
        expect.objectContaining({ level: 'fail', todo: expect.stringMatching(todo) }),
      ])
      expect(found.say('data folder')[0]).toContain("which is root's")
      // It does not guess at what it could not see.
      const unseen = ['database', 'key file', 'files', 'fsync', 'journal', 'owner', 'gate address', 'console address']
      for (const check of unseen) expect(found.of(check)).toEqual([])
      if (running) await node.stop()
    }
  }, 120_000)

  test('who may enter the folder, and read nothing in it, is told the same of each', async () => {
    if (!isRoot()) return
    const data = await copied()
    chmodSync(data, 0o755)
    writeFileSync(join(data, 'portcullis.toml'), 'log-level = "warn"\n', { mode: 0o600 })
    const found = await diagnose(['--data', data], asNobody())
    expect(found.stderr).toBe('')
    for (const check of ['settings', 'fsync', 'key file', 'database', 'journal']) {
      expect([check, found.of(check).length]).toEqual([check, 1])
      expect(found.say(check)[0]).toMatch(/^fail: .* → sudo \S+portcullis doctor /)
    }
    expect(found.say('data folder')[0]).toEndWith(`→ sudo chmod 700 ${data}`)
    expect(found.of('owner')).toEqual([])
  }, 120_000)
})

test.each([
  [0x6969, 'NFS', 'fail'],
  [-11_317_950, 'CIFS', 'fail'],
  [0xfe534d42, 'SMB', 'fail'],
  [0x65735546, 'FUSE', 'warn'],
  [0x01021994, 'tmpfs', 'warn'],
  [0x794c7630, 'overlay', 'warn'],
])('a file system of the number %d is %s', (type, name, level) => {
  expect(kindOf(type)).toMatchObject({ name, level: level as 'fail' })
})

test('ext4 is no such file system', () => {
  expect(kindOf(0xef53)).toBeNull()
})
