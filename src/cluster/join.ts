import { Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { AppError, invalid } from '../error.ts'
import { limits } from '../limits.ts'
import { isMember, isMembership, jsonOf } from './frame.ts'
import { acceptTicket, dialWithTicket } from './handshake.ts'
import type { Door } from './listener.ts'
import type { Member, Membership } from './message.ts'
import type { Session } from './seal.ts'
import { readTicket, type TicketRefusal } from './ticket.ts'
import type { Refusal } from './transport.ts'
import { dialWire } from './wire.ts'

export const JOIN_PATH = '/join'

/** What a new member gets, and nobody without a ticket. */
export interface Welcome {
  cluster: string
  database: string
  /** The ring: `secret` in base64. */
  keys: readonly { id: string; createdAt: number; secret: string }[]
  /** That of the newest membership, base64. */
  secret: string
  memberships: readonly Membership[]
}

const WELCOME = TypeCompiler.Compile(
  Type.Object({
    cluster: Type.String(),
    database: Type.String(),
    keys: Type.Array(Type.Object({ id: Type.String(), createdAt: Type.Number(), secret: Type.String() }), {
      minItems: 1,
    }),
    secret: Type.String(),
    memberships: Type.Array(Type.Unknown(), { minItems: 1 }),
  }),
)
const isWelcome = (value: unknown): value is Welcome => WELCOME.Check(value) && value.memberships.every(isMembership)

const REQUEST = TypeCompiler.Compile(
  Type.Object({
    member: Type.Unknown(),
    version: Type.String({ maxLength: limits.memberTextLengthMax }),
    /** Whether somebody chose the name; else another may be given. */
    named: Type.Optional(Type.Boolean()),
  }),
)
const ANSWER = TypeCompiler.Compile(
  Type.Object({
    refused: Type.Optional(Type.String()),
    error: Type.Optional(Type.String({ maxLength: 10 * limits.memberTextLengthMax })),
    welcome: Type.Optional(Type.Unknown()),
  }),
)
interface Answer {
  refused?: TicketRefusal
  /** In words. */
  error?: string
  welcome?: Welcome
}

/** Who joins, by whose ticket. */
export interface JoinerAbout {
  actor: string
  version: string
  /** Somebody chose its name. */
  named: boolean
}

/** What the side that has the tickets needs. */
export interface JoinServices {
  /** The key of a ticket, see `Tickets`. */
  keyOf(ticket: string): Uint8Array | 'unknown_ticket'
  redeem(ticket: string, publicKey: string): { actor: string } | TicketRefusal
  /**
   * Makes it a member, and resolves once that is in force. Also of one that is a member already: it has not heard so.
   * Throws an AppError whose words are for the people on the other side.
   */
  admit(member: Member, about: JoinerAbout): Promise<Welcome>
  /** A defect, for the log. */
  failed(error: unknown): void
  refused(reason: Refusal): void
}

const AGAIN = 'run `portcullis cluster ticket` on a member for another'
const REFUSALS: Record<string, string> = {
  unknown_ticket: `the node there knows no such ticket: it is mistyped, was made on another node, or before that node's last start; ${AGAIN}`,
  used_ticket: `this ticket was used by another node, and is good for one; ${AGAIN}`,
  old_ticket: `this ticket is more than ten minutes old; ${AGAIN}`,
  wrong_version: 'the node there runs a version that this one can not talk to; install the same on both',
}

/** The side of the cluster. */
export const joinDoor =
  (services: JoinServices): Door =>
  (wire, proven) => {
    let talk: { ticket: string; session: Session } | null = null
    let asked = false
    let over = false
    const refuse = (reason: Refusal) => {
      over = true
      services.refused(reason)
      wire.terminate()
    }
    /** Said in the clear: a word out of the few that the other side knows. */
    const turnAway = (refused: string) => {
      over = true
      wire.send(JSON.stringify({ refused }))
      wire.close()
    }
    const answer = (session: Session, value: Answer) => {
      if (over) return
      over = true
      wire.send(session.seal(Buffer.from(JSON.stringify(value))))
      wire.close()
    }
    const admit = async (session: Session, member: Member, about: JoinerAbout) => {
      try {
        answer(session, { welcome: await services.admit(member, about) })
      } catch (error) {
        if (!(error instanceof AppError)) services.failed(error)
        answer(session, { error: error instanceof AppError ? error.message : 'it failed there; its log says why' })
      }
    }
    return {
      received: (data) => {
        if (over) return
        if (!talk) {
          const accepted = typeof data === 'string' ? acceptTicket(data, services.keyOf) : 'malformed'
          if (accepted === 'unknown_ticket' || accepted === 'wrong_version') {
            services.refused(accepted === 'wrong_version' ? accepted : 'wrong_key')
            return turnAway(accepted)
          }
          if (typeof accepted === 'string') return refuse(accepted)
          talk = accepted
          return wire.send(accepted.welcome)
        }
        const { session, ticket } = talk
        if (typeof data === 'string' || asked) return refuse('malformed')
        const plain = session.open(data)
        if (typeof plain === 'string') return refuse(plain)
        // It has the ticket.
        proven()
        asked = true
        const request = jsonOf(plain.toString())
        if (!REQUEST.Check(request) || !isMember(request.member)) return refuse('malformed')
        const { member, version, named = true } = request
        const redeemed = services.redeem(ticket, member.key)
        if (typeof redeemed === 'string') return answer(session, { refused: redeemed })
        void admit(session, member, { actor: redeemed.actor, version, named })
      },
      closed: () => {
        over = true
      },
    }
  }

/** The side of the joiner. Throws `invalid`, `conflict` or `unavailable`, with what to do. */
export const join = async (
  url: string,
  ticketText: string,
  member: Member,
  version: string,
  named = true,
  waitMs = limits.clusterJoinMs,
): Promise<Welcome> => {
  const ticket = readTicket(ticketText)
  const address = `${url.replace(/\/+$/, '')}${JOIN_PATH}?from=${member.id}`
  if (!URL.canParse(address)) throw invalid(`--cluster-join ${url}: not a URL like ws://HOST:PORT`)
  const { promise, resolve, reject } = Promise.withResolvers<Welcome>()
  const step = dialWithTicket(ticket)
  let session: Session | null = null
  const fail = (words: string, kind: 'unavailable' | 'conflict' = 'unavailable') => {
    reject(new AppError(kind, `--cluster-join ${url}: ${words}`))
    wire.terminate()
  }
  const settle = (answer: unknown) => {
    if (!ANSWER.Check(answer)) return fail(BROKEN)
    if (answer.refused !== undefined) return fail(REFUSALS[answer.refused] ?? 'it was refused there', 'conflict')
    if (answer.error !== undefined) return fail(answer.error, 'conflict')
    if (!isWelcome(answer.welcome)) return fail(BROKEN)
    resolve(answer.welcome)
    wire.close()
  }
  const wire = dialWire(new URL(address), {
    opened: () => wire.send(step.hello),
    received: (data) => {
      if (session) {
        const plain = typeof data === 'string' ? 'malformed' : session.open(data)
        return typeof plain === 'string' ? fail(BROKEN) : settle(jsonOf(plain.toString()))
      }
      const said = typeof data === 'string' ? jsonOf(data) : undefined
      // All that is believed before the other side has proved the ticket is that it refuses it.
      if (ANSWER.Check(said) && said.refused !== undefined) return settle({ refused: said.refused })
      const finished = typeof data === 'string' ? step.finish(data) : 'malformed'
      if (typeof finished === 'string') return fail(REFUSALS[finished] ?? BROKEN)
      session = finished
      wire.send(session.seal(Buffer.from(JSON.stringify({ member, version, named }))))
    },
    closed: () => fail(session ? GONE : NOBODY),
  })
  const late = setTimeout(() => fail(session ? GONE : NOBODY), waitMs)
  return promise.finally(() => clearTimeout(late))
}

const NOBODY =
  'no node of a cluster answers there: does it run with --cluster-listen, and does a firewall let this machine in?'
const BROKEN = 'what answers there is not the node that made this ticket'
const GONE = 'the node there did not answer in the end: look at its log, and try again with the same ticket'
