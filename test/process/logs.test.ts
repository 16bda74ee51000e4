import { expect, test } from 'bun:test'
import { startNode, type TestNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer, misspelt, unknownSecret } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { portcullis } from '../cli/run.ts'

const CREDENTIAL = 'upstream-credential-4711'

/** Uses every way in which a secret reaches a node, and gives the secrets. */
const useSecrets = async (node: TestNode, echoUrl: string): Promise<string[]> => {
  await node.addServer('echo', echoUrl, { headers: { 'X-Key': CREDENTIAL } })
  await node.addServer('down', 'http://127.0.0.1:1')
  const { token, id } = await node.createToken('client', ['echo', 'down'])
  const { json: key } = await node.api<{ key: string }>('POST', '/apikeys', { name: 'ci', role: 'auditor' })
  const { json: rotated } = await node.api<{ token: string }>('POST', `/tokens/${id}/rotations`, { graceSeconds: 60 })
  const unknown = unknownSecret()
  const secrets = [token, rotated.token, unknown, misspelt(token)]
  for (const secret of secrets) {
    await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })
    await ask(node.gate, { target: '/s/down/x', headers: bearer(secret) })
    await ask(node.gate, { target: `/t/${secret}/s/echo/x` })
    await ask(node.gate, { target: `/t/${secret}/s/down/x` })
    await ask(node.gate, { target: `/s/echo/x?token=${secret}` })
    await ask(node.gate, { target: `/s/echo/x`, host: `${secret}.example` })
    await ask(node.gate, { target: `/s/${secret}/x`, headers: { Referer: `http://x/${secret}`, Cookie: secret } })
    await ask(node.console, { target: `/api/v1/tokens/${secret}`, headers: bearer(key.key) })
    await ask(node.console, { target: '/api/v1/tokens', headers: bearer(secret) })
    await node.api('POST', '/tokens', { name: secret, servers: [secret] })
  }
  for (const target of ['/api/v1/tokens', `/api/v1/${key.key}`, `/${key.key}`]) {
    await ask(node.console, { target, headers: bearer(key.key) })
    await ask(node.gate, { target, headers: bearer(key.key) })
  }
  await node.revoke({ tokens: [id] })
  await ask(node.gate, { target: '/s/echo/x', headers: bearer(token) })
  return [...secrets, key.key, CREDENTIAL]
}

const expectNone = (text: string, secrets: string[]) => {
  for (const secret of secrets) {
    expect(text).not.toContain(secret)
    expect(text).not.toContain(secret.slice(4, 34))
  }
}

test.each(['json', 'text'])('%s at info: no line a request, no secret', async (format) => {
  const echo = await startEcho()
  const node = await startNode({ args: ['--log-format', format] })
  const before = node.stderr()
  const secrets = await useSecrets(node, echo.url)
  expect(node.stderr()).toBe(before)
  await node.stop()
  echo.stop()
  expectNone(node.stdout() + node.stderr(), secrets)
  const lines = node.stderr().trimEnd().split('\n')
  expect(lines).toHaveLength(2)
  const parsed = lines.map((line) => {
    try {
      return JSON.parse(line) as { level: string; time: string; msg: string }
    } catch {
      return null
    }
  })
  if (format === 'json')
    expect(parsed).toMatchObject([
      { level: 'info', msg: 'portcullis is ready' },
      { level: 'info', msg: 'stopping' },
    ])
  else {
    expect(parsed).toEqual([null, null])
    expect(lines[0]).toMatch(/^\S+ info .*ready/)
  }
})

test.each(['json', 'text'])('%s at trace: still no secret', async (format) => {
  const echo = await startEcho()
  const node = await startNode({ args: ['--log-format', format, '--log-level', 'trace'] })
  const secrets = await useSecrets(node, echo.url)
  await node.stop()
  echo.stop()
  expect(node.stderr()).toContain('down')
  expectNone(node.stdout() + node.stderr(), secrets)
})

test('silent says nothing but where it listens', async () => {
  const node = await startNode({ args: ['--log-level', 'silent'] })
  await node.stop()
  expect(node.stderr()).toBe('')
  expect(node.stdout()).toMatch(
    /^Gate {5}http:\S+\nConsole {2}http:\S+\nKeys {5}\/.+\nSetup {4}http:\S+\/setup\?code=\S+ .*\n$/,
  )
})

test('each start prints another setup link', async () => {
  const codes = new Set<string>()
  const folderOf = await startNode()
  codes.add(/code=(\S+)/.exec(folderOf.stdout())?.[1] ?? 'none')
  const ran = await portcullis(['setup', '--data', folderOf.data])
  codes.add(/code=(\S+)/.exec(ran.stdout)?.[1] ?? 'none')
  expect(codes.size).toBe(2)
  expect(codes).not.toContain('none')
  await folderOf.stop()
})

const strace = Bun.which('strace')
test.skipIf(strace === null)('it connects to nothing that nobody configured', async () => {
  // No fault is injected: strace only lists the calls. Threads and workers are followed.
  const command = [
    strace ?? '',
    '-f',
    '-qq',
    '-e',
    'trace=connect,sendto,sendmsg',
    '-e',
    'signal=none',
    process.execPath,
    'src/main.ts',
  ]
  const node = await startNode({ command })
  await node.api('GET', '/audit/verification')
  await ask(node.gate, { target: '/s/x' })
  await ask(node.console, { target: '/' })
  // The one that is configured shows that connections are seen at all.
  const echo = await startEcho()
  expect(await node.api('POST', '/servers', { name: 'own', url: echo.url })).toMatchObject({ status: 201 })
  await Bun.$`kill -TERM ${(await Bun.$`pgrep -P ${node.pid}`.text()).trim().split('\n')}`.nothrow()
  await node.stop()
  expect(node.stderr()).toMatch(/ready/)
  echo.stop()
  const reached = node
    .stderr()
    .split('\n')
    .filter((line) => line.includes('AF_INET'))
    .map((line) => `${/htons\((\d+)\)/.exec(line)?.[1]} ${/inet_(?:addr|pton)\(.*?"(.*?)"/.exec(line)?.[1]}`)
  expect([...new Set(reached)]).toEqual([`${new URL(echo.url).port} 127.0.0.1`])
})
