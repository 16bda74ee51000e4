import { AppError } from '../error.ts'
import { reachOf, type StoredFact, type Vector } from '../fact.ts'
import { limits } from '../limits.ts'
import type { Applied, Replica } from '../replica.ts'
import { reaches } from './known.ts'
import type { MembershipId, Message } from './message.ts'
import type { Peers } from './peers.ts'
import { Pieces } from './pieces.ts'

export interface ExchangeDeps {
  self: string
  replica: Replica
  peers: Peers
  pullBytesMax: number
  /** The memberships that it reckons with, by name: an ack says so. */
  view(): MembershipId[]
  say(to: string, message: Message): void
}

/** Facts between this node and the others: handed on as they are made, asked for where they are missing, acked. */
export class Exchange {
  /** Its disk went back: what it would ask for is in part its own. */
  stopped = false
  #pull: { from: string; at: number } | null = null
  readonly #pieces: Pieces

  constructor(readonly deps: ExchangeDeps) {
    this.#pieces = new Pieces(deps.replica, deps.pullBytesMax, deps.say)
  }

  get busy(): boolean {
    return this.#pieces.busy
  }

  turn(now: number): void {
    this.#pieces.turn(now)
    if (this.#pull && now - this.#pull.at >= limits.clusterPullMs) this.#pull = null
  }

  /** An answer to a question on the link before would never come. */
  linked(id: string): void {
    if (this.#pull?.from === id) this.#pull = null
  }

  unlinked(id: string): void {
    this.#pieces.drop(id)
    if (this.#pull?.from === id) this.#pull = null
  }

  /** Whether these, of this node's own, go to all at once. If not, they are asked for in pieces, by whoever has room. */
  tell(facts: readonly StoredFact[]): boolean {
    const bytes = facts.reduce((sum, { payload }) => sum + payload.length, 0)
    if (bytes > this.deps.pullBytesMax) return false
    if (facts.length > 0) this.deps.say('all', { t: 'facts', facts, pulled: false, more: false })
    return true
  }

  asked(id: string, message: Extract<Message, { t: 'pull' }>, now: number): void {
    this.#pieces.asked(id, message, now)
  }

  /** Stores and acks what others tell. Null: the disk refuses it. */
  receive(id: string, { facts, pulled }: Extract<Message, { t: 'facts' }>): Received | null {
    const { self, replica } = this.deps
    const others = facts.filter(({ origin }) => origin !== self)
    const gap = !pulled && !follow(replica.vector, others)
    let applied: Applied
    try {
      applied = others.length > 0 ? replica.apply(others, pulled) : { revocations: [], count: 0 }
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'storage')) throw error
      // Denied and cut, but on no disk: not acked, and asked for again with the next digest.
      this.#pull = null
      return null
    }
    if (others.length > 0) this.#ack(id, applied, pulled)
    const stored = others.filter(({ stream }) => stream === 'revocation')
    const origins = new Set([...applied.revocations, ...stored].map(({ origin }) => origin))
    return { applied, origins, gap }
  }

  /** To who sent them, who may be waiting, and to whose revocations they are: that one tells people. */
  #ack(from: string, { revocations }: Applied, pulled: boolean): void {
    const { replica, peers, view, say } = this.deps
    const { vector, unknown } = replica
    const to = new Set(revocations.map(({ origin }) => origin).filter((origin) => peers.isLinked(origin)))
    if (!pulled || revocations.length > 0) to.add(from)
    for (const id of to) {
      const acks = revocations.filter(({ origin }) => id === from || origin === id)
      const told = acks.map(({ origin, seq, cut }) => ({ origin, seq, cut }))
      say(id, { t: 'ack', acks: told, vector, unknown, view: view() })
    }
  }

  /** After what was received: asks on, where there is more. */
  goOn(id: string, { pulled, more }: Extract<Message, { t: 'facts' }>, { gap, applied }: Received, now: number): void {
    if (pulled && this.#pull?.from === id) this.#pull = null
    if (gap) this.pullFrom(id, now)
    else if (pulled && more) this.#ask(id, now)
    // What brought nothing new is not asked for again at once.
    else if (pulled && applied.count > 0) this.#pullFromAny(now)
  }

  pullFrom(id: string, now: number): void {
    // One at a time: others would send the same.
    if (this.stopped || (this.#pull && now - this.#pull.at < limits.clusterPullMs)) return
    this.#ask(id, now)
  }

  #ask(from: string, at: number): void {
    const { replica, pullBytesMax, say } = this.deps
    this.#pull = { from, at }
    say(from, { t: 'pull', vector: replica.vector, bytesMax: pullBytesMax })
  }

  #pullFromAny(now: number): void {
    const { replica, peers } = this.deps
    for (const [id, { told }] of peers.linked) {
      if (told && !reaches(replica.vector, told.known.vector)) return this.pullFrom(id, now)
    }
  }
}

export interface Received {
  applied: Applied
  /** Whose revocations came. */
  origins: ReadonlySet<string>
  /** Something is missing before them. */
  gap: boolean
}

/** Whether each fact is here already, or the next one of its stream. */
const follow = (vector: Vector, facts: readonly StoredFact[]): boolean => {
  const next = new Map<string, number>()
  return facts.every(({ origin, stream, seq }) => {
    const key = `${origin} ${stream}`
    const reach = next.get(key) ?? reachOf(vector, origin, stream)
    next.set(key, Math.max(reach, seq))
    return seq <= reach + 1
  })
}
