import type { Emergency, GateRecord } from './emergency.ts'
import { gateStateAfter, type Kept, toldOf } from './emergency.ts'
import { conflict, invalid, notFound } from './error.ts'
import { newId } from './id.ts'
import { limits } from './limits.ts'
import type { Actor, Role } from './operator.ts'
import type { Placement } from './placement.ts'
import type { Connection, CutResult, Registry } from './registry.ts'
import { STDIO_URL, type StdioRequest, type StdioSpec, stdioSpec } from './stdio.ts'
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

/** `url`, or `stdio`; a kind and headers are for the former alone. */
export interface ServerRequest {
  name: string
  url?: string
  stdio?: StdioRequest
  kind?: Exclude<UpstreamKind, 'stdio'>
  path?: string
  headers?: Record<string, string>
}

/** What is left out stays as it is. */
export interface ServerPatch extends Omit<Partial<ServerRequest>, 'name' | 'stdio'> {
  /** `node`: the name of the member that runs it from now on. */
  stdio?: Partial<StdioRequest> & { node?: string }
}

/** What stands for a value that is kept: answered for headers and environments, and accepted back by a change. */
export const MASK = '***'

/** Who may add, change or remove such a server: whoever gives a command runs it on the node's machine. */
export const roleFor = (...servers: readonly { stdio?: unknown }[]): Role =>
  servers.some(({ stdio }) => stdio !== undefined && stdio !== null) ? 'owner' : 'operator'

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
  /** A command that is added here runs here. */
  placement: Pick<Placement, 'node' | 'idOf'>
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
    this.#mayAdd(request.name)
    return {
      id: newId('srv'),
      name: serverName(request.name),
      path: serverPath(request.path ?? ''),
      ...this.#whereOf(request),
      state: 'open',
      reason: null,
      createdAt: this.deps.now(),
      removedAt: null,
    }
  }

  #whereOf({ url, stdio, kind, headers }: ServerRequest): Pick<Upstream, 'url' | 'kind' | 'headers' | 'stdio'> {
    if (stdio === undefined) {
      if (url === undefined) throw invalid('give the url of the server, or the command that runs it as stdio')
      refuseMasks(headers ?? {}, 'a header')
      return { url: serverUrl(url), kind: kind ?? 'auto', headers: serverHeaders(headers ?? {}), stdio: null }
    }
    if (url !== undefined) throw invalid('give either the url of the server, or the command that runs it as stdio')
    if (kind !== undefined || headers !== undefined) throw invalid(FOR_URLS)
    refuseMasks(stdio.env ?? {}, 'a variable')
    return { url: new URL(STDIO_URL), kind: 'stdio', headers: [], stdio: stdioSpec(stdio, this.deps.placement.node) }
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

  /** Changes what is given; a header, or a variable, whose value is `***` keeps the old one. */
  change(name: string, patch: ServerPatch, actor: Actor): Upstream {
    const server = this.find(name)
    const next = { ...server }
    if (server.stdio) {
      if (patch.url !== undefined) throw invalid(`${name} is a command: remove it, and add the URL as another server`)
      if (patch.kind !== undefined || patch.headers !== undefined) throw invalid(FOR_URLS)
      if (patch.stdio !== undefined) next.stdio = this.#changedSpec(server.stdio, patch.stdio)
    } else if (patch.stdio !== undefined) {
      throw invalid(`${name} has a URL: remove it, and add the command as another server`)
    }
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
    if (patch.headers !== undefined) {
      const kept = new Map(server.headers.map(([header, value]) => [header.toLowerCase(), value]))
      next.headers = serverHeaders(keepMasked(patch.headers, (header) => kept.get(header.toLowerCase()), "a header's"))
    }
    const changed = Object.entries(patch).flatMap(([key, value]) => (key === 'stdio' ? Object.keys(value) : [key]))
    if (changed.length === 0) return server
    this.deps.store.updateServer(next, changed, actor)
    // The object stays the same one: connections and the predicate hold on to it.
    return Object.assign(server, next)
  }

  /** The spec with what was asked for in its place; all of it is checked again, since parts may not go together. */
  #changedSpec(spec: StdioSpec, { node, ...patch }: NonNullable<ServerPatch['stdio']>): StdioSpec {
    const kept = new Map(spec.env)
    const values = patch.env && keepMasked(patch.env, (variable) => kept.get(variable), "a variable's")
    const whole = { ...spec, command: [...spec.command], allow: [...spec.allow], ...patch }
    const env = values ?? Object.fromEntries(kept)
    return stdioSpec({ ...whole, env }, node === undefined ? spec.node : this.deps.placement.idOf(node))
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

  /** Closes one that can't be left open, and no other of its name. */
  closeOne(server: Upstream, reason: string, actor: Actor): GateOutcome {
    return this.#put('closed', [server], actor, { reason })
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

const FOR_URLS = 'kind and headers are for servers with a url: what a command needs to know stands in its env'

const refuseMasks = (given: Record<string, string>, what: string): void => {
  if (Object.values(given).includes(MASK)) throw invalid(`"${MASK}" is no value for ${what}`)
}

const keepMasked = (
  given: Record<string, string>,
  kept: (name: string) => string | undefined,
  whose: string,
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      const found = value === MASK ? kept(name) : value
      if (found === undefined) throw invalid(`"${MASK}" keeps ${whose} value, but there is no ${name}`)
      return [name, found]
    }),
  )
