import { connect } from 'node:net'
import type { Access } from '../access.ts'
import { bracketed, endpointOf } from '../address.ts'
import type { ApiKeys } from '../apikey.ts'
import type { Member } from '../cluster/message.ts'
import { ClusterNode } from '../cluster/cluster.ts'
import type { ClusterMeasures } from '../cluster-measures.ts'
import type { AuditEvent } from '../audit.ts'
import type { Cluster } from '../cluster-view.ts'
import { joinDoor, JOIN_PATH, join } from '../cluster/join.ts'
import { isSame } from '../cluster/membership.ts'
import { ClusterListener } from '../cluster/listener.ts'
import type { NatsSettings } from '../cluster/nats-connection.ts'
import { Protocol, type ProtocolState, stateOf } from '../cluster/protocol.ts'
import { Running } from '../cluster/running.ts'
import { Tickets } from '../cluster/ticket.ts'
import type { TransportEvents } from '../cluster/transport.ts'
import { WebSocketTransport } from '../cluster/websocket.ts'
import type { ClusterConfig, Config } from '../config.ts'
import type { Emergency } from '../emergency.ts'
import { AppError, invalid, messageOf } from '../error.ts'
import { newId } from '../id.ts'
import { limits } from '../limits.ts'
import type { Logger } from '../log.ts'
import { SYSTEM } from '../operator.ts'
import type { Receipts } from '../receipt.ts'
import type { Registry } from '../registry.ts'
import { RevocationIndex } from '../revocation-index.ts'
import { NOT_MEASURED } from '../revocation-record.ts'
import type { Standing } from '../standing.ts'
import { adoptRing, checkEmpty } from '../store/adopt.ts'
import { applyCarried } from '../store/carried.ts'
import { ClusterStore } from '../store/cluster.ts'
import { found } from '../store/founding.ts'
import type { Store } from '../store/open.ts'
import { keyHandlers } from '../store/replica/key.ts'
import { peopleHandlers } from '../store/replica/people.ts'
import { receiptHandlers } from '../store/replica/receipt.ts'
import { RevocationFacts } from '../store/replica/revocation.ts'
import { serverHandlers } from '../store/replica/server.ts'
import { tokenHandlers } from '../store/replica/token.ts'
import { ReplicaStore } from '../store/replica.ts'
import type { RevocationStore } from '../store/revocation.ts'
import { ServerStore } from '../store/server.ts'
import type { Clock, Stopwatch } from '../time.ts'
import type { TokenIndex } from '../token-index.ts'
import type { UpstreamIndex } from '../upstream.ts'

/** Where others reach this node; null: it listens for nobody. */
const urlOf = ({ listen, advertise }: ClusterConfig): string | null => {
  if (!listen) return null
  return advertise ?? `ws://${bracketed(listen.host)}:${listen.port}`
}

/**
 * A folder that is of no cluster yet becomes one of it, with the ticket of the settings. Before anything is read out of
 * it: the keys that it was opened with are not the cluster's. Throws what the other side says.
 */
export const joinFirst = async (config: Config, store: Store, version: string, log: Logger): Promise<void> => {
  const { cluster, nodeName } = config
  const keep = new ClusterStore(store)
  if (!cluster?.join || keep.identity()) return
  const { url, ticket } = cluster.join
  const own = urlOf(cluster)
  if (!ticket) throw invalid('--cluster-join: needs --ticket too; `portcullis cluster ticket` on a member makes one')
  if (own === null) throw invalid('--cluster-join: needs --cluster-listen too, where the others reach this node')
  checkEmpty(store)
  log.info({ to: url }, 'joining a cluster')
  const member = { id: store.node, name: nodeName, url: own, key: keep.keys().publicKey }
  const welcome = await joinPatiently(() => join(url, ticket, member, version, config.isNamed), log)
  adoptRing(store, {
    database: welcome.database,
    keys: welcome.keys.map(({ secret, ...key }) => ({ ...key, secret: new Uint8Array(Buffer.from(secret, 'base64')) })),
  })
  keep.state(eventOf).save(stateOf(welcome.memberships, false))
  const newest = welcome.memberships.at(-1)
  // It may be sealed under a key of the ring that was removed since.
  if (newest) keep.keepSecret(newest, new Uint8Array(Buffer.from(welcome.secret, 'base64')))
  keep.create(welcome.cluster, true)
  log.info({ cluster: welcome.cluster }, 'joined; now it learns what the others know')
}

const WAITS_FOR_LIVING =
  'this folder was restored or copied: nobody is let in until the members that run have told what they know. If none of ' +
  'them runs any more, restore every node from its own backup with --whole-cluster, or one of them with --alone'
const WAITS_FOR_RESTORED =
  'this folder was restored: nobody is let in until the members that run, or more than half of them restored likewise, ' +
  'have told what they know'

/** A membership that is new here: each node's own audit log says who changed it. */
const eventOf = ({ memberships }: ProtocolState, before: ProtocolState | null): AuditEvent | null => {
  const [newest, known] = [memberships.at(-1), before?.memberships.at(-1)]
  if (!newest || (known && isSame(known, newest))) return null
  const { version, actor, change, members, policy, leaseMs, void: gone } = newest
  const names = (of: readonly Member[]) => of.map(({ id, name, url }) => ({ id, name, url }))
  const details = { version, members: names(members), policy, leaseMs, void: names(gone) }
  return { actor, action: 'cluster.change', targetId: null, targetName: change, details }
}

/** Whether the machine at a URL answers that nobody listens there: it is on, and that node is not. */
const refuses = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const { host, port } = endpointOf(new URL(url))
    const socket = connect({ host, port, timeout: limits.clusterRefusalMs })
    const settle = (refused: boolean) => {
      socket.destroy()
      resolve(refused)
    }
    socket.once('connect', () => settle(false))
    socket.once('timeout', () => settle(false))
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'))
  })

/** The other side may be starting just now; what it refuses is refused for good. */
const joinPatiently = async <T>(ask: () => Promise<T>, log: Logger): Promise<T> => {
  const until = performance.now() + limits.ticketMs
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      const passing = error instanceof AppError && error.kind === 'unavailable'
      if (!passing || performance.now() > until) throw error
      log.warn({ error: messageOf(error) }, 'the cluster can not be joined yet; trying again')
      await Bun.sleep(limits.joinRetryMs)
    }
  }
}

export interface ClusterServices {
  config: Config
  version: string
  store: Store
  tokens: TokenIndex
  servers: UpstreamIndex
  registry: Registry
  standing: Standing
  access: Access
  apiKeys: ApiKeys
  receipts: Receipts
  emergency: Emergency
  revocationStore: RevocationStore
  measures: ClusterMeasures
  now: Clock
  stopwatch: Stopwatch
  log: Logger
}

/** The cluster of a node, and what it starts and stops with. */
export interface Clustered {
  cluster: Cluster
  start(): Promise<void>
  stop(): void
}

/** Everything that makes a node a member, or able to become one. */
export const createCluster = (services: ClusterServices): Clustered => {
  const { config, version, store, tokens, servers, registry, standing, access, apiKeys } = services
  const { receipts, emergency, revocationStore, measures, now, stopwatch, log } = services
  const settings = config.cluster
  // Serving without the others would let in what they revoked.
  if (!settings)
    throw invalid('--cluster-listen: this folder is of a cluster, and needs the address of its member again')
  const keep = new ClusterStore(store)
  const revocations = new RevocationIndex()
  const facts = new RevocationFacts({
    store,
    tokens,
    revocations,
    registry,
    pending: () => emergency.pending,
    onRevoked({ id }, result) {
      // A commit for each: of thousands that are pulled, nearly all have cut nothing, and their rows say so already.
      if (result.cut > 0) void receipts.keep({ id, timings: { ...NOT_MEASURED }, result, endedAt: now() })
    },
  })
  revocationStore.shared = facts
  const replica = new ReplicaStore({
    store,
    limits,
    revocations: facts,
    onApplied({ revocations: applied, count }) {
      measures.applied.revocation += applied.length
      measures.applied.change += count - applied.length
    },
    onDefect: (error, kind) =>
      log.error({ err: error, kind }, 'a fact of another node could not be applied; it is kept, and passed on'),
    handlers: {
      ...tokenHandlers({ store, tokens, revocations, registry, now }),
      ...serverHandlers({ store, servers, registry }),
      ...peopleHandlers({ store, access, apiKeys }),
      ...keyHandlers({ store, tokens, registry, now }),
      ...receiptHandlers(store),
    },
  })
  // What a restore brought along, before anybody is let in.
  applyCarried(store, replica)
  const tickets = new Tickets(now, stopwatch)
  const refused = (reason: keyof ClusterMeasures['refused']) => {
    measures.refused[reason] += 1
  }
  const listener = settings.listen ? new ClusterListener(settings.listen, refused) : null
  const disk = keep.state(eventOf)
  const url = urlOf(settings)

  const node: ClusterNode = new ClusterNode({
    id: store.node,
    name: config.nodeName,
    url,
    policy: settings.policy,
    leaseMs: settings.leaseMs,
    keep,
    tickets: {
      issue(actor) {
        store.log.change({ actor, action: 'cluster.ticket', targetId: store.node }, [], () => {})
        return tickets.issue(actor)
      },
    },
    newId: () => newId('cls'),
    async found(actor) {
      await found({ store, tokens, servers }, limits, actor)
      replica.reload()
    },
    onReplaced: (lost, member) => new ServerStore(store).takeOver(servers.live(), (was) => was === lost, member),
    putFirst: (membership) => disk.save(stateOf([membership], true)),
    refuses,
    welcome: () => ({
      database: store.database,
      keys: store.keys.data.keys.map(({ id, createdAt, secret }) => ({
        id,
        createdAt,
        secret: Buffer.from(secret).toString('base64'),
      })),
    }),
    async run(self, { clusterId, fresh, formerly, retired }, trust) {
      const protocol = new Protocol({
        self,
        replica,
        disk,
        timing: limits,
        version,
        fresh,
        formerly,
        retired,
      })
      let running: Running | null = null
      let served = false
      const events: TransportEvents = {
        linked: (peer) => running?.linked(peer),
        unlinked(peer) {
          measures.linksLost += 1
          running?.unlinked(peer)
        },
        message: (peer, message) => running?.message(peer, message),
        refused,
      }
      const warn = (text: string) => log.warn({}, text)
      const nats = settings.nats && (await import('../cluster/nats.ts'))
      const transport = nats
        ? new nats.NatsTransport({ trust, settings: settings.nats as NatsSettings, events, limits, stopwatch, warn })
        : new WebSocketTransport(trust, listener as ClusterListener, stopwatch, events)
      running = new Running({
        self,
        clusterId,
        protocol,
        transport,
        replica,
        completions: revocationStore,
        waiting: () =>
          emergency.pending.flatMap((entry) =>
            entry.op === 'revocation'
              ? [{ record: entry.record, issuedUntil: entry.issuedUntil ?? entry.record.at }]
              : [],
          ),
        standing,
        limits,
        now,
        stopwatch,
        onStanding(unfit) {
          if (unfit === null) {
            served = true
            return log.info({}, 'this node lets clients in')
          }
          const { members } = protocol.membership
          if (formerly.some((was) => members.some(({ id }) => id === was)))
            log.warn({}, retired ? WAITS_FOR_RESTORED : WAITS_FOR_LIVING)
          else if (!members.some(({ id }) => id === self.id))
            log.warn({}, 'this node is no member of its cluster (any more), and lets nobody in')
          else if (unfit === 'not_synced') log.info({}, 'nobody is let in until this node knows what the others know')
          // Whoever is listening hears it now; what is asked is refused by the predicate.
          const { cut } = registry.cut(registry.all(), 'node_stale')
          // One that starts has no lease yet, and lost nothing.
          if (unfit === 'node_stale' && served)
            log.error({ cut }, 'this node lost touch with its cluster and lets nobody in')
        },
        onSynced() {
          // What its members know is known here now, and that it is the one that ran them.
          const { members } = protocol.membership
          const isGone = (was: string) => formerly.includes(was) && members.every(({ id }) => id !== was)
          new ServerStore(store).takeOver(servers.live(), isGone)
          keep.setSynced()
        },
        onRolledBack() {
          log.fatal(
            {},
            'the others know more of this node than it does itself: its machine was rolled back. It restarts as another',
          )
          keep.forgetIdentity()
          // Whoever watches over it starts it again when it failed, and not when it ended as it was told.
          process.on('exit', () => {
            process.exitCode = 1
          })
          process.kill(process.pid, 'SIGTERM')
        },
        onMembership(membership) {
          keep.open(membership)
          const own = membership.members.find(({ id }) => id === self.id)
          if (own && (own.url !== self.url || (config.isNamed && own.name !== self.name))) {
            const [was, is] = [`${own.name} at ${own.url}`, `${self.name} at ${self.url}`]
            log.warn(
              { was, is },
              'the others know this node by another name or address: to change it, leave, and join anew',
            )
          }
          const names = membership.members.map(({ name }) => name)
          log.info(
            { version: membership.version, change: membership.change, members: names },
            'the members of the cluster',
          )
        },
        onError: (error, doing) => log.error({ err: error, doing }, 'the cluster: a step failed'),
      })
      return running
    },
  })
  listener?.open(
    JOIN_PATH,
    joinDoor({
      keyOf: (ticket) => tickets.keyOf(ticket),
      redeem: (ticket, publicKey) => tickets.redeem(ticket, publicKey),
      admit: (member, { actor, named }) => node.admit(member, named, { name: actor, role: 'owner' }),
      failed: (error) => log.error({ err: error }, 'a node could not join'),
      refused,
    }),
  )
  store.log.onCommitted = (committed) => node.committed(committed)
  return {
    cluster: node,
    async start() {
      // Until it knows better; one that stands alone knows all there is.
      if (keep.identity()) standing.synced = false
      listener?.start()
      await node.start()
      node
        .putPolicy(SYSTEM)
        .catch((error: unknown) => log.warn({ err: error }, 'the policy of the settings is not in force'))
    },
    stop() {
      node.stop()
      listener?.stop()
    },
  }
}
