import { createHash } from 'node:crypto'

/** What a change says about itself; the store adds sequence, time, node and hashes. */
export interface AuditEvent {
  actor: string
  /** `noun.verb`, such as `token.revoke`. */
  action: string
  targetId?: string | null
  targetName?: string | null
  reason?: string | null
  details?: Record<string, unknown>
}

/** A row as it is stored: `details` is the JSON text that was hashed. */
export interface AuditRow {
  sequence: number
  at: number
  node: string
  actor: string
  action: string
  targetId: string | null
  targetName: string | null
  reason: string | null
  details: string
  previousHash: string
  hash: string
}

/** What the first row chains to. */
export const GENESIS = '0'.repeat(64)

/** What is hashed of a row: the JSON array of all fields before `hash`, in their order. */
export const hashedText = (row: Omit<AuditRow, 'hash'>): string =>
  JSON.stringify([
    row.sequence,
    row.at,
    row.node,
    row.actor,
    row.action,
    row.targetId,
    row.targetName,
    row.reason,
    row.details,
    row.previousHash,
  ])

/** SHA-256 over that text in UTF-8; lower-case hex. */
export const hashRow = (row: Omit<AuditRow, 'hash'>): string =>
  createHash('sha256').update(hashedText(row)).digest('hex')

export interface AuditHead {
  sequence: number
  hash: string
}

export type VerificationStatus = 'intact' | 'altered' | 'truncated' | 'forked'

export interface Verification {
  status: VerificationStatus
  rows: number
  /** The first row that does not hold. */
  sequence: number | null
  message: string
}

/**
 * Walks the chain in order. `expected` is a head that is known from elsewhere (a signed checkpoint, or
 * the running node): the log must still reach it, and hold the same hash there.
 */
export const verifyChain = (rows: Iterable<AuditRow>, expected: readonly AuditHead[] = []): Verification => {
  let previous: AuditHead = { sequence: 0, hash: GENESIS }
  let count = 0
  let forkedAt: number | null = null
  const heads = new Map(expected.map((head) => [head.sequence, head.hash]))
  const altered = (sequence: number, message: string): Verification => ({
    status: 'altered',
    rows: count,
    sequence,
    message,
  })
  for (const row of rows) {
    count += 1
    if (row.sequence !== previous.sequence + 1) {
      return altered(row.sequence, `row ${previous.sequence + 1} is missing`)
    }
    if (row.previousHash !== previous.hash)
      return altered(row.sequence, `row ${row.sequence} does not follow the one before it`)
    if (hashRow(row) !== row.hash) return altered(row.sequence, `row ${row.sequence} was altered`)
    previous = { sequence: row.sequence, hash: row.hash }
    const known = heads.get(row.sequence)
    if (known !== undefined && known !== row.hash) forkedAt ??= row.sequence
  }
  if (forkedAt !== null) {
    const message = `row ${forkedAt} is another than the checkpoint knows: the log was forked before it`
    return { status: 'forked', rows: count, sequence: forkedAt, message }
  }
  const reach = Math.max(0, ...expected.map((head) => head.sequence))
  if (reach > previous.sequence) {
    const message = `the log ends at row ${previous.sequence}, but row ${reach} is known to have been written`
    return { status: 'truncated', rows: count, sequence: previous.sequence + 1, message }
  }
  return { status: 'intact', rows: count, sequence: null, message: `${count} rows, each follows the one before it` }
}

export const EXIT_CODES: Record<VerificationStatus, number> = { intact: 0, altered: 1, truncated: 4, forked: 5 }

/** One kind of thing that a stranger did from one source, counted. */
export interface Folded {
  action: string
  source: string
  targetId: string | null
  targetName: string | null
  count: number
  firstAt: number
  lastAt: number
}

export interface FoldStore {
  appendFolded(folded: readonly Folded[]): void
}

/**
 * Counts what strangers can cause, so that it costs no commit each: one row a minute and source.
 * Past `keysMax` sources, the rest is counted together.
 */
export class Fold {
  #entries = new Map<string, Folded>()

  constructor(readonly keysMax: number) {}

  /** Rows that wait to be written. */
  get size(): number {
    return this.#entries.size
  }

  add(action: string, source: string, target: { id: string; name: string } | null, now: number): void {
    let key = JSON.stringify([action, source, target?.id])
    let known = this.#entries.get(key)
    if (!known && this.#entries.size >= this.keysMax) {
      key = JSON.stringify([action])
      known = this.#entries.get(key)
      source = 'many'
      target = null
    }
    if (known) {
      known.count += 1
      known.lastAt = now
    } else {
      const entry = { action, source, targetId: target?.id ?? null, targetName: target?.name ?? null }
      this.#entries.set(key, { ...entry, count: 1, firstAt: now, lastAt: now })
    }
  }

  /** Writes what was counted. When the store refuses, the counts stay for the next time. */
  flush(store: FoldStore): void {
    if (this.#entries.size === 0) return
    store.appendFolded([...this.#entries.values()])
    this.#entries = new Map()
  }
}
