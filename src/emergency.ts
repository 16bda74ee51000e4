import { AppError, messageOf } from './error.ts'
import type { Limits } from './limits.ts'
import type { RevocationRecord } from './revocation-record.ts'
import type { GateState } from './upstream.ts'

/** A server's gate was put, or its connections were killed. */
export interface GateRecord {
  id: string
  at: number
  actor: string
  action: 'close' | 'open' | 'kill'
  servers: { id: string; name: string }[]
  /** Whether all servers were meant, by one word. */
  all: boolean
  /** Killed alone: one connection of one token. */
  connection?: { id: string; token: string; client: string | null; address: string }
  reason: string | null
}

export const gateStateAfter = (action: 'close' | 'open'): GateState => (action === 'close' ? 'closed' : 'open')

/** The changes that must take effect even when the database can't be written. */
export type EmergencyEntry =
  | {
      op: 'revocation'
      record: RevocationRecord
      /** The selector stands for tokens that were made until then: later than `record.at`, when the clock was set back. */
      issuedUntil?: number
    }
  | { op: 'gate'; record: GateRecord }

export interface EmergencyStore {
  /**
   * One transaction of change, audit row and facts. An entry that waited is marked as applied, so that a
   * crash between the commit and the clearing of the journal does not apply it twice.
   */
  applyEmergency(entry: EmergencyEntry, waited: boolean): void
}

/** Where a change stands. In `memory` alone it is in force as well, until the process ends. */
export type Kept = 'database' | 'journal' | 'memory'

/** What an answer says of it. */
export const toldOf = (kept: Kept): { durable: boolean; lostOnRestart?: true } => ({
  durable: kept === 'database',
  ...(kept === 'memory' && { lostOnRestart: true }),
})

/** A file beside the database, of a size reserved beforehand, so that a full disk leaves it writable. */
export interface Journal {
  /** Bytes of it that hold entries. */
  readonly bytesUsed: number
  append(entry: EmergencyEntry): void
  read(): EmergencyEntry[]
  clear(): void
}

/** Without the list of the dead, which may be longer than the journal: the selector says the same. */
const compact = (entry: EmergencyEntry): EmergencyEntry =>
  entry.op === 'revocation' ? { ...entry, record: { ...entry.record, tokens: [] } } : entry

const EITHER = "; the journal can't be written either: "

/**
 * Commits what can't wait. When the database refuses, the entry goes to the journal, and is tried again
 * until the database takes it.
 */
export class Emergency {
  #pending: EmergencyEntry[]
  /** Those of them that the journal refused: it is asked again. */
  readonly #unjournaled = new Set<EmergencyEntry>()
  /** The journal holds entries that are in the database, since it could not be cleared. */
  #uncleared = false
  #retry: NodeJS.Timeout | null = null
  #lastError = ''

  constructor(
    readonly store: EmergencyStore,
    readonly journal: Journal,
    readonly limits: Limits,
    readonly onRetry: (error: string | null) => void,
  ) {
    this.#pending = journal.read()
  }

  /** Why the database could not be written, while entries wait for it, or the journal not be cleared; null: all is well. */
  get problem(): string | null {
    const waits = this.#pending.length > 0 || this.#uncleared
    return waits ? this.#lastError || 'entries of the journal wait for the database' : null
  }

  get pending(): readonly EmergencyEntry[] {
    return this.#pending
  }

  /** Where an entry that waits stands. */
  keptBy(entry: EmergencyEntry): Kept {
    return this.#unjournaled.has(entry) ? 'memory' : 'journal'
  }

  /** Takes effect wherever the entry could be written. */
  commit(entry: EmergencyEntry): Kept {
    // What waits goes first: an open must not be overtaken by an older close.
    if (this.flush()) {
      try {
        this.store.applyEmergency(entry, false)
        return 'database'
      } catch (error) {
        this.#lastError = messageOf(error)
      }
    }
    this.#pending.push(entry)
    this.#unjournaled.add(entry)
    this.#journal(entry)
    this.onRetry(this.#lastError)
    this.#schedule()
    return this.keptBy(entry)
  }

  /** Commits like `commit`, but for changes that must not be made unless the database takes them. */
  commitOrThrow(entry: EmergencyEntry): void {
    if (!this.flush()) throw new AppError('storage', this.#lastError)
    this.store.applyEmergency(entry, false)
  }

  /** Writes what waits. Returns whether nothing waits any more. */
  flush(): boolean {
    if (this.problem === null) return true
    try {
      for (let [first] = this.#pending; first; [first] = this.#pending) {
        this.store.applyEmergency(first, true)
        this.#pending.shift()
        this.#unjournaled.delete(first)
      }
    } catch (error) {
      this.#lastError = messageOf(error)
      this.#keep()
      this.#schedule()
      return false
    }
    this.#clear()
    return true
  }

  /** Nothing waits: that the journal can't be cleared must not hold up the database, which knows what stands in it. */
  #clear(): void {
    try {
      this.journal.clear()
      this.#uncleared = false
      this.onRetry(null)
    } catch (error) {
      this.#uncleared = true
      this.#lastError = `the journal can't be cleared: ${messageOf(error)}`
      this.#schedule()
    }
  }

  /** Asks the journal again for what it does not hold; not for all of it while the disk fails, which may take long. */
  #keep(): void {
    for (const entry of this.#unjournaled) {
      const refused = this.#journal(entry)
      // One that there is no room for must not keep out the next.
      if (refused && !(refused instanceof AppError)) return
    }
  }

  /** Why the journal does not take an entry; null: it has it. */
  #journal(entry: EmergencyEntry): unknown {
    try {
      this.journal.append(compact(entry))
      this.#unjournaled.delete(entry)
      return null
    } catch (error) {
      this.#lastError = `${this.#lastError.split(EITHER)[0]}${EITHER}${messageOf(error)}`
      return error
    }
  }

  stop(): void {
    clearTimeout(this.#retry ?? undefined)
  }

  #schedule(): void {
    if (this.#retry) return
    this.#retry = setTimeout(() => {
      this.#retry = null
      this.flush()
    }, this.limits.journalRetryMs)
  }
}
