import { eq, inArray } from 'drizzle-orm'
import type { ControlStore } from '../control.ts'
import type { Fact } from '../fact.ts'
import { type Actor, SYSTEM } from '../operator.ts'
import { publicSpec, type StdioSpec } from '../stdio.ts'
import type { GateState, Upstream, UpstreamKind } from '../upstream.ts'
import type { Store } from './open.ts'
import { servers } from './schema.ts'

const purpose = (id: string) => `headers of ${id}`
const envPurpose = (id: string) => `env of ${id}`

type Pairs = readonly (readonly [string, string])[]

/** What may stand on disk and in facts as it is. */
type BareSpec = Omit<StdioSpec, 'env'>

/** What other nodes are told of a server; the state of its gate is a register of its own, and told by itself. */
export interface ServerPayload {
  id: string
  name: string
  url: string
  kind: UpstreamKind
  path: string
  /** Sealed under the ring that all nodes share. */
  headers: string
  createdAt: number
  /** Who told it, for the audit log. */
  by: string
}

/**
 * The same of a server that is a command: a kind of its own, since a program that knows no commands would take it for a
 * server with a URL. It keeps it until one comes that does.
 */
export interface StdioPayload extends Pick<ServerPayload, 'id' | 'name' | 'path' | 'createdAt' | 'by'> {
  stdio: BareSpec
  /** The environment, sealed likewise. */
  env: string
}

/** Servers on disk, their credentials sealed under the key file. */
export class ServerStore implements ControlStore {
  constructor(readonly store: Store) {}

  all(): Upstream[] {
    return this.store.db
      .select()
      .from(servers)
      .all()
      .map((row) => this.#read(row))
  }

  withId(id: string): Upstream | null {
    const row = this.store.db.select().from(servers).where(eq(servers.id, id)).get()
    return row ? this.#read(row) : null
  }

  #read({ env, ...row }: typeof servers.$inferSelect): Upstream {
    // A removed server's credentials are never used again, and may be sealed under a key that is gone.
    const lives = row.removedAt === null
    return {
      ...row,
      url: new URL(row.url),
      headers: lives ? this.unseal(row) : [],
      stdio: row.stdio && { ...row.stdio, env: lives && env !== null ? this.unsealEnv({ id: row.id, env }) : [] },
    }
  }

  insertServer(server: Upstream, actor: Actor): void {
    const event = {
      actor: actor.name,
      action: 'server.add',
      targetId: server.id,
      targetName: server.name,
      details: publicly(server),
    }
    this.store.log.change(event, [this.putFact(server, actor.name)], () => this.insert(server))
  }

  updateServer(server: Upstream, changed: string[], actor: Actor): void {
    const details = { ...publicly(server), changed }
    const event = { actor: actor.name, action: 'server.change', targetId: server.id, targetName: server.name, details }
    this.store.log.change(event, [this.putFact(server, actor.name)], () => this.update(server))
  }

  /** Commands that ran on a node whose place another took, this one by default, run there; the objects are changed too. */
  takeOver(all: readonly Upstream[], ranThere: (node: string) => boolean, node = this.store.node): void {
    for (const server of all) {
      if (!server.stdio || server.stdio.node === node || !ranThere(server.stdio.node)) continue
      const stdio = { ...server.stdio, node }
      this.updateServer({ ...server, stdio }, ['node'], SYSTEM)
      server.stdio = stdio
    }
  }

  removeServers(targets: readonly Upstream[], at: number, actor: Actor): void {
    const events = targets.map(({ id, name }) => ({
      actor: actor.name,
      action: 'server.remove',
      targetId: id,
      targetName: name,
    }))
    this.store.log.changes(
      events,
      targets.map(({ id }) => removeFact(id, at, actor.name)),
      () => {
        for (const { id } of targets) this.remove(id, at)
      },
    )
  }

  /** Within the caller's transaction, like all that follow. */
  insert(server: Upstream): void {
    this.store.db.insert(servers).values(this.#row(server)).run()
  }

  update(server: Upstream): void {
    this.store.db.update(servers).set(this.#row(server)).where(eq(servers.id, server.id)).run()
  }

  remove(id: string, at: number): void {
    this.store.db.update(servers).set({ removedAt: at }).where(eq(servers.id, id)).run()
  }

  putGate(ids: readonly string[], state: GateState, reason: string | null): void {
    this.store.db
      .update(servers)
      .set({ state, reason })
      .where(inArray(servers.id, [...ids]))
      .run()
  }

  /** Seals all credentials anew: after the ring got another key. */
  reseal(all: Iterable<Upstream>): void {
    for (const server of all) {
      if (server.removedAt === null) {
        this.store.db.update(servers).set(this.#sealed(server)).where(eq(servers.id, server.id)).run()
      }
    }
  }

  putFact(server: Upstream, by: string): Fact {
    const { id, name, url, kind, path, createdAt } = server
    const { headers, stdio, env } = this.#sealed(server)
    const told = { id, name, path, createdAt, by }
    const registers = [`server:${id}`]
    if (stdio && env) {
      const payload: StdioPayload = { ...told, stdio, env }
      return { stream: 'change', kind: 'server.stdio', payload: { ...payload }, registers }
    }
    const payload: ServerPayload = { ...told, url: url.href, kind, headers }
    return { stream: 'change', kind: 'server.put', payload: { ...payload }, registers }
  }

  /** Throws `invalid` when the key that sealed them is gone. */
  unseal({ id, headers }: Pick<ServerPayload, 'id' | 'headers'>): [string, string][] {
    return this.#open(headers, purpose(id))
  }

  /** The environment of a command, likewise. */
  unsealEnv({ id, env }: Pick<StdioPayload, 'id' | 'env'>): [string, string][] {
    return this.#open(env, envPurpose(id))
  }

  #open(sealed: string, what: string): [string, string][] {
    return JSON.parse(this.store.keys.decrypt(sealed, what)) as [string, string][]
  }

  #seal(pairs: Pairs, what: string): string {
    return this.store.keys.encrypt(JSON.stringify(pairs), what)
  }

  /** Its columns that hold what is secret, or would. */
  #sealed({ id, headers, stdio }: Upstream) {
    return { headers: this.#seal(headers, purpose(id)), ...this.#sealedStdio(id, stdio) }
  }

  #sealedStdio(id: string, stdio: StdioSpec | null): { stdio: BareSpec | null; env: string | null } {
    if (!stdio) return { stdio: null, env: null }
    const { env, ...bare } = stdio
    return { stdio: bare, env: this.#seal(env, envPurpose(id)) }
  }

  #row(server: Upstream) {
    return { ...server, url: server.url.href, ...this.#sealed(server) }
  }
}

export const removeFact = (id: string, at: number, by: string): Fact => ({
  stream: 'change',
  kind: 'server.remove',
  payload: { id, at, by },
})

/** What the audit log may hold of a server: never the value of a header, or of its environment. */
export const publicly = ({ url, kind, path, headers, stdio }: Upstream) =>
  stdio ? { kind, path, ...publicSpec(stdio) } : { url: url.href, kind, path, headers: headers.map(([name]) => name) }
