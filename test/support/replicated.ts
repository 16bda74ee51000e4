import { join } from 'node:path'
import type { EmergencyEntry } from '../../src/emergency.ts'
import type { StoredFact } from '../../src/fact.ts'
import { Issuance } from '../../src/issuance.ts'
import { limits } from '../../src/limits.ts'
import type { Connection, CutCause } from '../../src/registry.ts'
import { Registry } from '../../src/registry.ts'
import { deny, matching } from '../../src/revocation.ts'
import { RevocationIndex } from '../../src/revocation-index.ts'
import type { RevocationRecord, Selector } from '../../src/revocation-record.ts'
import { openStore } from '../../src/store/open.ts'
import { ReplicaStore } from '../../src/store/replica.ts'
import type { Handlers } from '../../src/store/replica/handler.ts'
import { RevocationFacts } from '../../src/store/replica/revocation.ts'
import { tokenHandlers } from '../../src/store/replica/token.ts'
import { RevocationStore } from '../../src/store/revocation.ts'
import { ServerStore } from '../../src/store/server.ts'
import { TokenStore } from '../../src/store/token.ts'
import type { Token } from '../../src/token.ts'
import { TokenIndex } from '../../src/token-index.ts'
import { type Upstream, UpstreamIndex } from '../../src/upstream.ts'

const ACTOR = { name: 'operator:ada', role: 'owner' } as const

/** The parts of a node that hold tokens: its database, its memory, and what makes the one follow the other. */
export const openNode = (folder: string, now: () => number, more: Handlers = {}) => {
  const store = openStore({ folder, keyFile: join(folder, 'portcullis.key'), version: '0.0.0', now })
  const servers = new UpstreamIndex(new ServerStore(store).all())
  const tokenStore = new TokenStore(store)
  const tokens = new TokenIndex()
  tokenStore.load(tokens)
  const registry = new Registry(limits, now)
  const index = new RevocationIndex()
  const revoked: { record: RevocationRecord; cut: number }[] = []
  const onRevoked = (record: RevocationRecord, { cut }: { cut: number }) => void revoked.push({ record, cut })
  /** As in `Emergency`. */
  const pending: EmergencyEntry[] = []
  const facts = { store, tokens, revocations: index, registry, pending: () => pending, onRevoked }
  const revocations = new RevocationFacts(facts)
  const revocationStore = new RevocationStore(store)
  revocationStore.shared = revocations
  const handlers = { ...tokenHandlers({ store, tokens, revocations: index, registry, now }), ...more }
  const defects: string[] = []
  const onDefect = (_error: unknown, kind: string) => void defects.push(kind)
  const onApplied = () => {}
  const replica = new ReplicaStore({ store, handlers, revocations, limits, onApplied, onDefect })
  const issuance = new Issuance({ tokens, servers, registry, keys: store.keys, store: tokenStore, now })
  let made = 0
  const issue = (name: string, given: { subject?: string | null; group?: string | null; servers: string[] }): Token => {
    for (const id of given.servers) if (!servers.byId.has(id)) servers.add(serverOf(id))
    return issuance.issue({ expiresAt: null, ...given, name }, ACTOR).token
  }
  /** As `Revocations.revoke`, without the request. */
  const revoke = (selector: Selector, id = `rev_${store.node}_${(made += 1)}`): RevocationRecord => {
    const dead = matching(selector, tokens)
    const record: RevocationRecord = {
      id,
      at: now(),
      actor: ACTOR.name,
      reason: 'compromised',
      note: '',
      selector,
      tokens: dead.map((token) => ({ id: token.id, name: token.name, subject: token.subject })),
    }
    revocationStore.applyEmergency({ op: 'revocation', record }, false)
    deny(dead, record)
    registry.cut(registry.ofTokens(dead), 'token_revoked')
    return record
  }
  return {
    ...{ folder, store, tokens, registry, servers, index, replica, issuance, revocationStore, revocations, revoked },
    ...{ pending, defects, issue, revoke },
    rotate: (token: Token, graceMs = 0) => issuance.rotate(token, graceMs, ACTOR),
    rule: (token: Token, callsPerMinute: number) => issuance.setPolicy(token, { callsPerMinute }, ACTOR),
    /** All facts there are, in the order in which they may be told. */
    facts: (): StoredFact[] => replica.behind({}, Infinity).facts,
    pull(from: { replica: ReplicaStore }, bytesMax = 256 * 1024) {
      for (let more = true; more;) {
        const page = from.replica.behind(replica.vector, bytesMax)
        replica.apply(page.facts, true)
        more = page.more
      }
    },
    close() {
      registry.stop()
      store.close()
    },
  }
}

export type ReplicatedNode = ReturnType<typeof openNode>

export const serverOf = (id: string): Upstream => ({
  id,
  name: id,
  url: new URL('http://127.0.0.1:3001'),
  kind: 'auto',
  path: '',
  headers: [],
  stdio: null,
  state: 'open',
  reason: null,
  createdAt: 0,
  removedAt: null,
})

/** A live connection under a token's newest secret; it tells what ended it. */
export const connect = ({ registry, servers }: ReplicatedNode, token: Token): { cause: () => CutCause | null } => {
  let ended: CutCause | null = null
  const secret = token.secrets.at(-1)
  const server = servers.byId.values().next().value ?? serverOf('srv')
  if (!secret) throw new Error('the token has no secret')
  const number = registry.nextNumber()
  const connection: Connection = {
    number,
    id: `c${number.toString(36)}`,
    secret,
    server,
    startedAt: 0,
    address: '127.0.0.1',
    method: 'GET',
    path: '/',
    kind: 'sse',
    client: null,
    bytesIn: 0,
    bytesOut: 0,
    end: (cause) => void (ended = cause),
    release() {},
  }
  registry.add(connection)
  return { cause: () => ended }
}
