import { afterAll, beforeAll, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bootedDebian, type Machine, mayDebootstrap } from '../support/debian.ts'
import { eventually } from '../support/poll.ts'
import { tempFolder } from '../support/temp.ts'
import { putRelease } from './release.ts'

const DATA = '/var/lib/portcullis'
const UNIT = '/etc/systemd/system/portcullis.service'
const here = mayDebootstrap()
let machine: Machine
let upstream: Bun.Subprocess<'ignore', 'pipe', 'inherit'>
let events: string
let secure: string

const certificate = async (name: string) => {
  const folder = tempFolder()
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} -days 2 -subj /CN=${name} -addext subjectAltName=DNS:${name}`.quiet()
  return { cert, key }
}

/** Two upstreams in the machine's network: one over HTTPS, under a name and a certificate of its own. */
const startUpstreams = async () => {
  const { cert, key } = await certificate('secure.test')
  const script = `
    import { startEvents } from '${join(import.meta.dir, '../support/upstreams/events.ts')}'
    const events = await startEvents({ intervalMs: 20 })
    const tls = { cert: Bun.file('${cert}'), key: Bun.file('${key}') }
    const secure = Bun.serve({ port: 0, tls, fetch: () => new Response('over TLS') })
    console.log(events.url + ' https://secure.test:' + secure.port)`
  upstream = Bun.spawn([...machine.network, process.execPath, '-e', script], { stdin: 'ignore', stdout: 'pipe' })
  const { value } = await upstream.stdout.getReader().read()
  const [first, second] = new TextDecoder().decode(value).trim().split(' ')
  await Bun.$`cp ${cert} ${join(machine.root, 'etc/upstream.pem')}`
  await machine.read('sh', '-c', 'echo "127.0.0.1 localhost secure.test $(hostname)" > /etc/hosts')
  return [first, second] as [string, string]
}

const portcullis = (...words: string[]) => machine.read('portcullis', ...words)
const created = async (name: string) =>
  (JSON.parse(await portcullis('token', 'create', name, '--server', 'events,secure', '--json')) as { token: string })
    .token
const mainPid = () => machine.read('systemctl', 'show', '-p', 'MainPID', '--value', 'portcullis')
const journal = () => machine.read('journalctl', '-u', 'portcullis', '--no-pager')
const statusOf = async (token: string, server = 'events') => {
  const url = `https://127.0.0.1:7070/s/${server}/`
  const asked = ['curl', '-sk', '-m', '2', '-o', '/dev/null', '-w', '%{http_code}', url]
  return (await machine.run([...asked, '-H', `Authorization: Bearer ${token}`])).stdout
}

/** Gives the service a certificate, where its settings look for it. */
const putCertificate = async (name: string) => {
  for (const [kind, file] of Object.entries(await certificate(name))) {
    await Bun.$`cp ${file} ${join(machine.root, DATA, kind)}.pem`
  }
  await machine.read('sh', '-c', `chown portcullis ${DATA}/*`)
}
const certificateName = async () => {
  const connect = ['openssl', 's_client', '-connect', '127.0.0.1:7070']
  const child = Bun.spawn([...machine.network, ...connect], { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore' })
  return /subject=CN = (\S+)/.exec(await new Response(child.stdout).text())?.[1]
}

/** A stream that is read as it comes. */
const stream = (token: string) => {
  const url = 'https://127.0.0.1:7070/s/events/sse'
  const child = Bun.spawn([...machine.enter, '/usr/bin/curl', '-skN', '-H', `Authorization: Bearer ${token}`, url], {
    stdin: 'ignore',
    stdout: 'pipe',
  })
  const seen = { text: '', ended: child.exited, kill: () => child.kill() }
  void (async () => {
    for await (const chunk of child.stdout) seen.text += new TextDecoder().decode(chunk)
  })()
  return seen
}

beforeAll(async () => {
  if (!here) return
  machine = await bootedDebian()
  putRelease(machine.root)
  ;[events, secure] = await startUpstreams()
}, 180_000)
afterAll(async () => {
  upstream?.kill()
  await machine?.[Symbol.asyncDispose]()
})

let link: string
test.if(here)('as root it becomes a service that is ready, and says what it did and what is next', async () => {
  const { code, stdout, stderr } = await machine.run(['sudo', 'sh', '/opt/portcullis/install.sh'])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(stdout.split('\n').filter((line) => /^[+=!]/.test(line))).toEqual([
    expect.stringMatching(/^\+ checked portcullis-\d+\.\d+\.\d+-linux-x64 against SHA256SUMS$/),
    '+ made user portcullis, which can not sign in',
    '+ made /var/lib/portcullis, for portcullis alone',
    expect.stringMatching(/^\+ put portcullis \d+\.\d+\.\d+ into \/usr\/local\/bin$/),
    `+ wrote ${UNIT}`,
    '+ enabled portcullis.service: it starts with the machine',
    '+ started portcullis.service; it is ready',
  ])
  expect(stdout).toContain('ssh -L 7071:127.0.0.1:7071 root@')
  expect(stdout).toContain('sudo portcullis server add github')
  link = /http:\/\/127\.0\.0\.1:7071\/setup\?code=\S+/.exec(stdout)?.[0] as string
  expect(await machine.read('curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', link)).toBe('200')
  expect(await machine.read('systemctl', 'is-enabled', 'portcullis')).toBe('enabled')
  expect(await portcullis('healthcheck')).toContain('is ready')
})

test.if(here)('the journal holds the log, and no link that makes an owner', async () => {
  expect(await journal()).toContain('portcullis is ready')
  expect(await journal()).not.toContain('setup?code=')
})

test.if(here)('the process has given up what it does not need', async () => {
  const pid = await mainPid()
  const status = await machine.read('cat', `/proc/${pid}/status`)
  const uid = await machine.read('id', '-u', 'portcullis')
  expect(uid).not.toBe('0')
  expect(status).toMatch(new RegExp(`^Uid:\t${uid}\t${uid}\t${uid}\t${uid}$`, 'm'))
  for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(status).toMatch(new RegExp(`^Cap${set}:\t0+$`, 'm'))
  expect(status).toMatch(/^NoNewPrivs:\t1$/m)
  expect(status).toMatch(/^Seccomp:\t2$/m)
  expect(await machine.read('cat', `/proc/${pid}/limits`)).toMatch(/Max core file size +0 +0 /)

  // Its own view of the files: root in there can't write either, since they are mounted so.
  const inside = (script: string) => machine.run(['nsenter', '-t', pid, '-m', '--', 'sh', '-c', script])
  for (const place of ['/etc', '/usr/local/bin', '/opt', '/var/lib', '/root', '/home', '/dev/shm/..', '/sys']) {
    expect((await inside(`touch ${place}/written`)).code, place).not.toBe(0)
  }
  await machine.read('touch', '/tmp/of-others')
  expect((await inside('ls /tmp /home')).stdout).not.toContain('of-others')
  expect((await inside('touch /var/lib/portcullis/written && rm /var/lib/portcullis/written')).code).toBe(0)
  expect((await inside('ls /dev')).stdout).not.toContain('console')
  expect(await machine.read('stat', '-c', '%a %U', '/var/lib/portcullis')).toBe('700 portcullis')
  expect(await machine.read('stat', '-c', '%a %U', '/var/lib/portcullis/portcullis.key')).toBe('600 portcullis')
  expect((await machine.run(['runuser', '-u', 'nobody', '--', 'portcullis', 'healthcheck'])).stderr).toContain('sudo ')
})

test.if(here)('systemd rates its exposure 1.3 of 10 at the most', async () => {
  const rated = await machine.read('systemd-analyze', 'security', '--offline=true', '--no-pager', UNIT)
  expect(Number(/exposure level for portcullis.service: ([\d.]+)/.exec(rated)?.[1])).toBeLessThanOrEqual(1.3)
  expect(await machine.read('systemd-analyze', 'verify', UNIT)).toBe('')
})

test.if(here)('no system call that the filter refuses is ever made', async () => {
  // A refused call kills, in place of failing: what the runtime would try and live without shows too.
  const dropIn = join(machine.root, `${UNIT}.d`)
  await Bun.$`mkdir ${dropIn}`
  const killing = ['[Service]', 'SystemCallErrorNumber=', 'Environment=NODE_EXTRA_CA_CERTS=/etc/upstream.pem', '']
  writeFileSync(join(dropIn, 'test.conf'), killing.join('\n'))
  const settings = `tls-cert = "${DATA}/cert.pem"\ntls-key = "${DATA}/key.pem"\n`
  writeFileSync(join(machine.root, DATA, 'portcullis.toml'), settings)
  await putCertificate('first.test')
  await machine.read('systemctl', 'daemon-reload')
  await machine.read('systemctl', 'restart', 'portcullis')
  expect(await portcullis('healthcheck')).toContain('is ready')
  const pid = await mainPid()

  await portcullis('server', 'add', 'events', events)
  await portcullis('server', 'add', 'secure', secure)
  await portcullis('server', 'add', 'nowhere', 'http://no-such-name.test')
  const [token, other] = [await created('Cursor IDE'), await created('Claude Code')]
  const [cut, kept] = [stream(token), stream(other)]
  await eventually(() => cut.text.includes('data:') && kept.text.includes('data:'))
  expect(await statusOf(other, 'secure')).toBe('200')

  expect(await certificateName()).toBe('first.test')
  await putCertificate('second.test')
  await machine.read('systemctl', 'reload', 'portcullis')
  await eventually(async () => (await certificateName()) === 'second.test', { everyMs: 50 })
  expect(await journal()).toContain('certificates were read again')
  await portcullis('backup', '/root/backup')
  expect(await portcullis('audit', 'verify')).toContain('INTACT')
  await portcullis('audit', 'checkpoint')
  for (const path of ['/metrics', '/readyz', '/setup', '/']) {
    await machine.read('curl', '-sk', '-o', '/dev/null', `https://127.0.0.1:7071${path}`)
  }
  await portcullis('key', 'rotate')
  await portcullis('token', 'activity', 'Cursor IDE')
  await portcullis('doctor')

  expect(await portcullis('revoke', 'Cursor IDE', '--reason', 'compromised')).toContain('Revoked 1 token')
  await cut.ended
  expect(cut.text).toEndWith('"Connection token revoked"}}\n\n')
  expect(await statusOf(token)).toBe('401')
  const { length } = kept.text
  await eventually(() => kept.text.length > length)
  kept.kill()

  expect(await mainPid()).toBe(pid)
  expect(await machine.read('systemctl', 'show', '-p', 'NRestarts', '--value', 'portcullis')).toBe('0')
  expect(await journal()).not.toMatch(/status=31|code=(killed|dumped)/)
  expect(await journal()).not.toContain(token)

  // Killed hard it comes back by itself, and knows what is dead.
  await machine.read('sh', '-c', `kill -9 ${pid}`)
  await eventually(async () => (await statusOf(other, 'secure')) === '200', { everyMs: 100 })
  expect(await mainPid()).not.toBe(pid)
  expect(await statusOf(token)).toBe('401')
  await machine.read('systemctl', 'restart', 'portcullis')
  expect(await statusOf(other, 'secure')).toBe('200')
  expect(await statusOf(token)).toBe('401')
})

test.if(here)('and the filter is in force: a call that it refuses kills', async () => {
  const dropIn = `${UNIT}.d/refused.conf`
  writeFileSync(join(machine.root, dropIn), '[Service]\nExecStartPre=/usr/sbin/chroot / /bin/true\n')
  await machine.read('systemctl', 'daemon-reload')
  expect((await machine.run(['systemctl', 'restart', 'portcullis'])).code).not.toBe(0)
  expect(await journal()).toContain('status=31/SYS')
})
