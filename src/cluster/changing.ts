import { AppError, messageOf } from '../error.ts'
import { limits } from '../limits.ts'
import { covers, type Told } from './known.ts'
import {
  type Draft,
  isMember,
  isNewer,
  isSame,
  majorityOf,
  type MembershipChange,
  nextStep,
  someLease,
} from './membership.ts'
import type { Known, Member, Membership, Message } from './message.ts'

export type ChangeOutcome = 'running' | 'in_force' | { failed: string }

/** What a proposer looks at. */
export interface Grounds {
  self: string
  view: readonly Membership[]
  newest: Membership
  /** All members are known to have applied it. */
  inForce: boolean
  known: Known
  /** It knew once all that its peers knew. */
  covered: boolean
  /** The highest round of any ballot that this node promised. */
  round: number
  linked(id: string): boolean
  /** Linked, or heard from within a lease. */
  recent(id: string): boolean
  told(id: string): Told | null
}

/** One try to agree on the membership that follows. */
interface Round {
  version: number
  ballot: string
  quorum: number
  endsAt: number
  promised: Map<string, Known>
  /** The highest that anybody had accepted before: it may be chosen already, so it is what everybody must agree on. */
  before: { ballot: string; membership: Membership } | null
  value: Membership | null
  agreed: Set<string>
}

interface Running {
  id: string
  /** Nobody asked for it: it makes way for what people want, and is begun again. */
  automatic: boolean
  change: MembershipChange
  actor: string
  endsAt: number
  round: Round | null
  attempt: number
  retryAt: number
  why: string
}

const ROUND_DIGITS = 8
/** A ballot above all that rounds can have: of what was decided without a majority. */
const FORCED = '~'

export const roundOf = (ballot: string): number => Number.parseInt(ballot.replace(FORCED, ''), 10) || 0
export const ballotOf = (round: number, self: string): string => `${String(round).padStart(ROUND_DIGITS, '0')}.${self}`
export const forced = (ballot: string): string => `${FORCED}${ballot}`

/**
 * Changes of members and policy, one at a time: Paxos for the one value of the version that follows the newest. Whoever
 * proposes, among the members of the newest membership.
 */
export class Changing {
  #count = 0
  #running: Running | null = null
  readonly #outcomes = new Map<string, ChangeOutcome>()

  constructor(
    readonly timeoutMs: number,
    readonly digestMs: number,
  ) {}

  get running(): boolean {
    return this.#running !== null
  }

  /** In words, for people; null: nothing is being changed here. */
  get told(): string | null {
    return this.#running && `${this.#running.change.kind}: ${this.#running.why || 'waits for the members'}`
  }

  outcome(id: string): ChangeOutcome {
    return this.#outcomes.get(id) ?? { failed: 'it is not known any more' }
  }

  begin(change: MembershipChange, actor: string, automatic: boolean, now: number): string {
    if (this.#running && !this.#running.automatic)
      throw new AppError('conflict', 'another change of the cluster is under way: try again in some seconds')
    const id = String((this.#count += 1))
    const endsAt = now + this.timeoutMs
    this.#running = { id, automatic, change, actor, endsAt, round: null, attempt: 0, retryAt: now, why: '' }
    this.#outcomes.set(id, 'running')
    for (const old of this.#outcomes.keys()) {
      if (this.#outcomes.size <= limits.clusterOutcomesMax) break
      this.#outcomes.delete(old)
    }
    return id
  }

  #end(outcome: ChangeOutcome): void {
    if (this.#running) this.#outcomes.set(this.#running.id, outcome)
    this.#running = null
  }

  /** What to say to all members now, this node among them. A membership: it is chosen. */
  advance(grounds: Grounds, now: number): Message[] {
    const running = this.#running
    if (!running) return []
    const { newest, inForce } = grounds
    const { change } = running
    let step: Draft | null
    try {
      step = nextStep(newest, change)
    } catch (error) {
      this.#end({ failed: messageOf(error) })
      return []
    }
    if (step === null) {
      // It is chosen, and stays so. Who can't be reached learns of it later, and until then counts by the older one too.
      // Who has left is told nothing any more.
      if (inForce || now >= running.endsAt || !isMember(newest, grounds.self)) this.#end('in_force')
      return []
    }
    if (now >= running.endsAt) {
      this.#end({
        failed: running.why || `a majority of the members did not answer: ${missing(running.round, grounds)}`,
      })
      return []
    }
    return this.#step(running, step, grounds, now)
  }

  #step(running: Running, step: Draft, grounds: Grounds, now: number): Message[] {
    const { newest, known, self } = grounds
    if (running.round && (running.round.version !== newest.version + 1 || now >= running.round.endsAt)) {
      if (running.round.version === newest.version + 1) running.attempt += 1
      running.round = null
    }
    if (!running.round) {
      if (now < running.retryAt) return []
      const force = running.change.kind === 'remove' && running.change.force
      const quorum = quorumOf(running.change, grounds)
      running.why = unfitFor(grounds, force) ?? (force ? null : obstacleTo(step, running.change, grounds)) ?? ''
      if (running.why !== '') return []
      const ballot = ballotOf(Math.max(grounds.round, roundOf(newest.ballot)) + 1, self)
      const version = newest.version + 1
      const reachable = newest.members.filter(({ id }) => id === self || grounds.linked(id)).length
      if (force && (reachable < quorum || running.attempt > 0)) {
        return [
          { t: 'chosen', membership: { ...step, version, ballot: forced(ballot), floor: known, actor: running.actor } },
        ]
      }
      const endsAt = now + this.digestMs * 8 * 2 ** running.attempt
      running.round = {
        version,
        ballot,
        quorum,
        endsAt,
        promised: new Map(),
        before: null,
        value: null,
        agreed: new Set(),
      }
      return [{ t: 'prepare', version, ballot }]
    }
    const { round } = running
    if (round.value === null) {
      // What a majority knew becomes the floor of the new membership; so this node must know it first.
      if (round.promised.size < round.quorum) return []
      if (!round.before && ![...round.promised.values()].every((one) => covers(known, one))) return []
      const { version, ballot } = round
      round.value = round.before?.membership ?? { ...step, version, ballot, floor: known, actor: running.actor }
      return [{ t: 'accept', ballot, membership: round.value }]
    }
    if (round.agreed.size < round.quorum) return []
    running.round = null
    return [{ t: 'chosen', membership: round.value }]
  }

  promised(from: string, message: Extract<Message, { t: 'promise' }>, grounds: Grounds, now: number): void {
    const round = this.#roundOf(message)
    if (!round || !mayVote(from, grounds)) return
    if (!message.ok) return this.#outbid(grounds, now)
    round.promised.set(from, message.known)
    const { accepted } = message
    if (accepted && accepted.ballot > (round.before?.ballot ?? '')) round.before = accepted
  }

  accepted(from: string, message: Extract<Message, { t: 'accepted' }>, grounds: Grounds, now: number): void {
    const round = this.#roundOf(message)
    if (!round || !mayVote(from, grounds)) return
    if (message.ok) round.agreed.add(from)
    else this.#outbid(grounds, now)
  }

  #roundOf({ version, ballot, ok }: { version: number; ballot: string; ok: boolean }): Round | null {
    const round = this.#running?.round
    if (!round || round.version !== version) return null
    return ok ? (round.ballot === ballot ? round : null) : round.ballot < ballot ? round : null
  }

  /** Another one proposes: it is given time, and each of several another one. */
  #outbid({ newest, self }: Grounds, now: number): void {
    const running = this.#running
    if (!running) return
    const rank = newest.members.findIndex(({ id }) => id === self) + 1
    running.attempt = Math.min(running.attempt + 1, 4)
    running.retryAt = now + this.digestMs * (1 + rank) * 2 ** (running.attempt - 1)
    running.round = null
  }
}

/** Members of another branch, after a removal by force, vote on another version of the same number. */
const mayVote = (from: string, { newest, self, told }: Grounds): boolean => {
  if (!isMember(newest, from)) return false
  const theirs = told(from)?.newest
  return from === self || !theirs || theirs.version !== newest.version || isSame(theirs, newest)
}

/**
 * Half of the members are enough to replace one that certainly runs nowhere: any two such halves, and any majority of those
 * that live, meet. So one of two can take back the other after its disk was lost.
 */
const quorumOf = (change: MembershipChange, { newest, inForce }: Grounds): number => {
  const retired = change.kind === 'replace' && change.off && inForce && isMember(newest, change.id)
  return retired ? Math.ceil(newest.members.length / 2) : majorityOf(newest)
}

const names = (members: readonly Member[]): string => members.map(({ name }) => name).join(', ')

const missing = (round: Round | null, { newest, self, linked }: Grounds): string => {
  const silent = newest.members.filter(({ id }) => id !== self && (round ? !round.promised.has(id) : !linked(id)))
  return names(silent) || 'nobody is missing, but others change it too'
}

/**
 * Why this node can't propose anything. By force it may, though something was lost with a majority, if it ever was in step:
 * a joiner that knows only a part would let in whom others knew to be dead.
 */
const unfitFor = ({ self, newest, known, covered }: Grounds, force: boolean): string | null => {
  if (!isMember(newest, self)) return 'this node is no member of the cluster'
  return covers(known, newest.floor) || (force && covered) ? null : 'this node does not know yet what the others know'
}

/** Why a change can't be proposed now, in words. */
const obstacleTo = (step: Draft, change: MembershipChange, grounds: Grounds): string | null => {
  const { self, view, newest, inForce, known, linked, recent, told } = grounds
  if (change.kind === 'finish') return null
  const staying = newest.members.filter(({ id }) => id !== self && step.members.some((member) => member.id === id))
  const older = view.slice(0, -1)
  const late = staying.filter(({ id }) => {
    if (inForce || !older.some((membership) => isMember(membership, id))) return false
    const theirs = told(id)
    return !theirs || isNewer(newest, theirs.newest) || !covers(known, theirs.known)
  })
  if (late.length > 0) return `the change before is not known to have reached ${names(late)}`
  if (change.kind === 'add' || change.kind === 'replace') {
    // A joiner must know what each member knows before it lets anybody in.
    const away = staying.filter(({ id }) => !linked(id))
    if (away.length > 0) return `${names(away)} can't be reached: bring back or remove first`
  }
  if (change.kind === 'replace' && isMember(newest, change.id) && recent(change.id)) {
    return 'the member to be replaced still runs'
  }
  if (change.kind === 'remove' && change.id !== self) {
    const theirs = told(change.id)
    if (!linked(change.id) && (!someLease(view) || view.some(({ policy }) => policy === 'serve'))) {
      return "it can't be reached, and may go on serving: stop it for good, then remove it by force"
    }
    // What only it knows would be lost with it.
    if (linked(change.id) && !(theirs && covers(known, theirs.known))) return 'not all that it knows is known here yet'
  }
  return null
}
