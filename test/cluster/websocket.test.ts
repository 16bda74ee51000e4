import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import { limits } from '../../src/limits.ts'
import { eventually } from '../support/poll.ts'
import { tempFolder } from '../support/temp.ts'
import { digest, meet, membership, SECRET, startNode } from './nodes.ts'

test('three nodes link to each other, each pair once, and say things both ways', async () => {
  using a = await startNode('a')
  using b = await startNode('b')
  using c = await startNode('c')
  meet(a, b, c)
  const nodes = [a, b, c]
  await eventually(() => nodes.every((node) => node.transport.linked().length === 2))
  a.transport.broadcast(digest(1))
  expect(c.transport.send('b', digest(2))).toBe(true)
  expect(c.transport.send('nobody', digest(3))).toBe(false)
  await eventually(() => b.got.length === 2 && c.got.length === 1)
  expect(b.got).toContainEqual({ peer: 'a', message: digest(1) })
  expect(b.got).toContainEqual({ peer: 'c', message: digest(2) })
  for (const node of nodes) {
    expect(node.told.filter((line) => line.startsWith('linked'))).toHaveLength(2)
    expect(node.told.join()).not.toContain('unlinked')
    expect(node.refusals).toEqual([])
  }
})

/** A way to a port on which nothing moves until it is opened. */
const heldWay = (port: number) => {
  let release = () => {}
  const opened = new Promise<void>((resolve) => {
    release = resolve
  })
  let comers = 0
  const listener = createServer((from) => {
    comers++
    // What is pushed too early waits in the socket.
    void opened.then(() => {
      const to = connect(port, '127.0.0.1')
      from.pipe(to).pipe(from)
      for (const [one, other] of [
        [from, to],
        [to, from],
      ] as const) {
        one.on('error', () => other.destroy()).on('close', () => other.destroy())
      }
    })
  })
  listener.listen(0, '127.0.0.1')
  return {
    url: () => `ws://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    comers: () => comers,
    release,
    [Symbol.dispose]: () => void listener.close(),
  }
}

test.each([1, 2, 3])('both dial at once (%d): one link is left, and it was never told to be gone', async () => {
  using a = await startNode('a')
  using b = await startNode('b')
  using toA = heldWay(a.listener.port)
  using toB = heldWay(b.listener.port)
  a.transport.members([{ ...b, url: toB.url() }])
  b.transport.members([{ ...a, url: toA.url() }])
  await eventually(() => toA.comers() >= 1 && toB.comers() >= 1)
  toA.release()
  toB.release()
  await eventually(() => a.transport.linked().length === 1 && b.transport.linked().length === 1)
  let ask = 0
  // Until the link that lost is closed, and for as long again.
  const until = performance.now() + 2 * limits.clusterLingerMs
  while (performance.now() < until) {
    ask++
    expect(a.transport.send('b', digest(ask)) && b.transport.send('a', digest(ask))).toBe(true)
    await eventually(() => a.got.length === ask && b.got.length === ask)
  }
  expect(a.told.filter((line) => !line.includes('digest'))).toEqual(['linked b'])
  expect(b.told.filter((line) => !line.includes('digest'))).toEqual(['linked a'])
})

test('a link that ended is made anew, by whoever can', async () => {
  using a = await startNode('a')
  using b = await startNode('b')
  // Only one of them knows where the other is.
  a.transport.members([{ id: 'b', key: b.key, url: 'ws://127.0.0.1:1' }])
  b.transport.members([a])
  await eventually(() => a.transport.linked().length === 1 && b.transport.linked().length === 1)
  a.transport.drop('b')
  expect(a.transport.linked()).toEqual([])
  // Told in a later turn: who drops is in the middle of something.
  expect(a.told).toEqual(['linked b'])
  await eventually(() => a.told.join() === 'linked b,unlinked b,linked b')
  await eventually(() => b.told.join() === 'linked a,unlinked a,linked a')
})

test('a node that comes back on its address is linked again within a second', async () => {
  using a = await startNode('a')
  const b = await startNode('b')
  meet(a, b)
  await eventually(() => a.transport.linked().length === 1)
  b[Symbol.dispose]()
  await eventually(() => a.told.includes('unlinked b'))
  using again = await startNode('b', { port: b.listener.port })
  a.transport.members([again])
  again.transport.members([a])
  await eventually(() => again.transport.linked().length === 1 && a.transport.linked().length === 1)
})

test('who says nothing is given up, and dialled anew', async () => {
  using a = await startNode('a', { most: { silentMs: 300, bufferBytes: 1024 * 1024 } })
  using b = await startNode('b')
  meet(a, b)
  await eventually(() => a.told.join().startsWith('linked b,unlinked b,linked b'))
  expect(a.refusals).toEqual([])
})

test('a member that is none any more is let go, and refused', async () => {
  using a = await startNode('a')
  using b = await startNode('b')
  meet(a, b)
  await eventually(() => b.transport.linked().length === 1)
  a.transport.members([])
  expect(a.transport.linked()).toEqual([])
  await eventually(() => a.told.includes('unlinked b') && b.told.includes('unlinked a'))
  // It goes on dialling: it does not know.
  await eventually(() => a.refusals.includes('not_a_member'))
  expect(a.told.filter((line) => line === 'linked b')).toHaveLength(1)
  expect(a.transport.send('b', digest(1))).toBe(false)
})

test('a node that was removed is told so, without the secret of those who removed it', async () => {
  using a = await startNode('a', { removed: (id) => (id === 'b' ? membership(7) : null) })
  using b = await startNode('b')
  b.transport.members([a])
  await eventually(() => b.got.length > 0)
  expect(b.got[0]).toEqual({ peer: 'a', message: { t: 'chosen', membership: { ...membership(7), secret: '' } } })
  await eventually(() => b.told.includes('unlinked a'))
  expect(a.refusals[0]).toBe('not_a_member')
  expect(a.told.join()).not.toContain('linked b')
  expect(a.got).toEqual([])
})

test('a restored node is let in by its old secret and its word only where it is allowed', async () => {
  const newer = [{ version: 9, secret: new Uint8Array(32).fill(9) }, SECRET]
  const claims: unknown[] = []
  using a = await startNode('a', {
    secrets: newer,
    former: (claim) => {
      claims.push(claim)
      return true
    },
  })
  using c = await startNode('c', { secrets: newer })
  using restored = await startNode('b2', { formerly: ['b'] })
  // The others still dial the member that it was, at its address.
  for (const node of [a, c]) node.transport.members([{ id: 'b', url: restored.url, key: c.key }])
  restored.transport.members([a, c])
  await eventually(() => a.transport.linked().includes('b2') && restored.transport.linked().includes('a'))
  expect(claims[0]).toEqual({ id: 'b2', key: restored.key, url: restored.url, formerly: ['b'], version: 1 })
  a.transport.send('b2', digest(1))
  await eventually(() => restored.got.length === 1)
  // Time enough for some more dials of the member that it was.
  await eventually(() => c.refusals.filter((reason) => reason === 'not_a_member').length > 5)
  expect(c.told.join()).not.toContain('linked')
  // The one that is reached is not dialled again as the member that it was.
  expect(a.told.filter((line) => line === 'linked b2')).toHaveLength(1)
  expect(a.told.join()).not.toContain('unlinked')
  // It stays linked for as long as it is allowed.
  a.transport.members([])
  expect(a.transport.linked()).toEqual(['b2'])
})

test('a whole cluster restored: nodes that are all others than they were find each other', async () => {
  using a = await startNode('a2', { formerly: ['a'], former: () => true })
  using b = await startNode('b2', { formerly: ['b'], former: () => true })
  a.transport.members([{ id: 'b', url: b.url, key: b.key }])
  b.transport.members([{ id: 'a', url: a.url, key: a.key }])
  await eventually(() => a.transport.linked().join() === 'b2' && b.transport.linked().join() === 'a2')
})

const facts = (bytes: number) =>
  ({
    t: 'facts',
    facts: [{ origin: 'a', stream: 'change', seq: 1, kind: 'x', hlc: '000000000-0000', payload: 'x'.repeat(bytes) }],
    pulled: true,
    more: false,
  }) as const

test('a reader that takes nothing is dropped at the limit of what waits for it', async () => {
  using a = await startNode('a', { most: { silentMs: 60_000, bufferBytes: 4 * 1024 * 1024 } })
  using b = await startNode('b')
  meet(a, b)
  await eventually(() => a.transport.linked().length === 1)
  const big = facts(1024 * 1024)
  let sent = 0
  // In one run of the loop nobody reads.
  while (a.transport.send('b', big)) expect(++sent).toBeLessThan(64)
  expect(sent).toBeGreaterThanOrEqual(4)
  expect(a.transport.linked()).toEqual([])
  await eventually(() => a.told.filter((line) => line === 'linked b').length === 2)
})

test('a message one byte above the largest frame is not sent, and the link stays', async () => {
  using a = await startNode('a')
  using b = await startNode('b')
  meet(a, b)
  await eventually(() => a.transport.linked().length === 1)
  const around = JSON.stringify(facts(0)).length + 1 + 25
  const most = limits.clusterFrameBytesMax - around
  expect(a.transport.send('b', facts(most + 1))).toBe(false)
  expect(a.refusals).toEqual(['too_large'])
  expect(a.transport.send('b', facts(most))).toBe(true)
  await eventually(() => b.got.length === 1)
  // The other way too: one end of a link reads with the runtime's own WebSocket, the other with ours.
  expect(b.transport.send('a', facts(most))).toBe(true)
  await eventually(() => a.got.length === 1)
  expect(a.got[0]?.message).toEqual(facts(most))
  expect(a.told.join() + b.told.join()).not.toContain('unlinked')
})

test('the port answers who is no node in short', async () => {
  using a = await startNode('a')
  const http = a.url.replace('ws:', 'http:')
  const nothing = await fetch(`${http}/api/v1/tokens`)
  expect(nothing.status).toBe(404)
  expect(nothing.headers.get('content-type')).toContain('application/problem+json')
  expect((await fetch(`${http}/link`)).status).toBe(426)
  expect((await fetch(`${http}/link`, { method: 'POST', body: 'x'.repeat(100_000) })).status).toBe(413)
  expect(a.told).toEqual([])
})

test('what is no node yet, but speaks HTTP, is dialled again and counted as nothing', async () => {
  let asked = 0
  const busy = Bun.serve({
    ...{ port: 0, hostname: '127.0.0.1' },
    fetch: (request) => {
      expect(new URL(request.url).search).toBe('?from=a')
      asked++
      return new Response('busy', { status: 503 })
    },
  })
  using a = await startNode('a')
  using b = await startNode('b')
  a.transport.members([{ id: 'b', key: b.key, url: `ws://127.0.0.1:${busy.port}` }])
  await eventually(() => asked >= 3)
  expect(a.told).toEqual([])
  void busy.stop(true)
  a.transport.members([b])
  b.transport.members([{ id: 'a', key: a.key, url: 'ws://127.0.0.1:1' }])
  await eventually(() => a.transport.linked().length === 1)
})

test('of dials that nobody answers so many are under way, and the oldest makes room', async () => {
  const open: number[] = []
  let comers = 0
  let most = 0
  const deaf = createServer((socket) => {
    const number = ++comers
    open.push(number)
    most = Math.max(most, open.length)
    socket.resume().on('error', () => {})
    socket.on('close', () => open.splice(open.indexOf(number), 1))
  })
  await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve))
  using a = await startNode('a')
  using b = await startNode('b')
  const url = `ws://127.0.0.1:${(deaf.address() as AddressInfo).port}`
  a.transport.members([{ id: 'b', key: b.key, url }])
  await eventually(() => comers >= limits.clusterDialsMax + 2 && (open[0] ?? 0) >= 3)
  expect(most).toBeLessThanOrEqual(limits.clusterDialsMax + 1)
  // A link by another way ends them all.
  b.transport.members([a])
  await eventually(() => open.length === 0)
  expect(a.told).toEqual(['linked b'])
  deaf.close()
})

test('over wss, whoever has no certificate for the name is not talked to', async () => {
  const folder = tempFolder()
  const file = (name: string) => join(folder, name)
  const made = Bun.spawnSync([
    ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=node', '-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-keyout', file('key.pem'), '-out', file('cert.pem')],
  ])
  expect(made.exitCode).toBe(0)
  const [key, cert] = [readFileSync(file('key.pem'), 'utf8'), readFileSync(file('cert.pem'), 'utf8')]
  using a = await startNode('a')
  using b = await startNode('b')
  // As a proxy in front of a node does it.
  let comers = 0
  const proxy = createTlsServer({ key, cert }, (from) => {
    comers++
    const to = connect(b.listener.port, '127.0.0.1')
    from.pipe(to).pipe(from)
    from.on('error', () => to.destroy()).on('close', () => to.destroy())
    to.on('error', () => from.destroy()).on('close', () => from.destroy())
  })
  let refused = 0
  proxy.on('tlsClientError', () => refused++)
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const url = `wss://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  b.transport.members([{ id: 'a', key: a.key, url: 'ws://127.0.0.1:1' }])
  a.transport.members([{ id: 'b', key: b.key, url }])
  await eventually(() => refused + comers >= 3)
  expect(a.told).toEqual([])
  expect(b.told).toEqual([])
  setDefaultCACertificates([...getCACertificates('default'), cert])
  await eventually(() => a.transport.linked().length === 1 && b.transport.linked().length === 1)
  a.transport.send('b', digest(1))
  b.transport.send('a', digest(2))
  await eventually(() => a.got.length === 1 && b.got.length === 1)
  proxy.close()
})
