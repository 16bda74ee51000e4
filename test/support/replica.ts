import { Access } from '../../src/access.ts'
import { alone } from '../../src/alone.ts'
import { Placement } from '../../src/placement.ts'
import { ApiKeys } from '../../src/apikey.ts'
import { Fold } from '../../src/audit.ts'
import { NOBODY, type Peers } from '../../src/cluster-view.ts'
import { Control } from '../../src/control.ts'
import { Emergency } from '../../src/emergency.ts'
import { Issuance } from '../../src/issuance.ts'
import { KeyRotation } from '../../src/key-rotation.ts'
import { limits } from '../../src/limits.ts'
import { Receipts } from '../../src/receipt.ts'
import { Registry } from '../../src/registry.ts'
import { Revocations } from '../../src/revocation.ts'
import { RevocationIndex } from '../../src/revocation-index.ts'
import { NOT_MEASURED } from '../../src/revocation-record.ts'
import { applyCarried } from '../../src/store/carried.ts'
import { ApiKeyStore } from '../../src/store/apikey.ts'
import { filesOf } from '../../src/store/folder.ts'
import { openJournal } from '../../src/store/journal.ts'
import { KeyStore } from '../../src/store/key-rotation.ts'
import { openStore } from '../../src/store/open.ts'
import { OperatorStore } from '../../src/store/operator.ts'
import type { Handlers } from '../../src/store/replica/handler.ts'
import { keyHandlers } from '../../src/store/replica/key.ts'
import { peopleHandlers } from '../../src/store/replica/people.ts'
import { receiptHandlers } from '../../src/store/replica/receipt.ts'
import { RevocationFacts } from '../../src/store/replica/revocation.ts'
import { serverHandlers } from '../../src/store/replica/server.ts'
import { tokenHandlers } from '../../src/store/replica/token.ts'
import { ReplicaStore } from '../../src/store/replica.ts'
import { RevocationStore } from '../../src/store/revocation.ts'
import { ServerStore } from '../../src/store/server.ts'
import { TokenStore } from '../../src/store/token.ts'
import { TokenIndex } from '../../src/token-index.ts'
import { UpstreamIndex } from '../../src/upstream.ts'
import { tempFolder } from './temp.ts'

export const OWNER = { name: 'operator:Grace', role: 'owner' } as const

const quiet = () => {}

let last = 0
/** One clock for all nodes, on which no two things happen at once. */
const clock = () => (last = Math.max(last + 1, Date.now()))

/**
 * All of a node that changes state, over a real database, and its replica; without a network. An older program `lacks`
 * kinds of facts.
 */
export const openNode = (
  folder = tempFolder(),
  now = clock,
  peers: Peers = NOBODY,
  lacks: ReadonlySet<string> = new Set(),
) => {
  const files = filesOf(folder)
  const store = openStore({ folder, keyFile: files.key, version: '0.4.0', now })
  const tokens = new TokenIndex()
  new TokenStore(store).load(tokens)
  const serverStore = new ServerStore(store)
  const servers = new UpstreamIndex(serverStore.all())
  const registry = new Registry(limits, now)
  const revocationStore = new RevocationStore(store)
  const journal = openJournal(files.journal, 64 * 1024)
  const emergency = new Emergency(revocationStore, journal, limits, quiet)
  const receipts = new Receipts({ store: revocationStore, emergency, limits, onLate: quiet })
  const revocations = new Revocations({ tokens, servers, registry, emergency, receipts, peers, now })
  const fold = new Fold(10)
  const operators = new OperatorStore(store)
  const access = new Access({ store: operators, onUnaudited: quiet, fold, limits, now, stopwatch: now })
  const apiKeys = new ApiKeys({ store: new ApiKeyStore(store), ring: store.keys, fold, now })
  const index = new RevocationIndex()
  const facts = new RevocationFacts({
    store,
    tokens,
    revocations: index,
    registry,
    pending: () => emergency.pending,
    onRevoked: ({ id }, result) => void receipts.keep({ id, timings: NOT_MEASURED, result, endedAt: now() }),
  })
  revocationStore.shared = facts
  const handlers: Handlers = {
    ...tokenHandlers({ store, tokens, revocations: index, registry, now }),
    ...serverHandlers({ store, servers, registry }),
    ...peopleHandlers({ store, access, apiKeys }),
    ...keyHandlers({ store, tokens, registry, now }),
    ...receiptHandlers(store),
  }
  const replica = new ReplicaStore({
    store,
    revocations: facts,
    limits,
    onApplied: quiet,
    onDefect(error) {
      throw error
    },
    handlers: Object.fromEntries(Object.entries(handlers).filter(([kind]) => !lacks.has(kind))),
  })
  const carried = applyCarried(store, replica)
  return {
    folder,
    files,
    store,
    tokens,
    servers,
    registry,
    revocationStore,
    revocations,
    operators,
    access,
    apiKeys,
    replica,
    carried,
    control: new Control({
      servers,
      registry,
      emergency,
      store: serverStore,
      now,
      placement: new Placement({ node: store.node, formerly: [], cluster: alone }),
    }),
    issuance: new Issuance({ tokens, servers, registry, keys: store.keys, store: new TokenStore(store), now }),
    keys: new KeyRotation({
      ring: store.keys,
      tokens,
      servers,
      apiKeys,
      revocations,
      store: new KeyStore(store),
      now,
    }),
    close() {
      emergency.stop()
      journal.close()
      // A closed database stays open until its statements are collected: what is restored over it must find it free.
      store.client.run('PRAGMA wal_checkpoint(TRUNCATE)')
      store.client.run('PRAGMA journal_mode = DELETE')
      store.close()
    },
  }
}

export type TestNode = ReturnType<typeof openNode>

/** One applies all that the other has and it lacks. Returns how many facts. */
export const pull = (to: TestNode, from: TestNode, bytesMax = 256 * 1024): number => {
  let count = 0
  for (;;) {
    const { facts, more } = from.replica.behind(to.replica.vector, bytesMax)
    count += to.replica.apply(facts, true).count
    if (!more) return count
  }
}

/** What must be the same on all nodes that know the same facts. */
export const stateOf = ({ store, tokens, servers, apiKeys, operators, revocationStore }: TestNode) => ({
  tokens: [...tokens]
    .map((token) => ({
      ...{ id: token.id, name: token.name, subject: token.subject, group: token.group, policy: token.policy },
      ...{ servers: [...token.servers].toSorted(), createdAt: token.createdAt, expiresAt: token.expiresAt },
      ...{ revokedAt: token.revokedAt, revocationId: token.revocationId, seen: token.seen },
      secrets: token.secrets.map(({ digest, keyId, diesAt }) => ({ digest, keyId, diesAt })),
    }))
    .toSorted(byId),
  servers: [...servers.byId.values()].map(({ url, ...server }) => ({ ...server, url: url.href })).toSorted(byId),
  stored: new ServerStore(store)
    .all()
    .map(({ url, ...server }) => ({ ...server, url: url.href }))
    .toSorted(byId),
  named: [...servers.byName].map(([name, { id }]) => [name, id]).toSorted(),
  operators: operators.all().map((operator) => without(operator, 'lastSignInAt')),
  apiKeys: apiKeys
    .list()
    .map((key) => without(key, 'lastUsedAt'))
    .toSorted(byId),
  revocations: revocationStore.page(1_000, null).map(({ id, at, actor, reason, note, tokens: dead }) => ({
    id,
    at,
    actor,
    reason,
    note,
    dead: dead.toSorted(byId),
  })),
  ring: store.keys.ids,
})

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1)

export const without = <T extends object, K extends keyof T>(one: T, key: K): Omit<T, K> => {
  const { [key]: _, ...rest } = one
  return rest
}
