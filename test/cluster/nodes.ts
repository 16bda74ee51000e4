import { randomBytes } from 'node:crypto'
import { type Claim, publicKeyOf, type Trust } from '../../src/cluster/handshake.ts'
import { ClusterListener } from '../../src/cluster/listener.ts'
import type { Membership, Message } from '../../src/cluster/message.ts'
import type { Refusal } from '../../src/cluster/transport.ts'
import { limits } from '../../src/limits.ts'
import { WebSocketTransport } from '../../src/cluster/websocket.ts'

/** Nodes as far as links know them: identities, a real listener, and what was told. */

export const CLUSTER = 'db_cluster'
export const SECRET = { version: 1, secret: new Uint8Array(randomBytes(32)) }

export interface TrustOptions {
  cluster?: string
  secrets?: { version: number; secret: Uint8Array }[]
  formerly?: string[]
  former?: (claim: Claim) => boolean
  removed?: (id: string) => Membership | null
  url?: string
}

export const trustOf = (id: string, options: TrustOptions = {}): Trust & { publicKey: string } => {
  const privateKey = new Uint8Array(randomBytes(32))
  return {
    cluster: () => options.cluster ?? CLUSTER,
    self: () => ({ id, url: options.url ?? `ws://${id}.test:7072`, formerly: options.formerly ?? [] }),
    privateKey,
    publicKey: publicKeyOf(privateKey),
    secrets: () => options.secrets ?? [SECRET],
    former: options.former ?? (() => false),
    removed: options.removed ?? (() => null),
  }
}

export const membership = (version = 2): Membership => ({
  version,
  ballot: '1 a',
  floor: { vector: {}, unknown: [] },
  members: [{ id: 'a', name: 'a', url: 'ws://a', key: 'x' }],
  policy: 'serve',
  auto: true,
  leaseMs: 5_000,
  void: [],
  off: [],
  heir: null,
  secret: 'sealed',
  actor: 'local:0',
  change: 'remove c',
})

export const digest = (ask: number): Message => ({
  t: 'digest',
  ask,
  vector: { a: [1, 2] },
  unknown: [],
  view: [[2, '1 a']],
  version: '0.6.0',
  synced: true,
  former: null,
})

export interface TestNode {
  id: string
  url: string
  key: string
  trust: Trust
  listener: ClusterListener
  transport: WebSocketTransport
  /** `linked a`, `unlinked a`, `a digest 3`, `refused replayed`, as they were told. */
  told: string[]
  got: { peer: string; message: Message }[]
  refusals: Refusal[]
  [Symbol.dispose](): void
}

export const startNode = async (
  id: string,
  options: TrustOptions & {
    most?: ConstructorParameters<typeof WebSocketTransport>[4]
    port?: number
    handshakeMs?: number
  } = {},
): Promise<TestNode> => {
  const told: string[] = []
  const got: TestNode['got'] = []
  const refusals: Refusal[] = []
  const refused = (reason: Refusal) => {
    refusals.push(reason)
    told.push(`refused ${reason}`)
  }
  const listener = new ClusterListener({ host: '127.0.0.1', port: options.port ?? 0 }, refused, {
    handshakes: limits.clusterHandshakesMax,
    perAddress: limits.clusterHandshakesPerAddressMax,
    handshakeMs: options.handshakeMs ?? limits.clusterHandshakeMs,
  })
  listener.start()
  const url = `ws://127.0.0.1:${listener.port}`
  const trust = trustOf(id, { url, ...options })
  const transport = new WebSocketTransport(
    trust,
    listener,
    () => performance.now(),
    {
      linked: (peer) => told.push(`linked ${peer}`),
      unlinked: (peer) => told.push(`unlinked ${peer}`),
      message: (peer, message) => {
        got.push({ peer, message })
        told.push(`${peer} ${message.t}`)
      },
      refused,
    },
    // Nobody speaks unless a test does.
    options.most ?? { silentMs: 60_000, bufferBytes: 32 * 1024 * 1024 },
  )
  await transport.start()
  return {
    ...{ id, url, key: trust.publicKey, trust, listener, transport, told, got, refusals },
    [Symbol.dispose]() {
      transport.stop()
      listener.stop()
    },
  }
}

/** Tells each node of all others. */
export const meet = (...nodes: TestNode[]): void => {
  for (const node of nodes) node.transport.members(nodes.filter((other) => other !== node))
}
