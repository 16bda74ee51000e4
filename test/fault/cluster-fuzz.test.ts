import { afterAll, beforeAll, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { dial } from '../../src/cluster/handshake.ts'
import type { Refusal } from '../../src/cluster/transport.ts'
import { limits } from '../../src/limits.ts'
import { trustOf } from '../cluster/nodes.ts'
import { builtBinary } from '../support/binary.ts'
import { startCluster, type TestCluster, type TestMember } from '../support/cluster.ts'
import { figure, readExposition } from '../support/exposition.ts'
import { eventually } from '../support/poll.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'

/**
 * Whoever stands between two nodes that run, or at the port of one, says what it likes: the link ends, it is counted by its
 * reason, and nothing else happens. Clients' streams go on, the cluster becomes whole again by itself.
 */

const MB = 1_000_000
/** Ten times 100 MB would show; the collector's own ups and downs are less. */
const GROWTH_BYTES_MAX = 96 * MB

let cluster: TestCluster
let [a, b, c] = [] as unknown as TestMember[] as [TestMember, TestMember, TestMember]
const upstream = startStreamUpstream()
let streams: Awaited<ReturnType<typeof upstream.open>>[]
let leaked: { id: string; token: string }

beforeAll(async () => {
  cluster = await startCluster(3, { proxied: true, command: [builtBinary()] })
  ;[a, b, c] = cluster.members as [TestMember, TestMember, TestMember]
  await a.running.addServer('live', upstream.url, { kind: 'http' })
  leaked = await a.running.createToken('leaked', ['live'])
  await cluster.spread()
  streams = await Promise.all(cluster.members.map(({ running }) => upstream.open(running.gate, leaked.token)))
  // Where the last test does not come to read them, they break when the nodes stop.
  for (const { text } of streams) text.catch(() => '')
}, 60_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  upstream.stop()
})

const refusedAt = async (member: TestMember): Promise<Record<string, number>> => {
  const { series } = readExposition(await (await fetch(`${member.running.console}/metrics`)).text())
  const refused = series.filter(({ name }) => name === 'portcullis_cluster_refused_total')
  return Object.fromEntries(refused.map(({ labels, value }) => [labels['reason'] ?? '', value]))
}
const linksLostAt = async (member: TestMember): Promise<number> =>
  figure(readExposition(await (await fetch(`${member.running.console}/metrics`)).text()), LOST)
const LOST = 'portcullis_cluster_links_lost_total'

/** What was counted since, where anything was. */
const since = (before: Record<string, number>, now: Record<string, number>) =>
  Object.fromEntries(
    Object.entries(now).flatMap(([reason, count]) => {
      const more = count - (before[reason] ?? 0)
      return more === 0 ? [] : [[reason, more]]
    }),
  )

const nothingElse = async () => {
  await cluster.settled()
  expect(streams.map((stream) => stream.endedAt())).toEqual([0, 0, 0])
}

const TEXT = 0x81
const BINARY = 0x82

/** The head of a frame of the side that dialled, masked with zeros. */
const headOf = (first: number, length: number): Buffer => {
  const bytes = Buffer.alloc(14)
  bytes[0] = first
  bytes[1] = 0x80 | 127
  bytes.writeBigUInt64BE(BigInt(length), 2)
  return bytes
}
const frame = (first: number, content: Uint8Array | string): Buffer => {
  const bytes = Buffer.from(content)
  return Buffer.concat([headOf(first, bytes.length), bytes])
}

/** What a chunk holds, if it is one sealed frame of the side that dialled. */
const sealedIn = (chunk: Buffer): Buffer | null => {
  if (chunk[0] !== BINARY || chunk.length < 32) return null
  const short = (chunk[1] as number) & 0x7f
  const start = (short === 127 ? 10 : short === 126 ? 4 : 2) + 4
  const length = short === 127 ? Number(chunk.readBigUInt64BE(2)) : short === 126 ? chunk.readUInt16BE(2) : short
  return chunk.length === start + length ? Buffer.from(chunk.subarray(start)) : null
}

/** Tampers once with a frame between two nodes; resolves with the one that got it. */
const tamper = (one: TestMember, other: TestMember, change: (sealed: Buffer, chunk: Buffer) => Buffer) =>
  new Promise<TestMember>((resolve) => {
    let done = false
    const clean = async () => {
      for (const [to, from] of [
        [one, other],
        [other, one],
      ] as const)
        if (to.proxy) to.proxy.wireFrom(await from.id()).tap = null
    }
    const tapAt = async (to: TestMember, from: TestMember) => {
      if (!to.proxy) throw new Error('only proxied links can be tampered with')
      to.proxy.wireFrom(await from.id()).tap = (chunk, of) => {
        const sealed = done || of !== 'dialler' ? null : sealedIn(chunk)
        if (!sealed) return chunk
        done = true
        void clean().then(() => resolve(to))
        return change(sealed, chunk)
      }
    }
    void tapAt(one, other)
    void tapAt(other, one)
  })

const turned = (bytes: Buffer, at: number): Buffer => {
  const index = at < 0 ? bytes.length + at : at
  bytes[index] = (bytes[index] as number) ^ 1
  return frame(BINARY, bytes)
}

test.each<[string, Refusal, (sealed: Buffer, chunk: Buffer) => Buffer]>([
  ['a bit is turned in what is sealed', 'wrong_key', (sealed) => turned(sealed, 30)],
  ['a bit is turned in its proof', 'wrong_key', (sealed) => turned(sealed, -1)],
  ['its number is another', 'wrong_key', (sealed) => turned(sealed, 6)],
  [
    'it is of somebody else',
    'wrong_key',
    (sealed) => frame(BINARY, Buffer.concat([sealed.subarray(0, 9), randomBytes(99)])),
  ],
  ['it comes again', 'replayed', (_, chunk) => Buffer.concat([chunk, chunk])],
  ['its end is missing', 'truncated', (sealed) => frame(BINARY, sealed.subarray(0, 20))],
  ['its version is another', 'wrong_version', (sealed) => frame(BINARY, sealed.fill(2, 0, 1))],
  ['it is a text', 'malformed', () => frame(TEXT, '{"t":"digest"}')],
  ['it is 100 MB long', 'too_large', () => Buffer.concat([headOf(BINARY, 100 * MB), Buffer.alloc(MB)])],
])('between two nodes: %s', async (_what, reason, change) => {
  const before = new Map(await Promise.all([a, b].map(async (member) => [member, await refusedAt(member)] as const)))
  const receiver = await tamper(a, b, change)
  await eventually(async () => (await refusedAt(receiver))[reason] !== before.get(receiver)?.[reason])
  await nothingElse()
  expect(since(before.get(receiver) ?? {}, await refusedAt(receiver))).toEqual({ [reason]: 1 })
})

test('a link that is half open, in the middle of a frame, is given up and made anew', async () => {
  const lost = (await linksLostAt(a)) + (await linksLostAt(b))
  const dead = new Set<string>()
  const ids = { a: await a.id(), b: await b.id() }
  for (const [to, from] of [
    [a, ids.b],
    [b, ids.a],
  ] as const) {
    if (!to.proxy) throw new Error('not proxied')
    let open = true
    // From the middle of a frame on nothing more goes either way, and nobody is told.
    to.proxy.wireFrom(from).tap = (chunk, of, link) => {
      if (dead.has(`${to.name} ${link}`)) return Buffer.alloc(0)
      if (!open || of !== 'dialler' || !sealedIn(chunk)) return chunk
      open = false
      dead.add(`${to.name} ${link}`)
      return chunk.subarray(0, chunk.length >> 1)
    }
  }
  await eventually(() => dead.size > 0)
  await eventually(async () => (await linksLostAt(a)) + (await linksLostAt(b)) > lost, { timeoutMs: 15_000 })
  await nothingElse()
  for (const [to, from] of [
    [a, ids.b],
    [b, ids.a],
  ] as const)
    if (to.proxy) to.proxy.wireFrom(from).tap = null
})

/** A socket at a node's own port, with an upgrade asked for. */
const strangerAt = async (member: TestMember, path = '/link') => {
  const socket = connect({ host: '127.0.0.1', port: member.port, localAddress: '127.0.0.9' })
  let closed = false
  const got: Buffer[] = []
  socket.on('data', (chunk: Buffer) => got.push(chunk))
  socket.on('error', () => socket.destroy())
  socket.on('close', () => (closed = true))
  socket.write(upgradeOf(path))
  await eventually(() => closed || Buffer.concat(got).includes('\r\n\r\n'))
  return { socket, closed: () => closed, status: Number(Buffer.concat(got).subarray(9, 12).toString()) }
}
const upgradeOf = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`

const flood = (to: Socket, bytes: number): void => {
  const chunk = Buffer.alloc(MB)
  for (let sent = 0; sent < bytes && to.writable; sent += MB) to.write(chunk)
}

test.each<[string, Refusal | null, (to: Socket) => void]>([
  ['no hello', 'malformed', (to) => to.write(frame(TEXT, '{"frames":[1]}'))],
  ['bytes for a hello', 'malformed', (to) => to.write(frame(BINARY, randomBytes(5_000)))],
  [
    'the hello of who is no member',
    'not_a_member',
    (to) => to.write(frame(TEXT, dial(trustOf('stranger'), () => null, 'somebody').hello)),
  ],
  [
    'the hello of the next version only',
    'wrong_version',
    (to) => {
      const hello = JSON.parse(dial(trustOf('stranger'), () => null, 'somebody').hello) as object
      to.write(frame(TEXT, JSON.stringify({ ...hello, frames: [2] })))
    },
  ],
  [
    '100 MB',
    'too_large',
    (to) => {
      to.write(headOf(TEXT, 100 * MB))
      flood(to, 100 * MB)
    },
  ],
  ['any bytes', null, (to) => to.write(randomBytes(200_000))],
])('a stranger says: %s', async (_what, reason, says) => {
  for (const path of ['/link', '/join']) {
    // To who joins, this is no hello at all.
    const expected = path === '/join' && reason === 'not_a_member' ? 'malformed' : reason
    const before = await refusedAt(a)
    const stranger = await strangerAt(a, path)
    expect(stranger.status).toBe(101)
    says(stranger.socket)
    await eventually(() => stranger.closed(), { timeoutMs: 10_000 })
    const counted = await eventually(async () => {
      const more = since(before, await refusedAt(a))
      return (!reason || Object.keys(more).length > 0) && { more }
    })
    if (path === '/join' && reason === 'wrong_version') expect(Object.keys(counted.more)).toHaveLength(1)
    else if (expected) expect(counted.more).toEqual({ [expected]: 1 })
    else expect(Object.values(counted.more).reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(1)
  }
  await nothingElse()
})

test('a whole link that was recorded, said again', async () => {
  const ids = { a: await a.id(), b: await b.id() }
  const recorded = new Map<string, { at: TestMember; chunks: Buffer[] }>()
  const pairs = [
    [a, ids.b],
    [b, ids.a],
  ] as const
  for (const [to, from] of pairs) {
    if (!to.proxy) throw new Error('not proxied')
    to.proxy.wireFrom(from).tap = (chunk, of, link) => {
      const key = `${to.name} ${link}`
      // From its beginning.
      if (of === 'dialler' && (recorded.has(key) || chunk.toString('latin1', 0, 4) === 'GET ')) {
        const record = recorded.get(key) ?? { at: to, chunks: [] }
        record.chunks.push(Buffer.from(chunk))
        recorded.set(key, record)
      }
      return chunk
    }
  }
  await cluster.cut(a, b)
  await cluster.cut(a, b, false)
  const whole = await eventually(() => [...recorded.values()].find(({ chunks }) => chunks.some(sealedIn)))
  await cluster.settled()
  for (const [to, from] of pairs) if (to.proxy) to.proxy.wireFrom(from).tap = null
  const before = await refusedAt(whole.at)
  const socket = connect({ host: '127.0.0.1', port: whole.at.port })
  let closed = false
  socket.on('error', () => socket.destroy())
  socket.on('close', () => (closed = true))
  socket.on('data', () => {})
  socket.write(Buffer.concat(whole.chunks))
  await eventually(() => closed)
  expect(since(before, await refusedAt(whole.at))).toEqual({ wrong_key: 1 })
  await nothingElse()
})

test('who connects and says nothing holds few places, and not for long', async () => {
  const before = await refusedAt(a)
  const crowd = await Promise.all(Array.from({ length: 100 }, () => strangerAt(a)))
  const silent = crowd.filter(({ status }) => status === 101)
  expect(silent).toHaveLength(limits.clusterHandshakesPerAddressMax)
  expect(since(before, await refusedAt(a))).toEqual({ too_many: 100 - limits.clusterHandshakesPerAddressMax })
  await eventually(() => silent.every(({ closed }) => closed()), { timeoutMs: 2 * limits.clusterHandshakeMs })
  for (const { socket } of crowd) socket.destroy()
  await nothingElse()
}, 30_000)

test('100 MB again and again leave nothing in memory', async () => {
  const once = async () => {
    const stranger = await strangerAt(a)
    stranger.socket.write(headOf(BINARY, 100 * MB))
    flood(stranger.socket, 100 * MB)
    await eventually(() => stranger.closed(), { timeoutMs: 10_000 })
  }
  for (let round = 0; round < 3; round += 1) await once()
  const before = await a.running.residentBytes()
  for (let round = 0; round < 10; round += 1) await once()
  await eventually(async () => (await a.running.residentBytes()) - before < GROWTH_BYTES_MAX, { timeoutMs: 10_000 })
  await nothingElse()
}, 30_000)

test('after all that a revocation cuts everywhere, and is complete', async () => {
  const { json } = await c.running.api<{ complete: boolean }>('POST', '/revocations?wait=5s', {
    tokens: [leaked.id],
    reason: 'compromised',
  })
  expect(json.complete).toBe(true)
  for (const { text } of streams) expect(await text).toContain('token_revoked')
  for (const { running } of cluster.members)
    expect(running.stderr()).not.toMatch(/promise was rejected|panic|a step failed/)
})
