import { expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { encodeMessage } from '../../src/cluster/frame.ts'
import { accept, dial, type Trust } from '../../src/cluster/handshake.ts'
import { sealFrame, type Session } from '../../src/cluster/seal.ts'
import type { Refusal } from '../../src/cluster/transport.ts'
import { limits } from '../../src/limits.ts'
import { eventually } from '../support/poll.ts'
import { digest, meet, startNode, type TestNode, trustOf } from './nodes.ts'

/** At a real listener, and at a real dialler: the link ends, it is counted, and nothing else happens. */

const MB = 1_000_000

/** A WebSocket of bytes that we write ourselves. */
const rawSocket = async (node: TestNode, options: { from?: string; path?: string } = {}) => {
  const { from = '127.0.0.1', path = '/link' } = options
  const socket = connect({ host: '127.0.0.1', port: node.listener.port, localAddress: from })
  const got: Buffer[] = []
  let closed = false
  socket.on('data', (chunk: Buffer) => got.push(chunk))
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  )
  await eventually(() => closed || Buffer.concat(got).includes('\r\n\r\n'))
  const status = Number(Buffer.concat(got).subarray(9, 12).toString())
  return { socket, status, closed: () => closed, got: () => Buffer.concat(got) }
}

/** The head of a client's frame, masked with zeros. */
const head = (first: number, length: number): Buffer => {
  const bytes = Buffer.alloc(14)
  bytes[0] = first
  bytes[1] = 0x80 | 127
  bytes.writeBigUInt64BE(BigInt(length), 2)
  return bytes
}
const TEXT = 0x81
const BINARY = 0x82
const frame = (first: number, content: Uint8Array | string) => {
  const bytes = Buffer.from(content)
  return Buffer.concat([head(first, bytes.length), bytes])
}

/** What comes back in frames; the server's are not masked, and those of a handshake are short. */
const framesIn = (bytes: Buffer): Buffer[] => {
  const frames: Buffer[] = []
  let at = bytes.indexOf('\r\n\r\n') + 4
  while (at + 4 <= bytes.length) {
    const short = bytes[at + 1] as number
    const [start, length] = short === 126 ? [at + 4, bytes.readUInt16BE(at + 2)] : [at + 2, short]
    frames.push(bytes.subarray(start, start + length))
    at = start + length
  }
  return frames
}

/** A member whose socket we have in our hands. */
const rawMember = async (node: TestNode, trust: Trust & { publicKey: string }) => {
  const raw = await rawSocket(node)
  const step = dial(trust, () => node.key, node.id)
  raw.socket.write(frame(TEXT, step.hello))
  const welcome = await eventually(() => framesIn(raw.got())[0])
  const established = step.finish(welcome.toString())
  if (typeof established === 'string') throw new Error(established)
  raw.socket.write(frame(TEXT, established.proof))
  await eventually(() => node.transport.linked().includes(trust.self().id))
  return { ...raw, session: established.session }
}

const good = (session: Session) => session.seal(encodeMessage(digest(1)))

/** What a member's socket may bring, by what it is counted as. */
const ATTACKS: [string, Refusal, (session: Session, socket: Socket) => void][] = [
  [
    'a frame under another key',
    'wrong_key',
    (_, to) => to.write(frame(BINARY, sealFrame(randomBytes(32), 9, randomBytes(50)))),
  ],
  [
    'a frame with a bit turned',
    'wrong_key',
    (session, to) => {
      const bytes = good(session)
      bytes[40] = (bytes[40] as number) ^ 1
      to.write(frame(BINARY, bytes))
    },
  ],
  ['its own sequence changed', 'wrong_key', (session, to) => to.write(frame(BINARY, good(session).fill(7, 8, 9)))],
  ['a frame cut at its end', 'wrong_key', (session, to) => to.write(frame(BINARY, good(session).subarray(0, -1)))],
  ['a frame cut in its head', 'truncated', (session, to) => to.write(frame(BINARY, good(session).subarray(0, 20)))],
  ['the next version', 'wrong_version', (session, to) => to.write(frame(BINARY, good(session).fill(2, 0, 1)))],
  ['a text', 'malformed', (_, to) => to.write(frame(TEXT, JSON.stringify(digest(1))))],
  [
    'sealed rubbish',
    'malformed',
    (session, to) => to.write(frame(BINARY, session.seal(Buffer.from('\x01{"t":"pull"}')))),
  ],
  [
    'sealed in another form',
    'wrong_version',
    (session, to) => to.write(frame(BINARY, session.seal(Buffer.from('\x02x')))),
  ],
  ['100 MB', 'too_large', (_, to) => flood(to, head(BINARY, 100 * MB), 100 * MB)],
  [
    '100 MB in parts',
    'too_large',
    (_, to) => {
      to.write(Buffer.concat([head(0x02, 4 * MB), Buffer.alloc(4 * MB)]))
      for (let part = 0; part < 24; part++) to.write(Buffer.concat([head(0x00, 4 * MB), Buffer.alloc(4 * MB)]))
    },
  ],
]

const flood = (to: Socket, first: Buffer, bytes: number) => {
  to.write(first)
  const chunk = Buffer.alloc(MB)
  for (let sent = 0; sent < bytes && to.writable; sent += MB) to.write(chunk)
}

const withMember = async () => {
  const node = await startNode('a')
  const member = trustOf('m')
  node.transport.members([{ id: 'm', key: member.publicKey, url: 'ws://127.0.0.1:1' }])
  return { node, member }
}

test.each(ATTACKS)('%s: %s', async (_what, reason, attack) => {
  const { node, member } = await withMember()
  using _ = node
  const raw = await rawMember(node, member)
  raw.socket.write(frame(BINARY, good(raw.session)))
  await eventually(() => node.got.length === 1)
  attack(raw.session, raw.socket)
  // Behind it comes what would be right.
  raw.socket.write(frame(BINARY, good(raw.session)))
  await eventually(() => raw.closed())
  await eventually(() => node.told.includes('unlinked m'))
  expect(node.refusals).toEqual([reason])
  expect(node.got).toHaveLength(1)
  expect(node.transport.linked()).toEqual([])
})

test('a frame that comes again: replayed', async () => {
  const { node, member } = await withMember()
  using _ = node
  const raw = await rawMember(node, member)
  const bytes = frame(BINARY, good(raw.session))
  raw.socket.write(Buffer.concat([bytes, bytes]))
  await eventually(() => raw.closed())
  expect(node.refusals).toEqual(['replayed'])
  expect(node.got).toHaveLength(1)
})

test('a handshake that was recorded is of no use', async () => {
  const { node, member } = await withMember()
  using _ = node
  const first = await rawSocket(node)
  const step = dial(member, () => node.key, 'a')
  first.socket.write(frame(TEXT, step.hello))
  const established = step.finish((await eventually(() => framesIn(first.got())[0])).toString())
  if (typeof established === 'string') throw new Error(established)
  const again = await rawSocket(node)
  again.socket.write(Buffer.concat([frame(TEXT, step.hello), frame(TEXT, established.proof)]))
  await eventually(() => again.closed())
  expect(node.refusals).toEqual(['wrong_key'])
  expect(node.told.join()).not.toContain('linked')
})

test.each<[string, Refusal | null, () => Buffer]>([
  ['random bytes as a message', 'malformed', () => frame(BINARY, randomBytes(5_000))],
  ['a text that is no hello', 'malformed', () => frame(TEXT, '{"frames":[1]}')],
  ['no text at all', 'malformed', () => frame(TEXT, '')],
  ['a hello one byte too long', 'malformed', () => frame(TEXT, 'x'.repeat(limits.clusterHelloBytesMax + 1))],
  ['JSON as deep as it may be', 'malformed', () => frame(TEXT, '['.repeat(limits.clusterHelloBytesMax))],
  ['100 MB before it is known', 'too_large', () => Buffer.concat([head(TEXT, 100 * MB), Buffer.alloc(MB)])],
  ['random bytes on the socket', null, () => randomBytes(100_000)],
])('from a stranger: %s', async (_what, reason, bytes) => {
  const { node } = await withMember()
  using _ = node
  const raw = await rawSocket(node)
  raw.socket.write(bytes())
  await eventually(() => raw.closed())
  // What random bytes are taken for depends on them: for a reserved bit, no mask, too much.
  if (reason) expect(node.refusals).toEqual([reason])
  else expect(node.refusals.length).toBeLessThanOrEqual(1)
  expect(node.told.filter((line) => !line.startsWith('refused'))).toEqual([])
})

test('handshakes in masses that are never finished hold a few places, not for long, and not those of others', async () => {
  using a = await startNode('a', { handshakeMs: 120_000 })
  using b = await startNode('b')
  const crowd = await Promise.all(Array.from({ length: 300 }, () => rawSocket(a, { from: '127.0.0.9' })))
  expect(crowd.filter(({ status }) => status === 101)).toHaveLength(limits.clusterHandshakesPerAddressMax)
  expect(crowd.filter(({ status }) => status === 503)).toHaveLength(300 - limits.clusterHandshakesPerAddressMax)
  expect(a.refusals).toEqual(Array(300 - limits.clusterHandshakesPerAddressMax).fill('too_many'))
  meet(a, b)
  await eventually(() => a.transport.linked().length === 1 && b.transport.linked().length === 1)
  for (const { socket } of crowd) socket.destroy()
  // Their places are free again.
  await eventually(async () => (await rawSocket(a, { from: '127.0.0.9' })).status === 101)
})

test('one more than may be under way from everywhere is refused', async () => {
  using a = await startNode('a', { handshakeMs: 120_000 })
  const addresses = limits.clusterHandshakesMax / limits.clusterHandshakesPerAddressMax
  for (let address = 0; address < addresses; address++) {
    const all = Array.from({ length: limits.clusterHandshakesPerAddressMax }, () =>
      rawSocket(a, { from: `127.0.1.${address + 1}` }),
    )
    for (const { status } of await Promise.all(all)) expect(status).toBe(101)
  }
  expect((await rawSocket(a, { from: '127.0.2.1' })).status).toBe(503)
  expect(a.refusals).toEqual(['too_many'])
})

test('who says nothing after connecting is sent away in time', async () => {
  using a = await startNode('a', { handshakeMs: 100 })
  const raw = await rawSocket(a)
  await eventually(() => raw.closed())
  expect(a.told).toEqual([])
})

test('the memory stays flat under 100 MB, again and again', async () => {
  const { node } = await withMember()
  using _ = node
  const once = async () => {
    const raw = await rawSocket(node)
    flood(raw.socket, head(BINARY, limits.clusterFrameBytesMax), 2 * MB)
    raw.socket.write(Buffer.alloc(10))
    const big = await rawSocket(node)
    big.socket.write(Buffer.concat([head(BINARY, 100 * MB), Buffer.alloc(MB)]))
    await eventually(() => big.closed())
    raw.socket.destroy()
  }
  for (let round = 0; round < 20; round++) await once()
  Bun.gc(true)
  const before = process.memoryUsage.rss()
  for (let round = 0; round < 100; round++) await once()
  Bun.gc(true)
  expect(process.memoryUsage.rss() - before).toBeLessThan(50 * MB)
}, 60_000)

/** RFC 6455, 4.2.2. */
const acceptOf = (key: string | undefined): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')

/** Who answers in a member's place with bytes of its own. */
const hostile = (answer: (socket: Socket, accept: string) => void) => {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (bytes: Buffer) => {
      const key = /sec-websocket-key: (.*)\r\n/i.exec(bytes.toString())?.[1]
      answer(socket, acceptOf(key))
    })
  })
  server.listen(0, '127.0.0.1')
  return { url: () => `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, stop: () => server.close() }
}
const upgrade = (accept: string) =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
const serverHead = (first: number, length: number) =>
  Buffer.concat([head(first, length).subarray(0, 1), unmasked(length)])
const unmasked = (length: number) => {
  const bytes = Buffer.alloc(9)
  bytes[0] = 127
  bytes.writeBigUInt64BE(BigInt(length), 1)
  return bytes
}

test.each<[string, Refusal, (socket: Socket, accept: string) => void]>([
  [
    '100 MB',
    'too_large',
    (to, accept) => flood(to, Buffer.concat([Buffer.from(upgrade(accept)), serverHead(BINARY, 100 * MB)]), 100 * MB),
  ],
  [
    '100 MB in parts',
    'too_large',
    (to, accept) => {
      to.write(upgrade(accept))
      to.write(Buffer.concat([serverHead(0x02, 5 * MB), Buffer.alloc(5 * MB)]))
      to.write(Buffer.concat([serverHead(0x00, 5 * MB), Buffer.alloc(5 * MB)]))
    },
  ],
  ['a head without end', 'malformed', (to) => flood(to, Buffer.from('HTTP/1.1 101 x\r\n'), MB)],
  ['another protocol', 'malformed', (to) => to.write('SSH-2.0-OpenSSH_9.2\r\n\r\n')],
  ['the accept of another key', 'malformed', (to) => to.write(upgrade('x'.repeat(27)))],
  [
    'a masked frame',
    'malformed',
    (to, accept) => to.write(Buffer.concat([Buffer.from(upgrade(accept)), frame(TEXT, 'x')])),
  ],
  [
    'a part of nothing',
    'malformed',
    (to, accept) => to.write(Buffer.concat([Buffer.from(upgrade(accept)), serverHead(0x80, 1), Buffer.alloc(1)])),
  ],
  [
    'a welcome that is none',
    'malformed',
    (to, accept) => to.write(Buffer.concat([Buffer.from(upgrade(accept)), serverHead(TEXT, 2), Buffer.from('{}')])),
  ],
  [
    'bytes for a welcome',
    'malformed',
    (to, accept) => to.write(Buffer.concat([Buffer.from(upgrade(accept)), serverHead(BINARY, 2), Buffer.from('{}')])),
  ],
])("who answers in a member's place: %s", async (_what, reason, answer) => {
  using a = await startNode('a')
  const before = process.memoryUsage.rss()
  const server = hostile(answer)
  a.transport.members([{ id: 'b', key: trustOf('b').publicKey, url: server.url() }])
  // It is dialled again, and refused again, as it was before.
  await eventually(() => a.refusals.length >= 2)
  expect(new Set(a.refusals)).toEqual(new Set([reason]))
  expect(a.told.join()).not.toContain('linked')
  expect(process.memoryUsage.rss() - before).toBeLessThan(300 * MB)
  server.stop()
})

test('frames in the smallest parts, a byte a packet, with pings between, are put together', async () => {
  using a = await startNode('a')
  const b = trustOf('b')
  const parts = (first: number, content: Buffer): Buffer =>
    Buffer.concat(
      Array.from(content, (_, at) => {
        const last = at === content.length - 1 ? 0x80 : 0
        const part = Buffer.from([last | (at === 0 ? first & 0x0f : 0), 1, content[at] as number])
        return at % 50 === 0 ? Buffer.concat([part, last ? Buffer.alloc(0) : Buffer.from([0x89, 2, 0x68, 0x69])]) : part
      }),
    )
  let pongs = 0
  let session: Session | null = null
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    let answer: Exclude<ReturnType<typeof accept>, Refusal> | null = null
    let rest = Buffer.alloc(0)
    const slowly = (bytes: Buffer) => {
      for (const byte of bytes) socket.write(Buffer.from([byte]))
    }
    const said = (opcode: number, content: Buffer) => {
      if (opcode === 10) pongs += content.toString() === 'hi' ? 1 : 0
      else if (answer) {
        const established = answer.finish(content.toString())
        if (typeof established === 'string') throw new Error(established)
        session = established.session
        slowly(parts(BINARY, session.seal(encodeMessage(digest(7)))))
      } else {
        const accepted = accept(b, () => a.key, content.toString())
        if (typeof accepted === 'string') throw new Error(accepted)
        answer = accepted
        slowly(parts(TEXT, Buffer.from(accepted.welcome)))
      }
    }
    let open = false
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      if (!open) {
        open = true
        const key = /sec-websocket-key: (.*)\r\n/i.exec(bytes.toString())?.[1]
        return slowly(Buffer.from(upgrade(acceptOf(key))))
      }
      rest = Buffer.concat([rest, bytes])
      for (;;) {
        const short = (rest[1] ?? 0) & 0x7f
        const start = short === 126 ? 8 : 6
        if (rest.length < start) return
        const end = start + (short === 126 ? rest.readUInt16BE(2) : short)
        if (rest.length < end) return
        // Masked with zeros, which changes nothing.
        said((rest[0] as number) & 0x0f, rest.subarray(start, end))
        rest = rest.subarray(end)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  a.transport.members([{ id: 'b', key: b.publicKey, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}` }])
  await eventually(() => a.got.length === 1)
  expect(a.got).toEqual([{ peer: 'b', message: digest(7) }])
  expect(a.refusals).toEqual([])
  await eventually(() => pongs > 5)
  server.close()
})
