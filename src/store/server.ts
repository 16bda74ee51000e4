import { eq } from 'drizzle-orm'
import type { ControlStore } from '../control.ts'
import type { Actor } from '../operator.ts'
import type { Upstream } from '../upstream.ts'
import { fact } from './log.ts'
import type { Store } from './open.ts'
import { servers } from './schema.ts'

const purpose = (id: string) => `headers of ${id}`

/** Servers on disk, their credentials sealed under the key file. */
export class ServerStore implements ControlStore {
  constructor(readonly store: Store) {}

  all(): Upstream[] {
    return this.store.db
      .select()
      .from(servers)
      .all()
      .map((row) => ({
        ...row,
        url: new URL(row.url),
        // A removed server's credentials are never used again, and may be sealed under a key that is gone.
        headers:
          row.removedAt === null
            ? (JSON.parse(this.store.keys.decrypt(row.headers, purpose(row.id))) as [string, string][])
            : [],
      }))
  }

  insertServer(server: Upstream, actor: Actor): void {
    const event = {
      actor: actor.name,
      action: 'server.add',
      targetId: server.id,
      targetName: server.name,
      details: publicly(server),
    }
    const row = this.#row(server)
    this.store.log.change(event, [fact('change', 'server.put', row)], () => {
      this.store.db.insert(servers).values(row).run()
    })
  }

  updateServer(server: Upstream, changed: string[], actor: Actor): void {
    const details = { ...publicly(server), changed }
    const event = { actor: actor.name, action: 'server.change', targetId: server.id, targetName: server.name, details }
    const row = this.#row(server)
    this.store.log.change(event, [fact('change', 'server.put', row)], () => {
      this.store.db.update(servers).set(row).where(eq(servers.id, server.id)).run()
    })
  }

  removeServer(server: Upstream, at: number, actor: Actor): void {
    const event = { actor: actor.name, action: 'server.remove', targetId: server.id, targetName: server.name }
    this.store.log.change(event, [fact('change', 'server.remove', { id: server.id, at })], () => {
      this.store.db.update(servers).set({ removedAt: at }).where(eq(servers.id, server.id)).run()
    })
  }

  /** Seals all credentials anew, within the caller's transaction: after the ring got another key. */
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

  #seal(server: Upstream): string {
    return this.store.keys.encrypt(JSON.stringify(server.headers), purpose(server.id))
  }

  #row(server: Upstream) {
    return { ...server, url: server.url.href, headers: this.#seal(server) }
  }
}

/** What the audit log may hold of a server: never the value of a header. */
const publicly = ({ url, kind, path, headers }: Upstream) => ({
  url: url.href,
  kind,
  path,
  headers: headers.map(([name]) => name),
})
