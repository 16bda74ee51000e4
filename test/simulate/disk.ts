import { AppError } from '../../src/error.ts'
import { type FactStream, type StoredFact, STREAMS } from '../../src/fact.ts'
import type { ProtocolDisk } from '../../src/replica.ts'
import type { RevocationRecord } from '../../src/revocation-record.ts'

/** Thrown out of a write while which the process died. */
export class Crash extends Error {
  constructor() {
    super('the process died while it wrote')
  }
}

/** A revocation that the database refused, as the journal beside it keeps it. */
export interface JournalEntry {
  record: RevocationRecord
  issuedUntil: number
}

export type Streams = Record<FactStream, StoredFact[]>

/** A data folder: what is here was synced, and is found again by the next start. */
export class Disk {
  /** What the folder's node was called before it was restored or copied, the newest first. */
  formerly: string[] = []
  /** Those run nowhere any more: it was restored in their place. */
  retired = false
  /** This identity was never synced. */
  fresh = true
  readonly facts = new Map<string, Streams>()
  state: string | null = null
  journal: JournalEntry[] = []
  /** Revocations that are told complete for good, by `origin/seq`. */
  readonly completed = new Set<string>()
  /** Refuses every write: full, or failing. The journal is preallocated. */
  broken = false
  /** The next write kills the process, done or not. */
  crash: 'before' | 'after' | null = null
  /** It died of one: whatever its code does with the exception. */
  crashed = false

  constructor(public identity: string) {}

  /** One transaction. Throws `storage` when the disk is broken, `Crash` when the process dies of it. */
  write(change: () => void): void {
    if (this.crashed || this.crash === 'before') this.#die()
    if (this.broken) throw new AppError('storage', 'the disk is full')
    change()
    if (this.crash === 'after') this.#die()
  }

  #die(): never {
    this.crashed = true
    throw new Crash()
  }

  streamsOf(origin: string): Streams {
    let streams = this.facts.get(origin)
    if (!streams) this.facts.set(origin, (streams = { revocation: [], change: [] }))
    return streams
  }

  protocolDisk<T>(): ProtocolDisk<T> {
    return {
      load: () => (this.state === null ? null : (JSON.parse(this.state) as T)),
      save: (state) => this.write(() => void (this.state = JSON.stringify(state))),
    }
  }

  /** As a backup has it, or a folder that was copied: under no identity of its own yet. */
  copy(): Disk {
    const copy = new Disk(this.identity)
    copy.formerly = [...this.formerly]
    copy.retired = this.retired
    copy.fresh = this.fresh
    copy.state = this.state
    copy.journal = [...this.journal]
    for (const key of this.completed) copy.completed.add(key)
    for (const [origin, { revocation, change }] of this.facts) {
      copy.facts.set(origin, { revocation: [...revocation], change: [...change] })
    }
    return copy
  }

  /** What a folder that is replaced by this one knows beyond it. */
  carry(from: Disk): void {
    for (const [origin, streams] of from.facts) {
      const mine = this.streamsOf(origin)
      for (const stream of STREAMS) mine[stream].push(...streams[stream].slice(mine[stream].length))
    }
  }

  /** Another node from now on: what a restored or copied folder becomes at its start. */
  rename(identity: string): void {
    if (!this.formerly.includes(this.identity)) this.formerly.unshift(this.identity)
    this.identity = identity
    this.fresh = true
  }
}
