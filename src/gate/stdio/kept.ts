import type { StdioSpec } from '../../stdio.ts'
import type { StdioServer } from './launch.ts'
import type { Lease } from './supervisor.ts'

/** Something that stands on a process. */
export interface Standing {
  readonly lease: Lease
}

interface Entry<T> {
  spec: StdioSpec
  starting: Promise<T>
  started: T | null
}

/** Processes that outlive a request, each found again by a key for as long as it serves. */
export class Kept<T extends Standing> {
  readonly #entries = new Map<string, Entry<T>>()

  /** How many there are, those that start included. */
  get size(): number {
    return this.#entries.size
  }

  /** The one that is there, or is being started, else what `start` makes. */
  find(key: string, { stdio }: StdioServer, start: () => Promise<T>): Promise<T> {
    const found = this.#entries.get(key)
    // One that was told to end, or that ran what the server no longer is, serves nobody new.
    if (found?.spec === stdio && found.started?.lease.ending !== true) return found.starting
    const entry: Entry<T> = { spec: stdio, starting: start(), started: null }
    this.#entries.set(key, entry)
    const forget = () => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
    }
    entry.starting.then((started) => {
      entry.started = started
      return started.lease.process.ended.then(forget)
    }, forget)
    return entry.starting
  }
}
