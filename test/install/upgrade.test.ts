import { afterAll, beforeAll, expect, test } from 'bun:test'
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { bootedDebian, type Machine, mayDebootstrap } from '../support/debian.ts'
import { putRelease } from './release.ts'
import { DATA, serviceOf, UNIT } from './service.ts'
import { buildVariant } from './variant.ts'

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
  const variants = {
    90: buildVariant('90.0.0'),
    91: buildVariant('91.0.0', { fault: 'ends' }),
    92: buildVariant('92.0.0', { fault: 'endsMigrated', migrates: true }),
    93: buildVariant('93.0.0', { fault: 'hangs' }),
    94: buildVariant('94.0.0', { migrates: true }),
  }
  for (const [name, file] of Object.entries(variants)) copyFileSync(file, join(machine.root, 'opt', name))
  await service.install()
  token = await service.createToken()
}, 180_000)
afterAll(async () => {
  await machine?.[Symbol.asyncDispose]()
})

test.if(here)('a newer version takes over, and a unit that was changed by hand is kept', async () => {
  appendFileSync(join(machine.root, UNIT), '# mine\n')
  await machine.read('mkdir', `${UNIT}.d`)
  writeFileSync(join(machine.root, `${UNIT}.d/mine.conf`), '[Service]\nEnvironment=MINE=1\n')
  await machine.read('systemctl', 'daemon-reload')
  const { code, stdout, stderr } = await service.install(['--binary', '/opt/90'])
  expect(code).toBe(0)
  expect(stdout).toContain(`+ kept the program that was there (${version}) as /usr/local/bin/portcullis.previous`)
  expect(stdout).toContain('+ put portcullis 90.0.0 into /usr/local/bin')
  expect(stdout).toContain('sh /opt/portcullis/install.sh --binary /usr/local/bin/portcullis.previous --force')
  expect(stderr).toContain(`${UNIT} was changed by hand. Your version is kept as ${UNIT}.edited`)
  expect(readFileSync(join(machine.root, `${UNIT}.edited`), 'utf8')).toEndWith('# mine\n')
  expect(readFileSync(join(machine.root, UNIT), 'utf8')).not.toContain('# mine')
  expect(service.exists(`${UNIT}.d/mine.conf`)).toBe(true)
  expect(await service.running()).toBe('90.0.0')
  expect(await service.gateSays(token)).toBe('200')
})

test.if(here)('with --no-start one that runs goes on', async () => {
  const pid = await service.mainPid()
  const { code, stdout } = await service.install(['--force', '--no-start'])
  expect(code).toBe(0)
  expect(stdout).toContain('= portcullis.service runs as it was until: systemctl restart portcullis')
  expect(await service.mainPid()).toBe(pid)
  expect(await service.running()).toBe('90.0.0')
  expect((await service.install(['--binary', '/opt/90', '--no-start'])).code).toBe(0)
})

test.if(here)('and back again, from the program that was kept', async () => {
  const refused = await service.install()
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain(`${version} is older than the 90.0.0`)
  expect(await service.running()).toBe('90.0.0')
  const back = ['--binary', '/usr/local/bin/portcullis.previous', '--force']
  expect(await service.install(back)).toMatchObject({ code: 0, stderr: '' })
  expect(await service.running()).toBe(version)
})

test.if(here)('one that was stopped stays so', async () => {
  await machine.read('systemctl', 'stop', 'portcullis')
  const { code, stdout } = await service.install(['--binary', '/opt/90'])
  expect(code).toBe(0)
  expect(stdout).toContain('= portcullis.service was not running and stays so')
  expect((await machine.run(['systemctl', 'is-active', 'portcullis'])).stdout).toBe('inactive\n')
  await service.install(['--force'])
  await machine.read('systemctl', 'start', 'portcullis')
  expect(await service.running()).toBe(version)
})

test.if(here)('a new version that does not get ready is taken back', async () => {
  const { code, stdout, stderr } = await service.install(['--binary', '/opt/91'])
  expect(code).toBe(1)
  expect(stdout).not.toContain('is ready')
  expect(stderr).toContain('portcullis 91.0.0 does not get ready')
  expect(stderr).toContain('    fails on purpose')
  expect(stderr).toContain(`${version} runs again. 91.0.0 was not installed.`)
  expect(await service.running()).toBe(version)
  expect(await service.portcullis('version', '--json')).toContain(`"${version}"`)
  expect(await service.gateSays(token)).toBe('200')
  expect(service.exists('/usr/local/bin/portcullis.previous')).toBe(false)
})

test.if(here)('a broken setting is named at once, and the version that ran comes back', async () => {
  // Both refuse it: nothing runs, and that is said.
  writeFileSync(join(machine.root, DATA, 'portcullis.toml'), 'listn = "127.0.0.1:7070"\n')
  const { code, stderr } = await service.install(['--binary', '/opt/90'])
  expect(code).toBe(1)
  expect(stderr).toContain('"listn" is not a setting')
  expect(stderr).toContain('DOES NOT RUN EITHER')
  expect((await machine.run(['systemctl', 'restart', 'portcullis'])).code).not.toBe(0)
  await machine.read('rm', `${DATA}/portcullis.toml`)
  await machine.read('systemctl', 'restart', 'portcullis')
  await service.running()
})

test.if(here)('when it had migrated the database, the way back is said in commands that work', async () => {
  for (const name of ['dead before', 'dies later'])
    await service.portcullis('token', 'create', name, '--server', 'console')
  await service.portcullis('revoke', 'dead before', '--reason', 'other')
  const { code, stderr } = await service.install(['--binary', '/opt/92'])
  expect(code).toBe(1)
  expect(stderr).toContain(`${version} DOES NOT RUN EITHER: NOTHING PASSES THE GATE NOW`)
  expect(stderr).toContain('92.0.0 had changed the database')
  expect((await machine.run(['portcullis', 'healthcheck'])).code).toBe(3)
  const commands = stderr.split('\n').filter((line) => /^ {4}(systemctl |\/usr)/.test(line))
  expect(commands).toHaveLength(4)
  await machine.read('sh', '-ec', commands.join('\n'))
  expect(await service.running()).toBe(version)
  expect(await service.gateSays(token)).toBe('200')
  expect(await service.portcullis('token', 'ls')).toMatch(/dead before +revoked/)
  expect(await service.portcullis('audit', 'verify')).toContain('INTACT')
})

test.if(here)('and so it is when it ran well', async () => {
  const { code, stdout } = await service.install(['--binary', '/opt/94'])
  expect(code).toBe(0)
  expect(stdout).toContain('Back      the database was changed: see "Going back"')
  expect(stdout).toContain('+ removed /usr/local/bin/portcullis.failed')
  await service.portcullis('token', 'create', 'since', '--server', 'console')
  await service.portcullis('revoke', 'dies later', '--reason', 'other')
  const page = readFileSync(join(import.meta.dir, '../../docs/upgrade.md'), 'utf8')
  const commands = /^sudo systemctl stop portcullis\nsudo portcullis restore [^`]*/m.exec(page)?.[0] as string
  await machine.read('sh', '-ec', commands.replace(/before-\d+\.\d+\.\d+/, 'before-94.0.0'))
  expect(await service.running()).toBe(version)
  expect(await service.gateSays(token)).toBe('200')
  expect(await service.portcullis('token', 'ls')).toMatch(/dies later +revoked/)
  expect(await service.portcullis('token', 'ls')).not.toContain('since')
})

test.if(here)('interrupted while the new version does not answer, the one that ran is put back', async () => {
  const interrupted = ['timeout', '--signal=INT', '2', 'dash', '/opt/portcullis/install.sh', '--binary', '/opt/93']
  const { stderr } = await machine.run(interrupted)
  expect(stderr).toContain(`${version} runs again. 93.0.0 was not installed.`)
  expect(await service.running()).toBe(version)
  expect(await service.gateSays(token)).toBe('200')
  expect(await machine.read('sh', '-c', 'ls -A /usr/local/bin /etc/systemd/system')).not.toMatch(/\.\d+$/m)
})
