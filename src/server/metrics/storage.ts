import type { Access } from '../../access.ts'
import type { Fold } from '../../audit.ts'
import type { Emergency, Journal } from '../../emergency.ts'
import type { Histogram } from '../../histogram.ts'
import type { Limits } from '../../limits.ts'
import type { Receipts } from '../../receipt.ts'
import type { Registry } from '../../registry.ts'
import type { Verifier } from '../../verification.ts'
import type { Labels, Metric } from './exposition.ts'

export interface StorageSources {
  writes: { durations: Histogram; commits: Histogram; failures: number }
  emergency: Pick<Emergency, 'pending'>
  journal: Pick<Journal, 'bytesUsed'>
  receipts: Pick<Receipts, 'waiting'>
  fold: Pick<Fold, 'size'>
  registry: Pick<Registry, 'releasing'>
  access: Pick<Access, 'hashing'>
  verifier: Pick<Verifier, 'last' | 'waiting'>
  limits: Limits
  auditSequence(): number
  /** When a backup was last asked for, in milliseconds since the epoch; null: never. */
  backupAt(): number | null
  /** Of the data folder, in bytes. */
  sizes(): { database: number; wal: number; available: number }
}

/** What waits, and where: the length of each queue, and the limit of those that have one of their own. */
const queuesOf = (sources: StorageSources): Record<string, { length: number; limit: number | null }> => {
  const { emergency, receipts, fold, registry, access, verifier, limits } = sources
  const { waiting } = receipts
  return {
    journal: { length: emergency.pending.length, limit: null },
    upstream_releases: { length: registry.releasing, limit: null },
    receipts: { length: waiting.receipts, limit: null },
    receipt_connections: { length: waiting.connections, limit: limits.receiptConnectionsWaitingMax },
    audit_fold: { length: fold.size, limit: limits.foldKeysMax },
    password_hashes: { length: access.hashing, limit: limits.passwordHashesMax },
    verifications: { length: verifier.waiting, limit: limits.verificationsMax },
  }
}

/** What is written, what waits to be, and what was made sure of. */
export const storage = (sources: StorageSources): Metric[] => {
  const { writes, journal, verifier, limits } = sources
  const seconds = (ms: number | null | undefined) => (ms ?? 0) / 1000
  const gauge = (name: string, help: string, read: () => number): Metric => ({ name, help, type: 'gauge', read })
  return [
    {
      name: 'portcullis_commit_duration_seconds',
      help: 'What a transaction waits for the disk, after all of it was written',
      type: 'histogram',
      read: () => writes.commits,
    },
    {
      name: 'portcullis_transaction_duration_seconds',
      help: 'Transactions that write to the database, their commit included',
      type: 'histogram',
      read: () => writes.durations,
    },
    {
      name: 'portcullis_transaction_failures_total',
      help: 'Transactions that the database refused',
      type: 'counter',
      read: () => writes.failures,
    },
    {
      name: 'portcullis_queue_length',
      help: 'How many wait, by queue',
      type: 'gauge',
      read: () => Object.entries(queuesOf(sources)).map(([queue, { length }]) => [{ queue }, length]),
    },
    {
      name: 'portcullis_queue_limit',
      help: 'How many may wait, of queues with a limit of their own',
      type: 'gauge',
      read: () =>
        Object.entries(queuesOf(sources)).flatMap(([queue, { limit }]): [Labels, number][] =>
          limit === null ? [] : [[{ queue }, limit]],
        ),
    },
    gauge(
      'portcullis_journal_used_bytes',
      'Bytes of the journal that hold what the database refused',
      () => journal.bytesUsed,
    ),
    gauge('portcullis_journal_size_bytes', 'Bytes that the journal can hold', () => limits.journalBytes),
    gauge('portcullis_database_size_bytes', 'Size of the database', () => sources.sizes().database),
    gauge('portcullis_database_wal_size_bytes', "Size of the database's log (WAL)", () => sources.sizes().wal),
    gauge('portcullis_data_available_bytes', 'Room left where the data folder is', () => sources.sizes().available),
    gauge('portcullis_audit_rows', 'Sequence of the last row of the audit log', sources.auditSequence),
    gauge('portcullis_audit_intact', '0 when the last verification found that the audit log does not hold', () =>
      Number((verifier.last?.status ?? 'intact') === 'intact'),
    ),
    gauge(
      'portcullis_audit_verified_timestamp_seconds',
      'When the audit log was last verified; 0: not since the start',
      () => seconds(verifier.last?.checkedAt),
    ),
    gauge('portcullis_audit_verification_duration_seconds', 'How long the last verification took', () =>
      seconds(verifier.last?.tookMs),
    ),
    gauge('portcullis_backup_timestamp_seconds', 'When a backup was last made; 0: never', () =>
      seconds(sources.backupAt()),
    ),
  ]
}
