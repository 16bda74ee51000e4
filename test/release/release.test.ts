import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { documentOf, portcullis, ROOT } from '../cli/run.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { parseEvents } from '../support/sse.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { machineOf } from './machine.ts'
import { mayRunMusl, muslLibraries } from './musl.ts'
import { signedPages } from './signature.ts'

const COMMIT = 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00'
const STAMP = { PORTCULLIS_COMMIT: COMMIT, SOURCE_DATE_EPOCH: '1798761600' }
const LINE = `portcullis ${packageJson.version} (c0ffee0, 2027-01-01)`

const MACHINES: Record<string, string> = {
  'linux-x64': 'ELF x64 /lib64/ld-linux-x86-64.so.2',
  'linux-x64-baseline': 'ELF x64 /lib64/ld-linux-x86-64.so.2',
  'linux-arm64': 'ELF arm64 /lib/ld-linux-aarch64.so.1',
  'linux-x64-musl': 'ELF x64 /lib/ld-musl-x86_64.so.1',
  'linux-x64-musl-baseline': 'ELF x64 /lib/ld-musl-x86_64.so.1',
  'linux-arm64-musl': 'ELF arm64 /lib/ld-musl-aarch64.so.1',
  'darwin-arm64': 'Mach-O arm64',
  'darwin-x64': 'Mach-O x64',
}
const fileOf = (name: string) => `portcullis-${packageJson.version}-${name}`

let folder: string
let checkout: string
let another: string
let made: string
const pathOf = (name: string) => join(made, fileOf(name))

/** What a build needs, in a folder of its own: nobody edits it while eight executables are built from it. */
const SOURCES = ['src', 'drizzle', 'package.json', 'bun.lock', 'bunfig.toml', 'tsconfig.json', 'install.sh']
const CACHE = 'node_modules/.cache/portcullis-release'

beforeAll(async () => {
  folder = tempFolder()
  checkout = join(folder, 'checkout')
  another = join(folder, 'deeper', 'down', 'another')
  made = join(folder, 'release')
  for (const to of [checkout, another]) mkdirSync(to, { recursive: true })
  await Bun.$`cp -a ${SOURCES} ${checkout}`.cwd(ROOT)
  await Bun.$`cp -a ${SOURCES} ${another}`.cwd(checkout)
  for (const to of [checkout, another]) {
    await Bun.$`${process.execPath} install --frozen-lockfile --production`.cwd(to).quiet()
  }
  // Bun for other machines is fetched once a machine.
  mkdirSync(join(ROOT, CACHE), { recursive: true })
  mkdirSync(join(checkout, 'node_modules/.cache'), { recursive: true })
  symlinkSync(join(ROOT, CACHE), join(checkout, CACHE))
  await Bun.$`${process.execPath} src/release/release.ts ${made}`
    .cwd(checkout)
    .env({ ...process.env, ...STAMP })
    .quiet()
}, 120_000)
afterAll(() => removeFolder(folder))

const sumsCheck = (cwd: string) => Bun.spawnSync(['sha256sum', '-c', '--strict', 'SHA256SUMS'], { cwd }).exitCode

test('one executable for each kind of machine, install.sh, and nothing else', () => {
  expect(readdirSync(made).toSorted()).toEqual(
    [...Object.keys(MACHINES).map(fileOf), 'SHA256SUMS', 'install.sh'].toSorted(),
  )
  for (const [name, machine] of Object.entries(MACHINES)) {
    expect([name, machineOf(pathOf(name))]).toEqual([name, machine])
    expect([name, (statSync(pathOf(name)).mode & 0o777).toString(8)]).toEqual([name, '755'])
  }
})

test('SHA256SUMS is of all of them, and finds a byte that was changed', () => {
  expect(readFileSync(join(made, 'SHA256SUMS'), 'utf8').match(/^[0-9a-f]{64} {2}\S+$/gm)).toHaveLength(9)
  expect(sumsCheck(made)).toBe(0)
  const altered = join(folder, 'altered')
  mkdirSync(altered)
  const [line = ''] = readFileSync(join(made, 'SHA256SUMS'), 'utf8').split('\n')
  const [, name = ''] = line.split('  ')
  const bytes = readFileSync(join(made, name))
  bytes[bytes.length >> 1] = (bytes.at(bytes.length >> 1) ?? 0) ^ 1
  writeFileSync(join(altered, name), bytes)
  writeFileSync(join(altered, 'SHA256SUMS'), `${line}\n`)
  expect(sumsCheck(altered)).toBe(1)
})

test.each(Object.keys(MACHINES))('%s names its commit, and no folder of the machine that built it', (name) => {
  const bytes = readFileSync(pathOf(name))
  expect(bytes.includes(COMMIT)).toBeTrue()
  expect(bytes.includes(folder)).toBeFalse()
})

test('Apple silicon runs nothing whose signature does not hold; that of the Intel one must be made anew there', () => {
  const arm64 = signedPages(readFileSync(pathOf('darwin-arm64')))
  expect(arm64).toMatchObject({ wrong: 0, unsignedBytes: 0 })
  expect(arm64.pages).toBeGreaterThan(20_000)
  // Bun signs anew for Apple silicon alone: codesign --force --sign - FILE. When this fails, Bun has learnt it.
  expect(signedPages(readFileSync(pathOf('darwin-x64'))).unsignedBytes).toBeGreaterThan(0)
})

test('two builds of the same sources are the same bytes, whatever folder they are built in', async () => {
  await Bun.$`${process.execPath} src/release/build.ts`.cwd(another).env({ ...process.env, ...STAMP })
  const sum = await Bun.$`sha256sum < dist/portcullis`.cwd(another).text()
  expect(readFileSync(join(made, 'SHA256SUMS'), 'utf8')).toContain(`${sum.split(' ')[0]}  ${fileOf('linux-x64')}\n`)
}, 30_000)

test('a build says which commit it is of, and when that is not all', async () => {
  const git = (...args: string[]) =>
    Bun.$`git -c user.name=Test -c user.email=test@example.com ${args}`
      .cwd(another)
      .env({ ...process.env, GIT_COMMITTER_DATE: '2026-11-21T12:34:56+02:00' })
      .text()
  const stamp = async () => {
    const env = { ...process.env, PORTCULLIS_COMMIT: '', SOURCE_DATE_EPOCH: '' }
    await Bun.$`${process.execPath} src/release/build.ts`.cwd(another).env(env)
    return documentOf(await portcullis(['version', '--json'], { command: [join(another, 'dist/portcullis')] }))
  }
  expect(await stamp()).toEqual({ version: packageJson.version, commit: null, date: null })
  writeFileSync(join(another, '.gitignore'), 'node_modules/\ndist/\n')
  await git('init', '--quiet')
  await git('add', '.')
  await git('commit', '--quiet', '--message', 'all of it')
  const commit = (await git('rev-parse', 'HEAD')).trim()
  const date = '2026-11-21T10:34:56.000Z'
  expect(await stamp()).toEqual({ version: packageJson.version, commit, date })
  writeFileSync(join(another, 'src/unfinished.ts'), '')
  expect(await stamp()).toEqual({ version: packageJson.version, commit: `${commit}-dirty`, date })
}, 60_000)

test('what is not in bun.lock is not put into a release', () => {
  const cache = join(another, CACHE)
  mkdirSync(cache, { recursive: true })
  writeFileSync(join(cache, `oven-bun-linux-x64-${packageJson.devDependencies.bun}.tgz`), 'something else')
  const release = Bun.spawnSync([process.execPath, 'src/release/release.ts', 'dist/release'], { cwd: another })
  expect(release.stderr.toString()).toContain('is not what bun.lock names')
  expect(release.exitCode).not.toBe(0)
  expect(readdirSync(join(another, 'dist'))).toEqual(['portcullis'])
})

test('version, --version and version --json', async () => {
  const run = (...args: string[]) => portcullis(args, { command: [pathOf('linux-x64')] })
  expect((await run('version')).stdout).toBe(`${LINE}\n`)
  expect((await run('--version')).stdout).toBe(`${LINE}\n`)
  const date = '2027-01-01T00:00:00.000Z'
  expect(documentOf<unknown>(await run('version', '--json'))).toEqual({
    version: packageJson.version,
    commit: COMMIT,
    date,
  })
  // From the sources there is no build to tell of.
  expect((await portcullis(['version'])).stdout).toBe(`portcullis ${packageJson.version}\n`)
})

/** Without it a node replaces its process, which would go on outside of the emulator. */
const STAYS = { BUN_CONFIG_MAX_HTTP_REQUESTS: '65535' }
const ARM64_ROOT = '/usr/aarch64-linux-gnu'

const mayEmulate = (what: string, emulator: string, needed = '/'): boolean => {
  if (Bun.which(emulator) && statSync(needed, { throwIfNoEntry: false })) return true
  if (process.env['CI']) throw new Error(`${what} can't be run in CI without ${emulator} and ${needed}`)
  console.warn(`SKIPPED LOUDLY: ${what} is not run: ${emulator} or ${needed} is missing`)
  return false
}

interface Road {
  name: string
  on: string
  can: boolean
  /** What stands before the executable, and in its environment. */
  by: (executable: string) => Promise<{ command: string[]; env: Record<string, string> }>
}
/** Nehalem is of 2008: neither AVX nor AVX2, and no processor of a NAS that is sold has less. */
const nehalem: Road['by'] = async (executable) => ({
  command: ['qemu-x86_64-static', '-cpu', 'Nehalem', executable],
  env: STAYS,
})
const x86Emulated = mayEmulate('an x64 without AVX', 'qemu-x86_64-static')
const ROADS: Road[] = [
  { name: 'linux-x64', on: 'this machine', can: true, by: async (executable) => ({ command: [executable], env: {} }) },
  { name: 'linux-x64-baseline', on: 'a processor without AVX', can: x86Emulated, by: nehalem },
  {
    name: 'linux-arm64',
    on: 'an emulated arm64',
    can: mayEmulate('arm64', 'qemu-aarch64-static', `${ARM64_ROOT}/lib/libc.so.6`),
    by: async (executable) => ({ command: ['qemu-aarch64-static', '-L', ARM64_ROOT, executable], env: STAYS }),
  },
  {
    name: 'linux-x64-musl',
    on: 'musl',
    can: mayRunMusl(),
    by: async (executable) => ({
      command: [executable],
      env: { LD_LIBRARY_PATH: await muslLibraries(executable, tempFolder()) },
    }),
  },
]

describe.each(ROADS.filter(({ can }) => can))('$name, on $on', ({ name, by }) => {
  let road: Awaited<ReturnType<Road['by']>>
  beforeAll(async () => {
    road = await by(pathOf(name))
  })
  const run = (...args: string[]) => portcullis(args, road)

  test('says its version', async () => {
    expect((await run('version')).stdout).toBe(`${LINE}\n`)
  }, 30_000)

  test('a life of a node: a token, a stream, its end; the workers; a stop', async () => {
    const events = await startEvents({ burst: 1 })
    const node = await startNode(road)
    await node.addServer('events', events.url)
    const { id, token } = await node.createToken('client', ['events'])
    const stream = await open(node.gate, { target: '/s/events/stream', headers: bearer(token) })
    await eventually(() => parseEvents(stream.text).length === 1, { timeoutMs: 15_000 })
    const { connections } = await node.revoke({ tokens: [id] })
    expect(connections.cut).toBe(1)
    await stream.done(15_000)
    expect(parseEvents(stream.text).at(-1)).toMatchObject({ event: 'disconnect' })
    expect((await ask(node.gate, { target: '/s/events/stream', headers: bearer(token) })).status).toBe(401)
    expect((await run('audit', 'verify', '--data', node.data)).code).toBe(0)
    expect((await run('backup', join(node.data, 'backup'), '--data', node.data)).code).toBe(0)
    expect(await node.stop()).toBe(0)
    await events.stop()
  }, 60_000)
})
