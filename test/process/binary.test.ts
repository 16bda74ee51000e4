import { afterAll, beforeAll, expect, test } from 'bun:test'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { documentOf, portcullis } from '../cli/run.ts'
import { builtBinary } from '../support/binary.ts'
import { eventually } from '../support/poll.ts'
import { parseEvents } from '../support/sse.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const setpriv = isRoot ? Bun.which('setpriv') : null
/** As another user where that can be, else as whoever runs the tests. */
const asUser = setpriv ? [setpriv, `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : []

let folder: string
let home: string
let binary: string
let demo: ReturnType<typeof startDemo>

/** Nothing in the environment but the home that its data goes to. */
const startDemo = () => {
  const child = Bun.spawn([...asUser, binary, 'demo', '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0'], {
    cwd: join(folder, 'hostile'),
    env: { HOME: home },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const output = { stdout: '', stderr: '' }
  const collect = async (name: 'stdout' | 'stderr') => {
    for await (const chunk of child[name]) output[name] += new TextDecoder().decode(chunk)
  }
  return { child, output, collected: Promise.all([collect('stdout'), collect('stderr')]) }
}

beforeAll(async () => {
  folder = tempFolder()
  chmodSync(folder, 0o755)
  binary = join(folder, 'portcullis')
  copyFileSync(builtBinary(), binary)
  chmodSync(binary, 0o755)
  home = join(folder, 'home')
  const hostile = join(folder, 'hostile')
  for (const made of [home, hostile]) {
    mkdirSync(made)
    if (isRoot) chownSync(made, NOBODY, NOBODY)
  }
  // What a folder that somebody else fills may hold.
  writeFileSync(
    join(hostile, '.env'),
    `PORTCULLIS_LISTEN=nonsense\nPORTCULLIS_DATA=${hostile}/taken\nPORTCULLIS_LOG_LEVEL=trace\n`,
  )
  writeFileSync(join(hostile, 'bunfig.toml'), `preload = ["./evil.ts"]\n`)
  writeFileSync(join(hostile, 'evil.ts'), `require('node:fs').writeFileSync('evil-was-here', '')\n`)
  writeFileSync(join(hostile, 'tsconfig.json'), '{"compilerOptions":{"jsxImportSource":"./evil"}}')
  writeFileSync(join(hostile, 'package.json'), '{"type":"commonjs","imports":{"#x":"./evil.ts"}}')
  demo = startDemo()
  await eventually(() => /curl .*\n/.test(demo.output.stdout), { timeoutMs: 15_000, what: 'the demo says what to try' })
}, 60_000)
afterAll(async () => {
  demo.child.kill('SIGKILL')
  await demo.child.exited
  removeFolder(folder)
})

const data = () => join(home, '.local/state/portcullis-demo')
const run = (args: string[]) => portcullis([...args, '--data', data()], { command: [...asUser, binary], cwd: folder })

test('the demo: its own curl, its own revoke, and the end of the stream', async () => {
  const [, line = ''] = /^\s*(curl .*)$/m.exec(demo.output.stdout) ?? []
  expect(line).toMatch(/^curl -N -H "Authorization: Bearer pcl_\w{36}" http:\S+\/s\/demo\/sse$/)
  const curl = Bun.spawn(['sh', '-c', line], {
    env: { PATH: process.env['PATH'] ?? '' },
    stdout: 'pipe',
    stderr: 'ignore',
  })
  let text = ''
  const read = (async () => {
    for await (const chunk of curl.stdout) text += new TextDecoder().decode(chunk)
  })()
  await eventually(() => parseEvents(text).length >= 1, { timeoutMs: 10_000 })

  const [, revoke = ''] = /^\s*portcullis (revoke .*)$/m.exec(demo.output.stdout) ?? []
  const args = [...revoke.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
  expect(args[0]).toBe('revoke')
  const revoked = await portcullis(args, { command: [...asUser, binary], cwd: folder })
  expect([revoked.code, revoked.stderr]).toEqual([0, ''])
  expect(revoked.stdout).toMatch(/Revoked 1 token \(compromised\)[^]*cut 1 connection/)
  await read
  expect(await curl.exited).toBe(0)
  expect(parseEvents(text).at(-1)).toMatchObject({
    event: 'disconnect',
    data: expect.stringContaining('token_revoked'),
  })
  const again = Bun.spawnSync(['sh', '-c', line.replace('curl -N', 'curl -s -i')])
  expect(again.stdout.toString()).toMatch(/^HTTP\/1\.1 401 /)
  expect(again.stdout.toString()).toMatch(/www-authenticate: Bearer .*invalid_token/i)
  await eventually(() => /revoked "Demo client": 1 cut/.test(demo.output.stdout))
})

test("what the demo made is its user's own", () => {
  expect((statSync(data()).mode & 0o777).toString(8)).toBe('700')
  const files = readdirSync(data())
  expect(files).toContain('portcullis.db')
  const uid = setpriv ? NOBODY : process.getuid?.()
  for (const name of files) expect([name, statSync(join(data(), name)).uid]).toEqual([name, uid as number])
})

test('the folder it is started in decides nothing', () => {
  expect(readdirSync(join(folder, 'hostile')).toSorted()).toEqual([
    '.env',
    'bunfig.toml',
    'evil.ts',
    'package.json',
    'tsconfig.json',
  ])
  expect(demo.output.stderr).toBe('')
})

test('a MCP endpoint answers behind it', async () => {
  const made = documentOf<{ token: string; urls: { demo: string } }>(
    await run(['token', 'create', 'mcp', '--server', 'demo', '--json']),
  )
  const response = await fetch(made.urls.demo, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${made.token}`,
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
    }),
  })
  expect(response.status).toBe(200)
  expect(await response.text()).toContain('portcullis-demo')
})

test('its workers work: the audit verifies, a backup is made', async () => {
  const verified = await run(['audit', 'verify', '--json'])
  expect([verified.code, documentOf<{ status: string }>(verified).status]).toEqual([0, 'intact'])
  const file = join(home, 'backup')
  const backup = await run(['backup', file])
  expect([backup.code, backup.stderr]).toEqual([0, ''])
  const restored = await portcullis(['restore', file, '--data', join(home, 'restored')], {
    command: [...asUser, binary],
    cwd: folder,
  })
  expect([restored.code, restored.stderr]).toEqual([0, ''])
  const offline = await portcullis(['audit', 'verify', '--db', join(home, 'restored/portcullis.db'), '--json'], {
    command: [...asUser, binary],
    cwd: folder,
    env: { HOME: home },
  })
  expect([offline.code, documentOf<{ status: string }>(offline).status]).toEqual([0, 'intact'])
})

test.skipIf(!isRoot || setpriv === null)('somebody else is told the exact command', async () => {
  const other = join(folder, 'of root')
  const child = Bun.spawn([binary, 'serve', '--data', other, '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0'], {
    env: {},
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'pipe',
  })
  await eventually(() => existsSync(join(other, 'control.sock')), { timeoutMs: 10_000 })
  const said = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await portcullis(args, { command: [...asUser, binary], cwd: folder, env })
    expect([code, stdout]).toEqual([1, ''])
    return stderr.split('\n').map((line) => line.trim())
  }
  expect(await said(['token', 'show', "it's", '--data', other])).toContain(
    `sudo ${binary} token show 'it'\\''s' --data '${other}'`,
  )
  expect(await said(['token', 'ls'], { PORTCULLIS_DATA: other })).toContain(`sudo ${binary} --data '${other}' token ls`)
  // What is printed works for whom it is meant for.
  const command = (await said(['token', 'ls', '--data', other])).find((line) => line.startsWith('sudo ')) ?? ''
  expect(Bun.spawnSync(['sh', '-c', command.replace(/^sudo /, '')], { env: {} }).exitCode).toBe(0)
  child.kill('SIGTERM')
  expect(await child.exited).toBe(0)
})

test('SIGTERM ends the demo, too', async () => {
  demo.child.kill('SIGTERM')
  expect(await demo.child.exited).toBe(0)
  await demo.collected
  expect(demo.output.stderr).toBe('')
})
