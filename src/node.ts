import type { Access } from './access.ts'
import type { Activity, ActivityRow } from './activity.ts'
import type { ApiKeys } from './apikey.ts'
import type { Attention } from './attention.ts'
import type { AuditHead, AuditRow, Fold, Verification } from './audit.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Cluster } from './cluster-view.ts'
import type { Address, Config } from './config.ts'
import type { Control } from './control.ts'
import type { Emergency } from './emergency.ts'
import type { Health } from './health.ts'
import type { Issuance } from './issuance.ts'
import type { KeyRotation } from './key-rotation.ts'
import type { Limits } from './limits.ts'
import type { Actor } from './operator.ts'
import type { Placement } from './placement.ts'
import type { Pulse } from './pulse.ts'
import type { ReceiptConnection } from './receipt.ts'
import type { Registry } from './registry.ts'
import type { Receipt } from './revocation-record.ts'
import type { Revocations } from './revocation.ts'
import type { Search } from './search.ts'
import type { SelfTest } from './selftest.ts'
import type { Sightings } from './sightings.ts'
import type { StdioProcesses } from './stdio.ts'
import type { Clock } from './time.ts'
import type { TokenIndex } from './token-index.ts'
import type { TokenNames } from './token-names.ts'
import type { Tries } from './tries.ts'
import type { UpstreamIndex } from './upstream.ts'
import type { Evidence, Usage, UsageBucket, UsageMeter, UsageWindow } from './usage.ts'
import type { VerificationState } from './verification.ts'
import type { Version } from './version.ts'

/** Which rows of the audit log; all that is given must hold. */
export interface AuditFilter {
  actor?: string
  /** One action, or all of a noun: `token.`. */
  action?: string
  /** An id, or a part of a name. */
  target?: string
  /** Milliseconds since the epoch: at it, or later. */
  since?: number
  /** Milliseconds since the epoch: before it. */
  until?: number
}

export interface AuditQuery extends AuditFilter {
  limit: number
  after: number | null
  order: 'asc' | 'desc'
}

/** A kept answer to a POST with an `Idempotency-Key`. */
export interface KeptAnswer {
  request: string
  status: number
  response: string
  location: string | null
}

/** One running instance, as its console sees it: the domain's services, and what the store can tell. */
export interface Node {
  id: string
  version: Version
  config: Config
  gateUrl: string
  consoleUrl: string
  /** What it is bound to. */
  listening: { gate: Address; console: Address }
  startedAt: number
  limits: Limits
  now: Clock
  tokens: TokenIndex
  /** Their names, to search and in order. */
  names: TokenNames
  servers: UpstreamIndex
  registry: Registry
  search: Search
  revocations: Revocations
  control: Control
  issuance: Issuance
  access: Access
  apiKeys: ApiKeys
  keys: KeyRotation
  usage: UsageMeter
  evidence: Evidence
  activity: Activity
  /** Where each token was used from in the last day. */
  sightings: Sightings
  /** What is alive now, for small charts. */
  pulse: Pulse
  /** Live tokens that need a look, by why: at most a minute old, and nothing that died since. */
  attention(): Promise<Attention>
  fold: Fold
  emergency: Emergency
  /** The other nodes; one that stands alone has it too. */
  cluster: Cluster
  reads: {
    /** What is written of a token's activity since then, in slices. */
    activityOf(tokenId: string, since: number): Generator<ActivityRow[]>
    totalsOf(tokenIds: string[]): Map<string, Usage>
    /** What a token did, in evenly spaced buckets, the oldest first; with what is not written yet. */
    usageHistory(tokenId: string, window: UsageWindow): UsageBucket[]
    receipt(id: string): Receipt | null
    receipts(limit: number, after: string | null): Receipt[]
    /** What died with a revocation, in the order of the cut; `after` is the `n` of the last one read. */
    receiptConnections(id: string, limit: number, after: number | null): ReceiptConnection[]
    /** Its row in the audit log; none when it waits in the journal, or came with a restore. */
    auditOf(receipt: Receipt): AuditRow | null
    /** Who tried its dead tokens since. */
    triesOf(receipt: Receipt): Promise<Tries>
    audit(query: AuditQuery): Promise<AuditRow[]>
    auditRow(sequence: number): AuditRow | null
    /** All rows that match, the oldest first, up to the last one of now; in slices, as fast as they are taken. */
    auditRows(filter: AuditFilter): AsyncGenerator<AuditRow[]>
    /** For lists to choose from: actors that are no addresses, and actions. */
    auditActors(): string[]
    auditActions(): string[]
    auditHead(): AuditHead
  }
  answers: {
    find(actor: string, key: string): KeptAnswer | null
    keep(actor: string, key: string, answer: KeptAnswer): void
  }
  health: Health
  /** The processes of servers that are commands. */
  stdio: StdioProcesses
  /** Which node runs them. */
  placement: Placement
  /** The test of a revocation, and how the last one went. */
  selfTest: SelfTest
  /** Verifies the log in a Worker; `expected` besides what the node itself knows. */
  verify(expected: Checkpoint | null): Promise<Verification>
  /** The last verification, whoever asked for it; null: none yet. */
  readonly verification: VerificationState | null
  checkpoint(): Checkpoint
  /** One file of database, keys and settings, as it is read. */
  backup(actor: Actor): Promise<AsyncGenerator<Uint8Array>>
  /** When a backup was last asked for; null: never. */
  readonly backupAt: number | null
  /** Why the node is not ready; empty when it is. */
  problems(): string[]
  /** Prometheus text. */
  metrics(): Promise<string>
  log: {
    warn(details: Record<string, unknown>, message: string): void
    error(details: Record<string, unknown>, message: string): void
  }
}
