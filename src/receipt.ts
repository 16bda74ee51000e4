import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { type Emergency, toldOf } from './emergency.ts'
import type { Limits } from './limits.ts'
import type { Connection, ConnectionKind, CutResult } from './registry.ts'
import { NOT_MEASURED, type Receipt, type Timings } from './revocation-record.ts'

/** A connection that died with a revocation. Its path is not kept: it may hold a secret. */
export interface ReceiptConnection {
  /** In the order of the cut, from 1. */
  n: number
  tokenId: string
  serverId: string
  kind: ConnectionKind
  client: string | null
  address: string
  startedAt: number
  endedAt: number
  bytesIn: number
  bytesOut: number
}

/** What was measured of a revocation. */
export interface Measured {
  id: string
  timings: Timings
  result: CutResult
  /** Milliseconds since the epoch. */
  endedAt: number
}

export interface ReceiptStore {
  get(id: string): Receipt | null
  /** Keeps what was measured beside the revocation, with the first of what died, in one transaction. */
  putReceipt(id: string, cut: number, timings: Timings, connections: readonly ReceiptConnection[]): void
  putReceiptConnections(id: string, connections: readonly ReceiptConnection[]): void
  putTimings(id: string, timings: Timings): void
}

export interface ReceiptsDeps {
  store: ReceiptStore
  emergency: Emergency
  limits: Limits
  /** Told once for each receipt that could not be kept at once; it is tried again. */
  onLate(error: unknown): void
}

/** Keeps receipts: after the cut, in slices, and however often it takes. */
export class Receipts {
  #waiting = 0
  /** What was measured, until it is written. */
  readonly #unwritten = new Map<string, Pick<Receipt, 'cut' | 'timings'>>()

  constructor(readonly deps: ReceiptsDeps) {}

  /** Receipts that are not written yet, and connections of receipts. */
  get waiting(): { receipts: number; connections: number } {
    return { receipts: this.#unwritten.size, connections: this.#waiting }
  }

  /** A receipt in the database, or one that waits for it: in force, and not durable yet. */
  find(id: string): Receipt | null {
    const { store, emergency } = this.deps
    const measured = this.#unwritten.get(id)
    const stored = store.get(id)
    if (stored) return { ...stored, ...measured }
    for (const entry of emergency.pending) {
      if (entry.op === 'revocation' && entry.record.id === id)
        return {
          ...entry.record,
          dryRun: false,
          cut: 0,
          timings: NOT_MEASURED,
          ...measured,
          ...toldOf(emergency.keptBy(entry)),
        }
    }
    return null
  }

  /** Its first transaction is tried before this returns: whoever asks for the receipt next finds it there. */
  async keep({ id, timings, result, endedAt }: Measured): Promise<void> {
    const { store, limits } = this.deps
    const { cut, releasedAt } = result
    let released = false
    const connections = this.#room(result.connections).map((connection, index) => died(connection, index + 1, endedAt))
    this.#waiting += connections.length
    const slice = limits.receiptConnectionsSlice
    this.#unwritten.set(id, { cut, timings })
    await this.#write(() => {
      released = cut === 0 || timings.upstreamCancelledMs !== null
      store.putReceipt(id, cut, timings, connections.slice(0, slice))
      this.#unwritten.delete(id)
    })
    for (let from = slice; from < connections.length; from += slice) {
      await turn()
      await this.#write(() => store.putReceiptConnections(id, connections.slice(from, from + slice)))
    }
    this.#waiting -= connections.length
    await releasedAt
    if (!released) await this.#write(() => store.putTimings(id, timings))
  }

  /** While the disk is full, receipts wait in memory: past the limit without their lists. */
  #room(connections: Connection[]): Connection[] {
    return this.#waiting + connections.length > this.deps.limits.receiptConnectionsWaitingMax ? [] : connections
  }

  async #write(write: () => void): Promise<void> {
    const { emergency, limits, onLate } = this.deps
    for (let tries = 0; ; tries += 1) {
      try {
        // The revocation itself waits in the journal: its figures come after it.
        if (emergency.problem === null) return write()
      } catch (error) {
        if (tries === 0) onLate(error)
      }
      await sleep(limits.journalRetryMs, undefined, { ref: false })
    }
  }
}

const died = (connection: Connection, n: number, endedAt: number): ReceiptConnection => ({
  n,
  tokenId: connection.secret.token.id,
  serverId: connection.server.id,
  kind: connection.kind,
  client: connection.client,
  address: connection.address,
  startedAt: connection.startedAt,
  endedAt,
  bytesIn: connection.bytesIn,
  bytesOut: connection.bytesOut,
})
