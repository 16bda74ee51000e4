import type { Cluster, ClusterStatus, Completion, MemberStatus, PeerReceipt } from '../../src/cluster-view.ts'
import { conflict } from '../../src/error.ts'
import { limits } from '../../src/limits.ts'
import type { Node } from '../../src/node.ts'
import { type Actor, type Role, ROLES } from '../../src/operator.ts'
import type { Receipt } from '../../src/revocation-record.ts'
import { admit } from '../../src/server/context.ts'
import { UNFIT_PROBLEMS } from '../../src/standing.ts'
import { createPages } from '../../src/server/pages/pages.ts'
import { UpstreamIndex } from '../../src/upstream.ts'

/**
 * What a console shows of a cluster in every state that it can be in: told by an object, since few can be brought about.
 * Times are told as how far off they are when somebody looks, so that it does not matter how fast a test is.
 */

export interface State {
  /** `heardAt` is how many milliseconds ago. */
  status: ClusterStatus | null
  /** By revocation, one that is not here is complete; `leaseEndsAt` is how many milliseconds are left. */
  completions?: Record<string, Completion>
  /** How long ago its revocations were made. */
  revokedAgoMs?: number
}

const NODES = 'abcdefghi'
const LONG = 'a-node-whose-name-was-made-by-a-machine.and-is-as-long-as-it-may'

export const member = (name: string, changes: Partial<MemberStatus> = {}): MemberStatus => ({
  id: `node_${name}`,
  name,
  url: `ws://${name}.example.com:7072`,
  state: 'linked',
  roundTripMs: 0.84,
  behind: 0,
  heardAt: 120,
  version: '0.7.0',
  ...changes,
})

export const SELF = member('a', { state: 'self', roundTripMs: null, behind: null, heardAt: null })
export const gone = (name: string, agoMs = 61_000): MemberStatus =>
  member(name, { state: 'unreachable', heardAt: agoMs, behind: 12 })

export const status = (changes: Partial<ClusterStatus> = {}): ClusterStatus => ({
  id: 'clu_5f2a7c1e9b3d4f60',
  node: { id: 'node_a', name: 'a' },
  transport: 'websocket',
  policy: 'lease',
  leaseMs: 5_000,
  serving: true,
  reason: null,
  leaseLeftMs: 4_810,
  restored: false,
  isolated: false,
  behind: 0,
  members: [SELF, member('b'), member('c')],
  void: [],
  changing: null,
  incomplete: [],
  incompleteCount: 0,
  ...changes,
})

export const peer = (name: string, changes: Partial<PeerReceipt> = {}): PeerReceipt => ({
  id: `node_${name}`,
  node: name,
  state: 'acked',
  ms: 3.1,
  cut: 2,
  leaseEndsAt: null,
  ...changes,
})
const pending = (name: string, leaseLeftMs: number | null): PeerReceipt =>
  peer(name, {
    state: 'pending',
    ms: null,
    cut: null,
    leaseEndsAt: leaseLeftMs,
  })

const open = (ids: string[], waitsFor: string[]) => ({
  incomplete: ids.map((id) => ({ id, waitsFor })),
  incompleteCount: ids.length,
})
const both = (completion: Completion) => ({ rev_1: completion, rev_2: completion })

/** A function each: times count from when they are looked at. */
export const STATES: Record<string, () => State> = {
  alone: () => ({ status: null }),
  founded: () => ({ status: status({ members: [SELF], policy: 'serve', leaseLeftMs: null }) }),
  healthy: () => ({
    status: status(),
    completions: { rev_1: { complete: true, peers: [peer('b'), peer('c', { ms: 24.271, cut: 0 })] } },
  }),
  nine: () => ({
    status: status({
      members: [...NODES].map((name, index) =>
        index === 0 ? SELF : member(name, { name: index === 4 ? LONG : `${name}-eu-west`, roundTripMs: index * 19.7 }),
      ),
      transport: 'nats',
      behind: 1_234,
      changing: 'j-eu-west joins: it has to be in force on 3 more nodes',
    }),
    completions: {
      rev_1: { complete: true, peers: [...NODES].slice(1).map((name, n) => peer(name, { ms: n * 20 + 1.5, cut: n })) },
    },
  }),
  joining: () => ({
    status: status({
      members: [SELF, member('b', { state: 'joining', behind: null, version: null, roundTripMs: null })],
      changing: 'b joins',
    }),
  }),
  unreachable: () => ({
    status: status({ members: [SELF, member('b'), gone('c')] }),
    completions: {
      rev_1: { complete: true, peers: [peer('b'), peer('c', { state: 'lease_expired', ms: null, cut: null })] },
    },
  }),
  isolated: () => ({
    status: status({ members: [SELF, gone('b', 3_100), gone('c', 3_050)], isolated: true, leaseLeftMs: 1_900 }),
  }),
  stale: () => ({
    status: status({
      members: [SELF, gone('b'), gone('c')],
      isolated: true,
      serving: false,
      reason: 'node_stale',
      leaseLeftMs: 0,
      ...open(['rev_1'], ['b', 'c']),
    }),
    completions: { rev_1: { complete: false, peers: [pending('b', null), pending('c', null)] } },
  }),
  'isolated-serve': () => ({
    status: status({ members: [SELF, gone('b')], isolated: true, policy: 'serve', leaseLeftMs: null }),
  }),
  'not-synced': () => ({
    status: status({ serving: false, reason: 'not_synced', behind: 48_211, leaseLeftMs: 0 }),
  }),
  'not-synced-cut-off': () => ({
    status: status({ serving: false, reason: 'not_synced', members: [SELF, gone('b'), gone('c')], leaseLeftMs: 0 }),
  }),
  removed: () => ({
    status: status({ serving: false, reason: 'not_synced', members: [member('b'), member('c')], leaseLeftMs: 0 }),
  }),
  'waiting-lease': () => ({
    status: status({ members: [SELF, member('b'), gone('c', 4_000)], ...open(['rev_2', 'rev_1'], ['c']) }),
    completions: both({ complete: false, peers: [peer('b'), pending('c', 3_600)] }),
  }),
  'waiting-serve': () => ({
    status: status({
      policy: 'serve',
      leaseLeftMs: null,
      members: [SELF, member('b'), gone('c'), gone('d')],
      ...open(['rev_1'], ['c', 'd']),
    }),
    completions: { rev_1: { complete: false, peers: [peer('b'), pending('c', null), pending('d', null)] } },
  }),
  'waiting-linked': () => ({
    status: status(open(['rev_1'], ['b'])),
    completions: { rev_1: { complete: false, peers: [pending('b', null), peer('c', { ms: null })] } },
  }),
  void: () => ({
    status: status({
      members: [SELF, member('b')],
      void: [{ id: 'node_c', name: LONG, url: `wss://${LONG}.example.com:7072` }],
      ...open(['rev_2', 'rev_1'], [LONG]),
      incompleteCount: 51,
    }),
    completions: both({
      complete: false,
      peers: [peer('b'), peer('c', { node: LONG, state: 'removed', ms: null, cut: null })],
    }),
  }),
}

const receipt = (id: string, at: number): Receipt => ({
  id,
  at,
  actor: 'operator:ada',
  reason: 'compromised',
  note: 'in a public repository',
  selector: id === 'rev_1' ? { tokens: ['tok_1'] } : { group: 'contractors-phoenix' },
  tokens: ['Cursor IDE', 'build runner', 'review bot']
    .slice(0, id === 'rev_1' ? 1 : 3)
    .map((name, n) => ({ id: `tok_${n}`, name, subject: 'dev@example.com' })),
  dryRun: false,
  cut: 4,
  timings: { commitMs: 0.41, deniedMs: 0.44, firstCutMs: 0.52, lastCutMs: 1.61, upstreamCancelledMs: 2.4 },
  durable: true,
})

/** What of a node the pages of a cluster, and receipts, ask for. */
const nodeIn = (cluster: Cluster, revokedAgoMs: () => number): Node => {
  const answers = new Map<string, string>()
  const made = (id: string) => receipt(id, Date.now() - revokedAgoMs())
  const node = {
    id: 'node_a',
    version: { version: '0.7.0', commit: null, date: null },
    consoleUrl: 'http://127.0.0.1:7071',
    config: { cluster: { listen: { host: '10.0.0.1', port: 7072 } } },
    limits,
    now: Date.now,
    cluster,
    problems: () =>
      cluster.status()?.serving === false ? [UNFIT_PROBLEMS[cluster.status()?.reason ?? 'not_synced']] : [],
    tokens: { get: () => undefined },
    servers: new UpstreamIndex(),
    registry: { ofToken: () => new Set() },
    reads: {
      receipt: (id: string) => (id.startsWith('rev_') ? made(id) : null),
      receipts: () => [made('rev_2'), made('rev_1')],
      receiptConnections: () => [],
      triesOf: () => Promise.resolve({ count: 0, atLeast: false, lastAt: null, addresses: [] }),
      auditOf: () => null,
    },
    answers: {
      find: (_: string, key: string) => {
        const response = answers.get(key)
        return response === undefined ? null : { request: key, status: 201, response, location: null }
      },
      keep: (_: string, key: string, { response }: { response: string }) => void answers.set(key, response),
    },
    log: { warn: () => undefined, error: (details: unknown) => console.error(details) },
  }
  return node as unknown as Node
}

/** The console of a node whose cluster is in the state that `show` named last. Who looks is in a cookie: `role=auditor`. */
export const startStates = () => {
  let state: State = { status: null }
  const removals: { node: string; force: boolean; off: boolean }[] = []
  const alone: Completion = { complete: true, peers: [] }
  const cluster: Cluster = {
    memberName: () => null,
    status: () => {
      if (state.status === null) return null
      const ago = (ms: number | null) => (ms === null ? null : Date.now() - ms)
      const members = state.status.members.map((one) => ({ ...one, heardAt: ago(one.heardAt) }))
      return { ...state.status, members }
    },
    ticket: () => {
      if (state.status === null) state = { status: status({ members: [SELF] }) }
      return Promise.resolve({ ticket: `pcj_${'A1b2'.repeat(10)}xyz`, expiresAt: Date.now() + 600_000 })
    },
    remove: (id, how) => {
      removals.push({ node: id, ...how })
      const found = state.status?.members.find((one) => one.id === id)
      if (found?.state === 'unreachable' && state.status?.policy === 'serve' && !how.force)
        return Promise.reject(conflict(`${found.name} can't be reached and may go on serving: remove it by force`))
      if (state.status)
        state = {
          ...state,
          status: {
            ...state.status,
            members: state.status.members.filter((one) => one.id !== id),
            void: state.status.void.filter((one) => one.id !== id || !how.off),
          },
        }
      return Promise.resolve({ id, name: id, off: !how.force })
    },
    completion: (id) => {
      const { complete, peers } = state.completions?.[id] ?? alone
      const until = (leftMs: number | null) => (leftMs === null ? null : Date.now() + leftMs)
      return { complete, peers: peers.map((one) => ({ ...one, leaseEndsAt: until(one.leaseEndsAt) })) }
    },
    settled: () => Promise.resolve(),
    spread: () => Promise.resolve(),
    get clustered() {
      return state.status !== null
    },
    push: () => undefined,
    relay: () => undefined,
  }
  const pages = createPages(nodeIn(cluster, () => state.revokedAgoMs ?? 4_000))
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request) => {
      const named = /role=(\w+)/.exec(request.headers.get('cookie') ?? '')?.[1]
      const role: Role = ROLES.find((one) => one === named) ?? 'owner'
      const actor: Actor = { name: 'operator:ada', role }
      admit(request, { actor, address: '127.0.0.1', arrivedAt: performance.now(), session: 'a session', client: null })
      return pages.handle(request)
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    show: (next: State) => {
      state = next
    },
    /** What was asked of the cluster. */
    removals,
    stop: () => server.stop(true),
  }
}
