import { eq, inArray } from 'drizzle-orm'
import type { ControlStore } from '../control.ts'
import type { Fact } from '../fact.ts'
import type { Actor } from '../operator.ts'
import type { GateState, Upstream, UpstreamKind } from '../upstream.ts'
import type { Store } from './open.ts'
import { servers } from './schema.ts'

const purpose = (id: string) => `headers of ${id}`

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

  #read(row: typeof servers.$inferSelect): Upstream {
    // A removed server's credentials are never used again, and may be sealed under a key that is gone.
    const headers = row.removedAt === null ? this.unseal(row) : []
    return { ...row, url: new URL(row.url), headers, stdio: null }
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
        this.store.db
          .update(servers)
          .set({ headers: this.#seal(server) })
          .where(eq(servers.id, server.id))
          .run()
      }
    }
  }

  putFact(server: Upstream, by: string): Fact {
    const { id, name, url, kind, path, createdAt } = server
    const payload: ServerPayload = { id, name, url: url.href, kind, path, headers: this.#seal(server), createdAt, by }
    return { stream: 'change', kind: 'server.put', payload: { ...payload }, registers: [`server:${id}`] }
  }

  /** Throws `invalid` when the key that sealed them is gone. */
  unseal({ id, headers }: Pick<ServerPayload, 'id' | 'headers'>): [string, string][] {
    return JSON.parse(this.store.keys.decrypt(headers, purpose(id))) as [string, string][]
  }

  #seal(server: Upstream): string {
    return this.store.keys.encrypt(JSON.stringify(server.headers), purpose(server.id))
  }

  #row(server: Upstream) {
    return { ...server, url: server.url.href, headers: this.#seal(server) }
  }
}

export const removeFact = (id: string, at: number, by: string): Fact => ({
  stream: 'change',
  kind: 'server.remove',
  payload: { id, at, by },
})

/** What the audit log may hold of a server: never the value of a header. */
export const publicly = ({ url, kind, path, headers }: Upstream) => ({
  url: url.href,
  kind,
  path,
  headers: headers.map(([name]) => name),
})
