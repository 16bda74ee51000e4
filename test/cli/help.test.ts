import { expect, test } from 'bun:test'
import { documentOf, portcullis } from './run.ts'

const COMMANDS = [
  [],
  ['serve'],
  ['demo'],
  ['server'],
  ['server', 'add'],
  ['server', 'ls'],
  ['server', 'show'],
  ['server', 'rm'],
  ['server', 'kill'],
  ['server', 'close'],
  ['server', 'open'],
  ['token'],
  ['token', 'create'],
  ['token', 'ls'],
  ['token', 'show'],
  ['token', 'rotate'],
  ['token', 'policy'],
  ['token', 'activity'],
  ['connect'],
  ['revoke'],
  ['connections'],
  ['connection'],
  ['connection', 'kill'],
  ['audit'],
  ['audit', 'verify'],
  ['audit', 'export'],
  ['apikey'],
  ['apikey', 'create'],
  ['apikey', 'ls'],
  ['apikey', 'rm'],
  ['operator'],
  ['operator', 'create'],
  ['operator', 'ls'],
  ['operator', 'rm'],
  ['operator', 'reset'],
  ['key'],
  ['key', 'ls'],
  ['key', 'rotate'],
  ['key', 'rm'],
  ['cluster'],
  ['cluster', 'ticket'],
  ['cluster', 'status'],
  ['cluster', 'remove'],
  ['backup'],
  ['restore'],
  ['doctor'],
  ['selftest'],
  ['healthcheck'],
  ['setup'],
  ['version'],
]
const inTurns = async <T>(all: T[], run: (one: T) => Promise<void>) => {
  const rest = [...all]
  await Promise.all(
    [1, 2, 3].map(async () => {
      for (let next = rest.pop(); next; next = rest.pop()) await run(next)
    }),
  )
}

test('every command has --help', async () => {
  await inTurns(COMMANDS, async (command) => {
    const { code, stdout, stderr } = await portcullis([...command, '--help'])
    expect([command, code, stderr]).toEqual([command, 0, ''])
    expect(stdout).toStartWith(['Usage: portcullis', ...command].join(' '))
    expect(stdout.split('\n').length).toBeGreaterThan(4)
  })
})

test('the help of serve names every flag and its variable', async () => {
  const { stdout } = await portcullis(['serve', '--help'])
  const flags = [
    'data',
    'listen',
    'console',
    'public-url',
    'console-url',
    'allow-host',
    'allow-origin',
    'trusted-proxy',
    'tls-cert',
    'tls-key',
    'key-file',
    'stdio-processes',
    'stdio-processes-per-token',
    'node-name',
    'cluster-listen',
    'cluster-advertise',
    'cluster-policy',
    'lease',
    'cluster-join',
    'ticket',
    'cluster-nats',
    'cluster-nats-creds',
    'log-level',
    'log-format',
  ]
  for (const flag of flags) {
    expect(stdout).toContain(`--${flag} `)
    expect(stdout).toContain(`PORTCULLIS_${flag.toUpperCase().replaceAll('-', '_')}`)
  }
})

test('bad usage is 2, says what is wrong on stderr, and reaches no node', async () => {
  const wrong = [
    ['nonsense'],
    ['server'],
    ['server', 'add'],
    ['server', 'add', 'x'],
    ['token', 'create', 'x'],
    ['token', 'create', 'x', '--server', 'a', '--client', 'emacs'],
    ['token', 'rotate', 'x', '--client', ''],
    ['connect'],
    ['connect', 'x', '--client', 'emacs'],
    ['token', 'ls', '--nonsense'],
    ['token', 'ls', 'extra'],
    ['revoke'],
    ['revoke', 'x'],
    ['revoke', 'x', '--reason', 'because'],
    ['revoke', '', '--reason', 'other'],
    ['revoke', '--server', 'a', '--subject', '', '--reason', 'other'],
    ['server', 'close'],
    ['server', 'close', 'a', '--all'],
    ['apikey', 'create', 'x'],
    ['apikey', 'create', 'x', '--role', 'owner'],
    ['operator', 'create', 'x', '--role', 'king'],
    ['audit', 'export', '--format', 'xml'],
    ['audit', 'export'],
    ['audit', '--limit', '0'],
    ['connections', '--watch', '--json'],
    ['token', 'rotate', 'x', '--grace', 'soon'],
    ['server', 'add', 'x', 'http://a', '--header', 'nonsense'],
    ['backup'],
    ['restore'],
    ['cluster'],
    ['cluster', 'leave'],
    ['cluster', 'remove'],
    ['cluster', 'status', 'extra'],
    ['server', 'add', 'x', 'http://a', '--header', 'A: -', '--header', 'B: -'],
    ['server', 'add', 'x', 'http://a', '--kind', 'magic'],
    ['token', 'ls', '--url', 'ftp://a'],
    ['token', 'ls', '--url', 'http://127.0.0.1:1'],
  ]
  await inTurns(wrong, async (args) => {
    const { code, stdout, stderr } = await portcullis(args, { env: { PORTCULLIS_DATA: '/nonexistent' } })
    expect([args, code, stdout]).toEqual([args, 2, ''])
    expect(stderr).toMatch(/\w{3}/)
    expect(stderr).not.toMatch(/\n\s+at /)
  })
})

test('where no node answers it is 3, and says what was tried', async () => {
  const calls = [
    ['token', 'ls'],
    ['revoke', 'x', '--reason', 'other'],
    ['healthcheck'],
    ['audit', 'verify'],
    ['setup'],
    ['backup', '/tmp/never-made'],
  ]
  await inTurns(calls, async (args) => {
    const { code, stdout, stderr } = await portcullis([...args, '--data', '/nonexistent/folder'])
    expect([args, code, stdout]).toEqual([args, 3, ''])
    expect(stderr).toContain('/nonexistent/folder/control.sock')
    expect(stderr).toContain('portcullis serve')
  })
  const remote = await portcullis(['token', 'ls', '--url', 'http://127.0.0.1:1'], {
    env: { PORTCULLIS_API_KEY: 'pca_x' },
  })
  expect([remote.code, remote.stderr]).toEqual([3, expect.stringContaining('127.0.0.1:1')])
  expect(remote.stderr).not.toContain('pca_x')
  const byDefault = await portcullis(['token', 'ls'], {
    env: { HOME: '/nonexistent', XDG_STATE_HOME: '/nonexistent/state' },
  })
  expect(byDefault.code).toBe(3)
  expect(byDefault.stderr).toMatch(
    /\/nonexistent\/state\/portcullis\/control\.sock[^]*\/var\/lib\/portcullis\/control\.sock/,
  )
})

test('what is still to come says so', async () => {
  const { code, stdout, stderr } = await portcullis(['audit', 'export', '--format', 'ocsf'])
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain('not available yet')
})

test('version', async () => {
  expect(await portcullis(['version'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^portcullis \d+\.\d+\.\d+\n$/),
    stderr: '',
  })
  expect(documentOf<object>(await portcullis(['version', '--json']))).toMatchObject({
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
  })
  expect((await portcullis(['--version'])).code).toBe(0)
})
