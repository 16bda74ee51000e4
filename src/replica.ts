import type { FactId, StoredFact, Vector } from './fact.ts'

/** What came of facts that were applied. */
export interface Applied {
  /** Facts of the revocation stream that were applied now: durable, denied, cut. */
  revocations: readonly { origin: string; seq: number; cut: number; revocation: string | null }[]
  /** Facts of both streams that are new here. */
  count: number
}

/** All facts that this node has, its own among them, and what they mean: the database and the memory that follows it. */
export interface Replica {
  /** How far facts are stored, without holes. A new object after each change. */
  readonly vector: Vector
  /** Stored facts of the revocation stream whose kind this program does not know. */
  readonly unknown: readonly FactId[]
  /**
   * Facts behind `vector`, up to `bytesMax` of payload (but one at the least): all revocations of all origins first, then
   * changes; each stream of an origin in its order.
   */
  behind(vector: Vector, bytesMax: number): { facts: StoredFact[]; more: boolean }
  /**
   * Stores and applies facts that are new, in one transaction with their audit rows, then denies and cuts, in one run.
   * Passes over what it has, and over what does not follow what it has. `pulled`: many at once, folded in the audit log.
   * Throws `storage`: nothing was stored. But what revocations name is denied and cut all the same.
   */
  apply(facts: readonly StoredFact[], pulled: boolean): Applied
}

/** What the protocol must find again after a crash: written, and synced, before it returns. Throws `storage`. */
export interface ProtocolDisk<T> {
  load(): T | null
  save(state: T): void
}

/** Told of facts of this node's own that were committed, in the run that committed them. */
export type OnCommitted = (facts: readonly StoredFact[]) => void
