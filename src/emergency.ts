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
export type EmergencyEntry = { op: 'revocation'; record: RevocationRecord } | { op: 'gate'; record: GateRecord }

export interface EmergencyStore {
  /**
   * One transaction of change, audit row and facts. An entry that waited is marked as applied, so that a
   * crash between the commit and the clearing of the journal does not apply it twice.
   */
  applyEmergency(entry: EmergencyEntry, waited: boolean): void
}

/** A file beside the database, of a size reserved beforehand, so that a full disk leaves it writable. */
export interface Journal {
  append(entry: EmergencyEntry): void
  read(): EmergencyEntry[]
  clear(): void
}

/** Without the list of the dead, which may be longer than the journal: the selector says the same. */
const compact = (entry: EmergencyEntry): EmergencyEntry =>
  entry.op === 'revocation' ? { ...entry, record: { ...entry.record, tokens: [] } } : entry

/**
 * Commits what can't wait. When the database refuses, the entry goes to the journal, and is tried again
 * until the database takes it.
 */
export class Emergency {
  #pending: EmergencyEntry[]
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

  /** Why the database could not be written, while entries wait for it; null when none do. */
  get problem(): string | null {
    return this.#pending.length > 0 ? this.#lastError || 'entries of the journal wait for the database' : null
  }

  get pending(): readonly EmergencyEntry[] {
    return this.#pending
  }

  /** Whether the entry is in the database now. It takes effect either way. */
  commit(entry: EmergencyEntry): boolean {
    // What waits goes first: an open must not be overtaken by an older close.
    if (this.flush()) {
      try {
        this.store.applyEmergency(entry, false)
        return true
      } catch (error) {
        this.#lastError = messageOf(error)
      }
    }
    this.#pending.push(entry)
    try {
      this.journal.append(compact(entry))
    } catch (error) {
      this.#lastError = `${this.#lastError}; the journal failed too: ${messageOf(error)}`
    }
    this.onRetry(this.#lastError)
    this.#schedule()
    return false
  }

  /** Commits like `commit`, but for changes that must not be made unless the database takes them. */
  commitOrThrow(entry: EmergencyEntry): void {
    if (!this.flush()) throw new AppError('storage', this.#lastError)
    this.store.applyEmergency(entry, false)
  }

  /** Writes what waits. Returns whether nothing waits any more. */
  flush(): boolean {
    if (this.#pending.length === 0) return true
    try {
      while (this.#pending[0]) {
        this.store.applyEmergency(this.#pending[0], true)
        this.#pending.shift()
      }
      this.journal.clear()
    } catch (error) {
      this.#lastError = messageOf(error)
      this.#schedule()
      return false
    }
    this.onRetry(null)
    return true
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
