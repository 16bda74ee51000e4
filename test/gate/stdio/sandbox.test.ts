import { afterEach, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { launchOf } from '../../../src/gate/stdio/launch.ts'
import { ProblemError } from '../../../src/gate/problem.ts'
import type { StdioRequest } from '../../../src/stdio.ts'
import { eventually } from '../../support/poll.ts'
import { groupOf, lives, program, programSeen, stdioProcesses, stdioServer } from '../../support/stdio-process.ts'
import { tempFolder } from '../../support/temp.ts'

const bwrap = Bun.which('bwrap')
if (!bwrap) console.warn('SKIPPED LOUDLY: no bwrap, so no sandbox')

type Processes = ReturnType<typeof stdioProcesses>
let open: Processes | null = null
const processes = (given: Parameters<typeof stdioProcesses>[0] = {}): Processes => (open = stdioProcesses(given))
afterEach(async () => {
  await open?.end()
  open = null
})

type Access = Record<string, { read: string; write: string }>

/** What a command in a sandbox can do with paths. */
const touch = async ({ run }: Processes, paths: string[], request: Partial<StdioRequest> = {}): Promise<Access> => {
  const { allow = [], ...rest } = request
  const command = program('raw', 'touch', ...paths)
  const { said } = await run({ command, sandbox: true, allow: [...programSeen, ...allow], ...rest })
  return (await said('touch')) as Access
}

const refusal = async (request: Partial<StdioRequest>, dataFolder = tempFolder(), env = process.env) => {
  const server = stdioServer({ command: ['cat'], sandbox: true, ...request })
  const error = await launchOf(server, { dataFolder, env }).catch((thrown: unknown) => thrown)
  if (!(error instanceof ProblemError)) throw new Error('it was not refused', { cause: error })
  expect(error.problem.slug).toBe('server-not-startable')
  return error.problem.detail
}

/** Of all that runs here. */
const commandLines = (): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      } catch {
        // It has just ended.
        return ''
      }
    })

test('without bubblewrap the refusal says what to install', async () => {
  const PATH = tempFolder()
  symlinkSync('/bin/cat', join(PATH, 'cat'))
  expect(await refusal({}, tempFolder(), { PATH })).toBe(
    '--sandbox needs bubblewrap, and there is no bwrap in PATH: install the package bubblewrap',
  )
})

test('where it does not work, the refusal tells what it said', async () => {
  const PATH = tempFolder()
  symlinkSync('/bin/cat', join(PATH, 'cat'))
  writeFileSync(join(PATH, 'bwrap'), '#!/bin/sh\necho "bwrap: No permissions to create new namespace" >&2\nexit 1\n')
  chmodSync(join(PATH, 'bwrap'), 0o755)
  expect(await refusal({}, tempFolder(), { PATH })).toBe(
    '--sandbox: bwrap does not work here: bwrap: No permissions to create new namespace',
  )
})

describe.skipIf(!bwrap)('in the sandbox', () => {
  test('nothing of the data folder is seen but its own; nothing else can be written', async () => {
    const all = processes()
    const { dataFolder } = all
    const own = join(dataFolder, 'stdio/id-of-test')
    const secrets = ['portcullis.key', 'portcullis.db', 'control.sock'].map((name) => join(dataFolder, name))
    for (const path of secrets) writeFileSync(path, 'secret', { mode: 0o600 })
    const other = join(dataFolder, 'stdio/id-of-other')
    mkdirSync(other, { recursive: true })
    const seen = await touch(all, [
      ...[...secrets, other, own, dataFolder, join(dataFolder, 'stdio'), '/tmp', '/var/tmp', '/dev/shm'],
      ...['/etc', '/etc/passwd', '/usr/bin', '/root', '/home', '/run', '/dev', '/sys/kernel', '/var/lib'],
      ...['/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/self/oom_score_adj'],
    ])
    for (const path of [...secrets, other]) expect([path, seen[path]?.read]).toEqual([path, 'ENOENT'])
    const writable = Object.entries(seen).flatMap(([path, { write }]) => (write === 'yes' ? [path] : []))
    expect(writable.toSorted()).toEqual([own, '/tmp', '/var/tmp', '/dev/shm'].toSorted())
    expect(seen['/etc/passwd']).toEqual({ read: 'yes', write: 'EROFS' })
    expect(seen['/proc/sys/kernel/core_pattern']?.write).toBe('EROFS')
  })

  test('what it writes into its folder stays, what it writes elsewhere is gone', async () => {
    const { run, dataFolder } = processes()
    const script = 'echo kept > kept; echo $HOME > home; echo gone > /tmp/gone-with-the-sandbox'
    const { process: child } = await run({ command: ['sh', '-c', script], sandbox: true })
    expect(await child.ended).toMatchObject({ code: 0 })
    const own = join(dataFolder, 'stdio/id-of-test')
    expect(readFileSync(join(own, 'kept'), 'utf8')).toBe('kept\n')
    expect(readFileSync(join(own, 'home'), 'utf8')).toBe(`${own}\n`)
    expect(existsSync('/tmp/gone-with-the-sandbox')).toBe(false)
  })

  test('its environment is what was named, and no capability is left to it', async () => {
    const { run } = processes({ env: { PATH: '/usr/bin:/bin', SECRET: 'x' } })
    const command = [
      'sh',
      '-c',
      'tr "\\0" "\\n" < /proc/$$/environ; grep -E "CapEff|CapPrm|NoNewPrivs" /proc/$$/status',
    ]
    const { process: child, stderr } = await run({ command, sandbox: true, env: { KEY: 'v' } })
    await child.ended
    const said = stderr.map((line) => line.replace('stdout: ', ''))
    expect(said.filter((line) => line.includes('=')).map((line) => line.split('=')[0])).toEqual(['HOME', 'PATH', 'KEY'])
    expect(said.filter((line) => line.includes(':\t'))).toEqual([
      ...['CapPrm:\t0000000000000000', 'CapEff:\t0000000000000000', 'NoNewPrivs:\t1'],
    ])
  })

  test('a key file elsewhere is not seen either', async () => {
    const folder = tempFolder()
    // Below what is shown, since /tmp is not.
    const key = join(folder, 'elsewhere.key')
    writeFileSync(key, 'secret')
    const all = processes({ secretFiles: [key] })
    const seen = await touch(all, [key, folder], { allow: [folder] })
    expect(seen[folder]?.write).toBe('yes')
    expect(seen[key]?.read).not.toBe('yes')
  })

  test('a key in a folder of its own is not seen when it is replaced while a sandbox runs', async () => {
    const folder = tempFolder()
    mkdirSync(join(folder, 'keys'), { mode: 0o700 })
    mkdirSync(join(folder, 'open'))
    const key = join(folder, 'keys/the.key')
    const link = join(folder, 'open/link')
    writeFileSync(key, 'old secret\n')
    symlinkSync(key, link)
    const watch = `exec >&2; while :; do cat ${key} ${link} ${folder}/keys/*; echo looked; sleep 0.05; done`
    const all = processes({ secretFiles: [link] })
    const { process: child, stderr } = await all.run({
      command: ['/bin/sh', '-c', watch],
      sandbox: true,
      allow: [folder],
    })
    const looks = () => stderr.filter((line) => line === 'looked').length
    await eventually(() => looks() > 0)
    writeFileSync(`${key}.new`, 'new secret\n')
    renameSync(`${key}.new`, key)
    writeFileSync(join(folder, 'keys/another.key'), 'another secret\n')
    const before = looks()
    await eventually(() => looks() > before + 3)
    expect(stderr.join('\n')).not.toContain('secret')
    child.stop()
  })

  test('--allow shows what it names: to write, or with :ro to read', async () => {
    const folder = tempFolder()
    for (const name of ['rw', 'ro', 'hidden']) mkdirSync(join(folder, name))
    symlinkSync(join(folder, 'rw'), join(folder, 'link'))
    const [rw, ro, hidden, link] = ['rw', 'ro', 'hidden', 'link'].map((name) => join(folder, name)) as [
      ...[string, string, string, string],
    ]
    const seen = await touch(processes(), [rw, ro, hidden, link, folder], { allow: [`${link}/`, `${ro}:ro`] })
    expect(seen[rw]).toEqual({ read: 'yes', write: 'yes' })
    expect(seen[link]).toEqual({ read: 'yes', write: 'yes' })
    expect(seen[ro]).toEqual({ read: 'yes', write: 'EROFS' })
    expect(seen[hidden]?.read).toBe('ENOENT')
  })

  test('the data folder stays hidden, though a folder around it is allowed, or a link leads to it', async () => {
    const around = tempFolder()
    const dataFolder = join(around, 'data')
    mkdirSync(dataFolder)
    writeFileSync(join(dataFolder, 'portcullis.key'), 'secret')
    symlinkSync(dataFolder, join(around, 'link'))
    for (const given of [dataFolder, join(around, 'link')]) {
      const all = processes({ dataFolder: given })
      const seen = await touch(
        all,
        [around, `${dataFolder}/portcullis.key`, `${around}/link/portcullis.key`, `${dataFolder}/stdio/id-of-test`],
        { allow: [around] },
      )
      expect(seen[around]?.write).toBe('yes')
      expect(seen[`${dataFolder}/stdio/id-of-test`]?.write).toBe('yes')
      expect(seen[`${dataFolder}/portcullis.key`]?.read).toBe('ENOENT')
      expect(seen[`${around}/link/portcullis.key`]?.read).toBe('ENOENT')
      await all.end()
    }
    const inside = join(around, 'link/portcullis.key')
    expect(await refusal({ allow: [inside] }, dataFolder)).toBe(
      `--allow ${inside} is in the data folder of portcullis, which no server may see`,
    )
    expect(await refusal({ allow: [`${dataFolder}:ro`] }, dataFolder)).toContain('is in the data folder')
    expect(await refusal({ allow: ['/'] })).toContain('would leave nothing of the sandbox')
    expect(await refusal({ allow: ['/no/such/path'] })).toBe(
      '--allow /no/such/path: there is no such file or folder on this machine',
    )
  })

  test('a link that leads to a folder around the data folder shows no other way to it', async () => {
    const around = tempFolder()
    const dataFolder = join(around, 'data')
    mkdirSync(dataFolder)
    const key = join(around, 'elsewhere.key')
    for (const path of [join(dataFolder, 'portcullis.key'), key]) writeFileSync(path, 'secret')
    const links = tempFolder()
    const link = join(links, 'link')
    symlinkSync(around, link)
    const all = processes({ dataFolder, secretFiles: [key] })
    const paths = [link, `${link}/data/portcullis.key`, `${link}/elsewhere.key`, around]
    for (const allow of [[link], [link, `${link}:ro`], [links, link], [link, around]]) {
      const seen = await touch(all, paths, { allow })
      expect(seen[link]?.read).toBe('yes')
      expect(seen[`${link}/data/portcullis.key`]?.read).toBe('ENOENT')
      expect(seen[`${link}/elsewhere.key`]?.read).not.toBe('yes')
    }
    await all.end()
  })

  test('a program that is out of sight is refused, with what to allow', async () => {
    const folder = tempFolder()
    writeFileSync(join(folder, 'server'), '#!/bin/sh\ncat\n', { mode: 0o755 })
    const command = [join(folder, 'server')]
    expect(await refusal({ command })).toBe(`${folder}/server is out of sight in the sandbox: add --allow ${folder}:ro`)
    const { run } = processes()
    const { process: child, messages } = await run({ command, sandbox: true, allow: [`${folder}:ro`] })
    await child.send({ jsonrpc: '2.0', method: 'x' })
    await eventually(() => messages.length === 1)
  })

  test('it has a network, or with --no-network none but its own loopback', async () => {
    const { run } = processes()
    const net = async (network: boolean) => {
      const { said } = await run({ command: program('raw', 'net'), sandbox: true, allow: programSeen, network })
      return said('net')
    }
    const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('hi') })
    const reach = async (network: boolean) => {
      const script = `fetch('http://127.0.0.1:${server.port}').then(() => process.exit(0), () => process.exit(9))`
      const command = [process.execPath, '-e', script]
      const { process: child } = await run({ command, sandbox: true, allow: programSeen, network })
      return (await child.ended).code
    }
    expect(await net(true)).toMatchObject({ loopback: 'yes' })
    expect(await reach(true)).toBe(0)
    expect(await net(false)).toMatchObject({ interfaces: ['lo'], loopback: 'yes' })
    expect(await reach(false)).toBe(9)
    await server.stop(true)
  })

  test('it sees no process but its own, and nothing survives its end', async () => {
    const { run } = processes({ limits: { stdioGraceMs: 300 } })
    const seen = await run({ command: ['sh', '-c', 'ls /proc | grep -E "^[0-9]+$" | wc -l'], sandbox: true })
    await seen.process.ended
    expect(Number(seen.stderr[0]?.replace('stdout: ', ''))).toBeLessThan(10)

    const { process: child, said } = await run({
      ...{ command: program('raw', 'family'), sandbox: true, allow: programSeen },
    })
    await said('family')
    const group = groupOf(child.pid)
    expect(group.length).toBeGreaterThanOrEqual(5)
    child.stop()
    await child.ended
    await eventually(() => !group.some(lives))
  })

  test('what left its group dies with it too', async () => {
    const { run } = processes()
    const ready = JSON.stringify({ jsonrpc: '2.0', method: 'ready' })
    const mark = `6${Math.floor(Math.random() * 1e6)}`
    const script = `setsid sleep ${mark} & echo '${ready}'; cat`
    const { process: child, said } = await run({ command: ['sh', '-c', script], sandbox: true })
    await said('ready')
    const sleepers = () => commandLines().filter((line) => line === `sleep ${mark}`)
    await eventually(() => sleepers().length === 1)
    child.kill()
    await eventually(() => sleepers().length === 0)
  })

  test('asked to end, what it runs may end as it likes', async () => {
    const { run } = processes()
    const script = 'trap "echo bye >&2; exit 4" TERM; echo hi >&2; sleep 60 & wait'
    const { process: child, stderr } = await run({ command: ['bash', '-c', script], sandbox: true })
    await eventually(() => stderr.length === 1)
    child.stop()
    expect(await child.ended).toMatchObject({ code: 4, crashed: false })
    expect(stderr).toEqual(['hi', 'bye'])
  })

  test('its limits hold in there too', async () => {
    const { run } = processes()
    const busy = await run({
      ...{ command: program('raw', 'cpu'), cpuTimeMs: 1_000 },
      sandbox: true,
      allow: programSeen,
    })
    expect(await busy.process.ended).toMatchObject({ crashed: true, detail: 'killed: out of CPU time (exit code 152)' })
    const disk = await run({
      ...{ command: ['sh', '-c', 'head -c 200000000 /dev/zero > /tmp/full'], sandbox: true },
      memoryBytes: 64 * 1024 * 1024,
    })
    expect(await disk.process.ended).not.toMatchObject({ code: 0 })
    expect(disk.stderr.join()).toContain('No space left')
  })
})
