import { expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { chmodSync, existsSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SOURCES } from '../cli/run.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { tempFolder } from '../support/temp.ts'
import { diagnose, stoppedFolder } from './run.ts'

const stopped = await stoppedFolder()
const copied = async (data = tempFolder()): Promise<string> => {
  await Bun.$`cp -a ${stopped}/portcullis.db ${stopped}/portcullis.key ${stopped}/portcullis.journal ${data}`
  return data
}

test('a slow disk is measured on the data folder itself', async () => {
  const traced = (delayMs: number) => [
    ...['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=fsync,fdatasync'],
    ...['-e', `inject=fsync,fdatasync:delay_exit=${delayMs * 1000}`],
    ...SOURCES,
  ]
  const data = await copied()
  const found = await diagnose(['--data', data], { command: traced(25) })
  const [said = ''] = found.say('fsync')
  expect(said).toMatch(/^warn: an fsync takes \d+\.\d ms → every revocation waits for one: .*faster local disk$/)
  const tookMs = Number(/takes (\S+) ms/.exec(said)?.[1])
  expect(tookMs).toBeGreaterThan(24)
  expect(tookMs).toBeLessThan(60)
  expect(found.ok).toBe(true)
  expect((await diagnose(['--data', data])).say('fsync')[0]).toMatch(/^ok: an fsync takes \d+\.\d ms/)
  expect(existsSync(join(data, 'doctor.tmp'))).toBe(false)
}, 60_000)

test('little space, and no space at all', async () => {
  if (!mayMount()) return
  await using small = await smallFolder('20m')
  const data = await copied(small.data)
  const found = await diagnose(['--data', data])
  expect(found.say('disk')[0]).toMatch(/^fail: 1\d MiB free → free some space/)
  expect(found.code).toBe(1)
  small.fill()
  const full = await diagnose(['--data', data])
  expect(full.say('disk')[0]).toStartWith('fail: 0 MiB free')
  // Whatever else that stops, the rest is looked at.
  expect(full.say('database')[0]).toContain('whole')
  expect(full.stderr).toBe('')
})

test('no more files can be made', async () => {
  if (!mayMount()) return
  const data = tempFolder()
  await Bun.$`mount -t tmpfs -o size=300m,nr_inodes=200,mode=0700 portcullis-test ${data}`
  try {
    await copied(data)
    expect((await diagnose(['--data', data])).say('disk')[0]).toMatch(
      /^fail: 2\d\d MiB free, but only \d+ more files can be made/,
    )
  } finally {
    await Bun.$`umount ${data}`
  }
})

test('a database for which an upgrade would have no room', async () => {
  if (!mayMount()) return
  const data = tempFolder()
  await Bun.$`mount -t tmpfs -o size=400m,mode=0700 portcullis-test ${data}`
  try {
    await copied(data)
    // Sparse: as large as it says, at no cost.
    truncateSync(join(data, 'portcullis.db'), 300 * 1024 * 1024)
    const found = await diagnose(['--data', data])
    expect(found.say('disk')[0]).toMatch(
      /^warn: \d+ MiB free; an upgrade needs 600 MiB, a backup as much as the database has → /,
    )
  } finally {
    await Bun.$`umount ${data}`
  }
})

test('a file system that is read-only', async () => {
  if (!mayMount()) return
  await using small = await smallFolder('200m')
  const data = await copied(small.data)
  await Bun.$`mount -o remount,ro ${data}`
  const found = await diagnose(['--data', data])
  expect(found.say('fsync')[0]).toMatch(/^fail: .*(EROFS|read-only)/i)
  expect(found.code).toBe(1)
  await Bun.$`mount -o remount,rw ${data}`
})

/** A command of the system that says what the test wants. */
const fake = (name: string, script: string): { PATH: string } => {
  const folder = tempFolder()
  const file = join(folder, name)
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
  return { PATH: `${folder}:${process.env['PATH']}` }
}

test('a clock that was set back, and one that nothing keeps right', async () => {
  const data = await copied()
  const client = new Database(join(data, 'portcullis.db'))
  const { at } = client.query('SELECT max(at) AS at FROM audit').get() as { at: number | null }
  client.run(
    `INSERT INTO audit (at, node, actor, action, details, previous_hash, hash) VALUES (${(at ?? Date.now()) + 26 * 3_600_000}, 'n', 'a', 'x', '{}', '', '')`,
  )
  client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  client.close()
  const found = await diagnose(['--data', data])
  expect(found.say('clock')[0]).toMatch(
    /^warn: .* row of the audit log is 25 hours later: it was set back → set the clock: /,
  )
  expect(found.ok).toBe(true)

  const unsynchronised = fake('timedatectl', 'echo NTPSynchronized=no')
  expect((await diagnose(['--data', stopped], { env: unsynchronised })).say('clock')[0]).toMatch(
    /^warn: .* nothing keeps it right → timedatectl set-ntp true$/,
  )
  for (const script of ['echo NTPSynchronized=yes', 'exit 1', 'exec sleep 60']) {
    const other = await diagnose(['--data', stopped], { env: fake('timedatectl', script) })
    expect([script, other.of('clock')[0]?.level]).toEqual([script, 'ok'])
    expect(other.tookMs).toBeLessThan(10_000)
  }
}, 60_000)

test.each([
  ['ActiveState=failed', 'UnitFileState=enabled', 'fail: portcullis.service is failed, enabled → see why: journalctl'],
  [
    'ActiveState=active',
    'UnitFileState=disabled',
    'warn: portcullis.service is active, disabled: a boot does not start it',
  ],
  ['ActiveState=inactive', 'UnitFileState=enabled', 'warn: portcullis.service is inactive, enabled → '],
  ['ActiveState=active', 'UnitFileState=enabled', 'ok: portcullis.service is active, enabled'],
])('the unit of systemd: %s, %s', async (active, enabled, said) => {
  const unit = `echo LoadState=loaded; echo ${active}; echo ${enabled}; echo "Environment=PORTCULLIS_DATA=${stopped}"`
  const found = await diagnose(['--data', stopped], { env: fake('systemctl', unit) })
  expect(found.say('service')[0]).toStartWith(said)
  // A unit for another folder says nothing of this one.
  const other = await copied()
  expect((await diagnose(['--data', other], { env: fake('systemctl', unit) })).of('service')).toEqual([])
})
