import type { SessionOf } from '../../access.ts'
import type { ApiKey } from '../../apikey.ts'
import type { AuditRow } from '../../audit.ts'
import { type Reachable, snippetsFor } from '../../connect.ts'
import type { ClusterStatus, Completion, PeerReceipt } from '../../cluster-view.ts'
import { MASK } from '../../control.ts'
import { detailOf } from '../../health.ts'
import type { Node } from '../../node.ts'
import type { Operator } from '../../operator.ts'
import type { ReceiptConnection } from '../../receipt.ts'
import type { Connection } from '../../registry.ts'
import type { Receipt } from '../../revocation-record.ts'
import { SELFTEST_STEPS, type SelfTestResult } from '../../selftest.ts'
import type { StdioSpec } from '../../stdio.ts'
import { formatTime, formatTimeOrNull } from '../../time.ts'
import { statusOf, type Token } from '../../token.ts'
import { basePath, type Upstream } from '../../upstream.ts'
import { type EvidenceAddress, type Usage, USAGE_WINDOWS, type UsageWindow } from '../../usage.ts'
import type { VerificationState } from '../../verification.ts'

/** The domain as the API's JSON. */

export const publicUrl = (node: Node, server: Upstream): string => `${node.gateUrl}/s/${server.name}${server.path}`

const healthJson = (node: Node, server: Upstream) => {
  const { last, hour } = node.health.of(server)
  const elsewhere = node.placement.elsewhere(server)
  return {
    reachable: last?.reachable ?? null,
    lookedAt: formatTimeOrNull(last?.at ?? null),
    detail: elsewhere ? detailOf(elsewhere) : (last?.detail ?? null),
    mcp: last?.mcp ?? null,
    requests: hour.requests,
    errors: hour.errors,
    errorRate: hour.requests === 0 ? null : hour.errors / hour.requests,
  }
}

const stdioJson = (node: Node, server: Upstream, { command, env, allow, ...spec }: StdioSpec, withStderr: boolean) => {
  const { lastCrash, retryAt, stderr, ...status } = node.stdio.statusOf(server)
  return {
    command: [...command],
    env: Object.fromEntries(env.map(([name]) => [name, MASK])),
    allow: [...allow],
    ...spec,
    node: node.placement.nameOf(server),
    status: {
      ...status,
      lastCrash: lastCrash && { at: formatTime(lastCrash.at), detail: lastCrash.detail },
      retryAt: formatTimeOrNull(retryAt),
      stderr: withStderr ? stderr.map(({ at, line }) => ({ at: formatTime(at), line })) : [],
    },
  }
}

export const serverJson = (node: Node, server: Upstream, withStderr = true) => ({
  id: server.id,
  name: server.name,
  url: server.stdio ? null : server.url.href,
  stdio: server.stdio && stdioJson(node, server, server.stdio, withStderr),
  kind: server.kind,
  path: server.path,
  headers: Object.fromEntries(server.headers.map(([name]) => [name, MASK])),
  state: server.state,
  reason: server.reason,
  connections: node.registry.ofServer(server.id).size,
  health: healthJson(node, server),
  publicUrl: publicUrl(node, server),
  createdAt: formatTime(server.createdAt),
})

/** In a list what its processes said is left out: of many servers it would be megabytes. */
export const serverLineJson = (node: Node, server: Upstream) => serverJson(node, server, false)

/** Servers of a token that still exist. */
export const serversOf = (node: Node, token: Token): Upstream[] =>
  [...token.servers].flatMap((id) => {
    const server = node.servers.byId.get(id)
    return server && server.removedAt === null ? [server] : []
  })

const NO_USE: Usage = { requests: 0, refusals: 0, bytesIn: 0, bytesOut: 0, lastUsedAt: null, client: null }

const presentToken = (node: Node, token: Token, stored: Usage, evidence: EvidenceAddress[]) => {
  const now = node.now()
  const pending = node.usage.pending(token.id)
  const servers = serversOf(node, token)
  const dying = token.secrets.find((secret) => secret.diesAt !== null && secret.diesAt > now)
  return {
    id: token.id,
    name: token.name,
    servers: servers.map((server) => server.name),
    subject: token.subject,
    group: token.group,
    status: statusOf(token, now),
    createdAt: formatTime(token.createdAt),
    createdBy: token.createdBy,
    expiresAt: formatTimeOrNull(token.expiresAt),
    oldSecretDiesAt: formatTimeOrNull(dying?.diesAt ?? null),
    policy: token.policy && {
      ...token.policy,
      allow: token.policy.allow && [...token.policy.allow],
      deny: [...token.policy.deny],
    },
    revokedAt: formatTimeOrNull(token.revokedAt),
    revocationId: token.revocationId,
    lastUsedAt: formatTimeOrNull(pending.lastUsedAt ?? stored.lastUsedAt),
    client: pending.client ?? stored.client,
    connections: node.registry.ofToken(token.id).size,
    requests: stored.requests + pending.requests,
    refusals: stored.refusals + pending.refusals,
    bytesIn: stored.bytesIn + pending.bytesIn,
    bytesOut: stored.bytesOut + pending.bytesOut,
    deadTries: {
      count: evidence.reduce((sum, { count }) => sum + count, 0),
      lastAt: formatTimeOrNull(evidence.length > 0 ? Math.max(...evidence.map(({ lastAt }) => lastAt)) : null),
      addresses: evidence.map(({ address, count, firstAt, lastAt }) => ({
        address,
        count,
        firstAt: formatTime(firstAt),
        lastAt: formatTime(lastAt),
      })),
    },
    urls: Object.fromEntries(servers.map((server) => [server.name, publicUrl(node, server)])),
  }
}

export const tokensJson = (node: Node, tokens: Token[]) => {
  const ids = tokens.map((token) => token.id)
  const totals = node.reads.totalsOf(ids)
  const evidence = node.evidence.of(ids)
  return tokens.map((token) => presentToken(node, token, totals.get(token.id) ?? NO_USE, evidence.get(token.id) ?? []))
}

export const tokenJson = (node: Node, token: Token) => tokensJson(node, [token])[0] as ReturnType<typeof presentToken>

/** What a token did, evenly spaced. */
export const usageJson = (node: Node, token: Token, window: UsageWindow) => ({
  window,
  bucketMs: USAGE_WINDOWS[window].bucketMs,
  items: node.reads.usageHistory(token.id, window).map(({ at, ...counts }) => ({ at: formatTime(at), ...counts })),
})

/** A server as clients reach it; what was seen there says more than what its URL looks like. */
const reachable = (node: Node, server: Upstream): Reachable => {
  const mcp = node.health.of(server).last?.mcp
  const looksLikeSse = (basePath(server) + server.path).endsWith('/sse')
  return {
    name: server.name,
    url: publicUrl(node, server),
    kind: mcp || server.stdio ? 'mcp' : server.kind,
    transport: mcp?.transport ?? (looksLikeSse ? 'sse' : 'http'),
  }
}

/** What to paste into each client; `credential` is the secret, this one time, or its placeholder. */
export const connectJson = (node: Node, token: Token, credential: string, servers = serversOf(node, token)) =>
  snippetsFor(
    servers.map((server) => reachable(node, server)),
    credential,
  )

const peerJson = ({ node, state, ms, cut, leaseEndsAt }: PeerReceipt) => ({
  node,
  state,
  ms,
  cut,
  ...(leaseEndsAt !== null && { leaseEndsAt: formatTime(leaseEndsAt) }),
})

/** One that is not recorded found nothing alive: then what killed it before must be complete, all of it. */
const completionOf = ({ cluster, emergency }: Node, { id, dryRun }: Receipt, recorded: boolean): Completion => {
  if (dryRun) return { complete: false, peers: [] }
  if (recorded) return cluster.completion(id)
  // Whom it names was dead already: of one that is incomplete, or that waits for the disk.
  const waits = emergency.pending.some(({ op }) => op === 'revocation')
  return { complete: !waits && (cluster.status()?.incompleteCount ?? 0) === 0, peers: [] }
}

export const receiptJson = (node: Node, receipt: Receipt, recorded = true) => {
  const { complete, peers } = completionOf(node, receipt, recorded)
  return { ...ownReceipt(receipt), complete: receipt.durable && complete, peers: peers.map(peerJson) }
}

const ownReceipt = (receipt: Receipt) => ({
  id: receipt.id,
  at: formatTime(receipt.at),
  actor: receipt.actor,
  reason: receipt.reason,
  note: receipt.note,
  dryRun: receipt.dryRun,
  selector: { ...receipt.selector },
  tokens: receipt.tokens,
  connections: { cut: receipt.cut },
  timings: receipt.timings,
  durable: receipt.durable,
  ...(receipt.lostOnRestart && { lostOnRestart: receipt.lostOnRestart }),
})

export const receiptConnectionJson = (node: Node, connection: ReceiptConnection) => {
  const token = node.tokens.get(connection.tokenId)
  return {
    n: connection.n,
    kind: connection.kind,
    server: node.servers.byId.get(connection.serverId)?.name ?? connection.serverId,
    token: { id: connection.tokenId, name: token?.name ?? connection.tokenId, subject: token?.subject ?? null },
    client: connection.client,
    address: connection.address,
    startedAt: formatTime(connection.startedAt),
    endedAt: formatTime(connection.endedAt),
    ageMs: Math.max(0, connection.endedAt - connection.startedAt),
    bytesIn: connection.bytesIn,
    bytesOut: connection.bytesOut,
  }
}

export const connectionJson = (node: Node, connection: Connection) => {
  const { secret, server } = connection
  const { id, name, subject } = secret.token
  return {
    id: connection.id,
    kind: connection.kind,
    server: server.name,
    token: { id, name, subject },
    client: connection.client,
    address: connection.address,
    method: connection.method,
    path: connection.path,
    startedAt: formatTime(connection.startedAt),
    ageMs: Math.max(0, node.now() - connection.startedAt),
    bytesIn: connection.bytesIn,
    bytesOut: connection.bytesOut,
  }
}

export const auditJson = (row: AuditRow) => ({
  sequence: row.sequence,
  time: formatTime(row.at),
  node: row.node,
  actor: row.actor,
  action: row.action,
  targetId: row.targetId,
  targetName: row.targetName,
  reason: row.reason,
  details: JSON.parse(row.details) as Record<string, unknown>,
  previousHash: row.previousHash,
  hash: row.hash,
})

export const apiKeyJson = (key: ApiKey & { lastUsedAt?: number | null }) => ({
  id: key.id,
  name: key.name,
  role: key.role,
  createdAt: formatTime(key.createdAt),
  createdBy: key.createdBy,
  expiresAt: formatTimeOrNull(key.expiresAt),
  lastUsedAt: formatTimeOrNull(key.lastUsedAt ?? null),
})

export const operatorJson = (operator: Operator) => ({
  id: operator.id,
  name: operator.name,
  role: operator.role,
  createdAt: formatTime(operator.createdAt),
  lastSignInAt: formatTimeOrNull(operator.lastSignInAt),
  ready: operator.passwordHash !== null,
})

/** `current`: the id of the session that asks. */
export const sessionJson = ({ session, operator }: SessionOf, current: string | null) => ({
  id: session.id,
  operator: operator.name,
  role: operator.role,
  address: session.lastFrom,
  openedFrom: session.openedFrom,
  client: session.client,
  createdAt: formatTime(session.createdAt),
  usedAt: formatTime(session.usedAt),
  restricted: session.restricted,
  current: session.id === current,
})

export const verificationJson = ({ checkedAt, ...found }: VerificationState) => ({
  ...found,
  ok: found.status === 'intact',
  checkedAt: formatTime(checkedAt),
})

export const linkJson = (node: Node, link: { path: string; expiresAt: number }) => ({
  url: node.consoleUrl + link.path,
  expiresAt: formatTime(link.expiresAt),
})

export const selfTestJson = ({ at, step, ...result }: SelfTestResult) => ({
  at: formatTime(at),
  step,
  meaning: step && SELFTEST_STEPS[step],
  ...result,
})

/** The cluster as this node sees it; null: it stands alone. */
export const clusterJson = (node: Node, status: ClusterStatus | null) =>
  status === null
    ? { clustered: false as const, node: { id: node.id, name: node.config.nodeName } }
    : {
        clustered: true as const,
        ...status,
        members: status.members.map(({ heardAt, ...member }) => ({ ...member, heardAt: formatTimeOrNull(heardAt) })),
      }
