import { afterEach, describe, expect, test } from 'bun:test'
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LaunchDeps, launchOf } from '../../../src/gate/stdio/launch.ts'
import { spawnProcess } from '../../../src/gate/stdio/process.ts'
import { Reaper } from '../../../src/gate/stdio/reaper.ts'
import { ProblemError } from '../../../src/gate/problem.ts'
import { limits } from '../../../src/limits.ts'
import type { StdioRequest } from '../../../src/stdio.ts'
import { program, stdioProcesses, stdioServer } from '../../support/stdio-process.ts'
import { tempFolder } from '../../support/temp.ts'

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn('SKIPPED LOUDLY: only root can run a command as another user')

type Processes = ReturnType<typeof stdioProcesses>
let open: Processes | null = null
const processes = (given: Parameters<typeof stdioProcesses>[0] = {}): Processes => (open = stdioProcesses(given))
afterEach(async () => {
  await open?.end()
  open = null
})

/** What is said to who wants to run it. */
const refusal = async (request: StdioRequest, deps: Partial<LaunchDeps> = {}): Promise<string> => {
  const given = { dataFolder: tempFolder(), env: process.env, ...deps }
  const error = await launchOf(stdioServer(request), given).then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof ProblemError)) throw new Error('it was not refused', { cause: error })
  expect(error.problem).toMatchObject({ status: 502, slug: 'server-not-startable' })
  return error.problem.detail
}

test('a command has PATH, HOME, LANG and what was named, and nothing else of the gate', async () => {
  const env = { PATH: process.env['PATH'], HOME: tempFolder(), LANG: 'C.UTF-8', PORTCULLIS_API_KEY: 'x', OTHER: 'y' }
  const { run } = processes({ env })
  const { said } = await run({
    command: program('raw', 'facts', 'a b', '$HOME', ''),
    env: { KEY: 'va lue', LANG: 'C', go: '1', n: '2' },
  })
  const facts = await said('facts')
  expect(facts['env']).toEqual({ PATH: env.PATH, HOME: env.HOME, LANG: 'C', KEY: 'va lue', go: '1', n: '2' })
  // No shell reads the arguments.
  expect(facts['args']).toEqual(['a b', '$HOME', ''])
})

test('it works in a folder of its own, which nobody else may enter', async () => {
  const { run, dataFolder } = processes()
  const { said } = await run({ command: program('raw', 'facts') })
  const folder = join(dataFolder, 'stdio', 'id-of-test')
  expect((await said('facts'))['cwd']).toBe(folder)
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  expect(statSync(join(dataFolder, 'stdio')).mode & 0o777).toBe(0o700)
})

test('it has three descriptors, none of the gate’s', async () => {
  const { run } = processes()
  const { stderr, process: child } = await run({ command: ['ls', '-l', '/proc/self/fd'] })
  await child.ended
  const open = stderr.map((line) => / (\d+) -> (.*)/.exec(line)?.slice(1)).filter(Boolean)
  // The fourth is the folder that is being listed.
  expect(open.map((descriptor) => descriptor?.[0])).toEqual(['0', '1', '2', '3'])
  expect(open[3]?.[1]).toMatch(/^\/proc\/\d+\/fd$/)
})

test.each([
  [join(tempFolder(), 'none'), 'where there is none'],
  [undefined, 'where none is named'],
  ['/proc/version', 'where it is no folder'],
])('its home is its own folder %s', async (home) => {
  const dataFolder = tempFolder()
  const launch = await launchOf(stdioServer({ command: ['cat'] }), { dataFolder, env: { ...process.env, HOME: home } })
  expect(launch.env['HOME']).toBe(launch.cwd)
})

test('what can not be run is refused before it is tried, with what to do', async () => {
  const folder = tempFolder()
  writeFileSync(join(folder, 'plain'), '#!/bin/sh\n', { mode: 0o644 })
  const env = { PATH: '/usr/bin:/bin' }
  expect(await refusal({ command: ['no-such-command'] }, { env })).toBe(
    'the command "no-such-command" was not found in PATH (/usr/bin:/bin)',
  )
  expect(await refusal({ command: ['cat'], env: { PATH: folder } })).toBe(
    `the command "cat" was not found in PATH (${folder})`,
  )
  expect(await refusal({ command: [`${folder}/none`] })).toBe(`there is no file ${folder}/none`)
  expect(await refusal({ command: ['./server.py'] }, { dataFolder: folder })).toBe(
    `there is no file ${folder}/stdio/id-of-test/server.py; write its path from / on`,
  )
  expect(await refusal({ command: [folder] })).toBe(`${folder} is no file that can be run`)
  expect(await refusal({ command: [`${folder}/plain`] })).toBe(
    `${folder}/plain may not be run: make it executable (chmod +x)`,
  )
})

test('a program that only the kernel refuses says so when it ends', async () => {
  const folder = tempFolder()
  writeFileSync(join(folder, 'broken'), '#!/no/such/interpreter\n', { mode: 0o755 })
  const { run } = processes()
  const { process: child, stderr } = await run({ command: [`${folder}/broken`] })
  expect((await child.ended).detail).toMatch(/^exit code 12[67]: the command could not be run$/)
  expect(stderr.join('\n')).toContain('broken')
})

test('--user of nobody, and where the gate may not', async () => {
  const passwd = join(tempFolder(), 'passwd')
  writeFileSync(passwd, 'homeless:x:65534:65534::/no/home:/bin/sh\nbad:x:0x0:y::/:\n')
  const as = (user: string) => refusal({ command: ['cat'], user }, { passwd })
  expect(await as('nobody-here')).toBe(`--user nobody-here: there is no such user in ${passwd}; make one with useradd`)
  expect(await as('bad')).toContain('there is no such user')
  expect(await as('homeless')).toBe(
    isRoot
      ? '--user homeless: its home /no/home does not exist; a server works in a folder there'
      : '--user homeless: only a gate that runs as root can run a command as somebody else',
  )
})

describe.skipIf(!isRoot)('as another user', () => {
  const NOBODY = 65_534

  const someone = () => {
    const root = tempFolder()
    chmodSync(root, 0o755)
    const home = join(root, 'home')
    mkdirSync(home, { mode: 0o755 })
    chownSync(home, NOBODY, NOBODY)
    const passwd = join(root, 'passwd')
    writeFileSync(passwd, `root:x:0:0::/root:/bin/sh\nsomeone:x:${NOBODY}:${NOBODY}::${home}:/bin/sh\n`)
    return { home, passwd }
  }
  const FACTS = ['sh', '-c', 'id -u; id -g; id -G; pwd; echo $HOME; grep -E "CapEff|Groups" /proc/$$/status']

  test('it is that user and no more, and works in its home', async () => {
    const { home, passwd } = someone()
    const { run } = processes({ passwd, env: { PATH: '/usr/bin:/bin' } })
    const { process: child, stderr } = await run({ command: ['sh', '-c', `(${FACTS[2]}) >&2`], user: 'someone' })
    expect(await child.ended).toMatchObject({ code: 0 })
    const own = `${home}/.portcullis/test`
    expect(stderr.slice(0, 5)).toEqual([`${NOBODY}`, `${NOBODY}`, `${NOBODY}`, own, home])
    expect(stderr.slice(5).map((line) => line.trim())).toEqual(['Groups:', 'CapEff:\t0000000000000000'])
    expect(statSync(own)).toMatchObject({ uid: NOBODY, gid: NOBODY, mode: 0o40700 })
  })

  test('it keeps none of the groups that the gate is in', async () => {
    const { passwd, home } = someone()
    const script = join(home, '../groups.ts')
    const support = join(import.meta.dir, '../../support/stdio-process.ts')
    writeFileSync(
      script,
      `import { stdioProcesses } from ${JSON.stringify(support)}
      const { run, end } = stdioProcesses({ passwd: ${JSON.stringify(passwd)}, env: { PATH: '/usr/bin:/bin' } })
      const { process: child, stderr } = await run({ command: ['sh', '-c', 'id -G >&2'], user: 'someone' })
      await child.ended
      console.log(process.getgroups().join(), stderr.join())
      await end()
      process.exit(0)`,
    )
    const argv = ['setpriv', '--groups', '4,27', process.execPath, script]
    const { stdout } = Bun.spawnSync(argv, { env: { ...process.env, NODE_ENV: '' } })
    expect(stdout.toString().trim()).toMatch(new RegExp(`^(?=.*\\b27\\b).* ${NOBODY}$`))
  })

  test('it is started though only it may enter its home', async () => {
    const { passwd, home } = someone()
    chmodSync(home, 0o700)
    const support = join(import.meta.dir, '../../support/stdio-process.ts')
    const script = join(home, '../closed.ts')
    writeFileSync(
      script,
      `import { stdioProcesses } from ${JSON.stringify(support)}
      const { run, end } = stdioProcesses({ passwd: ${JSON.stringify(passwd)}, env: { PATH: '/usr/bin:/bin' } })
      const { process: child, stderr } = await run({ command: ['sh', '-c', 'pwd >&2'], user: 'someone' })
      await child.ended
      console.log(stderr.join())
      await end()
      process.exit(0)`,
    )
    // Root as a service has it, which reads only what it owns.
    const caps = '-all,+setuid,+setgid,+kill'
    const argv = ['setpriv', '--bounding-set', caps, '--inh-caps', caps, process.execPath, script]
    const { stdout, stderr } = Bun.spawnSync(argv, { env: { ...process.env, NODE_ENV: '' } })
    expect(stderr.toString()).toBe('')
    expect(stdout.toString().trim()).toBe(`${home}/.portcullis/test`)
  })

  test('the data folder is closed to it, and it can be ended', async () => {
    const { passwd } = someone()
    const { run, dataFolder } = processes({ passwd, env: { PATH: '/usr/bin:/bin' } })
    const ready = JSON.stringify({ jsonrpc: '2.0', method: 'ready' })
    const script = `ls "$0" >&2; echo '${ready}'; trap '' TERM; while :; do sleep 1; done`
    const child = await run({ command: ['sh', '-c', script, dataFolder], user: 'someone' })
    await child.said('ready')
    expect(child.stderr.join()).toContain('ermission denied')
    child.process.kill()
    expect(await child.process.ended).toMatchObject({ signal: 'SIGKILL' })
  })

  test('a link in its home leads nobody where that user may not write', async () => {
    const { passwd, home } = someone()
    const target = tempFolder()
    symlinkSync(target, join(home, '.portcullis'))
    const detail = await refusal({ command: ['cat'], user: 'someone' }, { passwd, env: { PATH: '/usr/bin:/bin' } })
    expect(detail).toContain(`the server's folder ${home}/.portcullis/test can't be made`)
    expect(readdirSync(target)).toEqual([])
    rmSync(join(home, '.portcullis'))
  })
})

test('what the kernel refuses to start is told as such', async () => {
  const dataFolder = tempFolder()
  // One string of more than 128 KiB is more than Linux takes.
  const env = { KEY: 'x'.repeat(200_000) }
  const launch = { ...(await launchOf(stdioServer({ command: ['cat'] }), { dataFolder, env: process.env })), env }
  const reaper = new Reaper()
  const start = () => spawnProcess(launch, reaper, limits, { stderr: () => {} })
  expect(start).toThrow("the command can't be started: E2BIG")
  expect(start).toThrow(ProblemError)
  expect(reaper.watched).toBe(0)
})
