import type { EmergencyEntry, EmergencyStore, Journal } from '../../src/emergency.ts'
import { AppError } from '../../src/error.ts'
import type { openJournal } from '../../src/store/journal.ts'

/** Where a node dies in the middle of what it does to the disk. */
export const CRASHES = ['before commit', 'after commit', 'before append', 'after append', 'before clear'] as const
type Crash = (typeof CRASHES)[number]

/** Where an entry is now. */
export type Place = 'memory' | 'journal' | 'database'

/** The doors to the disk: the database may refuse, the journal too, and the process may die between any two steps. */
export class Disk implements EmergencyStore, Journal {
  crashAt: Crash | null = null
  crashed = false
  broken = false
  journalBroken = false

  constructor(
    readonly database: EmergencyStore,
    readonly journal: ReturnType<typeof openJournal>,
    readonly took: (entry: EmergencyEntry, where: Place) => void,
    readonly onCrash: () => void,
  ) {}

  get bytesUsed(): number {
    return this.journal.bytesUsed
  }

  #point(crash: Crash): void {
    if (this.crashAt === crash && !this.crashed) {
      this.crashed = true
      this.onCrash()
    }
    if (this.crashed) throw new Error('the process has died')
  }

  applyEmergency(entry: EmergencyEntry, waited: boolean): void {
    this.#point('before commit')
    if (this.broken) {
      if (!waited) this.took(entry, 'memory')
      throw new AppError('storage', 'database or disk is full')
    }
    this.database.applyEmergency(entry, waited)
    this.took(entry, 'database')
    this.#point('after commit')
  }

  append(entry: EmergencyEntry): void {
    this.#point('before append')
    this.took(entry, 'memory')
    if (this.journalBroken) throw new Error('the journal is full')
    this.journal.append(entry)
    this.took(entry, 'journal')
    this.#point('after append')
  }

  read(): EmergencyEntry[] {
    return this.journal.read()
  }

  clear(): void {
    this.#point('before clear')
    this.journal.clear()
  }
}
