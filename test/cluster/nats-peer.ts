import { randomBytes } from 'node:crypto'
import { type Claim, publicKeyOf, type Trust } from '../../src/cluster/handshake.ts'
import type { Membership, Message } from '../../src/cluster/message.ts'
import { NatsTransport } from '../../src/cluster/nats.ts'
import type { Refusal } from '../../src/cluster/transport.ts'
import { type Limits, limits } from '../../src/limits.ts'

/** One node's end of the links, and all that it heard. */
export class Peer {
  readonly privateKey = randomBytes(32)
  readonly key = publicKeyOf(this.privateKey)
  readonly heard: { from: string; message: Message }[] = []
  readonly links: string[] = []
  readonly refused: Refusal[] = []
  readonly warned: string[] = []
  transport!: NatsTransport
  /** What removed others, by their ids. */
  removal: Record<string, Membership> = {}
  lets: (claim: Claim) => boolean = () => false
  onMessage: (from: string, message: Message) => void = () => {}

  constructor(
    readonly id: string,
    public secret: Uint8Array,
    readonly cluster: string,
    readonly formerly: readonly string[] = [],
  ) {}

  get member() {
    return { id: this.id, url: `ws://${this.id}`, key: this.key }
  }

  async start(urls: readonly string[], overrides: Partial<Limits> = {}, credsFile: string | null = null) {
    const trust: Trust = {
      cluster: () => this.cluster,
      self: () => ({ id: this.id, url: `ws://${this.id}`, formerly: this.formerly }),
      privateKey: this.privateKey,
      secrets: () => [{ version: 1, secret: this.secret }],
      former: (claim) => this.lets(claim),
      removed: (id) => this.removal[id] ?? null,
    }
    this.transport = new NatsTransport({
      trust,
      settings: { urls, credsFile },
      limits: { ...limits, ...overrides },
      stopwatch: () => performance.now(),
      warn: (text) => this.warned.push(text),
      events: {
        linked: (peer) => this.links.push(`+${peer}`),
        unlinked: (peer) => this.links.push(`-${peer}`),
        message: (from, message) => {
          this.heard.push({ from, message })
          this.onMessage(from, message)
        },
        refused: (reason) => this.refused.push(reason),
      },
    })
    await this.transport.start()
  }
}

/** Tells each of the others. */
export const introduce = (peers: readonly Peer[]): void => {
  for (const peer of peers) {
    peer.transport.members(peers.filter(({ id }) => id !== peer.id).map(({ member }) => member))
  }
}

/** Peers of one cluster, that know each other; they find each other over these servers. */
export const startPeers = async <const Ids extends readonly string[]>(
  urls: readonly string[],
  ids: Ids,
  overrides: Partial<Limits> = {},
): Promise<{ [K in keyof Ids]: Peer } & Disposable> => {
  const secret = randomBytes(32)
  const cluster = `c${randomBytes(4).toString('hex')}`
  const peers = ids.map((id) => new Peer(id, secret, cluster))
  await Promise.all(peers.map((peer) => peer.start(urls, overrides)))
  introduce(peers)
  const stop = () => {
    for (const { transport } of peers) transport.stop()
  }
  return Object.assign(peers as { [K in keyof Ids]: Peer }, { [Symbol.dispose]: stop })
}

export const areLinked = (peers: readonly Peer[]): boolean =>
  peers.every(({ transport }) => transport.linked().length === peers.length - 1)

export const digest = (ask: number): Message => ({
  t: 'digest',
  ask,
  vector: {},
  unknown: [],
  view: [],
  version: 'test',
  synced: true,
  former: null,
})

export const facts = (origin: string, seq: number, payload = '{}', pulled = false): Message => ({
  t: 'facts',
  facts: [{ origin, stream: 'change', seq, kind: 'server.put', hlc: '000000000-0000', payload }],
  pulled,
  more: false,
})

/** Something that is said to one peer. */
export const prepare = (version: number): Message => ({ t: 'prepare', version, ballot: 'x' })

export const membership = (version: number): Membership => ({
  version,
  ballot: 'x',
  floor: { vector: {}, unknown: [] },
  members: [],
  policy: 'serve',
  auto: true,
  leaseMs: limits.leaseMs,
  void: [],
  off: [],
  heir: null,
  secret: 'sealed',
  actor: 'operator:owner',
  change: 'remove c',
})
