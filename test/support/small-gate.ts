import { Activity } from '../../src/activity.ts'
import { alone } from '../../src/alone.ts'
import { Fold } from '../../src/audit.ts'
import { Gate } from '../../src/gate/gate.ts'
import { KeyRing, newRingKey } from '../../src/key.ts'
import { type Limits, limits } from '../../src/limits.ts'
import { policyOf, type PolicyRequest } from '../../src/policy.ts'
import { Placement } from '../../src/placement.ts'
import { Registry } from '../../src/registry.ts'
import { generateSecret } from '../../src/secret.ts'
import type { Token } from '../../src/token.ts'
import { Standing } from '../../src/standing.ts'
import { TokenIndex } from '../../src/token-index.ts'
import { type Upstream, UpstreamIndex } from '../../src/upstream.ts'
import { Evidence, UsageMeter } from '../../src/usage.ts'
import { call } from './call.ts'
import { serverAt } from './server.ts'

/** The real gate on a real port, with limits small enough to go one past them. */
export const startSmallGate = (url: string, small: Partial<Limits>, options: { kind?: Upstream['kind'] } = {}) => {
  const own = { ...limits, ...small }
  const keys = new KeyRing({ database: 'db', keys: [newRingKey(0)] })
  const tokens = new TokenIndex()
  const servers = new UpstreamIndex()
  const activity = new Activity(own)
  const registry = new Registry(own, Date.now, own.connectionsMax)
  const stored = new Map<string, unknown>()
  const evidence = new Evidence(
    { evidenceOf: () => new Map(), putEvidence: (rows) => void stored.set('evidence', [...rows]) },
    own,
  )
  const server = serverAt(url, options)
  servers.add(server)
  const issue = (name: string, policy: PolicyRequest | null = null): { token: Token; secret: string } => {
    const secret = generateSecret('pcl_')
    const token = tokens.add({
      id: `tok_${name}`,
      name,
      subject: null,
      group: null,
      servers: new Set(['srv_1']),
      createdAt: 0,
      createdBy: 'test',
      expiresAt: null,
      revokedAt: null,
      revocationId: null,
      policy: policyOf(policy),
      secrets: [{ ...keys.digest(secret), createdAt: 0, diesAt: null }],
    })
    return { token, secret }
  }
  const listener = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: own.idleConnectionMs / 1_000,
    development: false,
    fetch: () => new Response(null, { status: 503 }),
  })
  const gate = new Gate({
    tokens,
    servers,
    registry,
    keys,
    usage: new UsageMeter(),
    evidence,
    activity,
    fold: new Fold(own.foldKeysMax),
    limits: own,
    now: Date.now,
    standing: new Standing(() => performance.now()),
    hosts: [],
    origins: [],
    trustedProxies: [],
    publicUrl: new URL(`http://127.0.0.1:${listener.port}`),
    call,
    placement: new Placement({ node: 'node_1', formerly: [], cluster: alone }),
    onUpstreamError: () => undefined,
    onAnswered: () => undefined,
  })
  listener.reload(gate.handlers)
  return {
    url: `http://127.0.0.1:${listener.port}/s/up`,
    registry,
    evidence,
    activity,
    issue,
    /** The secret of a token of its own under that policy. */
    secretUnder: (policy: PolicyRequest | null) => issue(crypto.randomUUID(), policy).secret,
    server,
    [Symbol.asyncDispose]: async () => {
      gate.stop()
      registry.stop()
      await listener.stop(true)
    },
  }
}
