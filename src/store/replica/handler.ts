import type { AuditEvent } from '../../audit.ts'
import type { FactId } from '../../fact.ts'

/** A fact with its payload read. */
export interface ReadFact extends FactId {
  kind: string
  hlc: string
  payload: Record<string, unknown>
}

/** What a handler wrote. */
export type Written =
  /** It is about something that is not here yet: `token:ID`, `server:ID`, …; applied when that comes. */
  | { missing: string }
  | {
      /** The row of the audit log; null: none, it changed nothing here. */
      event: AuditEvent | null
      /** `token:ID`, `server:ID`, … that is here from now on: what waited for it is applied next. */
      came?: string
      /** After the commit, in the same run: brings the memory up, denies, cuts. Returns how many connections were cut. */
      after(): number
    }

/** One kind of fact. Called within the transaction; what it throws undoes all of the batch. */
export interface Handler {
  /** Registers that it writes, when it is the last writer's that counts: an older fact is stored, and not handled. */
  registers?(fact: ReadFact): readonly string[]
  write(fact: ReadFact): Written
}

export type Handlers = Readonly<Record<string, Handler>>
