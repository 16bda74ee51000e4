import { afterAll, beforeAll, expect, test } from 'bun:test'
import packageJson from '../../package.json' with { type: 'json' }
import { bootedDebian, type Machine, mayDebootstrap } from '../support/debian.ts'
import { eventually } from '../support/poll.ts'
import { putRelease } from './release.ts'
import { DATA, serviceOf, UNIT } from './service.ts'

const here = mayDebootstrap()
const { version } = packageJson
let machine: Machine
let service: ReturnType<typeof serviceOf>
let token: string

beforeAll(async () => {
  if (!here) return
  machine = await bootedDebian()
  service = serviceOf(machine)
  putRelease(machine.root)
}, 180_000)
afterAll(async () => {
  await machine?.[Symbol.asyncDispose]()
})

test.if(here)('a dry run of a service changes nothing', async () => {
  const { code, stdout } = await service.install(['--dry-run'])
  expect(code).toBe(0)
  expect(stdout).toContain('+ made user portcullis')
  expect([service.exists(UNIT), service.exists(DATA), service.exists('/usr/local/bin/portcullis')]).toEqual([
    false,
    false,
    false,
  ])
  expect((await machine.run(['id', 'portcullis'])).code).not.toBe(0)
})

test.if(here)('while another one is at work it does nothing', async () => {
  const { code, stderr } = await machine.run([
    ...['flock', '/run/portcullis-install.lock', 'dash', '/opt/portcullis/install.sh'],
  ])
  expect([code, stderr]).toEqual([1, expect.stringContaining('another install.sh is at work')])
  expect(service.exists('/usr/local/bin/portcullis')).toBe(false)
})

test.if(here)('what the service could not run from, or write to, is refused before anything is done', async () => {
  for (const prefix of ['/home/dev', '/root/x', '/tmp/portcullis', '/opt/a"b']) {
    const { code, stderr } = await service.install(['--prefix', prefix])
    expect(code).toBe(1)
    expect(stderr).toContain(`--prefix ${prefix}: `)
    expect(stderr).toContain('Nothing was changed')
  }
  await machine.read('systemctl', 'mask', 'portcullis')
  expect((await service.install()).stderr).toContain('systemctl unmask portcullis')
  await machine.read('systemctl', 'unmask', 'portcullis')
  await machine.read('useradd', 'dev')
  await machine.read('install', '-d', '-o', 'dev', DATA)
  expect((await service.install()).stderr).toContain(`${DATA} belongs to dev`)
  expect((await machine.run(['id', 'portcullis'])).code).not.toBe(0)
  expect(service.exists('/usr/local/bin/portcullis')).toBe(false)
  await machine.read('rmdir', DATA)
})

test.if(here)('what is there already is taken: a user without its group, a folder of a user that is gone', async () => {
  await machine.read('install', '-d', '-m', '755', '-o', '4711', DATA)
  await machine.read('groupadd', '--system', 'portcullis')
  const { code, stdout, stderr } = await service.install(['--no-start'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain(`+ gave what is in ${DATA} to portcullis`)
  expect(stdout).toContain(`+ closed ${DATA} to others`)
  expect(stdout).toContain('neither enabled nor started: systemctl enable --now portcullis')
  expect((await machine.run(['systemctl', 'is-enabled', 'portcullis'])).stdout).toBe('disabled\n')
  expect((await machine.run(['systemctl', 'is-active', 'portcullis'])).stdout).toBe('inactive\n')
  await machine.read('systemctl', 'enable', '--now', 'portcullis')
  token = await service.createToken()
  expect(await service.gateSays(token)).toBe('200')
})

test.if(here)('again is nothing: it is not even restarted', async () => {
  const pid = await service.mainPid()
  const { code, stdout } = await service.install()
  expect(code).toBe(0)
  expect(stdout).not.toContain('+ made')
  expect(stdout).toContain('= portcullis.service runs, and was not restarted')
  expect(await service.mainPid()).toBe(pid)
})

test.if(here)('what root put into the folder is given to the service', async () => {
  await machine.read('systemctl', 'stop', 'portcullis')
  await machine.read('chown', 'root:', `${DATA}/portcullis.db`, `${DATA}/portcullis.key`)
  await machine.run(['systemctl', 'start', 'portcullis'])
  const { code, stdout, stderr } = await service.install()
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout).toContain(`+ gave what is in ${DATA} to portcullis`)
  expect(await service.running()).toBe(version)
})

test.if(here)('removed it leaves the data, and a new install finds them', async () => {
  await machine.read('mkdir', `${UNIT}.d`)
  const { code, stdout } = await service.install(['--uninstall'])
  expect(code).toBe(0)
  expect(stdout.trim().split('\n')).toEqual([
    '+ stopped and disabled portcullis.service',
    `+ removed ${UNIT}`,
    '+ removed /usr/local/bin/portcullis',
    `= ${DATA}: settings, tokens, revocations and keys; a new install finds them`,
    '= user portcullis',
    `= ${UNIT}.d, which is yours`,
  ])
  expect([service.exists(UNIT), service.exists('/usr/local/bin/portcullis')]).toEqual([false, false])
  expect((await machine.run(['systemctl', 'cat', 'portcullis'])).code).not.toBe(0)
  const again = await service.install(['--prefix', '/opt/my own'])
  expect(again).toMatchObject({ code: 0, stderr: '' })
  expect(await machine.read('/opt/my own/bin/portcullis', 'healthcheck')).toContain('is ready')
  expect(await service.gateSays(token)).toBe('200')
})

test.if(here)('without --prefix it is found where it is', async () => {
  expect((await service.install()).stdout).toContain(`= /opt/my own/bin/portcullis is ${version} already`)
  expect(service.exists('/usr/local/bin/portcullis')).toBe(false)
  expect(await service.gateSays(token)).toBe('200')
})

test.if(here)('purged, after the typed word alone, nothing of it is left', async () => {
  const refused = await service.install(['--purge'], 'yes\n')
  expect(refused.code).toBe(1)
  expect(refused.stdout).toContain('backup FILE')
  expect(await service.gateSays(token)).toBe('200')
  // Nor from under one that was started by hand.
  await machine.read('systemctl', 'stop', 'portcullis')
  const byHand = `'/opt/my own/bin/portcullis' serve --data ${DATA} >/dev/null 2>&1 & echo $!`
  const pid = await machine.read('sh', '-c', byHand)
  await eventually(async () => (await machine.run(['/opt/my own/bin/portcullis', 'healthcheck'])).code === 0)
  const running = await service.install(['--purge'], 'purge\n')
  expect([running.code, running.stderr]).toEqual([1, expect.stringContaining(`portcullis runs on ${DATA}: stop it`)])
  expect([service.exists(UNIT), service.exists(`${DATA}/portcullis.db`)]).toEqual([true, true])
  await machine.read('sh', '-c', `kill ${pid}`)
  await eventually(async () => (await machine.run(['/opt/my own/bin/portcullis', 'healthcheck'])).code !== 0)
  expect(await service.install(['--purge'], 'purge\n')).toMatchObject({ code: 0, stderr: '' })
  const left = await machine.read(
    'sh',
    '-c',
    'ls -d /var/lib/portcullis /etc/systemd/system/*portcullis* "/opt/my own/bin/"* 2>&1 || :',
  )
  expect(left.split('\n').every((line) => line.includes('No such file'))).toBe(true)
  expect((await machine.run(['id', 'portcullis'])).code).not.toBe(0)
  expect((await machine.run(['getent', 'group', 'portcullis'])).code).not.toBe(0)
  expect((await machine.run(['pgrep', '-x', 'portcullis'])).stdout).toBe('')
})

test.if(here)('a first start that fails says why, and what is installed waits for the remedy', async () => {
  const script = "Bun.listen({ hostname: '127.0.0.1', port: 7070, socket: { data() {} } }); console.log('taken')"
  const taker = Bun.spawn([...machine.network, process.execPath, '-e', script], { stdin: 'ignore', stdout: 'pipe' })
  try {
    await taker.stdout.getReader().read()
    const { code, stderr } = await service.install()
    expect(code).toBe(1)
    expect(stderr).toContain('--listen 127.0.0.1:7070: ')
    expect(stderr).toContain('It is installed; mend what the log says, then: systemctl restart portcullis')
  } finally {
    taker.kill()
    await taker.exited
  }
  await machine.read('systemctl', 'restart', 'portcullis')
  expect(await service.running()).toBe(version)
})

test.if(here)('where there is no useradd, systemd makes the user', async () => {
  expect((await service.install(['--purge'], 'purge\n')).code).toBe(0)
  await machine.read('sh', '-ec', 'cd /usr/sbin; for name in useradd groupadd; do mv $name $name.hidden; done')
  expect(await service.install()).toMatchObject({ code: 0, stderr: '' })
  expect(await machine.read('getent', 'passwd', 'portcullis')).toMatch(/:\/nonexistent:\/usr\/sbin\/nologin$/)
  expect(await service.running()).toBe(version)
  expect((await service.install(['--purge'], 'purge\n')).code).toBe(0)
  expect((await machine.run(['getent', 'passwd', 'portcullis'])).stdout).toBe('')
  expect((await machine.run(['getent', 'group', 'portcullis'])).stdout).toBe('')
})
