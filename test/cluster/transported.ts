import { randomBytes } from 'node:crypto'
import type { TrustOptions } from './nodes.ts'
import { ClusterListener } from '../../src/cluster/listener.ts'
import type { Member, Membership } from '../../src/cluster/message.ts'
import { NatsTransport } from '../../src/cluster/nats.ts'
import { Protocol, stateOf } from '../../src/cluster/protocol.ts'
import type { Refusal, Transport, TransportEvents } from '../../src/cluster/transport.ts'
import { WebSocketTransport } from '../../src/cluster/websocket.ts'
import { type FactStream, reachOf, type StoredFact, STREAMS, type Vector } from '../../src/fact.ts'
import { limits } from '../../src/limits.ts'
import type { Applied, Replica } from '../../src/replica.ts'
import { trustOf } from './nodes.ts'

/** Facts in memory: what the database would do with them is no matter of how they travel. */
class MemoryReplica implements Replica {
  vector: Vector = {}
  readonly unknown = []
  readonly facts = new Map<string, Record<FactStream, StoredFact[]>>()
  readonly appliedAt = new Map<string, number>()

  behind(vector: Vector, bytesMax: number) {
    const facts: StoredFact[] = []
    let bytes = 0
    for (const stream of STREAMS) {
      for (const [origin, streams] of this.facts) {
        for (const fact of streams[stream].slice(reachOf(vector, origin, stream))) {
          if (facts.length > 0 && bytes + fact.payload.length > bytesMax) return { facts, more: true }
          facts.push(fact)
          bytes += fact.payload.length
        }
      }
    }
    return { facts, more: false }
  }

  apply(facts: readonly StoredFact[]): Applied {
    const applied = facts.filter((fact) => {
      const { origin, stream, seq } = fact
      const streams = this.facts.get(origin) ?? { revocation: [], change: [] }
      this.facts.set(origin, streams)
      if (seq !== streams[stream].length + 1) return false
      streams[stream].push(fact)
      this.appliedAt.set(`${origin}/${stream}/${seq}`, performance.now())
      return true
    })
    this.vector = Object.fromEntries(
      [...this.facts].map(([origin, { revocation, change }]) => [origin, [revocation.length, change.length]]),
    )
    const revocations = applied.filter(({ stream }) => stream === 'revocation')
    return {
      revocations: revocations.map(({ origin, seq }) => ({ origin, seq, cut: 0, revocation: null })),
      count: applied.length,
    }
  }
}

type MakeTransport = (id: string, trust: ReturnType<typeof trustOf>, events: TransportEvents) => Transport

/** A member with the real protocol, over a real transport. */
export class Node {
  readonly replica = new MemoryReplica()
  readonly refused: Refusal[] = []
  readonly transport: Transport
  readonly trust: ReturnType<typeof trustOf>
  #protocol: Protocol | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(
    readonly id: string,
    make: MakeTransport,
    options: TrustOptions,
  ) {
    this.trust = trustOf(id, options)
    this.transport = make(id, this.trust, {
      linked: (peer) => this.#run((protocol, now) => protocol.linked(peer, now)),
      unlinked: (peer) => this.#run((protocol, now) => protocol.unlinked(peer, now)),
      message: (peer, message) => this.#run((protocol, now) => protocol.receive(peer, message, now)),
      refused: (reason) => void this.refused.push(reason),
    })
  }

  get member(): Member {
    return { id: this.id, name: this.id, url: this.trust.self().url, key: this.trust.publicKey }
  }

  get protocol(): Protocol {
    if (!this.#protocol) throw new Error('not started')
    return this.#protocol
  }

  async start(membership: Membership): Promise<void> {
    let state = stateOf([membership], true)
    this.#protocol = new Protocol({
      self: this.member,
      replica: this.replica,
      disk: {
        load: () => state,
        save: (next) => {
          state = next
        },
      },
      timing: {
        digestMs: 250,
        leaseGuard: 1.1,
        pullBytesMax: 1024 * 1024,
        syncGraceMs: 3_000,
        changeTimeoutMs: 10_000,
      },
      version: 'test',
      fresh: false,
    })
    this.protocol.start(performance.now())
    this.transport.members(membership.members.filter(({ id }) => id !== this.id))
    await this.transport.start()
    this.#run(() => {})
  }

  /** A fact of this node's own, pushed in this run. Returns its name. */
  commit(stream: FactStream = 'revocation', payload = '{"some":"revocation"}', kind = 'token.revoke'): string {
    const seq = reachOf(this.replica.vector, this.id, stream) + 1
    const fact: StoredFact = { origin: this.id, stream, seq, kind, hlc: '000000000-0000', payload }
    this.replica.apply([fact])
    this.#run((protocol, now) => protocol.committed([fact], now))
    return `${this.id}/${stream}/${seq}`
  }

  #run(step: (protocol: Protocol, now: number) => void): void {
    if (!this.#protocol) return
    step(this.#protocol, performance.now())
    for (const { to, message } of this.#protocol.drain()) {
      if (to === 'all') this.transport.broadcast(message)
      else this.transport.send(to, message)
    }
    clearTimeout(this.#timer ?? undefined)
    const waitMs = Math.max(0, this.#protocol.nextTickAt - performance.now())
    this.#timer = setTimeout(() => this.#run((protocol, now) => protocol.tick(now)), waitMs)
  }

  stop(): void {
    this.#protocol = null
    clearTimeout(this.#timer ?? undefined)
    this.transport.stop()
  }
}

const startNodes = async (nodes: Node[], policy: Membership['policy']) => {
  const membership: Membership = {
    version: 1,
    ballot: '',
    floor: { vector: {}, unknown: [] },
    members: nodes.map(({ member }) => member),
    policy,
    auto: false,
    leaseMs: limits.leaseMs,
    void: [],
    off: [],
    heir: null,
    secret: 'sealed',
    actor: 'local:0',
    change: 'found',
  }
  await Promise.all(nodes.map((node) => node.start(membership)))
}

const idsOf = (count: number) => Array.from({ length: count }, (_, index) => `n${String(index).padStart(3, '0')}`)

/** Nodes over NATS; `urls`: what each of them is given. */
export const startOverNats = async (
  count: number,
  urls: (index: number) => string[],
  policy: Membership['policy'] = 'serve',
) => {
  const options = { cluster: `c${randomBytes(4).toString('hex')}` }
  const warned: string[] = []
  const nodes = idsOf(count).map(
    (name, index) =>
      new Node(
        name,
        (_id, trust, events) =>
          new NatsTransport({
            trust,
            settings: { urls: urls(index), credsFile: null },
            events,
            limits,
            stopwatch: () => performance.now(),
            warn: (text) => warned.push(text),
          }),
        options,
      ),
  )
  await startNodes(nodes, policy)
  const stop = () => {
    for (const node of nodes) node.stop()
  }
  return { nodes, warned, stream: `portcullis_${options.cluster}`, [Symbol.dispose]: stop }
}

/** The same over WebSockets on the loopback. */
export const startOverWebSockets = async (count: number, policy: Membership['policy'] = 'serve') => {
  const listeners: ClusterListener[] = []
  const nodes = idsOf(count).map((name) => {
    const listener = new ClusterListener({ host: '127.0.0.1', port: 0 }, () => {}, {
      handshakes: count,
      perAddress: count,
      handshakeMs: limits.clusterHandshakeMs,
    })
    listener.start()
    listeners.push(listener)
    const url = `ws://127.0.0.1:${listener.port}`
    return new Node(
      name,
      (_id, trust, events) => new WebSocketTransport(trust, listener, () => performance.now(), events),
      { url },
    )
  })
  await startNodes(nodes, policy)
  const stop = () => {
    for (const node of nodes) node.stop()
    for (const listener of listeners) listener.stop()
  }
  return { nodes, [Symbol.dispose]: stop }
}

export const areAllLinked = (nodes: readonly Node[]): boolean =>
  nodes.every(({ transport }) => transport.linked().length === nodes.length - 1)

/** All have the same facts, as many as were committed, and each of them says that it knows it of all. */
export const haveAll = (nodes: readonly Node[], committed: number): boolean =>
  nodes.every(({ replica }) => replica.appliedAt.size === committed)
