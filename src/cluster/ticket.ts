import { conflict, invalid } from '../error.ts'
import { limits } from '../limits.ts'
import type { Clock, Stopwatch } from '../time.ts'
import { keysFrom, sha256 } from './seal.ts'

const PREFIX = 'pcj_'
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** 62^43 is just above 2^256. */
const LENGTH = 43
const SHAPE = new RegExp(`^${PREFIX}[0-9A-Za-z]{${LENGTH}}$`)

/** Why a ticket does not open the door; `join.ts` has the words. */
export type TicketRefusal = 'unknown_ticket' | 'used_ticket' | 'old_ticket'

/** What both sides make of a ticket: what names it on the wire, and the key under which they talk. */
export const readTicket = (text: string): { id: string; key: Uint8Array } => {
  const ticket = text.trim()
  if (!SHAPE.test(ticket)) {
    throw invalid(`--ticket: a ticket is ${PREFIX} and ${LENGTH} letters and digits; copy it whole, or make another`)
  }
  const [key] = keysFrom(Buffer.from(ticket), Buffer.alloc(0), 'join ticket', 1) as [Buffer]
  return { id: sha256(ticket).subarray(0, 12).toString('base64url'), key }
}

const random = (): string => {
  let text = ''
  while (text.length < LENGTH) {
    for (const byte of crypto.getRandomValues(new Uint8Array(60))) {
      // 248 is the largest multiple of 62 in a byte; what is above would favour the first characters.
      if (byte < 248 && text.length < LENGTH) text += ALPHABET[byte % 62]
    }
  }
  return PREFIX + text
}

interface Ticket {
  key: Uint8Array
  endsAt: number
  /** Who made it, as it stands in the audit log. */
  actor: string
  /** The public key of the node that came with it. */
  usedBy: string | null
}

/**
 * Tickets that this node made, in memory alone. Each is for one node: the same may show it again, since it may have been
 * stopped before it had its answer.
 */
export class Tickets {
  #tickets = new Map<string, Ticket>()

  constructor(
    readonly clock: Clock,
    readonly stopwatch: Stopwatch,
  ) {}

  /** Throws `conflict` when too many are good. */
  issue(actor: string): { ticket: string; expiresAt: number } {
    if (this.#tickets.size >= limits.ticketsMax) {
      const gone = [...this.#tickets].find(([, ticket]) => ticket.usedBy !== null || ticket.endsAt <= this.stopwatch())
      if (!gone) throw conflict('too many join tickets are good at once: wait until one is used, or ten minutes old')
      this.#tickets.delete(gone[0])
    }
    const ticket = random()
    const { id, key } = readTicket(ticket)
    this.#tickets.set(id, { key, endsAt: this.stopwatch() + limits.ticketMs, actor, usedBy: null })
    return { ticket, expiresAt: this.clock() + limits.ticketMs }
  }

  /** The key of a ticket, to find out whether somebody has it. */
  keyOf(id: string): Uint8Array | 'unknown_ticket' {
    return this.#tickets.get(id)?.key ?? 'unknown_ticket'
  }

  /** Uses it for the node of that public key, which has shown that it has the ticket; tells who made it. */
  redeem(id: string, node: string): { actor: string } | TicketRefusal {
    const ticket = this.#tickets.get(id)
    if (!ticket) return 'unknown_ticket'
    if (ticket.usedBy !== null && ticket.usedBy !== node) return 'used_ticket'
    if (ticket.endsAt <= this.stopwatch()) return 'old_ticket'
    ticket.usedBy = node
    return { actor: ticket.actor }
  }
}
