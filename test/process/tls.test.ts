import { afterAll, beforeAll, expect, test } from 'bun:test'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
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
