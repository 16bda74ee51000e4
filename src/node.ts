import type { Access } from './access.ts'
import type { Activity, ActivityRow } from './activity.ts'
import type { ApiKeys } from './apikey.ts'
import type { AuditHead, AuditRow, Fold, Verification } from './audit.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Config } from './config.ts'
import type { Control } from './control.ts'
import type { Emergency } from './emergency.ts'
import type { Health } from './health.ts'
import type { Issuance } from './issuance.ts'
import type { KeyRotation } from './key-rotation.ts'
import type { Limits } from './limits.ts'
import type { Registry } from './registry.ts'
import type { Receipt, Revocations } from './revocation.ts'
import type { Clock } from './time.ts'
import type { TokenIndex } from './token.ts'
import type { UpstreamIndex } from './upstream.ts'
import type { Evidence, Usage, UsageMeter } from './usage.ts'

export interface Version {
  version: string
  commit: string | null
  date: string | null
}

/** Which rows of the audit log. */
export interface AuditQuery {
  limit: number
  after: number | null
  order: 'asc' | 'desc'
  actor?: string
  action?: string
  /** An id, or a part of a name. */
  target?: string
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
  startedAt: number
  limits: Limits
  now: Clock
  tokens: TokenIndex
  servers: UpstreamIndex
  registry: Registry
  revocations: Revocations
  control: Control
  issuance: Issuance
  access: Access
  apiKeys: ApiKeys
  keys: KeyRotation
  usage: UsageMeter
  evidence: Evidence
  activity: Activity
  fold: Fold
  emergency: Emergency
  reads: {
    /** What is written of a token's activity since then, in slices. */
    activityOf(tokenId: string, since: number): Generator<ActivityRow[]>
    totalsOf(tokenIds: string[]): Map<string, Usage>
    receipt(id: string): Receipt | null
    receipts(limit: number, after: string | null): Receipt[]
    audit(query: AuditQuery): AuditRow[]
    auditHead(): AuditHead
  }
  answers: {
    find(actor: string, key: string): KeptAnswer | null
    keep(actor: string, key: string, answer: KeptAnswer): void
  }
  health: Health
  /** Verifies the log in a Worker; `expected` besides what the node itself knows. */
  verify(expected: Checkpoint | null): Promise<Verification>
  checkpoint(): Checkpoint
  /** One file of database, keys and settings. */
  backup(): Promise<Blob>
  /** Why the node is not ready; empty when it is. */
  problems(): string[]
  /** Prometheus text. */
  metrics(): Promise<string>
  log: {
    warn(details: Record<string, unknown>, message: string): void
    error(details: Record<string, unknown>, message: string): void
  }
}
