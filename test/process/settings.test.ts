import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { portcullis, type Ran, ROOT } from '../cli/run.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

let parent: string
beforeAll(() => {
  parent = tempFolder()
})
afterAll(() => removeFolder(parent))

// Set already, so that a process that only refuses does not replace itself first: half the time.
const ONCE = { BUN_CONFIG_MAX_HTTP_REQUESTS: '256' }
const FREE = { '--listen': '127.0.0.1:0', '--console': '127.0.0.1:0' }
/** `serve` on a folder that is not there, with free ports unless the flags say otherwise. */
const serve = async (flags: Record<string, string>, env: Record<string, string> = {}, cwd = ROOT) => {
  const data = join(parent, `data-${crypto.randomUUID()}`)
  const given = { '--data': data, ...FREE, ...flags }
  const args = Object.entries(given).flatMap(([flag, value]) => (value === '(none)' ? [flag] : [flag, value]))
  return { data, ran: await portcullis(['serve', ...args], { env: { ...ONCE, ...env }, cwd, timeoutMs: 8_000 }) }
}
const expectRefused = ({ code, stdout, stderr }: Ran, naming: string | RegExp) => {
  expect(stderr).toMatch(naming)
  expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  expect(stderr).not.toMatch(/\n\s+at |node:|Error:/)
  expect(stdout).toBe('')
  expect(code).toBe(2)
}

describe('a bad setting is one line that names it, exit 2, and nothing created', () => {
  const flags: [flag: string, values: string[]][] = [
    [
      '--listen',
      ['nonsense', '127.0.0.1', '127.0.0.1:99999', 'http://127.0.0.1:1', ':x', '203.0.113.9:7070', '203.0.113.9:0'],
    ],
    ['--console', ['127.0.0.1:-1', 'no.such.host.invalid:0']],
    [
      '--public-url',
      ['ftp://gate.example', 'gate.example', 'http://user:secret@gate.example', 'http://gate.example/?q'],
    ],
    ['--console-url', ['javascript:alert(1)']],
    ['--allow-host', ['https://a.example', 'a.example:80', 'a b', '*']],
    ['--allow-origin', ['a.example', 'https://a.example/path', '*', 'null']],
    ['--trusted-proxy', ['10.0.0.0/33', 'proxy.example', '10.0.0.0/8/8', 'fd00::/129']],
    ['--tls-cert', ['/nonexistent/cert.pem']],
    ['--tls-key', ['/nonexistent/key.pem']],
    ['--key-file', ['/nonexistent/folder/portcullis.key', '/']],
    ['--log-level', ['loud', 'INFO', '']],
    ['--log-format', ['xml']],
    ['--probe-every', ['often', '500ms', '1', '-1s', '2d', '0.5s', '']],
    ['--stdio-processes', ['0', '-1', '1.5', 'many', '10001', '']],
    ['--stdio-processes-per-token', ['0', '10001', '1e3']],
    ['--node-name', ['', 'a b', '-a', 'a/b', 'é', 'a'.repeat(64), '..']],
    [
      '--cluster-listen',
      ['nonsense', '127.0.0.1', '203.0.113.9:0', ':7072', '0.0.0.0:7072', '[::]:7072', '127.0.0.1:0'],
    ],
    ['--ticket', ['pcj_x']],
    ['--cluster-advertise', ['ws://127.0.0.1:1']],
    ['--cluster-policy', ['lease']],
    ['--lease', ['5s']],
    ['--cluster-join', ['ws://127.0.0.1:1']],
    [
      '--cluster-nats',
      ['', ',', 'http://127.0.0.1:4222', 'nats://', 'nats://a b', 'nats://u:secret@127.0.0.1', 'nats://a/b'],
    ],
    ['--cluster-nats-creds', ['/nonexistent/nats.creds']],
    ['--bogus', ['1']],
    ['--stdio', ['(none)']],
  ]

  test.concurrent.each(flags)('%s %p', async (flag, values) => {
    for (const value of values) {
      const { ran, data } = await serve({ [flag]: value })
      expectRefused(ran, flag)
      expect(existsSync(data)).toBeFalse()
    }
  })

  const ofACluster: [flag: string, values: string[]][] = [
    [
      '--cluster-advertise',
      [
        '127.0.0.1:1',
        'http://127.0.0.1:1',
        'ws://127.0.0.1:0',
        'ws://0.0.0.0:1',
        'ws://[::]:1',
        'ws://a/path',
        'ws://a?q',
      ],
    ],
    ['--cluster-policy', ['Lease', 'none', '']],
    ['--lease', ['999ms', '0s', '61s', '2m', '5', '']],
    ['--cluster-join', ['127.0.0.1:1', 'http://127.0.0.1:1', 'ws://u:secret@127.0.0.1:1', '']],
    ['--cluster-nats-creds', ['/nonexistent/nats.creds']],
  ]
  test.concurrent.each(ofACluster)('%s %p of a node that listens for others', async (flag, values) => {
    for (const value of values) {
      const { ran, data } = await serve({ '--cluster-listen': '127.0.0.1:7072', [flag]: value })
      expectRefused(ran, flag)
      expect(ran.stderr).not.toContain('secret')
      expect(existsSync(data)).toBeFalse()
    }
  })

  test.concurrent('a ticket that is none, and it is not repeated', async () => {
    for (const ticket of ['', 'pcj_', `pcl_${'a'.repeat(43)}`, `pcj_${'a'.repeat(42)}`, `pcj_${'a'.repeat(44)}`]) {
      const flags = { '--cluster-listen': '127.0.0.1:7072', '--cluster-join': 'ws://127.0.0.1:1', '--ticket': ticket }
      const { ran, data } = await serve(flags)
      expectRefused(ran, '--ticket')
      if (ticket !== '') expect(ran.stderr).not.toContain('aaaa')
      expect(existsSync(data)).toBeFalse()
    }
  })

  test.concurrent('what needs another setting says which', async () => {
    for (const [flag, value, needs] of [
      ['--ticket', `pcj_${'a'.repeat(43)}`, '--cluster-join'],
      ['--cluster-join', 'ws://127.0.0.1:1', '--cluster-listen'],
      ['--cluster-advertise', 'ws://127.0.0.1:1', '--cluster-listen'],
      ['--cluster-nats-creds', '/dev/null', '--cluster-nats'],
      ['--lease', '5s', '--cluster-listen'],
    ] as const)
      expectRefused((await serve({ [flag]: value })).ran, new RegExp(`^${flag}: needs ${needs}`))
    const everywhere = await serve({ '--cluster-listen': '0.0.0.0:0' })
    expectRefused(everywhere.ran, '--cluster-advertise')
  })

  test.concurrent('an empty --data is not the folder it is started in', async () => {
    const cwd = tempFolder()
    expectRefused((await serve({ '--data': '' }, {}, cwd)).ran, '--data')
    expect(readdirSync(cwd)).toEqual([])
    removeFolder(cwd)
  })

  test.concurrent.each([
    ['PORTCULLIS_LISTEN', 'nonsense'],
    ['PORTCULLIS_LOG_FORMAT', 'xml'],
    ['PORTCULLIS_TRUSTED_PROXY', '10.0.0.0/8, nonsense'],
    ['PORTCULLIS_ALLOW_HOST', 'a.example,b example'],
    ['PORTCULLIS_CLUSTER_LISTEN', 'nonsense'],
    ['PORTCULLIS_CLUSTER_NATS', 'nats://a, nonsense'],
    ['PORTCULLIS_LEASE', '5s'],
  ])('%s=%s in the environment', async (name, value) => {
    const data = join(parent, `from-environment-${name}`)
    const ran = await portcullis(['serve', '--data', data], { env: { ...ONCE, [name]: value }, timeoutMs: 8_000 })
    expectRefused(ran, name)
    expect(existsSync(data)).toBeFalse()
  })

  test.concurrent('a certificate and a key that are none', async () => {
    const file = join(parent, 'garbage.pem')
    writeFileSync(file, 'garbage\n')
    const { ran, data } = await serve({ '--tls-cert': file, '--tls-key': file })
    expectRefused(ran, '--tls-cert')
    expect(existsSync(data)).toBeFalse()
  })

  test.concurrent('a certificate without its key', async () => {
    const file = join(parent, 'lonely.pem')
    writeFileSync(file, 'x')
    const { ran, data } = await serve({ '--tls-cert': file })
    expectRefused(ran, '--tls-key')
    expect(existsSync(data)).toBeFalse()
  })

  test.concurrent('a key file that is something else', async () => {
    const file = join(parent, 'other.key')
    writeFileSync(file, 'something else\n', { mode: 0o600 })
    const { ran, data } = await serve({ '--key-file': file })
    expectRefused(ran, '--key-file')
    expect(existsSync(data)).toBeFalse()
    expect(await Bun.file(file).text()).toBe('something else\n')
  })

  test.concurrent('a data folder that is a file', async () => {
    const file = join(parent, 'a-file')
    writeFileSync(file, 'mine')
    expectRefused((await serve({ '--data': file })).ran, '--data')
    expect(await Bun.file(file).text()).toBe('mine')
  })

  test.concurrent('a port in use, also by one that listens on all addresses', async () => {
    for (const hostname of ['127.0.0.1', '0.0.0.0']) {
      const taken = Bun.listen({ hostname, port: 0, socket: { data() {} } })
      for (const flag of ['--listen', '--console', '--cluster-listen']) {
        const { ran, data } = await serve({ [flag]: `127.0.0.1:${taken.port}` })
        expectRefused(ran, flag)
        expect(ran.stderr).toContain(String(taken.port))
        expect(existsSync(data)).toBeFalse()
      }
      taken.stop(true)
    }
  })

  test('one port for both', async () => {
    const free = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    const { port } = free
    free.stop(true)
    for (const host of ['127.0.0.1', '0.0.0.0']) {
      const { ran, data } = await serve({ '--listen': `${host}:${port}`, '--console': `127.0.0.1:${port}` })
      expectRefused(ran, '--console')
      expect(existsSync(data)).toBeFalse()
    }
  })

  test.concurrent('an argument too many', async () => {
    const data = join(parent, 'too-many')
    expectRefused(await portcullis(['serve', '--data', data, 'extra']), 'extra')
    expect(existsSync(data)).toBeFalse()
  })
})

describe('portcullis.toml', () => {
  const withToml = async (toml: string) => {
    const folder = tempFolder()
    writeFileSync(join(folder, 'portcullis.toml'), toml)
    const ran = await portcullis(['serve', '--data', folder], { env: ONCE, timeoutMs: 8_000 })
    const left = readdirSync(folder)
    removeFolder(folder)
    return { ran, left }
  }
  test.concurrent.each([
    ['an unknown key', 'listenn = "127.0.0.1:0"\n', 'listenn'],
    ["a flag's name in camel case", 'publicUrl = "http://a.example"\n', 'publicUrl'],
    ['the data folder itself', 'data = "/tmp"\n', 'data'],
    ['a bad value', 'log-level = "loud"\n', 'log-level'],
    ['a value of another type', 'listen = 7070\n', 'listen'],
    ['a bad entry of a list', 'allow-host = ["a.example", "b example"]\n', 'allow-host'],
    ['what is no TOML', 'listen = \n', 'portcullis.toml'],
    ['a ticket and nowhere to join', `ticket = "pcj_${'a'.repeat(43)}"\n`, 'ticket'],
    ['a table', '[listen]\nhost = "127.0.0.1"\n', 'listen'],
  ])('%s', async (_what, toml, naming) => {
    const { ran, left } = await withToml(toml)
    expectRefused(ran, naming)
    expect(ran.stderr).toContain('portcullis.toml')
    expect(left).toEqual(['portcullis.toml'])
  })
})

describe('flags, then the environment, then the file', () => {
  const TOML = [
    'public-url = "http://toml.example"',
    'console-url = "http://toml-console.example"',
    'allow-host = ["toml-1.example", "toml-2.example"]',
    'log-format = "text"',
  ].join('\n')
  const folder = tempFolder()
  writeFileSync(join(folder, 'portcullis.toml'), TOML)
  afterAll(() => removeFolder(folder))
  const start = (env: Record<string, string>, args: string[]) => startNode({ data: folder, env, args })
  /** Whether the gate takes a Host for one of its own: 404 of a wrong path in place of 421. */
  const isOurs = async (port: number, host: string) => {
    const { status } = await fetch(`http://127.0.0.1:${port}/nothing`, { headers: { Host: host } })
    expect(status).toBeOneOf([404, 421])
    return status === 404
  }
  /** The gate's port: the node itself only tells the public URL. */
  const gatePort = async (node: TestNode) => {
    const table = await Bun.file(`/proc/${node.pid}/net/tcp`).text()
    const inodes = new Set<string>()
    for (const fd of readdirSync(`/proc/${node.pid}/fd`)) {
      try {
        inodes.add(/^socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${node.pid}/fd/${fd}`))?.[1] ?? '')
      } catch {
        // Closed in the meantime.
      }
    }
    const listening = table
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((cells) => cells[3] === '0A' && inodes.has(cells[9] ?? ''))
      .map((cells) => Number.parseInt(cells[1]?.split(':')[1] ?? '', 16))
    for (const port of listening) {
      const { status } = await fetch(`http://127.0.0.1:${port}/s/x`)
      if (status === 401 && (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 404) return port
    }
    throw new Error(`no gate among ${listening.join(', ')}`)
  }

  test('each wins over what stands behind it, a list as a whole', async () => {
    const env = {
      PORTCULLIS_PUBLIC_URL: 'http://env.example',
      PORTCULLIS_CONSOLE_URL: 'http://env-console.example',
      PORTCULLIS_ALLOW_HOST: 'env-1.example, env-2.example',
    }
    const args = ['--public-url', 'http://flag.example/']
    await using node = await start(env, args)
    const port = await gatePort(node)
    expect([node.gate, node.console]).toEqual(['http://flag.example', 'http://env-console.example'])
    const own = ['flag.example', 'env-1.example', 'env-2.example', 'localhost']
    const foreign = ['env.example', 'toml.example', 'toml-1.example', 'toml-2.example', 'evil.example']
    for (const host of own) expect([host, await isOurs(port, host)]).toEqual([host, true])
    for (const host of foreign) expect([host, await isOurs(port, host)]).toEqual([host, false])
    expect(node.stderr()).not.toMatch(/^\{/m)
  })

  test('the file alone, and a flag given twice', async () => {
    const args = ['--allow-host', 'flag-1.example', '--allow-host', 'flag-2.example']
    await using node = await start({ PORTCULLIS_PUBLIC_URL: '' }, args)
    const port = await gatePort(node)
    expect([node.gate, node.console]).toEqual(['http://toml.example', 'http://toml-console.example'])
    for (const host of ['flag-1.example', 'flag-2.example']) expect(await isOurs(port, host)).toBeTrue()
    expect(await isOurs(port, 'toml-1.example')).toBeFalse()
  })
})

describe('the data folder', () => {
  const mode = (file: string) => (statSync(file).mode & 0o777).toString(8)

  test('is for its owner alone, whatever the umask', async () => {
    const folder = join(parent, 'deep', 'data')
    const command = ['sh', '-c', 'umask 000; exec "$@"', 'sh', process.execPath, 'src/main.ts']
    await using node = await startNode({ data: folder, command, env: { HOME: parent } })
    expect(mode(folder)).toBe('700')
    // The lock holds nothing, and nobody else gets into the folder.
    const files = readdirSync(folder).filter((name) => !name.endsWith('.lock'))
    const expected = ['portcullis.db', 'portcullis.db-wal', 'portcullis.key', 'control.sock']
    for (const name of expected) expect(files).toContain(name)
    expect(files.map((name) => [name, mode(join(folder, name))])).toEqual(files.map((name) => [name, '600']))
    expect(await node.api('GET', '/node')).toMatchObject({ status: 200 })
  })

  test('holds no key in the database', async () => {
    const folder = join(parent, 'no-key')
    const node = await startNode({ data: folder, env: { HOME: parent } })
    await node.stop()
    const { keys } = (await Bun.file(join(folder, 'portcullis.key')).json()) as { keys: { secret: string }[] }
    const database = Buffer.from(await Bun.file(join(folder, 'portcullis.db')).bytes())
    expect(keys).not.toBeEmpty()
    for (const { secret } of keys) {
      expect(database.includes(secret)).toBeFalse()
      expect(database.includes(Buffer.from(secret, 'base64'))).toBeFalse()
    }
  })

  test('that was there, and open to others, is closed to them or refused', async () => {
    const folder = tempFolder()
    chmodSync(folder, 0o755)
    const node = await startNode({ data: folder, env: { HOME: parent } }).catch((error: unknown) => String(error))
    if (typeof node === 'string') return expect(node).toMatch(/--data.*(chmod|mode)/)
    const seen = mode(node.data)
    await node.stop()
    expect(seen).toBe('700')
  })
})

test('the sources are the same from any folder', async () => {
  const { code, stdout } = await portcullis(['version'], { cwd: '/' })
  const { version } = (await Bun.file(join(ROOT, 'package.json')).json()) as { version: string }
  expect([code, stdout]).toEqual([0, `portcullis ${version}\n`])
})
