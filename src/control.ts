import type { Emergency, GateRecord } from './emergency.ts'
import { gateStateAfter, type Kept, toldOf } from './emergency.ts'
import { conflict, invalid, notFound } from './error.ts'
import { newId } from './id.ts'
import { limits } from './limits.ts'
import type { Actor } from './operator.ts'
import type { Connection, CutResult, Registry } from './registry.ts'
import { lineOrNull } from './text.ts'
import type { Clock } from './time.ts'
import {
  serverHeaders,
  serverName,
  serverPath,
  serverUrl,
  type Upstream,
  type UpstreamIndex,
  type UpstreamKind,
} from './upstream.ts'

export interface ServerRequest {
  name: string
  url: string
  kind?: UpstreamKind
  path?: string
  headers?: Record<string, string>
}

/** What stands for a value that is kept: answered for headers, and accepted back by a change. */
export const MASK = '***'

export interface ControlStore {
  insertServer(server: Upstream, actor: Actor): void
  updateServer(server: Upstream, changed: string[], actor: Actor): void
  removeServers(servers: readonly Upstream[], at: number, actor: Actor): void
}

export interface ControlDeps {
  servers: UpstreamIndex
  registry: Registry
  emergency: Emergency
  store: ControlStore
  now: Clock
}

export interface GateOutcome extends CutResult {
  durable: boolean
  lostOnRestart?: true
}

/** Servers and their gates: add, change, remove, close, open, kill. */
export class Control {
  constructor(readonly deps: ControlDeps) {}

  find(name: string): Upstream {
    const server = this.deps.servers.byName.get(name)
    if (!server) throw notFound('no server has that name')
    return server
  }

  /** All that have the name: what ends one of them ends all. */
  #named(name: string): readonly Upstream[] {
    this.find(name)
    return this.deps.servers.named(name)
  }

  /** A checked server that is not there yet, so that it can be looked at first. */
  draft(request: ServerRequest): Upstream {
    if (Object.values(request.headers ?? {}).includes(MASK)) throw invalid(`"${MASK}" is no value for a header`)
    this.#mayAdd(request.name)
    return {
      id: newId('srv'),
      name: serverName(request.name),
      url: serverUrl(request.url),
      kind: request.kind ?? 'auto',
      path: serverPath(request.path ?? ''),
      headers: serverHeaders(request.headers ?? {}),
      stdio: null,
      state: 'open',
      reason: null,
      createdAt: this.deps.now(),
      removedAt: null,
    }
  }

  add(server: Upstream, actor: Actor): void {
    // Asked again: another may have taken the name while a probe looked.
    this.#mayAdd(server.name)
    this.deps.store.insertServer(server, actor)
    this.deps.servers.add(server)
  }

  #mayAdd(name: string): void {
    const { servers } = this.deps
    if (servers.byName.has(name.trim())) throw conflict('a server has that name already')
    if (servers.live().length >= limits.serversMax)
      throw invalid(`there are ${limits.serversMax} servers, the most there may be`)
  }

  /** Changes what is given; a header whose value is `***` keeps the old one. */
  change(name: string, patch: Omit<Partial<ServerRequest>, 'name'>, actor: Actor): Upstream {
    const server = this.find(name)
    const next = { ...server }
    if (patch.url !== undefined) {
      next.url = serverUrl(patch.url)
      // Credentials were given for one place; a new URL must not carry them to another.
      if (
        next.url.origin !== server.url.origin &&
        server.headers.length > 0 &&
        (patch.headers === undefined || Object.values(patch.headers).includes(MASK))
      ) {
        throw invalid(
          'the URL leads to another origin than the headers were given for: give their values again, or drop them',
        )
      }
    }
    if (patch.kind !== undefined) next.kind = patch.kind
    if (patch.path !== undefined) next.path = serverPath(patch.path)
    if (patch.headers !== undefined) next.headers = serverHeaders(keepMasked(patch.headers, server))
    const changed = Object.keys(patch)
    if (changed.length === 0) return server
    this.deps.store.updateServer(next, changed, actor)
    // The object stays the same one: connections and the predicate hold on to it.
    return Object.assign(server, next)
  }

  remove(name: string, actor: Actor): CutResult {
    const targets = this.#named(name)
    const at = this.deps.now()
    this.deps.store.removeServers(targets, at, actor)
    for (const server of targets) this.deps.servers.remove(server, at)
    return this.deps.registry.cut(this.#connectionsOf(targets), 'server_closed')
  }

  /** Cuts every connection of a server; tokens stay valid. */
  kill(name: string, actor: Actor): GateOutcome {
    const targets = this.#named(name)
    return this.#act('kill', targets, actor, {}, () => this.#connectionsOf(targets))
  }

  #connectionsOf(servers: readonly Upstream[]): Connection[] {
    return servers.flatMap(({ id }) => [...this.deps.registry.ofServer(id)])
  }

  /** Cuts one connection; its token stays valid. */
  killConnection(id: string, actor: Actor): GateOutcome {
    const connection = this.deps.registry.get(id)
    if (!connection) throw notFound('no live connection has that id; it may have ended')
    const { server, secret, client, address } = connection
    const named = { id, token: secret.token.id, client, address }
    return this.#act('kill', [server], actor, { connection: named }, () => [connection, ...(connection.parts ?? [])])
  }

  /** Closes or opens one server; closing cuts every connection of it. */
  putGate(name: string, state: 'open' | 'closed', reason: string | undefined, actor: Actor): GateOutcome {
    return this.#put(state, this.#named(name), actor, { reason: reasonLine(reason) })
  }

  /** The same for all servers there are. */
  putAllGates(state: 'open' | 'closed', reason: string | undefined, actor: Actor): GateOutcome {
    return this.#put(state, this.deps.servers.live(), actor, { all: true, reason: reasonLine(reason) })
  }

  #put(state: 'open' | 'closed', targets: readonly Upstream[], actor: Actor, extra: Partial<GateRecord>): GateOutcome {
    if (state === 'open') return this.#act('open', targets, actor, extra, () => [])
    return this.#act('close', targets, actor, extra, () => this.#connectionsOf(targets))
  }

  #act(
    action: GateRecord['action'],
    targets: readonly Upstream[],
    actor: Actor,
    extra: Partial<GateRecord>,
    connections: () => Iterable<Connection>,
  ): GateOutcome {
    const { registry, emergency, now } = this.deps
    const record: GateRecord = {
      id: newId('req'),
      at: now(),
      actor: actor.name,
      action,
      servers: targets.map(({ id, name }) => ({ id, name })),
      all: false,
      reason: null,
      ...extra,
    }
    let kept: Kept = 'database'
    // What was closed stays closed unless the database takes the opening: fail on the safe side.
    if (action === 'open') emergency.commitOrThrow({ op: 'gate', record })
    else kept = emergency.commit({ op: 'gate', record })
    if (action !== 'kill') putState(targets, action, record.reason)
    return {
      ...toldOf(kept),
      ...registry.cut(connections(), action === 'kill' ? 'connection_killed' : 'server_closed'),
    }
  }
}

const reasonLine = (reason: string | undefined) => lineOrNull(reason, 'the reason', limits.textLengthMax)

/** Puts the gate of servers in memory. */
export const putState = (servers: Iterable<Upstream>, action: 'close' | 'open', reason: string | null): void => {
  for (const server of servers)
    Object.assign(server, { state: gateStateAfter(action), reason: action === 'close' ? reason : null })
}

const keepMasked = (given: Record<string, string>, server: Upstream): Record<string, string> => {
  const old = new Map(server.headers.map(([name, value]) => [name.toLowerCase(), value]))
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      const kept = value === MASK ? old.get(name.toLowerCase()) : value
      if (kept === undefined) throw invalid(`"${MASK}" keeps a header's value, but there is no ${name}`)
      return [name, kept]
    }),
  )
}
