import { expect, test } from 'bun:test'
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import { tempFolder } from '../support/temp.ts'
import { startCanned } from './canned.ts'

const FS: ServerJson = {
  id: 'srv_1',
  name: 'fs',
  url: null,
  kind: 'stdio',
  path: '',
  headers: {},
  stdio: {
    command: ['npx', '-y', '@modelcontextprotocol/server-filesystem', '/my data'],
    env: { GITHUB_TOKEN: '***', LEVEL: '***' },
    shared: false,
    user: null,
    sandbox: true,
    allow: ['/srv/data', '/usr/share/dict:ro'],
    network: false,
    idleMs: 90_000,
    memoryBytes: 1536 * 1024 * 1024,
    cpuTimeMs: 3_600_000,
    everywhere: false,
    node: 'a',
    status: {
      processes: 2,
      startedInAll: 14,
      crashes: 3,
      lastCrash: { at: new Date(Date.now() - 300_000).toISOString(), detail: 'exit code 1' },
      retryAt: null,
      problem: null,
      stderr: Array.from({ length: 12 }, (_, n) => ({ at: '2026-11-21T10:00:00.000Z', line: `line ${n} \u001b[31m` })),
    },
  },
  state: 'open',
  reason: null,
  connections: 2,
  health: {
    reachable: true,
    lookedAt: new Date().toISOString(),
    detail: '2 processes run',
    mcp: { name: 'secure-filesystem-server', version: '0.2.0', revision: '2025-11-25', transport: 'http', tools: 14 },
    requests: 0,
    errors: 0,
    errorRate: null,
  },
  publicUrl: 'http://127.0.0.1:7070/s/fs',
  createdAt: '2026-11-21T10:00:00.000Z',
}
const CREATED = {
  ...FS,
  probe: { reachable: true, found: 'mcp', path: '', detail: '', mcp: FS.health.mcp },
}
const node = () =>
  startCanned({ 'POST /servers': CREATED, 'GET /servers/fs': FS, 'GET /servers': { items: [FS], next: null } })

/** What one `server add` sends. */
const sent = async (args: string[], options: { env?: Record<string, string>; stdin?: string; cwd?: string } = {}) => {
  await using console = node()
  const { code, stderr } = await console.runHere(['server', 'add', ...args], options)
  expect([args, code, stderr]).toEqual([args, 0, ''])
  expect(console.asked.map(({ method, path }) => `${method} ${path}`)).toEqual(['POST /servers'])
  return console.asked[0]?.body
}

test('the command is what stands after --, word by word, wherever the options stand', async () => {
  const command = ['npx', '-y', 'pkg', '--data', '/x', '--json', '--url', '--', '--help', '', 'two words', '$HOME']
  const wanted = { name: 'fs', stdio: { command } }
  expect(await sent(['fs', '--stdio', '--', ...command])).toEqual(wanted)
  expect(await sent(['--stdio', 'fs', '--', ...command])).toEqual(wanted)
  const shared = { name: 'fs', stdio: { command: ['serve', 'demo'], shared: true } }
  expect(await sent(['--shared', 'fs', '--stdio', '--', 'serve', 'demo'])).toEqual(shared)
  expect(await sent(['fs', '--stdio', '--json', '--', '-dash'])).toEqual({ name: 'fs', stdio: { command: ['-dash'] } })
})

test('every option has its place in what is asked', async () => {
  const options = [
    ...['--shared', '--user', 'mcp', '--sandbox', '--allow', '/a', '--allow=/b:ro', '--no-network', '--idle', '90s'],
    ...['--memory', '512MiB', '--cpu-time', '1h', '--everywhere', '--path', '/mcp'],
  ]
  expect(await sent(['fs', ...options, '--stdio', '--', 'x'])).toEqual({
    name: 'fs',
    path: '/mcp',
    stdio: {
      ...{ command: ['x'], shared: true, user: 'mcp', sandbox: true, allow: ['/a', '/b:ro'], network: false },
      ...{ idleMs: 90_000, memoryBytes: 512 * 1024 * 1024, cpuTimeMs: 3_600_000, everywhere: true },
    },
  })
})

test('variables come as they are typed, out of a file, from stdin, or from this shell', async () => {
  const file = join(tempFolder(), 'secret')
  writeFileSync(file, 'out of = a file\n')
  const env = ['A=plain = @x', `B=@${file}`, 'C=-', 'D', 'E=', '__proto__=p'].flatMap((one) => ['--env', one])
  const body = await sent(['fs', ...env, '--stdio', '--', 'x'], {
    env: { D: 'of the shell', F: 'no' },
    stdin: 'typed\n',
  })
  expect(body).toEqual({
    name: 'fs',
    stdio: {
      command: ['x'],
      env: JSON.parse(
        '{"A":"plain = @x","B":"out of = a file","C":"typed","D":"of the shell","E":"","__proto__":"p"}',
      ) as unknown,
    },
  })
})

test('paths are those of the caller; words of the command that are files here are warned of', async () => {
  const cwd = realpathSync(tempFolder())
  mkdirSync(join(cwd, 'bin'))
  writeFileSync(join(cwd, 'server.js'), '')
  const args = ['--sandbox', '--allow', 'data', '--allow', './lib:ro', '--stdio', '--', './bin/x', 'sub/y', '-f=bin']
  // The test's sources are found by their own path.
  expect(await sent(['fs', ...args], { cwd })).toEqual({
    name: 'fs',
    stdio: { command: [`${cwd}/bin/x`, 'sub/y', '-f=bin'], sandbox: true, allow: [`${cwd}/data`, `${cwd}/lib:ro`] },
  })
  await using console = node()
  const warned = await console.runHere(['server', 'add', 'fs', '--stdio', '--', 'node', 'server.js'], { cwd })
  expect([warned.code, warned.stderr]).toEqual([0, expect.stringMatching(/^Mind: server\.js is a file .*whole path/)])
  expect(console.asked[0]?.body).toEqual({ name: 'fs', stdio: { command: ['node', 'server.js'] } })

  // Another machine's folders are none of ours.
  const remote = await console.run('server', 'add', 'fs', '--stdio', '--', './x')
  expect([remote.code, remote.stderr]).toEqual([2, expect.stringContaining('the whole path')])
  const allowed = await console.run('server', 'add', 'fs', '--stdio', '--sandbox', '--allow', 'x', '--', 'x')
  expect([allowed.code, allowed.stderr]).toEqual([2, expect.stringContaining('the whole path')])
  expect((await console.run('server', 'add', 'fs', '--stdio', '--', 'x')).code).toBe(0)
  expect(console.asked).toHaveLength(2)
})

test('what is mistyped is bad usage, says what to type, and repeats no value', async () => {
  const secret = 'sekrit-0815'
  const wrong: [args: string[], said: RegExp][] = [
    [['fs', '--stdio', 'npx', 'x'], /put -- before the command: portcullis server add fs --stdio -- COMMAND/],
    [['fs', '--stdio', 'npx', '-y', 'x'], /unknown option '-y'\nPut -- before the command/],
    [['fs', '--stdio', '--'], /no command stands after --/],
    [['fs', '--stdio'], /put -- before the command/],
    [['--stdio', '--', 'x'], /missing required argument 'NAME'/],
    [['fs', '--stdio', '--env', 'A', secret, '--', 'x'], /too many words before --/],
    [['fs', 'http://a', '--stdio', '--', 'x'], /too many words before --/],
    [['fs', '--', 'npx', 'x'], /add --stdio before --/],
    [['fs', 'http://a', '--', 'x'], /add --stdio before --/],
    [['fs', 'http://a', 'b'], /too many arguments/],
    [['fs', 'http://a', '--env', `A=${secret}`], /--env is for commands/],
    [['fs', 'http://a', '--no-network'], /--no-network is for commands/],
    [['fs', 'http://a', '--cpu-time', '1h'], /--cpu-time is for commands/],
    [['fs', '--stdio', '--header', `A: ${secret}`, '--', 'x'], /--kind and --header are for URLs/],
    [['fs', '--stdio', '--kind', 'mcp', '--', 'x'], /--kind and --header are for URLs/],
    [['fs', '--stdio', '--env', secret, '--', 'x'], /--env, number 1: write K=V/],
    [['fs', '--stdio', '--env', `=${secret}`, '--', 'x'], /--env, number 1: write K=V/],
    [['fs', '--stdio', '--env', `A=${secret}`, '--env', 'A=b', '--', 'x'], /given twice/],
    [['fs', '--stdio', '--env', 'A=-', '--env', 'B=-', '--', 'x'], /only one value can come from stdin/],
    [['fs', '--stdio', '--memory', '1GB', '--', 'x'], /not a size; write it like 512MiB or 1GiB/],
    [['fs', '--stdio', '--idle', '10', '--', 'x'], /not a duration; write it like/],
  ]
  await using console = node()
  const rest = [...wrong]
  const next = async (): Promise<void> => {
    for (let one = rest.pop(); one; one = rest.pop()) {
      const [args, said] = one
      const { code, stdout, stderr } = await console.runHere(['server', 'add', ...args])
      expect([args, code, stdout, stderr]).toEqual([args, 2, '', expect.stringMatching(said)])
      expect(stderr).not.toContain(secret)
      expect(stderr).not.toMatch(/\n\s+at /)
    }
  }
  await Promise.all([next(), next()])
  const unread = await console.runHere(['server', 'add', 'fs', '--stdio', '--env', 'A=@/nonexistent/x', '--', 'x'])
  expect([unread.code, unread.stderr]).toEqual([1, expect.stringContaining("--env A: can't read /nonexistent/x")])
  expect(console.asked).toEqual([])
})

test('add, show and ls say the command and how it does; nothing of it acts on the terminal', async () => {
  await using console = node()
  const said = async (...args: string[]) => {
    const { code, stdout, stderr } = await console.runHere(['server', ...args])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).not.toContain('\u001b')
    expect(stdout).not.toMatch(/undefined|NaN|\[object/)
    return stdout
  }
  const line = "npx -y @modelcontextprotocol/server-filesystem '/my data'"
  const added = await said('add', 'fs', '--stdio', '--', 'x')
  expect(added).toMatch(new RegExp(`^Command: +${RegExp.escape(line)}$`, 'm'))
  expect(added).toMatch(
    /^Found: +an MCP server: secure-filesystem-server 0\.2\.0, revision 2025-11-25 over stdio, 14 tools$/m,
  )
  expect(added).toMatch(/^URL to paste: +http:\/\/127\.0\.0\.1:7070\/s\/fs$/m)
  expect(added).not.toContain('Upstream')

  const shown = await said('show', 'fs')
  const fields = Object.fromEntries([...shown.matchAll(/^([^:\n]+): +(.+)$/gm)].map(([, name, value]) => [name, value]))
  expect(fields).toMatchObject({
    Kind: 'stdio',
    Command: line,
    Environment: 'GITHUB_TOKEN, LEVEL',
    User: 'the one who runs the node',
    Sandbox: 'may write to its own folder, /srv/data; read /usr/share/dict; no network',
    Limits: '1536MiB of data a process, 1h of CPU time, ends when idle for 90s',
    'Runs on': 'node a alone',
    Processes: '2 running, 14 started so far; one a session',
    Crashes: '3, the last 5m ago: exit code 1',
  })
  expect(shown).toMatch(/\n\nStandard error:\n {2}2026-11-21T10:00:00\.000Z {2}line 2 \\x1b\[31m\n/)
  expect(shown).not.toContain('line 1 ')
  expect(shown).not.toMatch(/Upstream|Headers/)

  const [head, row] = (await said('ls')).split('\n')
  expect(head).toContain('UPSTREAM')
  expect(row).toMatch(/^fs +open +up +secure-filesystem-server 0\.2\.0 +14 +- +stdio +npx -y /)
  expect(JSON.parse((await console.runHere(['server', 'show', 'fs', '--json'])).stdout)).toEqual(FS)
})

test('where it runs, and what comes next, in words', async () => {
  const { stdio } = FS
  if (!stdio) throw new Error('it is a command')
  const shownWith = async (of: Partial<typeof stdio>) => {
    await using console = startCanned({ 'GET /servers/fs': { ...FS, stdio: { ...stdio, ...of } } })
    return (await console.runHere(['server', 'show', 'fs'])).stdout
  }
  const status = { ...stdio.status, processes: 1, crashes: 0, lastCrash: null, stderr: [] }
  const plain = await shownWith({ sandbox: false, allow: [], network: true, user: 'mcp', env: {}, node: null, status })
  expect(plain).toMatch(/^Sandbox: +no$/m)
  expect(plain).toMatch(/^User: +mcp$/m)
  expect(plain).toMatch(/^Environment: +-$/m)
  expect(plain).toMatch(/^Runs on: +this node$/m)
  expect(plain).toMatch(/^Processes: +1 running/m)
  expect(plain).toMatch(/^Crashes: +none$/m)
  expect(plain).not.toContain('Standard error')
  const waiting = { ...stdio.status, retryAt: '2026-11-21T10:00:04.000Z' }
  const crashed = await shownWith({ everywhere: true, shared: true, cpuTimeMs: null, network: true, status: waiting })
  expect(crashed).toMatch(/^Runs on: +every node$/m)
  expect(crashed).toMatch(/one for all clients$/m)
  expect(crashed).toContain('any CPU time')
  expect(crashed).toContain('has a network')
  expect(crashed).toContain('exit code 1; nothing is started before 2026-11-21T10:00:04.000Z')
})
