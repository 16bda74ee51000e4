import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, copyFileSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { postForm } from '../api/session.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { diagnose, stoppedFolder } from './run.ts'

const PASSWORD = 'correct horse Qx4711zZ'
let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
beforeAll(async () => {
  echo = await startEcho()
  node = await startNode()
  await node.addServer('echo', echo.url, { headers: { 'X-Key': 'credential-0815' } })
})
afterAll(async () => {
  await node.stop()
  await echo.stop()
})

const shapeOf = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name !== '.bun')
    .map((name) => [name, lstatSync(join(folder, name)).mode, lstatSync(join(folder, name)).uid])

test('beside a running node: it asks the node, leaves it alone, and shows no secret', async () => {
  const { token } = await node.createToken('client', ['echo'])
  const shape = shapeOf(node.data)
  const requests = echo.last()
  // A proxy of the environment is for other places.
  const env = { HTTP_PROXY: 'http://127.0.0.1:9', http_proxy: 'http://127.0.0.1:9' }
  const found = await diagnose(['--data', node.data], { env })
  expect(found.bad).toEqual(['owner: warn'])
  expect(found.say('node')[0]).toMatch(/^ok: node_\w+ runs and is ready/)
  expect(found.say('version')[0]).toContain('the running node too')
  // The ports are the node's own, which no setting says.
  expect(found.say('gate address')[0]).toStartWith(`ok: ${node.gate}/healthz answers`)
  expect(found.say('console address')[0]).toStartWith(`ok: ${node.console}/healthz answers`)
  expect(found.say('servers')).toEqual(['ok: one, and it answers → '])
  expect(found.say('open files')[0]).toStartWith('ok: the node has room for')
  // It connected, and asked nothing of the server.
  expect(echo.last()).toEqual(requests)
  expect(shapeOf(node.data)).toEqual(shape)
  expect(found.stdout).not.toContain('0815')
  expect(found.stdout).not.toContain(token)
  expect((await ask(node.gate, { target: '/s/echo/x', headers: bearer(token) })).status).toBe(200)
  // Looking leaves no row.
  const { json } = await node.api<{ items: { action: string }[] }>('GET', '/audit?limit=1000')
  expect(json.items.map(({ action }) => action)).toEqual(expect.not.arrayContaining(['node.doctor', 'operator.link']))
})

test('writing goes on while the doctor reads', async () => {
  let done = false
  const looking = (async () => {
    for (let round = 0; round < 4; round += 1) await diagnose(['--data', node.data])
    done = true
  })()
  const statuses = new Set<number>()
  for (let count = 0; !done; count += 1) {
    const { status } = await node.api('POST', '/tokens', { name: `busy ${count}`, servers: ['echo'] })
    statuses.add(status)
    if (count % 10 === 9) statuses.add((await node.api('POST', '/revocations', { all: true, reason: 'other' })).status)
  }
  await looking
  expect([...statuses]).toEqual([201])
  expect((await node.api<{ ready: boolean }>('GET', '/node')).json.ready).toBe(true)
}, 60_000)

test('an owner who can sign in is one with a password', async () => {
  await node.api('POST', '/operators', { name: 'Grace', role: 'owner' })
  expect((await diagnose(['--data', node.data])).bad).toEqual(['owner: warn'])
  const { json } = await node.api<{ url: string }>('POST', '/operators/Grace/links')
  const code = new URL(json.url).searchParams.get('code') ?? ''
  await postForm(node, '/setup', { code, password: PASSWORD, again: PASSWORD })
  expect((await diagnose(['--data', node.data])).bad).toEqual([])
})

test('its key file and certificate are where the node has them, whatever the settings here say', async () => {
  const folder = tempFolder()
  const data = tempFolder()
  const [cert, key, ring] = ['cert.pem', 'key.pem', 'the.key'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} -days 90 -subj /CN=first`.quiet()
  await using other = await startNode({ data, args: ['--key-file', ring, '--tls-cert', cert, '--tls-key', key] })
  const found = await diagnose(['--data', data])
  expect(found.bad).toEqual(['owner: warn'])
  expect(found.say('key file')[0]).toStartWith(`ok: ${ring}, one key`)
  expect(found.say('certificate')).toEqual([expect.stringMatching(/^ok: it is good for (89|90) more days/)])
  expect(found.say('gate address')[0]).toStartWith(`ok: ${other.gate}/healthz answers`)
  // Renewed, and the node was not told.
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} -days 90 -subj /CN=second`.quiet()
  const renewed = await diagnose(['--data', data])
  expect(renewed.say('certificate')).toEqual([
    `warn: ${cert} is not the one that the node shows: it has not read it again → let the node read it: systemctl reload portcullis, or kill -HUP its process`,
  ])
  other.kill('SIGHUP')
  await eventually(async () => (await diagnose(['--data', data])).of('certificate').every(({ ok }) => ok), {
    timeoutMs: 10_000,
  })
})

test('one that runs as another user than the folder’s owner', async () => {
  if (process.getuid?.() !== 0) return
  const data = tempFolder()
  await Bun.$`chown 65534 ${data}`
  await using other = await startNode({ data })
  const found = await diagnose(['--data', other.data])
  expect(found.say('data folder')[0]).toMatch(/^warn: .* of nobody, but the node runs as root.* → .*chown -R 65534/)
  expect(found.say('files')[0]).toMatch(/^fail: .*is root's, and the folder nobody's/)
})

describe('what answers on the socket', () => {
  const withSocket = async (answer: (request: Request) => Response | Promise<Response>) => {
    const data = await stoppedFolder()
    const socket = Bun.serve({ unix: join(data, 'control.sock'), fetch: answer })
    chmodSync(join(data, 'control.sock'), 0o600)
    try {
      return await diagnose(['--data', data])
    } finally {
      await socket.stop(true)
    }
  }

  test('a node of another version', async () => {
    const old = {
      version: '0.1.0',
      node: 'node_old',
      gateUrl: 'http://x',
      consoleUrl: 'http://y',
      ready: true,
      problems: [],
    }
    const found = await withSocket(({ url }) =>
      url.endsWith('/node') ? Response.json(old) : new Response('', { status: 404 }),
    )
    expect(found.say('version')[0]).toMatch(
      /^warn: this is portcullis \S+, the running node is 0\.1\.0 → restart the node/,
    )
    // What it does not say of itself is taken from the settings and the database.
    expect(found.bad).toEqual(expect.arrayContaining(['version: warn', 'owner: warn']))
    expect(found.stderr).toBe('')
  })

  test('no node at all', async () => {
    const found = await withSocket(() => new Response('hello'))
    expect(found.say('node')[0]).toMatch(/^fail: something listens on .*, and does not answer as a node/)
    expect(found.code).toBe(1)
  })

  test('nothing, for ever', async () => {
    const found = await withSocket(() => new Promise<Response>(() => {}))
    expect(found.of('node')[0]?.level).toBe('fail')
    expect(found.tookMs).toBeLessThan(10_000)
  })
})

describe('limits of open files', () => {
  const limited = (kind: 'S' | 'H', count: number) => ({
    command: [
      'bash',
      '-c',
      kind === 'S' ? `ulimit -Sn ${count}; exec "$@"` : `ulimit -n ${count}; exec "$@"`,
      'bash',
      builtBinary(),
    ],
  })
  /** Holds so many streams open at once, and counts the answers by status. */
  const hold = async (target: TestNode, token: string, count: number) => {
    const answers = await Promise.all(
      Array.from({ length: count }, () =>
        fetch(`${target.gate}/s/slow/x`, { headers: { authorization: `Bearer ${token}` } }),
      ),
    )
    const statuses: Record<number, number> = {}
    for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1
    for (const { body } of answers) await body?.cancel()
    return statuses
  }
  /** Begins an answer, and never ends it. */
  const slow = () =>
    Bun.serve({
      // A name of two addresses would be tried at both at once, with a file each.
      hostname: '127.0.0.1',
      port: 0,
      idleTimeout: 0,
      fetch: () => new Response(new ReadableStream({ start: (to) => to.enqueue('x') })),
    })

  test('a soft limit of 256 is raised by the node itself: 240 connections, 480 sockets', async () => {
    const upstream = slow()
    await using other = await startNode(limited('S', 256))
    await other.addServer('slow', upstream.url.href)
    const { token } = await other.createToken('many', ['slow'])
    expect(other.stderr()).not.toContain('few files')
    expect(await hold(other, token, 240)).toEqual({ 200: 240 })
    expect((await diagnose(['--data', other.data])).of('open files')[0]?.level).toBe('ok')
    await upstream.stop(true)
  }, 120_000)

  test('a hard one of 256 is told by the log and by doctor, and one connection too many is a clear refusal', async () => {
    const upstream = slow()
    await using other = await startNode(limited('H', 256))
    await other.addServer('slow', upstream.url.href)
    const { token } = await other.createToken('many', ['slow'])
    expect(other.stderr()).toContain('few files may be open at once')
    expect(other.stderr()).toContain('LimitNOFILE=')
    const found = await diagnose(['--data', other.data])
    expect(found.say('open files')).toEqual([
      expect.stringMatching(
        /^warn: the node has room for 256 open files: 96 connections at once → raise it: LimitNOFILE=/,
      ),
    ])
    const statuses = await hold(other, token, 100)
    expect(statuses).toEqual({ 200: 96, 503: 4 })
    // It still answers, and kills.
    expect((await other.revoke({ tokens: ['many'] })).tokens).toHaveLength(1)
    await upstream.stop(true)
  }, 120_000)
})

test('a node whose disk is full is not ready, and doctor says why', async () => {
  if (!mayMount()) return
  await using small = await smallFolder()
  await using full = await startNode({ data: small.data, env: { HOME: tempFolder() } })
  await full.addServer('echo', echo.url)
  await full.createToken('victim', ['echo'])
  small.fill()
  expect((await full.api('POST', '/revocations', { tokens: ['victim'], reason: 'compromised' })).status).toBe(507)
  const found = await diagnose(['--data', small.data])
  expect(found.say('node')[0]).toStartWith('fail: is not ready: ')
  expect(found.say('disk')[0]).toMatch(/^fail: 0 MiB free → free some space/)
  expect(found.say('journal')[0]).toMatch(/^fail: holds one revocation, .* → they are in force/)
  expect(found.say('file system')[0]).toMatch(/^warn: tmpfs: it is memory/)
  expect(found.code).toBe(1)
  small.free()
}, 60_000)

test('the executable, run as another user with its own rights, sees its own node alone', async () => {
  if (process.getuid?.() !== 0) return
  const home = tempFolder()
  const binary = join(home, 'portcullis')
  copyFileSync(builtBinary(), binary)
  chmodSync(binary, 0o755)
  await Bun.$`chown -R 65534 ${home}`
  const found = await diagnose([], {
    command: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', binary],
    env: { HOME: home },
    cwd: '/',
  })
  expect(found.bad).toEqual(['data folder: warn'])
  expect(found.code).toBe(0)
}, 60_000)
