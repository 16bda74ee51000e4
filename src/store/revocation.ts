import { and, asc, desc, eq, getTableColumns, gt, inArray, lt, sql } from 'drizzle-orm'
import type { AuditEvent, AuditRow } from '../audit.ts'
import { type EmergencyEntry, type EmergencyStore, type GateRecord, gateStateAfter } from '../emergency.ts'
import type { PeerReceipt } from '../cluster-view.ts'
import type { Fact, FactId } from '../fact.ts'
import type { ReceiptConnection, ReceiptStore } from '../receipt.ts'
import { NOT_MEASURED, type Receipt, type RevocationRecord, type Timings } from '../revocation-record.ts'
import { fact } from './log.ts'
import type { Token } from '../token.ts'
import type { Store } from './open.ts'
import { audit, facts as factRows, meta, revocationConnections, revocations, servers, tokens } from './schema.ts'

/** How many of the dead an audit row names; the revocation itself names all. */
const NAMED_MAX = 100
const ACTION = 'token.revoke'
/** As the index says it. */
const OPEN = 'completed_at IS NULL AND origin IS NOT NULL'

/** Told of a revocation that has become a fact, and holds against what comes from other nodes. */
export interface Shared {
  /** Whom it kills besides the listed: those that came between the request and now. In memory they live yet. */
  reach(record: RevocationRecord, issuedUntil: number, id: FactId): Token[]
  /** It is committed: denies and cuts these. */
  committed(record: RevocationRecord, issuedUntil: number | undefined, id: FactId, more: readonly Token[]): void
}

/** A revocation as other nodes hear of it: without the list of the dead, which is another on each. */
export const factOf = (record: RevocationRecord, issuedUntil?: number): Fact => {
  const { tokens: _, ...told } = record
  return fact('revocation', ACTION, issuedUntil === undefined ? told : { ...told, issuedUntil })
}

/** Its row of the audit log, here and on other nodes. */
export const eventOf = (record: RevocationRecord): AuditEvent => {
  const { id, at, actor, reason, note, selector, tokens: dead } = record
  const named = dead.slice(0, NAMED_MAX).map(({ id: token, name }) => ({ id: token, name }))
  const details = { revocation: id, at, note, selector, count: dead.length, tokens: named }
  return { actor, action: ACTION, reason, ...targetOf(record), details }
}

/** What the audit row is about: the token, or the revocation where more died of it. */
const targetOf = ({ id, tokens: dead }: RevocationRecord): { targetId: string; targetName: string | null } => {
  const only = dead.length === 1 ? dead[0] : undefined
  return { targetId: only?.id ?? id, targetName: only?.name ?? null }
}

/** Revocations on disk, and the other changes that can't wait. */
export class RevocationStore implements ReceiptStore, EmergencyStore {
  readonly #insert
  readonly #revoke
  readonly #insertConnection
  readonly #whereabouts
  readonly #factAt
  readonly #open
  readonly #countOpen
  readonly #putCompletion

  /** Where there are other nodes. */
  shared: Shared | null = null

  constructor(readonly store: Store) {
    // Prepared, like all that one revocation writes: it waits for nothing else.
    this.#insert = store.client.query<never, (string | number)[]>(
      `INSERT INTO revocations (id, at, actor, reason, note, selector, tokens, origin, seq)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#revoke = store.db
      .update(tokens)
      .set({
        revokedAt: sql`coalesce(${tokens.revokedAt}, ${sql.placeholder('at')})`,
        revocationId: sql`coalesce(${tokens.revocationId}, ${sql.placeholder('id')})`,
      })
      // One statement for all of them: one for each took ten times as long.
      .where(sql`${tokens.id} IN (SELECT value ->> 'id' FROM json_each(${sql.placeholder('dead')}))`)
      .prepare()
    // Asked for ten thousand in a row, after a founding or a join.
    this.#factAt = store.client.query<{ kind: string; payload: string }, [string, number]>(
      "SELECT kind, payload FROM facts WHERE origin = ? AND stream = 'revocation' AND seq = ?",
    )
    this.#putCompletion = store.client.query<never, [number, string, string]>(
      'UPDATE revocations SET completed_at = ?, peers = ? WHERE id = ?',
    )
    this.#open = store.client.query<{ id: string; origin: string; seq: number }, [number]>(
      `SELECT id, origin, seq FROM revocations WHERE ${OPEN} ORDER BY id DESC LIMIT ?`,
    )
    this.#countOpen = store.client.query<{ count: number }, [number]>(
      `SELECT count(*) AS count FROM (SELECT 1 FROM revocations WHERE ${OPEN} LIMIT ?)`,
    )
    const p = sql.placeholder
    const { id, origin, seq, completedAt, peers } = revocations
    // Asked of each that is not complete, on every page of the console.
    this.#whereabouts = store.db
      .select({ origin, seq, completedAt, peers })
      .from(revocations)
      .where(eq(id, p('id')))
      .prepare()
    this.#insertConnection = store.db
      .insert(revocationConnections)
      .values({
        revocationId: p('id'),
        n: p('n'),
        tokenId: p('tokenId'),
        serverId: p('serverId'),
        kind: p('kind'),
        client: p('client'),
        address: p('address'),
        startedAt: p('startedAt'),
        endedAt: p('endedAt'),
        bytesIn: p('bytesIn'),
        bytesOut: p('bytesOut'),
      })
      .prepare()
  }

  applyEmergency(entry: EmergencyEntry, waited: boolean): void {
    const { record } = entry
    const key = `applied.${record.id}`
    if (waited && this.store.db.select().from(meta).where(eq(meta.key, key)).get()) return
    const mark = () => {
      if (waited)
        this.store.db
          .insert(meta)
          .values({ key, value: String(record.at) })
          .run()
    }
    // Marked like one that is applied: as long as the journal holds it, other changes may come behind it. Where it came
    // from a peer, it could not name who was dead in memory alone.
    if (waited && this.#isThere(entry))
      this.store.log.write(() => {
        if (entry.op === 'revocation')
          this.#revoke.run({ at: record.at, id: record.id, dead: JSON.stringify(entry.record.tokens) })
        mark()
      })
    else if (entry.op === 'gate') this.#applyGate(entry.record, mark)
    else this.#applyRevocation(entry.record, mark, waited ? (entry.issuedUntil ?? entry.record.at) : undefined)
  }

  /**
   * Whether the database has a change that waits in the journal, unmarked. A commit whose sync failed was refused; but
   * its pages may stand in the -wal, and after a crash SQLite takes them for committed.
   */
  #isThere({ op, record }: EmergencyEntry): boolean {
    return op === 'revocation' ? this.get(record.id) !== null : this.#isLast(record.id)
  }

  /** Whether the newest of this node's changes is this one. */
  #isLast(id: string): boolean {
    const last = this.store.db
      .select()
      .from(factRows)
      .where(and(eq(factRows.origin, this.store.node), eq(factRows.stream, 'change')))
      .orderBy(desc(factRows.seq))
      .limit(1)
      .get()
    return last !== undefined && (JSON.parse(last.payload) as { id?: unknown }).id === id
  }

  /** `issuedUntil`: it waited, and what was made since must live, on every node. */
  #applyRevocation(record: RevocationRecord, mark: () => void, issuedUntil?: number): void {
    const { shared } = this
    const { log } = this.store
    const factId = log.nextId('revocation')
    const more = issuedUntil === undefined ? [] : (shared?.reach(record, issuedUntil, factId) ?? [])
    const listed = more.map(({ id, name, subject }) => ({ id, name, subject }))
    const whole = more.length > 0 ? { ...record, tokens: [...record.tokens, ...listed] } : record
    const { event, facts, write } = this.#revocationChange(whole, mark, issuedUntil)
    log.change(event, facts, write)
    shared?.committed(record, issuedUntil, factId, more)
  }

  /** A revocation and a closing of nothing, up to their commit: the first real ones would else take many times as long. */
  rehearse(): void {
    this.rehearseRevocation()
    this.#rehearseClosing()
  }

  /** Also within a transaction, of which it leaves nothing. */
  rehearseRevocation(): void {
    const record: RevocationRecord = {
      id: 'rehearsal',
      at: 0,
      actor: '',
      reason: 'other',
      note: '',
      selector: {},
      tokens: [{ id: '', name: '', subject: null }],
    }
    this.#rehearse(this.#revocationChange(record, () => {}))
  }

  #rehearseClosing(): void {
    const closing: GateRecord = {
      id: 'rehearsal',
      at: 0,
      actor: '',
      action: 'close',
      servers: [{ id: '', name: '' }],
      all: false,
      reason: null,
    }
    this.#rehearse(this.#gateChange(closing, () => {}))
  }

  #rehearse({ event, facts, write }: { event: AuditEvent; facts: readonly Fact[]; write: () => void }): void {
    this.store.log.rehearse(event, facts, write)
  }

  #revocationChange(record: RevocationRecord, mark: () => void, issuedUntil?: number) {
    const { id, at, actor, reason, note, selector, tokens: dead } = record
    const { origin, seq } = this.store.log.nextId('revocation')
    const write = () => {
      const named = JSON.stringify(dead)
      this.#insert.run(id, at, actor, reason, note, JSON.stringify(selector), named, origin, seq)
      this.#revoke.run({ at, id, dead: named })
      mark()
    }
    return { event: eventOf(record), facts: [factOf(record, issuedUntil)], write }
  }

  #applyGate(record: GateRecord, mark: () => void): void {
    const { event, facts, write } = this.#gateChange(record, mark)
    this.store.log.change(event, facts, write)
  }

  #gateChange(record: GateRecord, mark: () => void) {
    const { db } = this.store
    const { action, all, servers: targets, reason, actor, at, connection } = record
    const ids = targets.map((server) => server.id)
    const noun = connection ? 'connection' : 'server'
    const only = targets.length === 1 && !all ? targets[0] : undefined
    const event = {
      actor,
      action: `${noun}.${action}`,
      reason,
      targetId: connection?.id ?? only?.id ?? null,
      targetName: only?.name ?? (all ? 'all servers' : null),
      details: { at, servers: targets.map((server) => server.name), ...(connection ? { connection } : {}) },
    }
    const write = () => {
      if (action !== 'kill' && ids.length > 0) {
        const set = { state: gateStateAfter(action), reason: action === 'close' ? reason : null }
        for (const chunk of chunks(ids, 500)) db.update(servers).set(set).where(inArray(servers.id, chunk)).run()
      }
      mark()
    }
    const gates = action === 'kill' ? [] : ids.map((id) => `gate:${id}`)
    return { event, facts: [fact('change', `${noun}.${action}`, { ...record }, gates)], write }
  }

  putReceipt(id: string, cut: number, timings: Timings, connections: readonly ReceiptConnection[]): void {
    this.store.log.write(() => {
      this.#setFigures(id, { cut, timings: JSON.stringify(timings) })
      for (const connection of connections) this.#insertConnection.run({ id, ...connection })
    })
  }

  putReceiptConnections(id: string, connections: readonly ReceiptConnection[]): void {
    this.store.log.write(() => {
      for (const connection of connections) this.#insertConnection.run({ id, ...connection })
    })
  }

  putTimings(id: string, timings: Timings): void {
    this.store.log.write(() => this.#setFigures(id, { timings: JSON.stringify(timings) }))
  }

  #setFigures(id: string, figures: { cut?: number; timings: string }): void {
    this.store.db.update(revocations).set(figures).where(eq(revocations.id, id)).run()
  }

  /** What died, in the order of the cut; `after` is the `n` of the last one of the page before. */
  connections(id: string, limit: number, after: number | null): ReceiptConnection[] {
    const { revocationId, ...columns } = getTableColumns(revocationConnections)
    const { n } = columns
    return this.store.db
      .select(columns)
      .from(revocationConnections)
      .where(and(eq(revocationId, id), gt(n, after ?? 0)))
      .orderBy(asc(n))
      .limit(limit)
      .all()
  }

  /** The row that the revocation wrote. */
  auditOf(record: RevocationRecord): AuditRow | null {
    const rows = this.store.db
      .select()
      .from(audit)
      .where(and(eq(audit.targetId, targetOf(record).targetId), eq(audit.action, ACTION)))
      .all()
    return rows.find(({ details }) => (JSON.parse(details) as { revocation: string }).revocation === record.id) ?? null
  }

  /** Where it stands among facts; null: nowhere, or there is none. */
  factOf(id: string): FactId | null {
    const row = this.#whereabouts.get({ id })
    return row?.origin && row.seq !== null ? { origin: row.origin, stream: 'revocation', seq: row.seq } : null
  }

  revocationOf({ origin, seq }: Pick<FactId, 'origin' | 'seq'>): string | null {
    const stored = this.#factAt.get(origin, seq)
    return stored?.kind === ACTION ? (JSON.parse(stored.payload) as { id: string }).id : null
  }

  /** What is kept of its way to the other nodes; null: there is no such revocation. */
  completionOf(id: string): { completedAt: number | null; peers: readonly PeerReceipt[] } | null {
    const row = this.#whereabouts.get({ id })
    return row ? { completedAt: row.completedAt, peers: row.peers ?? [] } : null
  }

  /** Throws `storage`. */
  putCompletions(completed: readonly { id: string; peers: readonly PeerReceipt[] }[], at: number): void {
    this.store.log.write(() => {
      for (const { id, peers } of completed) this.#putCompletion.run(at, JSON.stringify(peers), id)
    })
  }

  /** Revocations of any node that are not known here to be complete, the newest first. */
  incomplete(limit: number): { id: string; origin: string; seq: number }[] {
    return this.#open.all(limit)
  }

  /** How many those are; no more than `limit` are counted. */
  countIncomplete(limit: number): number {
    return this.#countOpen.get(limit)?.count ?? 0
  }

  get(id: string): Receipt | null {
    const row = this.store.db.select().from(revocations).where(eq(revocations.id, id)).get()
    return row ? receiptOf(row) : null
  }

  /** Newest first; `after` is the id of the last one of the page before. */
  page(limit: number, after: string | null): Receipt[] {
    const before = after === null ? undefined : lt(revocations.id, after)
    return this.store.db
      .select()
      .from(revocations)
      .where(before)
      .orderBy(desc(revocations.id))
      .limit(limit)
      .all()
      .map(receiptOf)
  }
}

const receiptOf = (row: typeof revocations.$inferSelect): Receipt => ({
  id: row.id,
  at: row.at,
  actor: row.actor,
  reason: row.reason as Receipt['reason'],
  note: row.note,
  selector: JSON.parse(row.selector) as Receipt['selector'],
  tokens: JSON.parse(row.tokens) as Receipt['tokens'],
  dryRun: false,
  cut: row.cut,
  timings: row.timings ? { ...NOT_MEASURED, ...(JSON.parse(row.timings) as Partial<Timings>) } : NOT_MEASURED,
  durable: true,
})

const chunks = <T>(all: T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size))
