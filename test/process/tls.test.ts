import { afterAll, beforeAll, expect, test } from 'bun:test'
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { preferSecond } from '../../src/server/doors/port.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'

const folder = tempFolder()
const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>

/** A certificate of its own, put where the node reads it. */
const putCertificate = async (name: string) => {
  const [newKey, newCert] = [join(folder, `${name}-key.pem`), join(folder, `${name}.pem`)]
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${newKey} -out ${newCert} -days 2 -subj /CN=${name}`.quiet()
  copyFileSync(newKey, key)
  copyFileSync(newCert, cert)
}

const certificateName = (url: string) =>
  new Promise<string>((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN))
      socket.end()
    })
    socket.on('error', reject)
  })

beforeAll(async () => {
  await putCertificate('first')
  events = await startEvents({ intervalMs: 20 })
  node = await startNode({ args: ['--tls-cert', cert, '--tls-key', key, '--trusted-proxy', '127.0.0.0/8'] })
  await node.addServer('events', events.url)
}, 30_000)
afterAll(async () => {
  await node.stop()
  await events.stop()
})

const insecure = { tls: { rejectUnauthorized: false } }

test('gate and console speak TLS, and nothing else', async () => {
  expect(node.gate).toStartWith('https://')
  expect(await Promise.all([certificateName(node.gate), certificateName(node.console)])).toEqual(['first', 'first'])
  expect((await fetch(`${node.console}/healthz`, insecure)).status).toBe(200)
  await expect(fetch(node.gate.replace('https:', 'http:'))).rejects.toThrow()
})

test('SIGHUP reads the certificate again, and drops no stream; one that is none keeps the old', async () => {
  const { token, id } = await node.createToken('streaming', ['events'])
  const headers = { authorization: `Bearer ${token}`, 'x-forwarded-for': '192.0.2.7' }
  const stream = await fetch(`${node.gate}/s/events/sse`, { ...insecure, headers })
  let seen = ''
  const reading = (async () => {
    for await (const chunk of stream.body as ReadableStream<Uint8Array>) seen += new TextDecoder().decode(chunk)
  })()
  await eventually(() => seen.includes('data:'))

  await putCertificate('second')
  node.kill('SIGHUP')
  await eventually(
    async () => (await certificateName(node.gate)) === 'second' && (await certificateName(node.console)) === 'second',
  )
  const { length } = seen
  await eventually(() => seen.length > length)

  copyFileSync(key, cert)
  node.kill('SIGHUP')
  await eventually(() => node.stderr().includes('could not be read again'))
  expect(await certificateName(node.gate)).toBe('second')

  // The proxy is trusted, so the client's own address is the one that is told.
  const { json } = await node.api<{ items: { address: string; token: { id: string } }[] }>('GET', '/connections')
  expect(json.items.filter((connection) => connection.token.id === id).map(({ address }) => address)).toEqual([
    '192.0.2.7',
  ])

  await node.revoke({ tokens: [id], reason: 'other' })
  await reading
  expect(seen).toEndWith('"message":"Connection token revoked"}}\n\n')
  expect((await fetch(`${node.gate}/s/events/sse`, { ...insecure, headers })).status).toBe(401)
})

/** A connection of its own, on which requests go one after the other; null when it broke off. */
const dial = (url: string): Promise<TLSSocket | null> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => resolve(socket))
    socket.on('error', () => resolve(null))
  })
const askOn = (socket: TLSSocket, ...more: string[]): Promise<string> =>
  new Promise((resolve) => {
    if (socket.destroyed) return resolve('closed')
    socket.once('data', (bytes) => resolve(bytes.toString('latin1').split('\r\n')[0] ?? ''))
    socket.once('close', () => resolve('closed'))
    socket.write(['GET /healthz HTTP/1.1', 'Host: localhost', ...more, '', ''].join('\r\n'))
  })

test('who connects while certificates are replaced is answered, every time, and nothing is left behind', async () => {
  const openFiles = () => readdirSync(`/proc/${node.pid}/fd`).length
  const before = openFiles()
  const answers = new Map<string, number>()
  let going = true
  const connecting = async (url: string) => {
    while (going) {
      const socket = await dial(url)
      const answer = socket ? await askOn(socket, 'Connection: close') : 'not connected'
      answers.set(answer, (answers.get(answer) ?? 0) + 1)
      socket?.destroy()
    }
  }
  const crowd = [node.gate, node.gate, node.gate, node.console].map(connecting)
  const reloaded = () => node.stderr().split('certificates were read again').length
  for (const name of ['third', 'fourth', 'fifth']) {
    const seen = reloaded()
    const kept = (await dial(node.gate)) as TLSSocket
    expect(await askOn(kept)).toBe('HTTP/1.1 200 OK')
    await putCertificate(name)
    // Many at once are one.
    for (let count = 0; count < 20; count += 1) node.kill('SIGHUP')
    await eventually(() => reloaded() > seen)
    await eventually(async () => (await certificateName(node.gate)) === name)
    // From here on, not one with the old certificate: the old listener accepts only what waits.
    for (let count = 0; count < 20; count += 1) expect(await certificateName(node.gate)).toBe(name)
    expect(await askOn(kept)).toBe('HTTP/1.1 200 OK')
    kept.destroy()
  }
  going = false
  await Promise.all(crowd)
  expect([...answers.keys()]).toEqual(['HTTP/1.1 200 OK'])
  expect(answers.get('HTTP/1.1 200 OK')).toBeGreaterThan(200)
  // The last ones stay beside the present ones, however often: a listener for the gate and one for the console.
  await eventually(() => openFiles() <= before + 2)
}, 40_000)

test('a renewal as certbot does it: a chain, behind links that are put in place', async () => {
  const live = join(folder, 'live')
  mkdirSync(live)
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await Bun.$`
    cd ${folder}
    openssl req ${fresh} -x509 -days 2 -subj /CN=root -keyout root-key.pem -out root.pem
    openssl req ${fresh} -subj /CN=between -addext basicConstraints=critical,CA:TRUE -keyout between-key.pem -out between.csr
    openssl x509 -req -copy_extensions copy -in between.csr -CA root.pem -CAkey root-key.pem -days 2 -out between.pem
    openssl req ${fresh} -subj /CN=leaf -addext subjectAltName=IP:127.0.0.1 -keyout leaf-key.pem -out leaf.csr
    openssl x509 -req -copy_extensions copy -in leaf.csr -CA between.pem -CAkey between-key.pem -days 2 -out leaf.pem
    cat leaf.pem between.pem > chain.pem
  `.quiet()
  for (const [from, to] of [
    ['chain.pem', cert],
    ['leaf-key.pem', key],
  ] as const) {
    symlinkSync(join(folder, from), join(live, from))
    renameSync(join(live, from), to)
  }
  node.kill('SIGHUP')
  await eventually(async () => (await certificateName(node.gate)) === 'leaf')
  const { status } = await fetch(`${node.gate}/healthz`, {
    tls: { ca: await Bun.file(join(folder, 'root.pem')).text() },
  })
  expect(status).toBe(200)
})

test('what is no pair, or can not be read, changes nothing, and the log names the setting', async () => {
  const complaints = () => node.stderr().split('could not be read again').length
  const wrongs: [RegExp, () => void][] = [
    [/--tls-key: is not the key of the certificate/, () => copyFileSync(join(folder, 'root-key.pem'), key)],
    [/--tls-cert: is no certificate in PEM/, () => writeFileSync(cert, 'half')],
    [/--tls-cert: ENOENT/, () => rmSync(cert)],
  ]
  rmSync(key)
  rmSync(cert)
  copyFileSync(join(folder, 'chain.pem'), cert)
  for (const [said, spoil] of wrongs) {
    const before = complaints()
    spoil()
    node.kill('SIGHUP')
    await eventually(() => complaints() > before)
    expect(node.stderr()).toMatch(said)
    expect(await certificateName(node.gate)).toBe('leaf')
  }
  expect(node.stderr()).not.toContain('PRIVATE KEY')
})

test('a socket that has a path is no listener on a port, whatever its path begins with', () => {
  const path = join(folder, 'path.sock')
  const port = Buffer.from(path).readUInt16BE()
  const serve = (where: { unix: string } | { hostname: string; port: number; reusePort: boolean }) =>
    Bun.serve({ ...where, fetch: () => new Response() })
  const shared = { hostname: '127.0.0.1', port, reusePort: true }
  const listeners = [serve({ unix: path }), serve(shared), serve(shared)]
  try {
    expect(preferSecond(port)).toBeTrue()
  } finally {
    for (const listener of listeners) void listener.stop(true)
  }
})

test('a port that is shared with oneself is shared with nobody else', async () => {
  const { host } = new URL(node.gate)
  await putCertificate('sixth')
  const args = ['--tls-cert', cert, '--tls-key', key, '--listen', host]
  const other = startNode({ args }).then((started) => started.stop())
  await expect(other).rejects.toThrow(`--listen ${host}: is in use already`)
})
