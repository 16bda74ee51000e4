import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { cpSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { hashRow } from '../../src/audit.ts'
import { builtBinary } from '../support/binary.ts'
import { mayMount } from '../support/full-disk.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type Echo, expectAlive } from '../support/released/holds.ts'
import { type Facts, makeReleased, RELEASED } from '../support/released/released.ts'
import { tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'

/** Kills a start in the middle of its migration, over and over: the database is the old one or the new one. */

const KILLS = Number(process.env['KILLS'] ?? 22)
/** Enough that migrating takes half a second. */
const AUDIT_ROWS = 150_000
/** One kill in so many is by SIGTERM, which must not make a difference. */
const TERM_EVERY = 5
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

const OLD = RELEASED[0] ?? ''
const NEW = packageJson.version
const binary = builtBinary()
const pristine = join(tempFolder(), 'pristine')
let echo: Echo
let facts: Facts

let state = SEED
/** From 0 to 1, the same for the same seed. */
const random = () => {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
  return state / 2 ** 31
}

const database = (data: string) => join(data, 'portcullis.db')
const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0

/** What an earlier kill left has another one than what this one did. */
const inodeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.ino ?? 0

/** Goes on with the audit log where it ends, so that its chain holds. */
const fillAudit = (file: string): void => {
  const client = new Database(file)
  client.run('PRAGMA synchronous = OFF')
  const head = client.query('SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1').get() as {
    sequence: number
    hash: string
  }
  const insert = client.query('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  client.transaction(() => {
    for (let { sequence, hash } = head; sequence < AUDIT_ROWS;) {
      sequence += 1
      const row = {
        sequence,
        at: 1_700_000_000_000 + sequence,
        node: 'node_before',
        actor: `address:203.0.113.${sequence % 250}`,
        action: 'gate.dead-token',
        targetId: `tok_${sequence % 997}`,
        targetName: `token ${sequence % 997}`,
        reason: null,
        details: JSON.stringify({ count: 1 + (sequence % 20) }),
        previousHash: hash,
      }
      hash = hashRow(row)
      insert.run(...Object.values(row), hash)
    }
  })()
  client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  client.close()
}

/** Opened as the next start would, which is when SQLite puts right what a crash left. */
const stateOf = (file: string) => {
  const client = new Database(file, { readwrite: true, create: false })
  const value = (sql: string) => Object.values(client.query(sql).get() as object)[0] as unknown
  const found = {
    version: value("SELECT value FROM meta WHERE key = 'version'"),
    migrations: value('SELECT count(*) FROM __drizzle_migrations'),
    schema: (client.query('SELECT name FROM sqlite_master ORDER BY name').all() as { name: string }[])
      .map(({ name }) => name)
      .join(' '),
    check: value('PRAGMA integrity_check'),
    // Folded lines of tries may follow; what was there is there.
    rows: value(`SELECT count(*) FROM audit WHERE sequence <= ${AUDIT_ROWS}`),
    tokens: value('SELECT count(*) FROM tokens'),
    secrets: value('SELECT count(*) FROM secrets'),
    revoked: value('SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL'),
  }
  client.close()
  return found
}

const spawn = (data: string) =>
  Bun.spawn([binary, 'serve', '--data', data, '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0'], {
    env: { PATH: process.env['PATH'] ?? '', HOME: data },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'ignore',
  })
type Child = ReturnType<typeof spawn>

/** When to kill: after a while, or once something is seen on disk. */
type Moment = { what: string; reached(child: Child): Promise<unknown> }
/** One that was missed is over once the node is ready: that kill comes after. */
const seen = (what: string, data: string, look: () => boolean): Moment => ({
  what,
  reached: (child) =>
    eventually(() => look() || existsSync(join(data, 'control.sock')) || child.exitCode !== null, {
      timeoutMs: 20_000,
      everyMs: 0,
      what,
    }),
})
const momentOf = (kill: number, data: string, usual: { startMs: number; walBytes: number }): Moment => {
  const [file, part] = [database(data), random()]
  const after = (waitMs: number, from?: Moment): Moment => ({
    what: `${Math.round(waitMs)} ms after ${from?.what ?? 'the start'}`,
    reached: async (child) => {
      await from?.reached(child)
      await Bun.sleep(waitMs)
    },
  })
  const moments: [Moment, ...Moment[]] = [
    seen('the folder is locked', data, () => existsSync(join(data, 'portcullis.lock'))),
    seen('the copy is being made', data, () => sizeOf(`${file}.before.tmp`) > part * sizeOf(file)),
    seen('the -wal has grown', data, () => sizeOf(`${file}-wal`) > part * usual.walBytes),
    after(part * usual.startMs),
    // Somewhere around the commit
    after(
      part * usual.startMs,
      seen('the copy', data, () => existsSync(`${file}.before-${NEW}`)),
    ),
    seen('the node is ready', data, () => false),
  ]
  return moments[kill % moments.length] ?? moments[0]
}

beforeAll(async () => {
  echo = await startEcho()
  facts = makeReleased(OLD, pristine, echo.url)
  fillAudit(database(pristine))
}, 30_000)
afterAll(() => echo.stop())

test(`${KILLS} kills of a start that migrates ${AUDIT_ROWS} rows (SEED=${SEED})`, async () => {
  const old = stateOf(database(pristine))
  expect(old).toMatchObject({ version: OLD, check: 'ok', rows: AUDIT_ROWS })
  const folder = tempFolder()
  let data = ''
  const begin = () => {
    if (data) rmSync(data, { recursive: true })
    data = join(folder, crypto.randomUUID())
    cpSync(pristine, data, { recursive: true })
  }

  // Undisturbed, to know how it looks and how long it takes
  begin()
  const startedAt = performance.now()
  const undisturbed = spawn(data)
  let walBytes = 0
  await eventually(
    () => {
      walBytes = Math.max(walBytes, sizeOf(`${database(data)}-wal`))
      return existsSync(join(data, 'control.sock'))
    },
    { timeoutMs: 30_000, everyMs: 0 },
  )
  const usual = { startMs: performance.now() - startedAt, walBytes }
  undisturbed.kill('SIGKILL')
  await undisturbed.exited
  const now = stateOf(database(data))
  expect(now).toMatchObject({ version: NEW, check: 'ok', rows: AUDIT_ROWS })
  expect(now.migrations).toBeGreaterThan(Number(old.migrations))
  begin()

  const hits = { before: 0, copying: 0, migrating: 0, after: 0 }
  for (let kill = 0; kill < KILLS; kill += 1) {
    const moment = momentOf(kill, data, usual)
    const [temporary, copy] = [`${database(data)}.before.tmp`, `${database(data)}.before-${NEW}`]
    const [temporaryBefore, copyBefore] = [inodeOf(temporary), inodeOf(copy)]
    const child = spawn(data)
    await moment.reached(child)
    child.kill(kill % TERM_EVERY === TERM_EVERY - 1 ? 'SIGTERM' : 'SIGKILL')
    await child.exited

    const copying = existsSync(temporary) && inodeOf(temporary) !== temporaryBefore
    const copied = inodeOf(copy) !== copyBefore
    const left = stateOf(database(data))
    const hit = left.version === NEW ? 'after' : copied ? 'migrating' : copying ? 'copying' : 'before'
    hits[hit] += 1
    const about = `kill ${kill}, when ${moment.what}: ${hit}`
    expect({ ...left, revoked: 0 }, about).toEqual({ ...(hit === 'after' ? now : old), revoked: 0 })
    // A copy that has its name is whole, whatever was killed.
    if (copied) expect(stateOf(copy), about).toEqual(old)
    if (hit === 'after') expect(copied, about).toBe(true)

    // Where it was left, it starts; every few times, and whenever it is the first of its kind.
    if (hits[hit] === 1 || kill === KILLS - 1) {
      const node = await startNode({ data, command: [binary] })
      await expectAlive(node, facts)
      await node.stop()
      expect(stateOf(database(data)), about).toMatchObject({ version: NEW, check: 'ok', rows: AUDIT_ROWS })
      expect(readdirSync(data).filter((name) => name.endsWith('tmp') || name.includes('-journal'))).toEqual([])
      begin()
    } else if (hit === 'after') begin()
  }
  console.log(`SEED=${SEED}: ${JSON.stringify(hits)}; undisturbed ${JSON.stringify(usual)}`)
  for (const [hit, times] of Object.entries(hits)) expect(times, hit).toBeGreaterThan(0)
}, 120_000)

test.skipIf(!mayMount())(
  'where nothing can be written but the data folder, as in a read-only container',
  async () => {
    const folder = tempFolder()
    const data = join(folder, 'data')
    cpSync(pristine, data, { recursive: true })
    cpSync(binary, join(folder, 'portcullis'))
    const script = `mount --bind ${folder} /mnt
    for hidden in /tmp /var/tmp /usr/tmp; do [ ! -d $hidden ] || mount -t tmpfs -o ro none $hidden; done
    cd /proc
    exec /mnt/portcullis serve --data /mnt/data --listen 127.0.0.1:0 --console 127.0.0.1:0`
    const child = Bun.spawn(['unshare', '--mount', 'sh', '-ec', script], {
      env: { PATH: process.env['PATH'] ?? '', HOME: '/mnt' },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const { value } = await child.stdout.getReader().read()
    child.kill('SIGKILL')
    await child.exited
    expect(new TextDecoder().decode(value), await new Response(child.stderr).text()).toStartWith('Gate')
    expect(stateOf(database(data))).toMatchObject({ version: NEW, check: 'ok', rows: AUDIT_ROWS })
  },
  30_000,
)
