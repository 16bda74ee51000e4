import type { SQLQueryBindings } from 'bun:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import { asc, desc, inArray } from 'drizzle-orm'
import type { AuditRow } from '../audit.ts'
import { isId } from '../id.ts'
import type { Limits } from '../limits.ts'
import type { AuditFilter, AuditQuery } from '../node.ts'
import { fold } from '../text.ts'
import type { Store } from './open.ts'
import { AUDIT_BLOCK, audit } from './schema.ts'

type Order = AuditQuery['order']
type Bindings = SQLQueryBindings[]

/** What a row is judged by, without its details. */
type Light = Pick<AuditRow, 'sequence' | 'at' | 'actor' | 'action' | 'targetId' | 'targetName'>

/** Rows under one key of an index, where they stand in the order of their sequence; or all rows. */
interface Run {
  where: string
  values: Bindings
}

/** How a filter is answered: the runs hold all that match, and the test says which do. */
interface Plan {
  runs: Run[]
  test(row: Light): boolean
  /** First and last sequences between which rows may match, in their order. */
  ranges: [first: number, last: number][]
}

const ALL: Run = { where: 'TRUE', values: [] }
const ADDRESSES = 'address:'
const AFTER_ADDRESSES = 'address;'

/**
 * Finds rows of the audit log. Each statement looks at few rows, by an index where there is one, and between them
 * the loop gets its turn: no read holds a revocation up, however long the log is.
 */
export class AuditSearch {
  constructor(
    readonly store: Store,
    readonly limits: Limits,
  ) {}

  async page({ limit, after, order, ...filter }: AuditQuery): Promise<AuditRow[]> {
    const breathe = this.#breath()
    return this.#page(await this.#plan(filter, breathe), limit, after, order, breathe)
  }

  /** All that match, the oldest first, up to the last row of now. */
  async *rows(filter: AuditFilter): AsyncGenerator<AuditRow[]> {
    const breathe = this.#breath()
    const plan = await this.#plan(filter, breathe)
    const limit = this.limits.auditExportSlice
    for (let after = 0; ;) {
      const rows = await this.#page(plan, limit, after, 'asc', breathe)
      if (rows.length > 0) yield rows
      const last = rows.at(-1)
      if (rows.length < limit || !last) return
      after = last.sequence
    }
  }

  /** People, programs and the system itself; strangers' addresses are too many to choose from. */
  actors(): string[] {
    const max = this.limits.auditChoicesMax
    const before = this.#distinct('actor', '', max, 'actor < ?', [ADDRESSES])
    return [...before, ...this.#distinct('actor', AFTER_ADDRESSES, max)].slice(0, max)
  }

  actions(): string[] {
    return this.#distinct('action', '', this.limits.auditChoicesMax)
  }

  async #plan(filter: AuditFilter, breathe: () => Promise<void>): Promise<Plan> {
    const { actor, action, target, since = -Infinity, until = Infinity } = filter
    const isAction = (given: string) =>
      !action || given === action || (action.endsWith('.') && given.startsWith(action))
    const names = target && !isId(target) ? await this.#namesWith(target, breathe) : new Set<string>()
    let runs = this.#runsOf(actor, action, isAction)
    if (target && names.size <= this.limits.auditNamesMax && !this.#isShort(runs)) {
      runs = this.#runsOfTarget(target, isAction, names)
    }
    return {
      runs,
      test: (row) =>
        row.at >= since &&
        row.at < until &&
        (!actor || row.actor === actor) &&
        isAction(row.action) &&
        (!target || row.targetId === target || (row.targetName !== null && names.has(row.targetName))),
      ranges: await this.#ranges(since, until, breathe),
    }
  }

  #runsOf(actor: string | undefined, action: string | undefined, isAction: (action: string) => boolean): Run[] {
    if (!actor && !action) return [ALL]
    if (!actor) {
      const actions = action?.endsWith('.') ? this.actions().filter(isAction) : [action ?? '']
      return actions.map((one) => ({ where: 'action = ?', values: [one] }))
    }
    return this.#distinct('action', '', this.limits.auditChoicesMax, 'actor = ?', [actor])
      .filter(isAction)
      .map((one) => ({ where: 'actor = ? AND action = ?', values: [actor, one] }))
  }

  #runsOfTarget(target: string, isAction: (action: string) => boolean, names: Set<string>): Run[] {
    const actions = this.#distinct('action', '', this.limits.auditChoicesMax, 'target_id = ?', [target])
    return [
      ...actions.filter(isAction).map((one) => ({ where: 'target_id = ? AND action = ?', values: [target, one] })),
      ...[...names].map((name) => ({ where: 'target_name = ?', values: [name] })),
    ]
  }

  /** Whether all rows of the runs can be looked at in one go. */
  #isShort(runs: Run[]): boolean {
    let left = this.limits.auditRowsSlice
    for (const { where, values } of runs) {
      const counted = this.store.client
        .query<{ count: number }, Bindings>(
          `SELECT count(*) AS count FROM (SELECT 1 FROM audit WHERE ${where} LIMIT ?)`,
        )
        .get(...values, left + 1)
      left -= counted?.count ?? 0
      if (left < 0) return false
    }
    return true
  }

  async #page(
    { runs, test, ranges }: Plan,
    limit: number,
    after: number | null,
    order: Order,
    breathe: () => Promise<void>,
  ): Promise<AuditRow[]> {
    const upward = order === 'asc'
    const slice = this.limits.auditRowsSlice
    let found: number[] = []
    for (const range of upward ? ranges : ranges.toReversed()) {
      for (const run of runs) {
        let [first, last] = range
        if (after !== null && upward) first = Math.max(first, after + 1)
        if (after !== null && !upward) last = Math.min(last, after - 1)
        for (let size = Math.min(limit, slice); ; size = Math.min(size * 2, slice)) {
          // Behind the page's end nothing counts any more.
          const end = found.length === limit ? found.at(-1) : undefined
          if (end !== undefined && upward) last = Math.min(last, end)
          if (end !== undefined && !upward) first = Math.max(first, end)
          if (first > last) break
          const rows = this.#read(run, first, last, order, size)
          const hits = rows.filter(test).map(({ sequence }) => sequence)
          if (hits.length > 0) {
            const all = [...new Set([...found, ...hits])].toSorted((a, b) => (upward ? a - b : b - a))
            found = all.slice(0, limit)
          }
          await breathe()
          const reached = rows.at(-1)?.sequence
          if (rows.length < size || reached === undefined) break
          if (upward) first = reached + 1
          else last = reached - 1
        }
      }
      if (found.length === limit) break
    }
    if (found.length === 0) return []
    const by = upward ? asc(audit.sequence) : desc(audit.sequence)
    return this.store.db.select().from(audit).where(inArray(audit.sequence, found)).orderBy(by).all()
  }

  #read({ where, values }: Run, first: number, last: number, order: Order, limit: number): Light[] {
    return this.store.client
      .query<Light, Bindings>(
        `SELECT sequence, at, actor, action, target_id AS targetId, target_name AS targetName FROM audit
         WHERE ${where} AND sequence BETWEEN ? AND ? ORDER BY sequence ${order} LIMIT ?`,
      )
      .all(...values, first, last, limit)
  }

  /** The sequences of the blocks in which a time may be found: without them a time would be looked for in all rows. */
  async #ranges(since: number, until: number, breathe: () => Promise<void>): Promise<Plan['ranges']> {
    const { sequence: head } = this.store.log.head
    if (since === -Infinity && until === Infinity) return [[1, head]]
    const ranges: Plan['ranges'] = []
    const ofBlock = (order: Order) =>
      `(SELECT at FROM audit WHERE sequence / ${AUDIT_BLOCK} = n ORDER BY at ${order} LIMIT 1)`
    const query = this.store.client.query<{ n: number }, Bindings>(
      `WITH RECURSIVE block(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM block WHERE n < ?)
       SELECT n FROM block WHERE ${ofBlock('desc')} >= ? AND ${ofBlock('asc')} < ?`,
    )
    const lastBlock = Math.floor(head / AUDIT_BLOCK)
    for (let block = 0; block <= lastBlock; block += this.limits.auditRowsSlice) {
      const last = Math.min(lastBlock, block + this.limits.auditRowsSlice - 1)
      for (const { n } of query.all(block, last, since, until)) {
        const first = n * AUDIT_BLOCK
        const end = Math.min(head, first + AUDIT_BLOCK - 1)
        const previous = ranges.at(-1)
        if (previous && previous[1] === first - 1) previous[1] = end
        else ranges.push([first, end])
      }
      await breathe()
    }
    return ranges
  }

  /** Names of targets that hold a text, compared as subjects are. */
  async #namesWith(text: string, breathe: () => Promise<void>): Promise<Set<string>> {
    const found = new Set<string>()
    const part = fold(text)
    for (let after = ''; ;) {
      const names = this.#distinct('target_name', after, this.limits.auditRowsSlice)
      for (const name of names) if (fold(name).includes(part)) found.add(name)
      await breathe()
      const last = names.at(-1)
      if (last === undefined) return found
      after = last
    }
  }

  /** Different values of an indexed column, in order: each is looked up behind the one before, not read row by row. */
  #distinct(
    column: 'actor' | 'action' | 'target_name',
    after: string,
    limit: number,
    where = 'TRUE',
    values: Bindings = [],
  ): string[] {
    const next = (previous: string) =>
      `(SELECT ${column} FROM audit WHERE ${where} AND ${column} > ${previous} ORDER BY ${column} LIMIT 1)`
    return this.store.client
      .query<{ value: string }, Bindings>(
        `WITH RECURSIVE found(value) AS (SELECT ${next('?')}
           UNION ALL SELECT ${next('found.value')} FROM found WHERE value IS NOT NULL)
         SELECT value FROM found WHERE value IS NOT NULL LIMIT ?`,
      )
      .all(...values, after, ...values, limit)
      .map(({ value }) => value)
  }

  /** Gives the loop a turn, but not more often than it needs one. */
  #breath(): () => Promise<void> {
    let since = performance.now()
    return async () => {
      if (performance.now() - since < this.limits.auditSliceMs) return
      await turn()
      since = performance.now()
    }
  }
}
