import { afterAll, beforeAll, expect, test } from 'bun:test'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditRowJson, NodeJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { bootedDebian, type Machine, mayDebootstrap } from '../support/debian.ts'
import { blocksOf } from '../support/guide.ts'
import { putRelease } from './release.ts'
import { DATA, serviceOf } from './service.ts'

const here = mayDebootstrap()
const UPSTREAM = join(import.meta.dir, '../docs/upstream.ts')
const CREDENTIAL = 'Bearer github-credential'
const HOME = '/home/you'
const TAR = `${HOME}/portcullis.tar`

/** What the page's own test leaves out, since it needs a service, or two machines: in this order. */
const blocks = blocksOf('docs/backup.md').filter(({ mode }) => mode === 'elsewhere')
const [restoring, replacing, leaving, arriving] = blocks.map(({ text }) => text) as [string, string, string, string]

let old: Machine
let fresh: Machine
let upstreams: Bun.Subprocess[] = []

/** A user of the machine, who may use sudo, types it in their home. */
const typed = (machine: Machine, text: string, user = 'you') =>
  machine.run(['runuser', '-u', user, '--', 'bash', '-ec', `cd ${HOME}\n${text}`], { env: { HOME } })

const done = async (machine: Machine, text: string): Promise<string> => {
  const { code, stdout, stderr } = await typed(machine, text)
  expect({ code, stderr }, text).toMatchObject({ code: 0 })
  return stdout
}

const secretOf = async (machine: Machine, name: string): Promise<string> =>
  String(
    (
      JSON.parse(
        await done(machine, `sudo portcullis token create '${name}' --server github --json`),
      ) as TokenIssuedJson
    ).token,
  )

/** What the gate says to a token: the server behind it answers with the credential that it was sent. */
const gateSays = async (machine: Machine, secret: string): Promise<string> => {
  const url = 'http://127.0.0.1:7070/s/github/v1'
  const asked = ['curl', '-s', '-m', '5', '-w', ' %{http_code}', '-H', `Authorization: Bearer ${secret}`, url]
  const { stdout } = await machine.run(asked)
  return stdout.startsWith(CREDENTIAL) ? stdout.slice(-3) : `no credential ${stdout.slice(-3)}`
}
const DEAD = 'no credential 401'
const NOTHING = 'no credential 000'

/** Whatever stands in the data folder: mode and owner of each, with every name that is not its own. */
const owners = (machine: Machine): Promise<string> =>
  machine.read('sh', '-c', `stat -c '%a %U:%G' ${DATA} ${DATA}/* | sort -u`)
const isActive = async (machine: Machine) => (await machine.run(['systemctl', 'is-active', 'portcullis'])).stdout.trim()

const prepare = async (): Promise<Machine> => {
  const machine = await bootedDebian()
  putRelease(machine.root)
  await machine.read('useradd', '--create-home', 'you')
  await machine.read('useradd', 'other')
  writeFileSync(join(machine.root, 'etc/sudoers.d/you'), 'you ALL=(ALL) NOPASSWD: ALL\n')
  await machine.read('sh', '-c', 'echo "127.0.0.1 localhost $(hostname)" > /etc/hosts')
  await serve(machine)
  expect(await serviceOf(machine).install()).toMatchObject({ code: 0, stderr: '' })
  writeFileSync(join(machine.root, HOME, 'github-token.txt'), `${CREDENTIAL}\n`)
  await done(
    machine,
    `sudo portcullis server add github http://127.0.0.1:3001 --header 'Authorization: @github-token.txt'`,
  )
  return machine
}

/** The same server is behind both: it ends with the machine, and is started anew with it. */
const serve = async (machine: Machine): Promise<void> => {
  const upstream = Bun.spawn([...machine.network, process.execPath, UPSTREAM, '3001'], { stdout: 'pipe' })
  upstreams.push(upstream)
  await upstream.stdout.getReader().read()
}

const rebooted = async (machine: Machine): Promise<Machine> => {
  const again = await bootedDebian({ debian: await machine.switchOff() })
  await serve(again)
  return again
}

const secrets: Record<'lives' | 'deadBefore' | 'deadLater' | 'strange', string> = {
  lives: '',
  deadBefore: '',
  deadLater: '',
  strange: '',
}

beforeAll(async () => {
  if (!here) return
  ;[old, fresh] = await Promise.all([prepare(), prepare()])
  writeFileSync(join(old.root, DATA, 'portcullis.toml'), 'public-url = "http://gate.test:7070"\n')
  await old.read('sh', '-c', `chown portcullis: ${DATA}/* && chmod 600 ${DATA}/*.toml && systemctl restart portcullis`)
  secrets.lives = await secretOf(old, 'lives')
  secrets.deadBefore = await secretOf(old, 'dead before')
  secrets.deadLater = await secretOf(old, 'dead later')
  secrets.strange = await secretOf(fresh, 'of the new machine')
  await done(old, `sudo portcullis revoke 'dead before' --reason compromised`)
}, 180_000)
afterAll(async () => {
  for (const upstream of upstreams) upstream.kill()
  upstreams = []
  await old?.[Symbol.asyncDispose]()
  await fresh?.[Symbol.asyncDispose]()
})

test('every block that the page’s own test leaves out is run here', () => {
  expect(blocks.map(({ heading }) => heading)).toEqual([
    'Restore',
    'Restore',
    'Move to another machine',
    'Move to another machine',
  ])
})

test.if(here)('a service is restored, and what died since the backup stays dead', async () => {
  await done(old, 'sudo portcullis backup portcullis.backup')
  expect(await gateSays(old, secrets.deadLater)).toBe('200')
  await done(old, `sudo portcullis revoke 'dead later' --reason compromised`)
  expect(await done(old, restoring)).toContain('What ended since the backup stays so: 1 token.')
  expect(await isActive(old)).toBe('active')
  expect(await owners(old)).toBe('600 portcullis:portcullis\n700 portcullis:portcullis')
  expect(await gateSays(old, secrets.lives)).toBe('200')
  expect(await gateSays(old, secrets.deadBefore)).toBe(DEAD)
  expect(await gateSays(old, secrets.deadLater)).toBe(DEAD)
  expect(await done(old, 'sudo portcullis audit verify')).toContain('INTACT')
})

test.if(here)('also where the folder is lost, and root has one of its own', async () => {
  const typedByMistake = await typed(old, 'sudo portcullis serve')
  expect(typedByMistake).toMatchObject({ code: 2, stderr: expect.stringContaining('sudo systemctl start portcullis') })
  await old.read('install', '-d', '-m', '700', '/root/.local/state/portcullis')
  await old.read('sh', '-c', `systemctl stop portcullis && mv ${DATA} /root/aside`)
  expect(await done(old, restoring)).toContain(`to ${DATA}.\nNo database was in place to compare with`)
  expect(await old.read('ls', '/root/.local/state/portcullis')).toBe('')
  expect(await owners(old)).toBe('600 portcullis:portcullis\n700 portcullis:portcullis')
  expect(await gateSays(old, secrets.lives)).toBe('200')
  // As the page says: nothing knew of it.
  expect(await gateSays(old, secrets.deadLater)).toBe('200')
  await old.read(
    'sh',
    '-ec',
    `systemctl stop portcullis; rm -r ${DATA}; mv /root/aside ${DATA}; systemctl start portcullis`,
  )
  expect(await gateSays(old, secrets.deadLater)).toBe(DEAD)
})

const BACKUP = `${HOME}/portcullis.backup`
test.if(here)('when the machine is lost, its backup lives on another one', async () => {
  copyFileSync(join(old.root, BACKUP), join(fresh.root, BACKUP))
  const refused = await typed(fresh, 'sudo systemctl stop portcullis\nsudo portcullis restore portcullis.backup')
  expect(refused.stderr).toContain('the backup is of another database')
  expect(await done(fresh, replacing)).toContain(`to ${DATA}.`)
  expect(await owners(fresh)).toBe('600 portcullis:portcullis\n700 portcullis:portcullis')
  expect(await gateSays(fresh, secrets.lives)).toBe('200')
  expect(await gateSays(fresh, secrets.deadBefore)).toBe(DEAD)
  expect(await gateSays(fresh, secrets.strange)).toBe(DEAD)
  await fresh.read(
    'sh',
    '-ec',
    `systemctl stop portcullis; rm -r ${DATA}; mv ${DATA}.empty ${DATA}; systemctl start portcullis`,
  )
  expect(await gateSays(fresh, secrets.strange)).toBe('200')
})

let before: NodeJson
test.if(here)('what leaves the old machine is for nobody else, and nothing passes there any more', async () => {
  before = JSON.parse(await done(old, 'sudo portcullis healthcheck --json')) as NodeJson
  await done(old, leaving)
  expect(await old.read('stat', '-c', '%a %U', TAR)).toBe('600 you')
  expect((await typed(old, `cat ${TAR}`, 'other')).code).not.toBe(0)
  expect(await old.read('stat', '-c', '%a %U', `${DATA}.moved`)).toBe('700 portcullis')
  expect(existsSync(join(old.root, DATA))).toBe(false)
  expect(await gateSays(old, secrets.lives)).toBe(NOTHING)
})

test.if(here)('on the new machine it goes on: the same secrets, the same dead, the same settings', async () => {
  expect(await gateSays(fresh, secrets.lives)).toBe(DEAD)
  copyFileSync(join(old.root, TAR), join(fresh.root, TAR))
  await fresh.read('chown', 'you:', TAR)
  const said = await done(fresh, arriving)
  expect(said).not.toContain('FAIL')
  expect(said).toMatch(/OK +service +portcullis.service is active, enabled/)

  expect(await owners(fresh)).toBe('600 portcullis:portcullis\n700 portcullis:portcullis')
  expect(await gateSays(fresh, secrets.lives)).toBe('200')
  for (const dead of [secrets.deadBefore, secrets.deadLater, secrets.strange]) {
    expect(await gateSays(fresh, dead)).toBe(DEAD)
  }
  expect(await done(fresh, 'sudo portcullis audit verify')).toContain('INTACT')
  const after = JSON.parse(await done(fresh, 'sudo portcullis healthcheck --json')) as NodeJson
  expect(after.gateUrl).toBe('http://gate.test:7070')
  expect(after.node).not.toBe(before.node)
  const audit = await done(fresh, 'sudo portcullis audit --action node.rename --json')
  const { items } = JSON.parse(audit) as { items: AuditRowJson[] }
  expect(items.at(-1)).toMatchObject({ targetId: after.node, details: { previous: before.node } })
  // What the new machine had before is put aside, and not mixed in.
  expect(readFileSync(join(fresh.root, `${DATA}.empty/portcullis.key`), 'utf8')).not.toBe(
    readFileSync(join(fresh.root, DATA, 'portcullis.key'), 'utf8'),
  )
  await done(fresh, `sudo portcullis revoke lives --reason compromised`)
  expect(await gateSays(fresh, secrets.lives)).toBe(DEAD)
})

test.if(here)('the old machine’s service does not come up again, whoever tries', async () => {
  const dead = async (what: string) => {
    expect(await isActive(old), what).not.toBe('active')
    expect(await gateSays(old, secrets.lives), what).toBe(NOTHING)
    expect(existsSync(join(old.root, DATA)), what).toBe(false)
  }
  const started = await typed(old, 'sudo systemctl enable --now portcullis')
  expect(started.code).not.toBe(0)
  expect(started.stderr).toContain('Assertion failed')
  expect(await old.read('systemctl', 'status', '--no-pager', '--lines=0', 'portcullis').catch(String)).toContain(
    `AssertPathExists=!${DATA}.moved`,
  )
  await dead('started')
  expect((await serviceOf(old).install()).stderr).toContain('was moved from here to another machine')
  await dead('installed again')
  old = await rebooted(old)
  await dead('rebooted while enabled')
})

test.if(here)('while the new one comes up with its machine', async () => {
  const lives = await secretOf(fresh, 'lives too')
  fresh = await rebooted(fresh)
  expect(await fresh.read('systemctl', 'is-system-running', '--wait').catch(String)).toMatch(/running|degraded/)
  expect(await isActive(fresh)).toBe('active')
  expect(await gateSays(fresh, lives)).toBe('200')
  expect(await gateSays(fresh, secrets.lives)).toBe(DEAD)
})

test.if(here)('and back on the old one after all, with what the page says', async () => {
  expect(readFileSync(join(import.meta.dir, '../../docs/backup.md'), 'utf8')).toContain(
    `\`sudo mv ${DATA}.moved ${DATA}\``,
  )
  await done(old, `sudo mv ${DATA}.moved ${DATA}\nsudo systemctl --quiet enable --now portcullis`)
  expect(await gateSays(old, secrets.lives)).toBe('200')
  expect(await gateSays(old, secrets.deadLater)).toBe(DEAD)
})
