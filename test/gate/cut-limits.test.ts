import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { ConnectionJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, type RawRequest, ask, connectRaw, formatRequest, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { parseEvents } from '../support/sse.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'

const SOON_MS = 1_000
const MEBIBYTE = 1024 * 1024

let node: TestNode
let busy: Awaited<ReturnType<typeof startEvents>>
let quiet: Awaited<ReturnType<typeof startEvents>>
let flood: Awaited<ReturnType<typeof startRaw>>
let floodedBytes = 0

/** Sends as fast as it is taken, for ever. */
const pour = (it: RawUpstreamRequest) => {
  const events = it.target !== '/bytes'
  const chunk = `data: ${'x'.repeat(65_000)}\n\n`
  it.begin('200 OK', [`Content-Type: ${events ? 'text/event-stream' : 'application/octet-stream'}`])
  const more = () => {
    while (it.closedAt === null && it.chunk(chunk)) floodedBytes += chunk.length
  }
  it.socket.on('drain', more)
  more()
}

beforeAll(async () => {
  busy = await startEvents({ intervalMs: 1, burst: 10 })
  quiet = await startEvents({ burst: 1 })
  flood = await startRaw(pour)
  node = await startNode()
  await node.addServer('busy', busy.url)
  await node.addServer('quiet', quiet.url)
  await node.addServer('flood', flood.url)
})
afterAll(async () => {
  await node?.stop()
  for (const upstream of [busy, quiet, flood]) upstream?.stop()
})

const openStream = async (secret: string, target: string): Promise<RawClient> => {
  const client = await open(node.gate, { target, headers: bearer(secret) })
  return client.until((it) => it.bodyBytes > 0)
}
const rotate = async (id: string, body: object) => {
  const { json } = await node.api<TokenIssuedJson>('POST', `/tokens/${id}/rotations`, body)
  return { ...json, token: json.token ?? '' }
}

test('a busy stream ends with whole events, then the disconnect, then nothing', async () => {
  const { id, token } = await node.createToken('busy', ['busy'])
  const clients = await Promise.all(Array.from({ length: 20 }, () => openStream(token, '/s/busy/x')))
  await eventually(() => clients.every((client) => parseEvents(client.text).length > 50))
  const receipt = await node.revoke({ tokens: [id] })
  expect(receipt.connections.cut).toBe(clients.length)
  await Promise.all(clients.map((client) => client.done(SOON_MS)))
  for (const client of clients) {
    expect(client.complete).toBeTrue()
    const events = parseEvents(client.text)
    expect(events.pop()?.event).toBe('disconnect')
    const numbered = (_event: unknown, index: number) => {
      const number = String(index + 1)
      return { event: 'message', id: number, data: `{"n":${number}}` }
    }
    expect(events).toEqual(events.map(numbered))
    expect(client.text).toEndWith('\n\n')
  }
  await eventually(() => busy.open() === 0, { timeoutMs: SOON_MS })
})

test('a stream ends when its token expires: not before, and within a second', async () => {
  const expiresAt = new Date(Date.now() + 900).toISOString()
  const { token } = await node.createToken('expiring', ['quiet'], { expiresAt })
  const client = await openStream(token, '/s/quiet/x')
  await client.done(3_000)
  const endedAt = performance.timeOrigin + (client.lastArrivalAt || 0)
  expect(endedAt).toBeGreaterThanOrEqual(Date.parse(expiresAt) - 5)
  expect(endedAt).toBeLessThan(Date.parse(expiresAt) + SOON_MS)
  expect(parseEvents(client.text).at(-1)?.data).toContain('token_expired')
})

test('in grace both secrets pass; at its end only the streams of the old one are cut', async () => {
  const issued = await node.createToken('rotating', ['quiet'])
  const old = await openStream(issued.token, '/s/quiet/old')
  const rotated = await rotate(issued.id, { graceSeconds: 1 })
  expect(rotated).toMatchObject({ id: issued.id, status: 'active' })
  expect(rotated.token).not.toBe(issued.token)
  const oldInGrace = await openStream(issued.token, '/s/quiet/old-in-grace')
  const renewed = await openStream(rotated.token, '/s/quiet/renewed')
  await old.done(3_000)
  await oldInGrace.done(SOON_MS)
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(rotated.oldSecretDiesAt ?? '') - 5)
  expect((await ask(node.gate, { target: '/s/quiet/x', headers: bearer(issued.token) })).status).toBe(401)
  quiet.broadcast('data: after\n\n')
  await renewed.until((it) => it.text.endsWith('data: after\n\n'))
  expect(renewed.ended).toBe('open')
  const again = await rotate(issued.id, {})
  await renewed.done(SOON_MS)
  expect((await ask(node.gate, { target: '/s/quiet/x', headers: bearer(rotated.token) })).status).toBe(401)
  using last = await openStream(again.token, '/s/quiet/x')
  expect(last.status).toBe(200)
})

test('killing one connection leaves the others of its token alone', async () => {
  const { id, token } = await node.createToken('two streams', ['quiet'])
  const [first, second] = await Promise.all([openStream(token, '/s/quiet/first'), openStream(token, '/s/quiet/second')])
  const { json } = await node.api<{ items: ConnectionJson[] }>('GET', '/connections?limit=1000')
  const own = json.items.filter((it) => it.token.id === id)
  expect(own.map(({ kind, server, method }) => ({ kind, server, method }))).toEqual(
    [1, 2].map(() => ({ kind: 'sse', server: 'quiet', method: 'GET' })),
  )
  const killed = own.find(({ path }) => path.endsWith('/first'))
  await node.api('DELETE', `/connections/${killed?.id}`)
  await first.done(SOON_MS)
  expect(parseEvents(first.text).at(-1)?.data).toContain('connection_killed')
  quiet.broadcast('data: after\n\n')
  await second.until((it) => it.text.endsWith('data: after\n\n'))
  using back = await openStream(token, '/s/quiet/first')
  expect(back.status).toBe(200)
  second.close()
})

test('a revocation during a small upload keeps it from the upstream', async () => {
  const { id, token } = await node.createToken('uploading', ['quiet'])
  const headers = { ...bearer(token), 'Content-Length': '100', 'Content-Type': 'application/json' }
  const before = quiet.requests.length
  using client = await open(node.gate, { method: 'POST', target: '/s/quiet/x', headers, body: '{"half":' })
  const inFlight = async () =>
    (await node.api<{ items: ConnectionJson[] }>('GET', '/connections?limit=1000')).json.items.some(
      (it) => it.token.id === id,
    )
  await eventually(inFlight)
  await node.revoke({ tokens: [id] })
  client.send('x'.repeat(92))
  await client.until((it) => it.ended !== 'open', SOON_MS)
  expect(client.status).toBe(401)
  expect(quiet.requests.length).toBe(before)
})

test('on a kept connection the request after the cut is a 401', async () => {
  const { id, token } = await node.createToken('kept', ['quiet'])
  const client = await openStream(token, '/s/quiet/x')
  await node.revoke({ tokens: [id] })
  await client.done(SOON_MS)
  const { length } = client.received
  client.send(formatRequest(node.gate, { target: '/s/quiet/x', headers: bearer(token) }))
  await client.until((it) => it.ended !== 'open' || it.received.slice(length).includes('token-revoked'), SOON_MS)
  expect(client.received.slice(length)).not.toContain('HTTP/1.1 200')
})

test('no request that is sent while a revocation runs gets through after it', async () => {
  const { id, token } = await node.createToken('storm', ['quiet'])
  const clients = await Promise.all(Array.from({ length: 100 }, () => connectRaw(node.gate)))
  const request = formatRequest(node.gate, { target: '/s/quiet/x', headers: bearer(token) })
  clients.slice(0, 50).forEach((client) => client.send(request))
  const revocation = node.revoke({ tokens: [id] })
  clients.slice(50).forEach((client) => client.send(request))
  await revocation
  await eventually(() => clients.every((client) => client.complete), { timeoutMs: SOON_MS })
  for (const client of clients) {
    expect(client.status).toBeOneOf([200, 401])
    if (client.status === 200) expect(parseEvents(client.text).at(-1)?.event).toBe('disconnect')
  }
  await eventually(() => quiet.streams.every((stream) => !stream.open), { timeoutMs: SOON_MS })
  const { json } = await node.api<{ items: ConnectionJson[] }>('GET', '/connections?limit=1000')
  expect(json.items).toEqual([])
})

const call = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: {} })
const unreads: [what: string, request: Omit<RawRequest, 'headers'>][] = [
  ['events', { target: '/s/flood/events' }],
  ['bytes', { target: '/s/flood/bytes' }],
  ['an MCP call', { target: '/s/flood/call', method: 'POST', body: call }],
]
describe.each(unreads)('a reader that never reads %s', (what, request) => {
  test('is held back, and reset by the cut', async () => {
    const { id, token } = await node.createToken(`lazy ${what}`, ['flood'])
    floodedBytes = 0
    const atRest = await node.residentBytes()
    const clients = await Promise.all(Array.from({ length: 4 }, () => connectRaw(node.gate)))
    for (const client of clients) {
      client.pause()
      const headers = { ...bearer(token), 'Content-Type': 'application/json' }
      client.send(formatRequest(node.gate, { ...request, headers }))
    }
    // Held back means that the upstream can't get rid of more, however long it is tried.
    let last = -1
    await eventually(
      () => {
        const steady = floodedBytes > 0 && floodedBytes === last
        last = floodedBytes
        return steady
      },
      { everyMs: 400, timeoutMs: 10_000 },
    )
    expect(floodedBytes / clients.length).toBeLessThan(24 * MEBIBYTE)
    expect((await node.residentBytes()) - atRest).toBeLessThan(64 * MEBIBYTE)
    const requests = flood.requests.slice(-clients.length)
    const receipt = await node.revoke({ tokens: [id] })
    expect(receipt.connections.cut).toBe(clients.length)
    await eventually(() => requests.every((it) => it.closedAt !== null), { timeoutMs: SOON_MS })
    for (const client of clients) client.resume()
    await Promise.all(clients.map((client) => client.done(SOON_MS)))
    for (const client of clients) {
      expect(client.ended).toBe('reset')
      expect(client.complete).toBeFalse()
      expect(client.text).not.toContain('token_revoked')
    }
  })
})
