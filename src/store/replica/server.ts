import { eq } from 'drizzle-orm'
import { putState } from '../../control.ts'
import { type GateRecord, gateStateAfter } from '../../emergency.ts'
import { stampOf } from '../../fact.ts'
import { sealedUnder } from '../../key.ts'
import type { Registry } from '../../registry.ts'
import { STDIO_URL } from '../../stdio.ts'
import type { Upstream, UpstreamIndex } from '../../upstream.ts'
import type { Store } from '../open.ts'
import { meta } from '../schema.ts'
import { publicly, type ServerPayload, ServerStore, type StdioPayload } from '../server.ts'
import type { Handlers, ReadFact, Written } from './handler.ts'

export interface ServerServices {
  store: Store
  servers: UpstreamIndex
  registry: Pick<Registry, 'cut' | 'ofServer'>
}

const NOTHING = { event: null, after: () => 0 }

/** What other nodes did with servers and their gates. */
export const serverHandlers = ({ store, servers, registry }: ServerServices): Handlers => {
  const rows = new ServerStore(store)
  const registers = store.log.registers
  const { keys, db } = store

  /** A gate may be put before its server is known here; a restore notes it likewise. */
  const noted = (id: string) => eq(meta.key, `closed.${id}`)
  const noteGate = (id: string, closed: boolean, reason: string | null) => {
    db.delete(meta).where(noted(id)).run()
    if (closed)
      db.insert(meta)
        .values({ key: `closed.${id}`, value: reason ?? '' })
        .run()
  }
  const takeNote = (id: string): Pick<Upstream, 'state' | 'reason'> => {
    const note = db.select().from(meta).where(noted(id)).get()
    db.delete(meta).where(noted(id)).run()
    return note ? { state: 'closed', reason: note.value || null } : { state: 'open', reason: null }
  }

  type What = Pick<Upstream, 'url' | 'kind' | 'headers' | 'stdio'>
  type Told = Pick<ServerPayload, 'id' | 'name' | 'path' | 'createdAt' | 'by'>

  /** `sealed`: what the key must be here for. `what`: with what of it opens, else with what was here before. */
  const place = (
    { hlc, origin }: ReadFact,
    { id, name, path, createdAt, by }: Told,
    sealed: string,
    what: (opens: boolean, here: Upstream | null) => What,
  ): Written => {
    const here = rows.withId(id)
    if (here !== null && here.removedAt !== null) return NOTHING
    const key = sealedUnder(sealed)
    const opens = keys.ids.includes(key)
    // The key is on its way. One that was removed is not: then its remover told the credentials anew.
    if (!opens && !registers.hasEnded(`key:${key}`)) return { missing: `key:${key}` }
    if (!registers.take(`server:${id}`, stampOf(hlc, origin))) return { ...NOTHING, came: `server:${id}` }
    const server: Upstream = {
      ...{ id, name, path, createdAt, removedAt: null },
      ...what(opens, here),
      ...(here ? { state: here.state, reason: here.reason } : takeNote(id)),
    }
    if (here) rows.update(server)
    else rows.insert(server)
    return {
      event: {
        actor: by,
        action: here ? 'server.change' : 'server.add',
        targetId: id,
        targetName: server.name,
        details: publicly(server),
      },
      came: `server:${id}`,
      after() {
        const known = servers.byId.get(id)
        if (!known) servers.add(server)
        else {
          // The gate is a register of its own: what is closed here must not be opened by another URL. Of a command that is
          // told again, and is no other, the processes go on.
          const stdio = Bun.deepEquals(known.stdio, server.stdio) ? known.stdio : server.stdio
          Object.assign(known, { ...server, stdio, state: known.state, reason: known.reason })
        }
        return 0
      },
    }
  }

  const put = (fact: ReadFact): Written => {
    const told = fact.payload as unknown as ServerPayload
    return place(fact, told, told.headers, (opens, here) => ({
      url: new URL(told.url),
      kind: told.kind,
      headers: opens ? rows.unseal(told) : (here?.headers ?? []),
      stdio: null,
    }))
  }

  const putStdio = (fact: ReadFact): Written => {
    const told = fact.payload as unknown as StdioPayload
    return place(fact, told, told.env, (opens, here) => ({
      url: new URL(STDIO_URL),
      kind: 'stdio',
      headers: [],
      stdio: { ...told.stdio, env: opens ? rows.unsealEnv(told) : (here?.stdio?.env ?? []) },
    }))
  }

  const remove = ({ payload }: ReadFact): Written => {
    const { id, at, by } = payload as { id: string; at: number; by: string }
    const here = rows.withId(id)
    if (here === null) return { missing: `server:${id}` }
    if (here.removedAt !== null) return NOTHING
    rows.remove(id, at)
    return {
      event: { actor: by, action: 'server.remove', targetId: id, targetName: here.name },
      after() {
        const known = servers.byId.get(id)
        if (known) servers.remove(known, at)
        return registry.cut(registry.ofServer(id), 'server_closed').cut
      },
    }
  }

  const eventOf = (action: string, record: GateRecord) => {
    const { actor, at, reason, all, servers: targets, connection } = record
    const only = targets.length === 1 && !all ? targets[0] : undefined
    return {
      actor,
      action,
      reason,
      targetId: connection?.id ?? only?.id ?? null,
      targetName: only?.name ?? (all ? 'all servers' : null),
      details: { at, servers: targets.map(({ name }) => name), ...(connection ? { connection } : {}) },
    }
  }

  const cut = (ids: readonly string[], cause: 'connection_killed' | 'server_closed') =>
    registry.cut(
      ids.flatMap((id) => [...registry.ofServer(id)]),
      cause,
    ).cut

  const gate = ({ kind, payload, hlc, origin }: ReadFact): Written => {
    const record = payload as unknown as GateRecord
    const action = record.action === 'open' ? 'open' : 'close'
    const reason = action === 'close' ? record.reason : null
    // One record may be about many servers: of each the last writer wins by itself.
    const won = record.servers.map(({ id }) => id).filter((id) => registers.take(`gate:${id}`, stampOf(hlc, origin)))
    if (won.length === 0) return NOTHING
    for (const id of won) if (rows.withId(id) === null) noteGate(id, action === 'close', reason)
    rows.putGate(won, gateStateAfter(action), reason)
    return {
      event: eventOf(kind, record),
      after() {
        const known = won.flatMap((id) => servers.byId.get(id) ?? [])
        putState(known, action, reason)
        return action === 'close' ? cut(won, 'server_closed') : 0
      },
    }
  }

  const kill = ({ kind, payload }: ReadFact): Written => {
    const record = payload as unknown as GateRecord
    return {
      event: eventOf(kind, record),
      after: () =>
        cut(
          record.servers.map(({ id }) => id),
          'connection_killed',
        ),
    }
  }

  return {
    'server.put': { write: put },
    'server.stdio': { write: putStdio },
    'server.remove': { write: remove },
    'server.close': { write: gate },
    'server.open': { write: gate },
    'server.kill': { write: kill },
    // One connection lives on one node, which has cut it; another's may have the same id.
    'connection.kill': {
      write: ({ kind, payload }) => ({ ...NOTHING, event: eventOf(kind, payload as unknown as GateRecord) }),
    },
  }
}
