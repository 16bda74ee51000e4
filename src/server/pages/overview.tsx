/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { ATTENTION_KINDS } from '../../attention.ts'
import type { AuditRow } from '../../audit.ts'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import { formatTime } from '../../time.ts'
import { statusOf, type Token } from '../../token.ts'
import type { Upstream } from '../../upstream.ts'
import type { EventCard } from '../../views/overview-events.tsx'
import type { StepsCard } from '../../views/overview-steps.tsx'
import {
  type Look,
  type OverviewCard,
  OverviewPage,
  type ServerLine,
  type Tile,
  type Wrong,
} from '../../views/overview.tsx'
import type { Frame } from '../../views/layout.tsx'
import { serverHref } from '../../views/server-cells.tsx'
import { count } from '../../views/words.ts'
import { type ClusterNow, clusterAt, clusterWrong } from './alarms.ts'
import { type Elsewhere, elsewhereIn } from './elsewhere.ts'
import { frameOf, page } from './page.ts'
import { personOf } from './person.ts'
import { mayChange } from './rights.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const isUnreachable = (node: Node, server: Upstream): boolean =>
  server.state === 'open' && node.health.of(server).last?.reachable === false

/** What is not well in the cluster, and no alarm over the page. */
const wrongInCluster = (cluster: ClusterNow | null): Wrong | null => {
  const say = cluster && clusterWrong(cluster)
  return say === null ? null : { say, detail: null, href: '/cluster', act: 'See the cluster' }
}

/** The worst of what is not well; null: all is. */
const wrongOf = (
  node: Node,
  { problems, alarms }: Frame,
  cluster: ClusterNow | null,
  mayOpen: boolean,
): Wrong | null => {
  const servers = node.servers.sorted()
  const { verification } = node
  if (verification && verification.status !== 'intact')
    return { say: 'The audit log does not hold', detail: verification.message, href: '/audit', act: 'See where' }
  const [problem] = problems
  if (problem !== undefined)
    return { say: 'This node is not ready', detail: problem, href: '/node', act: 'See the node' }

  const inCluster = alarms.length === 0 ? wrongInCluster(cluster) : null
  if (inCluster) return inCluster

  const closed = servers.filter(({ state }) => state === 'closed')
  if (closed.length > 1 && closed.length === servers.length)
    return {
      say: 'Every gate is closed',
      detail: null,
      href: mayOpen ? '/gate?state=open' : '/servers',
      act: mayOpen ? 'Open again' : 'See the servers',
    }
  const [shut] = closed
  if (shut && closed.length === 1)
    return { say: `${shut.name} is closed`, detail: shut.reason, href: serverHref(shut.name), act: 'See the server' }
  if (shut)
    return {
      say: `${closed.length} of ${count(servers.length, 'server')} are closed`,
      detail: null,
      href: '/servers?show=closed',
      act: 'See which',
    }

  const silent = servers.filter((server) => isUnreachable(node, server))
  const [only] = silent
  if (only && silent.length === 1) {
    const detail = node.health.of(only).last?.detail ?? null
    return { say: `${only.name} can't be reached`, detail, href: serverHref(only.name), act: 'See the server' }
  }
  if (only)
    return {
      say: `${silent.length} of ${count(servers.length, 'server')} can't be reached`,
      detail: null,
      href: '/servers?show=unreachable',
      act: 'See which',
    }

  const { deadTries } = node.pulse.perMinute
  if (deadTries > 0)
    return {
      say: 'Dead tokens are being tried',
      detail: `${count(deadTries, 'time')} in the last minute`,
      href: '/audit?action=gate.dead-token',
      act: 'See by whom',
    }
  return null
}

/** While nobody has used any of the few tokens that there are. */
const stepsOf = (node: Node, actor: Actor): StepsCard | null => {
  if (node.tokens.size > node.limits.firstRunTokensMax) return null
  const tokens = [...node.tokens]
  const hasServer = node.servers.byName.size > 0
  const totals = node.reads.totalsOf(tokens.map(({ id }) => id))
  const isUsed = ({ id }: Token) =>
    node.usage.pending(id).lastUsedAt !== null || (totals.get(id)?.lastUsedAt ?? null) !== null
  if (hasServer && tokens.some(isUsed)) return null
  const live = tokens.filter((token) => statusOf(token, node.now()) === 'active')
  return { hasServer, token: live[0] ?? null, mayChange: mayChange(actor) }
}

const tilesOf = (node: Node): Tile[] => {
  const { slots, perMinute } = node.pulse
  const values = (name: 'connections' | 'requests' | 'refusals' | 'deadTries') => slots.map((slot) => slot[name] ?? 0)
  const minute = (name: 'requests' | 'refusals' | 'deadTries') =>
    ({ value: perMinute[name], unit: 'in the last minute', values: values(name) }) as const
  return [
    { name: 'Live connections', kind: 'live', value: node.registry.size, unit: 'now', values: values('connections') },
    { name: 'Requests a minute', kind: 'plain', ...minute('requests') },
    { name: 'Refusals a minute', kind: 'wrong', ...minute('refusals') },
    { name: 'Dead tokens tried', kind: 'wrong', ...minute('deadTries') },
  ]
}

/** First what is not well, then by name: nothing moves while all is as it was. */
const serverLines = (node: Node, servers: readonly Upstream[]): ServerLine[] => {
  const rank = (server: Upstream) => (server.state === 'closed' ? 0 : isUnreachable(node, server) ? 1 : 2)
  return servers
    .map((server) => ({ server, rank: rank(server) }))
    .toSorted((a, b) => a.rank - b.rank)
    .slice(0, node.limits.overviewServersMax)
    .map(({ server: { id, name, state, reason }, server }) => ({
      id,
      name,
      state,
      reason,
      reachable: node.health.of(server).last?.reachable ?? null,
      connections: node.registry.ofServer(id).size,
    }))
}

type Details = { count?: number; revocation?: string }

const detailsOf = (row: AuditRow): Details => JSON.parse(row.details) as Details

/** Newest first. What strangers do again and again is one event, so that it drives nothing else off the page. */
const eventsOf = (node: Node, rows: AuditRow[], elsewhere: Elsewhere): EventCard[] => {
  const events = new Map<string, EventCard>()
  for (const row of rows) {
    const isFolded = row.actor.startsWith('address:')
    const key = isFolded ? `${row.action} ${row.targetId}` : String(row.sequence)
    const times = detailsOf(row).count ?? 1
    const known = events.get(key)
    if (known) {
      known.times += times
      if (known.actor !== row.actor) known.actor = 'address:many'
      continue
    }
    const { sequence, at, actor, action, reason } = row
    const target = row.targetName ?? row.targetId
    const on = elsewhere(row.node)
    events.set(key, { sequence, at: formatTime(at), actor, on, action, target, reason, times, isFolded })
  }
  return [...events.values()].slice(0, node.limits.overviewEventsMax)
}

const revokedOf = (node: Node, rows: AuditRow[], elsewhere: Elsewhere): OverviewCard['revoked'] =>
  rows.flatMap((row) => {
    const { revocation, count: tokens = 1 } = detailsOf(row)
    if (revocation === undefined || row.at < node.now() - HOUR_MS) return []
    const { actor, targetName } = row
    const by = { actor, on: elsewhere(row.node) }
    return [{ id: revocation, at: formatTime(row.at), ...by, tokens, name: tokens === 1 ? targetName : null }]
  })

const looksOf = async (node: Node): Promise<Look[]> => {
  const attention = await node.attention()
  return ATTENTION_KINDS.map((kind) => ({
    kind,
    count: attention[kind].size,
    first: [...attention[kind][Symbol.iterator]().take(node.limits.namesShownMax)].map(({ id, name }) => ({
      id,
      name,
    })),
  })).filter((look) => look.count > 0)
}

const overviewCard = async (node: Node, request: Request, actor: Actor, frame: Frame): Promise<OverviewCard> => {
  const [cluster, elsewhere] = [clusterAt(node, request), elsewhereIn(node, request)]
  const { limits, reads, registry } = node
  const servers = node.servers.sorted()
  const tokens = await node.tokens.countActive(node.now())
  const newest = { after: null, order: 'desc' } as const
  const [rows, revocations, looks] = await Promise.all([
    reads.audit({ ...newest, limit: limits.overviewEventsReadMax }),
    reads.audit({ ...newest, limit: limits.namesShownMax, action: 'token.revoke' }),
    looksOf(node),
  ])
  return {
    tokens,
    connections: registry.size,
    servers: servers.length,
    nodes: cluster?.status.members.length ?? null,
    wrong: wrongOf(node, frame, cluster, mayChange(actor)),
    steps: stepsOf(node, actor),
    tiles: tilesOf(node),
    chartMinutes: Math.round((limits.pulseSlots * limits.pulseSlotMs) / 60_000),
    serverLines: serverLines(node, servers),
    revoked: revokedOf(node, revocations, elsewhere),
    events: eventsOf(node, rows, elsewhere),
    looks,
    bounds: {
      unusedDays: limits.unusedMs / DAY_MS,
      expiresDays: limits.expiresSoonMs / DAY_MS,
      addresses: limits.manyAddresses,
    },
  }
}

export const overviewRoutes = (node: Node) =>
  new Elysia({ name: 'overview' }).get('/', async ({ request }) => {
    const { actor } = personOf(request)
    const frame = frameOf(node, request)
    return page(<OverviewPage frame={frame} card={await overviewCard(node, request, actor, frame)} />)
  })
