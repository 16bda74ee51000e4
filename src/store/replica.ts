import type { AuditEvent } from '../audit.ts'
import { AppError } from '../error.ts'
import { type FactId, type FactStream, reachOf, stampOf, type StoredFact, STREAMS, type Vector } from '../fact.ts'
import type { Limits } from '../limits.ts'
import type { Applied, Replica } from '../replica.ts'
import type { RevocationRecord } from '../revocation-record.ts'
import type { LoggedEvent } from './log.ts'
import type { Store } from './open.ts'
import { Batch, type Handler, type Handlers, type ReadFact, type Written } from './replica/handler.ts'
import { Parked } from './replica/parked.ts'
import type { RevocationFacts } from './replica/revocation.ts'

export interface ReplicaDeps {
  store: Pick<Store, 'client' | 'log' | 'node'>
  /** By kind of fact; `token.revoke` is `revocations`. */
  handlers: Handlers
  revocations: RevocationFacts
  limits: Pick<Limits, 'catchUpRowsMax'>
  /** Told of what came of facts of other nodes, once they are committed and carried out. */
  onApplied(applied: Applied): void
  /** A fact that its handler can't take, or carry out. */
  onDefect(error: unknown, kind: string): void
}

/** What was written of one fact, and is done once it is committed. */
interface Done {
  fact: ReadFact
  event: AuditEvent | null
  /** Its row is never folded. */
  plain: boolean
  after(): number
}

const REVOKE = 'token.revoke'
const kindTarget = (kind: string): string => `kind:${kind}`

/** All facts in the database, and what they mean here. */
export class ReplicaStore implements Replica {
  readonly #handlers: Handlers
  readonly #parked: Parked
  readonly #behind
  readonly #find

  constructor(readonly deps: ReplicaDeps) {
    const { client } = deps.store
    this.#handlers = { ...deps.handlers, [REVOKE]: deps.revocations }
    this.#parked = new Parked(client)
    this.#behind = client.query<StoredFact, [string, FactStream, number]>(
      'SELECT * FROM facts WHERE origin = ? AND stream = ? AND seq > ? ORDER BY seq',
    )
    this.#find = client.query<StoredFact, [string, FactStream, number]>(
      'SELECT * FROM facts WHERE origin = ? AND stream = ? AND seq = ?',
    )
    // Read now where they will be needed: ten thousand take some milliseconds, and the first facts come while it serves.
    if (Object.keys(this.vector).some((origin) => origin !== deps.store.node)) deps.revocations.load()
    this.#retry()
  }

  get vector(): Vector {
    return this.deps.store.log.vector
  }

  get unknown(): readonly FactId[] {
    return this.#parked.unknown
  }

  /** Reads again what it remembers: after facts were said anew. */
  reload(): void {
    this.#parked.load()
    this.deps.revocations.reload()
  }

  behind(vector: Vector, bytesMax: number): { facts: StoredFact[]; more: boolean } {
    const facts: StoredFact[] = []
    let bytes = 0
    for (const stream of STREAMS) {
      for (const origin of Object.keys(this.vector)) {
        const from = reachOf(vector, origin, stream)
        if (from >= reachOf(this.vector, origin, stream)) continue
        for (const fact of this.#behind.iterate(origin, stream, from)) {
          bytes += fact.payload.length
          if (bytes > bytesMax && facts.length > 0) return { facts, more: true }
          facts.push(fact)
        }
      }
    }
    return { facts, more: false }
  }

  apply(facts: readonly StoredFact[], pulled: boolean): Applied {
    const fresh = this.#following(facts)
    if (fresh.length === 0) return { revocations: [], count: 0 }
    // Each token that comes is held against them.
    this.deps.revocations.load()
    let done: Done[]
    try {
      done = this.#merge(fresh, pulled, false)
    } catch (error) {
      this.#parked.load()
      try {
        if (!isDefect(error)) throw error
        done = this.#merge(fresh, pulled, true)
      } catch (refused) {
        this.#parked.load()
        this.#deny(fresh)
        throw refused
      }
    }
    const applied = { revocations: this.#carryOut(done), count: fresh.length }
    this.deps.onApplied(applied)
    return applied
  }

  /** `warily`: one that its handler can't take must not keep out all that come with it. */
  #merge(fresh: readonly StoredFact[], pulled: boolean, warily: boolean): Done[] {
    const batch = new Batch(warily)
    const done: Done[] = []
    this.deps.store.log.merge(fresh, () => {
      for (const fact of fresh) this.#write(fact, batch, done)
      return this.#eventsOf(done, pulled)
    })
    return done
  }

  /**
   * Stores a revocation that another node's disk refused, as a fact of this node's own; nothing when it is known. Returns
   * the fact. Throws `storage`; what it names is denied and cut all the same. It kills whatever was issued without
   * knowledge of it, like any revocation: until when is for the one whose disk refused, when it writes later.
   */
  adopt(record: RevocationRecord): readonly StoredFact[] {
    const { revocations, store } = this.deps
    const fact = revocations.adoption(record)
    if (!fact) return []
    revocations.load()
    const id = store.log.nextId('revocation')
    const read: ReadFact = { ...id, kind: REVOKE, hlc: '', payload: fact.payload }
    const events: AuditEvent[] = []
    let after = () => 0
    try {
      store.log.changes(events, [fact], () => {
        const written = revocations.write(read, new Batch())
        events.push(written.event)
        after = written.after
      })
    } catch (error) {
      revocations.undo(read)
      throw error
    }
    after()
    const stored = this.#find.get(id.origin, id.stream, id.seq)
    return stored ? [stored] : []
  }

  /** After the commit. The defect of one must not keep those behind it from being denied and cut. */
  #carryOut(done: readonly Done[]): Applied['revocations'] {
    return done.flatMap(({ fact: { origin, stream, seq, kind, payload }, after }) => {
      let cut = 0
      try {
        cut = after()
      } catch (error) {
        this.deps.onDefect(error, kind)
      }
      const revocation = kind === REVOKE ? String(payload.id) : null
      return stream === 'revocation' ? [{ origin, seq, cut, revocation }] : []
    })
  }

  /** Those that are new, each behind the one before it of its stream; revocations first, so that they overtake the rest. */
  #following(facts: readonly StoredFact[]): StoredFact[] {
    const reach = new Map<string, number>()
    const fresh: Record<FactStream, StoredFact[]> = { revocation: [], change: [] }
    for (const fact of facts) {
      const key = `${fact.stream} ${fact.origin}`
      const last = reach.get(key) ?? reachOf(this.vector, fact.origin, fact.stream)
      if (fact.seq !== last + 1) continue
      reach.set(key, fact.seq)
      fresh[fact.stream].push(fact)
    }
    return [...fresh.revocation, ...fresh.change]
  }

  /** Within the transaction. */
  #write(stored: StoredFact, batch: Batch, done: Done[]): void {
    const { registers } = this.deps.store.log
    const handler = this.#handlers[stored.kind]
    const fact = handler ? readFact(stored) : null
    if (!handler || !fact) {
      this.#parked.add(kindTarget(stored.kind), stored)
      return
    }
    const stamp = stampOf(fact.hlc, fact.origin)
    const keys = handler.registers?.(fact) ?? []
    if (keys.some((key) => (registers.stamp(key) ?? '') >= stamp)) return
    const written = batch.warily ? this.#attempt(handler, fact, batch) : handler.write(fact, batch)
    if (!written) {
      this.#parked.add(kindTarget(stored.kind), stored)
      return
    }
    if ('missing' in written) {
      this.#parked.add(written.missing, fact)
      return
    }
    for (const key of keys) registers.take(key, stamp)
    for (const target of written.waits ?? []) this.#parked.add(target, fact)
    const { event, plain = fact.stream === 'revocation', came = [], after } = written
    done.push({ fact, event, plain, after })
    for (const target of typeof came === 'string' ? [came] : came) this.#release(target, batch, done)
  }

  /** Null: it can't be taken, and is kept like one that is not known: a later program may. */
  #attempt(handler: Handler, fact: ReadFact, batch: Batch): Written | null {
    const { client, log } = this.deps.store
    client.run('SAVEPOINT fact')
    let written: Written | null = null
    try {
      written = handler.write(fact, batch)
    } catch (error) {
      if (!isDefect(error)) throw error
      client.run('ROLLBACK TO fact')
      log.seenIds.forget()
      this.deps.onDefect(error, fact.kind)
    }
    client.run('RELEASE fact')
    return written
  }

  /** Applies what waited for a target. */
  #release(target: string, batch: Batch, done: Done[]): void {
    for (const { origin, stream, seq } of this.#parked.take(target)) {
      const fact = this.#find.get(origin, stream, seq)
      if (fact) this.#write(fact, batch, done)
    }
  }

  /** Facts of kinds that this program has come to know. A full disk must not keep a node from starting. */
  #retry(): void {
    const targets = Object.keys(this.#handlers)
      .map(kindTarget)
      .filter((target) => this.#parked.has(target))
    if (targets.length === 0) return
    this.deps.revocations.load()
    const done: Done[] = []
    try {
      const batch = new Batch(true)
      this.deps.store.log.merge([], () => {
        for (const target of targets) this.#release(target, batch, done)
        return this.#eventsOf(done, true)
      })
    } catch (error) {
      this.#parked.load()
      if (!(error instanceof AppError)) throw error
      // They stay what they were until the next start: told as unknown, and not acked.
      return
    }
    this.#carryOut(done)
  }

  #deny(facts: readonly StoredFact[]): void {
    for (const stored of facts) {
      const handler = this.#handlers[stored.kind]
      const fact = handler?.deny ? readFact(stored) : null
      try {
        if (fact) handler?.deny?.(fact)
      } catch (error) {
        this.deps.onDefect(error, stored.kind)
      }
    }
  }

  /** Changes that come many at once are one row for each origin; revocations never are. */
  #eventsOf(done: readonly Done[], pulled: boolean): LoggedEvent[] {
    const logged = done.filter(({ event }) => event !== null)
    const counts = new Map<string, Record<string, number>>()
    if (pulled)
      for (const { fact, plain } of logged) {
        if (plain) continue
        let kinds = counts.get(fact.origin)
        if (!kinds) counts.set(fact.origin, (kinds = {}))
        kinds[fact.kind] = (kinds[fact.kind] ?? 0) + 1
      }
    const folded: LoggedEvent[] = []
    for (const [origin, kinds] of counts) {
      const count = Object.values(kinds).reduce((sum, one) => sum + one, 0)
      if (count <= this.deps.limits.catchUpRowsMax) counts.delete(origin)
      else folded.push({ ...CATCH_UP, node: origin, targetId: origin, details: { count, kinds } })
    }
    const rows = logged.filter(({ fact, plain }) => plain || !counts.has(fact.origin))
    return [...rows.map(({ fact, event }) => ({ ...(event as AuditEvent), node: fact.origin })), ...folded]
  }
}

/** What says that a fact can't be taken, and nothing of the disk: it would be refused again and again. */
const isDefect = (error: unknown): boolean => {
  const cause = error instanceof AppError && error.kind === 'storage' ? error.cause : error
  if (cause instanceof AppError) return cause.kind !== 'storage'
  if (cause instanceof TypeError || cause instanceof RangeError || cause instanceof SyntaxError) return true
  return cause instanceof Error && 'code' in cause && String(cause.code).startsWith('SQLITE_CONSTRAINT')
}

const CATCH_UP = { actor: 'system', action: 'cluster.catch-up' }

/** Null: it is none that this program can read. */
const readFact = (stored: StoredFact): ReadFact | null => {
  try {
    const payload = JSON.parse(stored.payload) as Record<string, unknown> | null
    return payload !== null && typeof payload === 'object' ? { ...stored, payload } : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
