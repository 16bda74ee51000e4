import type { AuditEvent } from '../../audit.ts'
import type { FactId } from '../../fact.ts'
import type { NewSecret, NewToken } from '../../token.ts'

/** A fact with its payload read. */
export interface ReadFact extends FactId {
  kind: string
  hlc: string
  payload: Record<string, unknown>
}

/** What facts of one transaction have written, and the memory does not know before its commit. */
export class Batch {
  /** `warily`: each fact can be undone by itself. */
  constructor(readonly warily = false) {}

  /** Tokens that came with it. */
  readonly tokens = new Map<string, NewToken & { secrets: NewSecret[] }>()
  /** Tokens that die with it. */
  readonly dead = new Set<string>()
}

/** What a handler wrote. */
export type Written =
  /** It is about something that is not here yet: `token:ID`, `server:ID`, …; applied when that comes. */
  | { missing: string }
  | {
      /** The row of the audit log; null: none, it changed nothing here. */
      event: AuditEvent | null
      /** That row is never folded into one with others that were pulled. */
      plain?: boolean
      /** `token:ID`, `server:ID`, … that is here from now on: what waited for it is applied next. */
      came?: string | readonly string[]
      /** A part of it is about these, which are not here yet: it is applied again when one comes. */
      waits?: readonly string[]
      /** After the commit, in the same run: brings the memory up, denies, cuts. Returns how many connections were cut. */
      after(): number
    }

/** One kind of fact. Called within the transaction; what it throws undoes all of the batch. */
export interface Handler {
  /** Registers that it writes, when it is the last writer's that counts: an older fact is stored, and not handled. */
  registers?(fact: ReadFact): readonly string[]
  /** May be called again for the same fact, after what it waited for came: then it changes only what it had not. */
  write(fact: ReadFact, batch: Batch): Written
  /** The database refuses: what must hold all the same, in memory and for live connections. */
  deny?(fact: ReadFact): void
}

export type Handlers = Readonly<Record<string, Handler>>
