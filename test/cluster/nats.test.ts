import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import type { Refusal } from '../../src/cluster/transport.ts'
import { limits } from '../../src/limits.ts'
import { hasNats, NatsServer, natsCreds, startNats, streamOf } from '../support/nats.ts'
import { eventually } from '../support/poll.ts'
import { tempFolder } from '../support/temp.ts'
import { areLinked, digest, facts, introduce, membership, Peer, prepare, startPeers } from './nats-peer.ts'

const there = hasNats()

/** Digests as the protocol sends them, faster: without any, all are silent. */
const talk = (peers: readonly Peer[], everyMs = 100) => {
  let ask = 0
  const timer = setInterval(() => {
    ask += 1
    for (const { transport } of peers) transport.broadcast(digest(ask))
  }, everyMs)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const heardOf = (peer: Peer, from: string, kind: string) =>
  peer.heard.filter((heard) => heard.from === from && heard.message.t === kind).map(({ message }) => message)

describe.skipIf(!there)('over one server', () => {
  let server: Awaited<ReturnType<typeof startNats>>
  let raw: NatsConnection
  beforeAll(async () => {
    server = await startNats()
    raw = await connect({ servers: server.url })
  })
  afterAll(async () => {
    await raw.close()
    await server.stop()
  })

  /** Every frame of a cluster, as anybody on the server can read it. */
  const sniff = (cluster: string) => {
    const seen: { subject: string; frame: Uint8Array }[] = []
    const subscription = raw.subscribe(`portcullis.${cluster}.>`, {
      callback: (_error, { subject, data }) => void seen.push({ subject, frame: data.slice() }),
    })
    return { seen, [Symbol.dispose]: () => subscription.unsubscribe() }
  }

  test('three find each other; what is for one goes to one, what is for all is sent once', async () => {
    using peers = await startPeers([server.url], ['a', 'b', 'c'])
    const [a, b, c] = peers
    await eventually(() => areLinked(peers))
    using wire = sniff(a.cluster)
    await raw.flush()
    a.transport.broadcast(digest(7))
    a.transport.broadcast(facts('a', 1))
    expect(a.transport.send('b', prepare(7))).toBe(true)
    await eventually(() => b.heard.length >= 3 && c.heard.length >= 2)
    expect(b.heard.map(({ from, message }) => [from, message.t])).toEqual([
      ['a', 'digest'],
      ['a', 'facts'],
      ['a', 'prepare'],
    ])
    expect(c.heard.map(({ message }) => message.t)).toEqual(['digest', 'facts'])
    expect(a.heard).toEqual([])
    // Of b and c a late handshake may be on its way.
    const ofA = () => wire.seen.filter(({ subject }) => subject.endsWith('.a'))
    // Whoever listens in hears it by a connection of its own.
    await eventually(() => ofA().length >= 3)
    expect(ofA().map(({ subject }) => subject)).toEqual(
      ['digest.a', 'facts.a', 'to.b.a'].map((subject) => `portcullis.${a.cluster}.${subject}`),
    )
    expect([a, b, c].flatMap(({ refused }) => refused)).toEqual([])
  })

  test('nothing of it can be read on the server, and JetStream keeps each fact once', async () => {
    using peers = await startPeers([server.url], ['a', 'b'])
    const [a, b] = peers
    await eventually(() => areLinked(peers))
    using wire = sniff(a.cluster)
    await raw.flush()
    const stream = `portcullis_${a.cluster}`
    await eventually(() => streamOf(server, stream))
    for (let seq = 1; seq <= 10; seq += 1) a.transport.broadcast(facts('a', seq, '{"who":"a very secret subject"}'))
    await eventually(() => heardOf(b, 'a', 'facts').length === 10)
    await eventually(async () => (await streamOf(server, stream))?.state.messages === 10)
    const all = Buffer.concat(wire.seen.map(({ frame }) => frame)).toString('latin1')
    expect(wire.seen.length).toBeGreaterThanOrEqual(10)
    expect(all).not.toContain('secret subject')
    expect(all).not.toContain('facts')
    // What JetStream stored came to b as well, and was not heard twice.
    expect(heardOf(b, 'a', 'facts')).toHaveLength(10)
  })

  test('what is larger than the server takes comes in parts; what is larger than a frame may be, not at all', async () => {
    using peers = await startPeers([server.url], ['a', 'b'])
    const [a, b] = peers
    await eventually(() => areLinked(peers))
    const payload = randomBytes(1_500_000).toString('hex')
    expect(a.transport.send('b', facts('a', 1, payload, true))).toBe(true)
    a.transport.broadcast(facts('a', 2, payload))
    await eventually(() => b.heard.length === 2)
    for (const { message } of b.heard) {
      expect(message.t === 'facts' && message.facts[0]?.payload === payload).toBe(true)
    }
    expect(a.transport.send('b', facts('a', 3, 'x'.repeat(limits.clusterFrameBytesMax)))).toBe(false)
    expect(a.refused).toEqual(['too_large'])
    a.transport.broadcast(digest(1))
    await eventually(() => heardOf(b, 'a', 'digest').length === 1)
    expect(b.heard).toHaveLength(3)
    expect(b.refused).toEqual([])
    // A sender that thinks otherwise is not given the memory for it.
    b.transport.stop()
    await b.start([server.url], { clusterFrameBytesMax: 2 * 1024 * 1024 })
    introduce(peers)
    await eventually(() => a.links.length === 3 && areLinked(peers))
    a.transport.send('b', facts('a', 4, payload, true))
    await eventually(() => b.refused.length > 0)
    a.transport.send('b', prepare(1))
    await eventually(() => heardOf(b, 'a', 'prepare').length === 1)
    expect(b.refused).toEqual(['too_large'])
    expect(b.heard).toHaveLength(4)
  })

  test('one with another secret, another key or no membership is refused and counted', async () => {
    using peers = await startPeers([server.url], ['b', 'c'])
    const [b, c] = peers
    const wrongSecret = new Peer('a', randomBytes(32), b.cluster)
    const wrongKey = new Peer('d', b.secret, b.cluster)
    const stranger = new Peer('e', b.secret, b.cluster)
    const others = [wrongSecret, wrongKey, stranger]
    await Promise.all(others.map((peer) => peer.start([server.url])))
    try {
      for (const { transport } of others) transport.members([b.member, c.member])
      b.transport.members([c.member, wrongSecret.member, { ...wrongKey.member, key: new Peer('d', b.secret, '').key }])
      c.transport.members([b.member])
      await eventually(() => b.refused.filter((reason) => reason === 'wrong_key').length >= 2)
      await eventually(() => b.refused.includes('not_a_member') && c.refused.includes('not_a_member'))
      await eventually(() => c.transport.linked().length === 1)
      b.transport.broadcast(digest(1))
      await eventually(() => heardOf(c, 'b', 'digest').length === 1)
      expect(b.links).toEqual(['+c'])
      for (const peer of others) expect([peer.links, peer.heard]).toEqual([[], []])
      expect(b.heard).toEqual([])
    } finally {
      for (const { transport } of others) transport.stop()
    }
  })

  test('garbage, replays and changed frames are counted; the links stay, and nothing of it is heard', async () => {
    using peers = await startPeers([server.url], ['a', 'b'])
    const [a, b] = peers
    await eventually(() => areLinked(peers))
    using wire = sniff(a.cluster)
    await raw.flush()
    a.transport.broadcast(digest(1))
    a.transport.broadcast(facts('a', 1))
    a.transport.send('b', prepare(1))
    await eventually(() => wire.seen.length === 3 && b.heard.length === 3)
    const recorded = [...wire.seen]
    const say = async (expected: Refusal, subject: string, frame: Uint8Array) => {
      const before = b.refused.length
      raw.publish(subject, frame)
      await eventually(() => b.refused.length > before, { what: `${expected} is counted` })
      expect(b.refused.slice(before)).toEqual([expected])
    }
    for (const { subject, frame } of recorded) {
      await say('replayed', subject, frame)
      // The sequence is raised, so that it is not taken for a replay: its seal does not hold.
      const head = subject.includes('.to.') ? 9 : 8
      const raised = Buffer.from(frame)
      raised.writeBigUInt64BE(1_000n, head + 1)
      await say('wrong_key', subject, raised)
      await say('truncated', subject, frame.subarray(0, head + 3))
      const newer = Buffer.from(frame)
      newer[head] = 9
      await say('wrong_version', subject, newer)
    }
    const direct = `portcullis.${a.cluster}.to.b.a`
    await say('truncated', direct, new Uint8Array(0))
    await say('wrong_version', direct, randomBytes(64).fill(9, 0, 1))
    await say('malformed', direct, Buffer.concat([Buffer.of(1), randomBytes(500)]))
    // Of unknown keys and sessions nobody knows what they are: passed over, not counted.
    for (const { subject } of recorded) raw.publish(subject, Buffer.concat([Buffer.of(4), randomBytes(200)]))
    raw.publish(`portcullis.${a.cluster}.digest.nobody`, randomBytes(900_000))
    await raw.flush()
    a.transport.broadcast(digest(2))
    await eventually(() => heardOf(b, 'a', 'digest').length === 2)
    expect(b.heard).toHaveLength(4)
    expect(b.links).toEqual(['+a'])
    expect(a.links).toEqual(['+b'])
  })

  test('a restart is a new link at once, silence is none', async () => {
    using peers = await startPeers([server.url], ['a', 'b', 'c'], { clusterSilentMs: 600 })
    const [a, b, c] = peers
    await eventually(() => areLinked(peers))
    using _talk = talk([a, c])
    b.transport.stop()
    await b.start([server.url], { clusterSilentMs: 600 })
    introduce(peers)
    await eventually(() => areLinked(peers))
    expect(a.links.filter((told) => told.endsWith('b')).slice(0, 3)).toEqual(['+b', '-b', '+b'])
    // b hears them and says nothing.
    await eventually(() => !a.transport.linked().includes('b') && !c.transport.linked().includes('b'))
    expect(a.transport.linked()).toEqual(['c'])
    expect(a.transport.send('b', prepare(1))).toBe(false)
    expect(c.links.filter((told) => told.endsWith('a'))).toEqual(['+a'])
    using _too = talk([b])
    await eventually(() => areLinked(peers))
  })

  test('who is no member any more hears nothing, and is told so', async () => {
    using peers = await startPeers([server.url], ['a', 'b', 'c'])
    const [a, b, c] = peers
    await eventually(() => areLinked(peers))
    a.removal = { c: membership(5) }
    a.transport.members([b.member])
    b.transport.members([a.member])
    a.transport.broadcast(digest(1))
    await eventually(() => c.heard.some(({ message }) => message.t === 'chosen'), { timeoutMs: 10_000 })
    const [told] = heardOf(c, 'a', 'chosen')
    expect(told).toMatchObject({ membership: { version: 5, secret: '' } })
    const before = c.heard.length
    a.transport.broadcast(facts('a', 1))
    b.transport.broadcast(digest(1))
    await eventually(() => heardOf(b, 'a', 'facts').length === 1 && heardOf(a, 'b', 'digest').length === 1)
    // What comes after it on c's connection came, so c got all there was for it.
    raw.publish(`portcullis.${a.cluster}.to.c.a`, Buffer.alloc(64, 9))
    await eventually(() => c.refused.includes('wrong_version'))
    expect(heardOf(c, 'a', 'facts')).toEqual([])
    expect(c.heard.slice(before).filter(({ message }) => message.t !== 'chosen')).toEqual([])
    expect(a.refused).toContain('not_a_member')
    expect(a.transport.linked()).toEqual(['b'])
  })

  test('a node that was restored is let in by members that agree', async () => {
    using peers = await startPeers([server.url], ['a', 'b'])
    const [a, b] = peers
    await eventually(() => areLinked(peers))
    const restored = new Peer('z', a.secret, a.cluster, ['b'])
    a.lets = (claim) => claim.formerly.includes('b') && claim.key === restored.key
    b.transport.stop()
    await restored.start([server.url])
    try {
      restored.transport.members([a.member])
      await eventually(() => a.transport.linked().includes('z') && restored.transport.linked().includes('a'))
      a.transport.broadcast(digest(3))
      await eventually(() => heardOf(restored, 'a', 'digest').length === 1)
      // It becomes a member by its new name: the link stays.
      a.transport.members([restored.member])
      restored.transport.broadcast(digest(4))
      await eventually(() => heardOf(a, 'z', 'digest').length === 1)
      expect(a.links.filter((told) => told.endsWith('z'))).toEqual(['+z'])
    } finally {
      restored.transport.stop()
    }
  })

  test('versions with known flaws are told, once', async () => {
    using peers = await startPeers([server.url], ['a'])
    const [a] = peers
    const old = raw.info?.version.startsWith('2.9.')
    expect(a.warned).toEqual(
      old ? [expect.stringMatching(/^NATS server 2\.9\.\d+ has known security flaws: upgrade it/)] : [],
    )
  })
})

/** Two servers that know nothing of each other, and what carries frames from one to the other, or loses them. */
const bridge = async (clusterSilentMs = 600) => {
  const servers = await Promise.all([startNats(), startNats()])
  const [one, two] = await Promise.all(servers.map(({ url }) => connect({ servers: url, noEcho: true })))
  if (!one || !two) throw new Error('no connections')
  const way = { passes: (_subject: string, _frame: Uint8Array): boolean => true, delayMs: 0 }
  const carry = (from: NatsConnection, to: NatsConnection) =>
    from.subscribe('portcullis.>', {
      callback: (_error, { subject, data }) => {
        if (!way.passes(subject, data)) return
        const pass = () => {
          if (!to.isClosed()) to.publish(subject, data)
        }
        if (way.delayMs === 0) pass()
        else setTimeout(pass, way.delayMs)
      },
    })
  carry(one, two)
  carry(two, one)
  await Promise.all([one.flush(), two.flush()])
  const secret = randomBytes(32)
  // c is where a is: as long as a talks to anybody, b could hear it.
  const peers = ['a', 'b', 'c'].map((id) => new Peer(id, secret, 'bridged')) as [Peer, Peer, Peer]
  await Promise.all(peers.map((peer) => peer.start([servers[peer.id === 'b' ? 1 : 0].url], { clusterSilentMs })))
  introduce(peers)
  await eventually(() => areLinked(peers))
  return {
    peers,
    way,
    [Symbol.asyncDispose]: async () => {
      for (const { transport } of peers) transport.stop()
      await Promise.all([one.close(), two.close()])
      await Promise.all(servers.map((server) => server.stop()))
    },
  }
}

describe.skipIf(!there)('over servers that lose frames', () => {
  test('a part that got lost is not made up by parts of other messages', async () => {
    await using bridged = await bridge()
    const [a, b] = bridged.peers
    using _talk = talk(bridged.peers)
    const lost = [2, 3]
    let parts = 0
    bridged.way.passes = (subject, frame) => {
      if (!subject.endsWith('to.b.a') || frame.length < 100_000) return true
      parts += 1
      return !lost.includes(parts)
    }
    const big = (fill: string) => facts('a', 1, fill.repeat(1_500_000), true)
    // Of two parts each, the end of the first gets lost, and the beginning of the second.
    a.transport.send('b', big('x'))
    a.transport.send('b', big('y'))
    a.transport.send('b', big('z'))
    await eventually(() => heardOf(b, 'a', 'facts').length > 0)
    expect(parts).toBe(6)
    expect(heardOf(b, 'a', 'facts')).toEqual([big('z')])
    expect(b.refused).toEqual([])
  })

  test('who is not heard any more finds that out, though it hears; both are linked again once they hear each other', async () => {
    await using bridged = await bridge()
    const [a, b] = bridged.peers
    using _talk = talk(bridged.peers)
    // Only what a says to all passes: b is told nothing by a, and has to notice by the key.
    bridged.way.passes = (subject) => subject.endsWith('.a') && !subject.includes('.to.')
    await eventually(() => a.links.includes('-b') && b.links.includes('-a'))
    bridged.way.passes = () => true
    await eventually(() => areLinked(bridged.peers))
    const before = heardOf(a, 'b', 'digest').length
    await eventually(() => heardOf(a, 'b', 'digest').length > before)
    const ofPair = (links: string[], other: string) => links.filter((told) => told.endsWith(other))
    expect(ofPair(a.links, 'b')).toEqual(['+b', '-b', '+b'])
    expect(ofPair(b.links, 'a')).toEqual(['+a', '-a', '+a'])
  })

  test('far nodes are linked, though their answers take longer than the next try', async () => {
    await using bridged = await bridge(limits.clusterSilentMs)
    const [a, b] = bridged.peers
    using _talk = talk(bridged.peers)
    bridged.way.delayMs = 400
    a.transport.drop('b')
    await eventually(() => b.links.at(-1) === '-a')
    await eventually(() => areLinked(bridged.peers), { timeoutMs: 10_000 })
    // And stay so: what else was under way ends nothing.
    const links = a.links.length
    const before = heardOf(a, 'b', 'digest').length
    await eventually(() => heardOf(a, 'b', 'digest').length > before + 20)
    expect(a.links.length).toBe(links)
    expect([a.refused, b.refused]).toEqual([[], []])
  })

  test('handshakes that lose any one frame are made again', async () => {
    await using bridged = await bridge()
    const [a, b] = bridged.peers
    using _talk = talk(bridged.peers)
    // Hello, welcome, proof, and the keys of both.
    for (let frames = 0; frames < 5; frames += 1) {
      let left = frames
      a.transport.drop('b')
      await eventually(() => !a.transport.linked().includes('b'))
      bridged.way.passes = (subject) => !subject.includes('.to.') || left-- !== 0
      await eventually(() => areLinked(bridged.peers))
      await eventually(() => left < 0)
    }
    expect([a.refused, b.refused]).toEqual([[], []])
  })
})

describe.skipIf(!there)('a server that is not there', () => {
  test('does not hold the start up; links come with it, and come back with it', async () => {
    const probe = await startNats()
    const server = new NatsServer('late', probe.ports, '')
    await probe.stop()
    const url = server.url
    using peers = await startPeers([url], ['a', 'b'], { clusterSilentMs: 600 })
    const [a] = peers
    using _talk = talk(peers)
    expect(a.transport.linked()).toEqual([])
    expect(a.transport.send('b', digest(1))).toBe(false)
    expect(a.warned).toEqual([expect.stringContaining(`NATS at 127.0.0.1:`)])
    try {
      await server.start()
      await eventually(() => areLinked(peers), { timeoutMs: 10_000 })
      await server.kill()
      await eventually(() => a.transport.linked().length === 0, { timeoutMs: 10_000 })
      server.wipe()
      await server.start()
      await eventually(() => areLinked(peers), { timeoutMs: 10_000 })
      // What JetStream kept is gone, and it is asked to keep what is new.
      await eventually(() => streamOf(server, `portcullis_${a.cluster}`), { timeoutMs: 10_000 })
    } finally {
      await server.stop()
    }
  }, 60_000)
})

describe.skipIf(!there)('servers with settings of their own', () => {
  test('one that takes little at once gets all in small parts', async () => {
    await using server = await startNats('max_payload: 4096')
    using peers = await startPeers([server.url], ['a', 'b'])
    const [a, b] = peers
    await eventually(() => areLinked(peers))
    const payload = randomBytes(50_000).toString('hex')
    a.transport.broadcast(facts('a', 1, payload))
    a.transport.broadcast(digest(1))
    await eventually(() => b.heard.length === 2)
    expect(heardOf(b, 'a', 'facts')).toEqual([facts('a', 1, payload)])
  })

  test('one without JetStream does, and that is told once', async () => {
    await using server = await startNats('', 'nats', false)
    using peers = await startPeers([server.url], ['a', 'b'])
    const [a, b] = peers
    await eventually(() => areLinked(peers))
    a.transport.broadcast(facts('a', 1))
    await eventually(() => heardOf(b, 'a', 'facts').length === 1)
    await eventually(() => a.warned.some((text) => text.startsWith('JetStream: ')))
    expect(a.warned.filter((text) => text.startsWith('JetStream: '))).toHaveLength(1)
  })
})

describe.skipIf(!there)('who may connect', () => {
  const start = async (urls: string[], credsFile: string | null = null) => {
    const peer = new Peer('a', randomBytes(32), 'cluster')
    await peer.start(urls, {}, credsFile)
    return Object.assign(peer, { [Symbol.dispose]: () => peer.transport.stop() })
  }

  /** That the stream was made says that it was let in, with all rights that are needed. */
  const isIn = (server: NatsServer) => eventually(() => streamOf(server, 'portcullis_cluster'))

  test('is said by a credentials file, which is read again at each connection', async () => {
    const { config, creds } = natsCreds()
    await using server = await startNats(config)
    const file = join(tempFolder(), 'portcullis.creds')
    writeFileSync(file, natsCreds().creds)
    using peer = await start([server.url], file)
    await eventually(() => peer.warned.some((text) => /authorization/i.test(text)))
    expect(await streamOf(server, 'portcullis_cluster')).toBeNull()
    writeFileSync(file, creds)
    await isIn(server)
    await eventually(async () => (await streamOf(server, 'portcullis_cluster'))?.state.consumer_count === 1)
    expect(peer.warned.filter((text) => /permission/i.test(text))).toEqual([])
    // None of its secrets gets into what is logged.
    expect(peer.warned.join('\n')).not.toMatch(/SEED|eyJ/)
  })

  test('tls:// takes no server without TLS', async () => {
    await using server = await startNats()
    using peer = await start([server.url.replace('nats:', 'tls:')])
    await eventually(() => peer.warned.some((text) => /tls/i.test(text)))
    expect(await streamOf(server, 'portcullis_cluster')).toBeNull()
  })
})
