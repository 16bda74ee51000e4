import { type FactId, reachOf, type StoredFact } from '../fact.ts'
import { limits } from '../limits.ts'
import type { Unfit } from '../standing.ts'
import { type ChangeOutcome, Changing, type Grounds, roundOf } from './changing.ts'
import { Completions, type Survey } from './completion.ts'
import { confidential } from './confidential.ts'
import { Exchange } from './exchange.ts'
import { Fitness } from './fitness.ts'
import { type FormerGrounds, replacementOf, restoredFrom } from './former.ts'
import { behindBy, isLater, reaches, type Told } from './known.ts'
import {
  checkChange,
  everybodyIn,
  idsOf,
  isMember,
  isNewer,
  isSame,
  longestLeaseMs,
  type MembershipChange,
  resolve,
} from './membership.ts'
import { Memberships } from './memberships.ts'
import type { Known, Membership, MembershipId, Message } from './message.ts'
import { type Peer, Peers } from './peers.ts'
import type { Output, ProtocolCompletion, ProtocolOptions, ProtocolStatus } from './protocol-state.ts'
import { Receipts } from './receipt.ts'
import { statusOf } from './status.ts'

export type { ChangeOutcome } from './changing.ts'
export type {
  Output,
  ProtocolCompletion,
  ProtocolOptions,
  ProtocolState,
  ProtocolStatus,
  Timing,
} from './protocol-state.ts'
export { stateOf } from './protocol-state.ts'

/**
 * One member of the cluster: what it says and does on each input, at a time that comes in as monotonic milliseconds. It
 * has no clock, no timer and no socket. Why it is sound stands in ARCHITECTURE.md and is tried by the simulator.
 */
export class Protocol {
  nextTickAt = Infinity
  /** A peer knows facts of this node that this node has not: its disk went back, and its numbers must not be used again. */
  rolledBack = false
  #startedAt = 0
  #digestAt = 0
  #heardOfChangeAt = 0
  #output: Output[] = []
  readonly #peers = new Peers()
  readonly #memberships: Memberships
  readonly #fitness: Fitness
  readonly #completions: Completions
  readonly #changing: Changing
  readonly #exchange: Exchange
  readonly #receipts = new Receipts()

  constructor(readonly options: ProtocolOptions) {
    const { self, disk, replica } = options
    const { leaseGuard, digestMs, changeTimeoutMs, pullBytesMax, syncGraceMs } = options.timing
    const peers = this.#peers
    const memberships = new Memberships({ self: self.id, disk, peers, leaseGuard, known: () => this.#known })
    this.#memberships = memberships
    this.#fitness = new Fitness({ self: self.id, replica, peers, memberships, syncGraceMs })
    this.#completions = new Completions(leaseGuard, digestMs)
    this.#changing = new Changing(changeTimeoutMs, digestMs)
    this.#exchange = new Exchange({
      ...{ self: self.id, replica, peers, pullBytesMax },
      view: () => idsOf(this.view),
      say: (to, message) => this.#say(to, message),
    })
  }

  start(now: number): void {
    this.#memberships.load(this.options.fresh)
    this.#startedAt = now
    this.#fitness.start(now)
    this.#heardOfChangeAt = now
    this.#digestAt = now
    this.tick(now)
  }

  // Inputs

  tick(now: number): void {
    this.#exchange.turn(now)
    if (now >= this.#digestAt) {
      this.#digestAt = now + this.options.timing.digestMs
      this.#say('all', this.#digest(now))
      this.#completions.tick(this.#survey, now)
      this.#finish(now)
      this.#replaceFormer(now)
    }
    this.#settle(now)
    this.#fitness.sync(now)
    this.#advance(now)
    this.#schedule(now)
  }

  linked(id: string, now: number): void {
    const peer = this.#peers.of(id)
    peer.linked = true
    this.#exchange.linked(id)
    peer.askedViewAt = -Infinity
    this.#say(id, { t: 'view', memberships: this.view })
    this.#say(id, this.#digest(now))
  }

  unlinked(id: string, now: number): void {
    this.#peers.of(id).linked = false
    this.#exchange.unlinked(id)
    if (!everybodyIn(this.view).has(id)) this.#peers.forget(id)
    this.#schedule(now)
  }

  receive(id: string, message: Message, now: number): void {
    if (id === this.options.self.id) return
    const peer = this.#peers.of(id)
    peer.heardAt = now
    // Who is no member here may be one by what it tells, or has yet to learn that it is none.
    if (message.t === 'digest') this.#receiveDigest(id, peer, message, now)
    else if (message.t === 'chosen') this.#learn(id, [message.membership], false, now)
    else if (message.t === 'which') this.#say(id, { t: 'view', memberships: this.view })
    else if (message.t === 'view') {
      peer.memberships = message.memberships
      this.#learn(id, message.memberships, true, now)
    } else if (everybodyIn(this.view).has(id)) this.#receive(id, peer, message, now)
    this.#settle(now)
    this.#fitness.sync(now)
    this.#advance(now)
    this.#schedule(now)
  }

  #receive(id: string, peer: Peer, message: Message, now: number): void {
    switch (message.t) {
      case 'answer':
        return this.#fitness.answered(id, peer, message, now)
      case 'facts':
        return this.#receiveFacts(id, message, now)
      case 'pull':
        return this.#exchange.asked(id, message, now)
      case 'ack':
        return this.#receiveAck(id, peer, message, now)
      case 'prepare':
      case 'accept':
        return this.#vote(id, message, now)
      case 'promise':
        return this.#changing.promised(id, message, this.#grounds(now), now)
      case 'accepted':
        return this.#changing.accepted(id, message, this.#grounds(now), now)
      default:
        // A relay is for the driver.
        return
    }
  }

  /** Facts of this node's own that are on its disk now: handed to everybody. */
  committed(facts: readonly StoredFact[], now: number): void {
    const { self } = this.options
    if (!this.#exchange.tell(facts)) this.#say('all', this.#digest(now))
    for (const { stream, seq } of facts) if (stream === 'revocation') this.#completions.watch(self.id, seq)
    this.#completions.update(self.id, this.#survey, now)
    this.#schedule(now)
  }

  /** The disk refused a revocation: others store it as a fact of theirs. */
  relay(record: Record<string, unknown>, issuedUntil: number, _now: number): void {
    this.#say('all', { t: 'relay', record, issuedUntil })
  }

  drain(): Output[] {
    const output = this.#output
    this.#output = []
    return output
  }

  // What it tells

  get membership(): Membership {
    return this.#memberships.newest
  }

  get view(): readonly Membership[] {
    return this.#memberships.view
  }

  standing(now: number): { unfit: Unfit | null; validUntil: number } {
    return this.rolledBack ? { unfit: 'not_synced', validUntil: Infinity } : this.#fitness.standing(now)
  }

  /** A revocation of before the start that was not complete. */
  track(origin: string, seq: number, now: number): void {
    this.#completions.watch(origin, seq)
    this.#completions.update(origin, this.#survey, now)
    this.#schedule(now)
  }

  completion(fact: Pick<FactId, 'origin' | 'seq'>, _now: number): ProtocolCompletion {
    return this.#receipts.of(fact, this.#survey, this.#completions)
  }

  /** Revocations that became complete since it was asked last, some at a time. */
  takeCompleted(): FactId[] {
    return this.#completions.take(limits.completedSlice, this.#survey)
  }

  /** Throws `conflict`, `not_found` or `invalid` for what can't be done now. */
  change(change: MembershipChange, actor: string, now: number): string {
    checkChange(this.view, change, this.#memberships.gone)
    const id = this.#changing.begin(change, actor, false, now)
    this.#advance(now)
    this.#schedule(now)
    return id
  }

  changeOutcome(id: string): ChangeOutcome {
    return this.#changing.outcome(id)
  }

  status(now: number): ProtocolStatus {
    const { options } = this
    const leaseUntil = this.standing(now).validUntil
    const [memberships, peers, changing] = [this.#memberships, this.#peers, this.#changing.told]
    return statusOf({ options, memberships, peers, leaseUntil, changing }, now)
  }

  // Digests, leases, facts

  #digest(now: number): Message {
    const { self, version, formerly, retired } = this.options
    const stranger = !isMember(this.membership, self.id) && formerly !== undefined && formerly.length > 0
    const former = stranger ? { ids: formerly, retired: retired ?? false, member: self } : null
    const { synced } = this.#fitness
    return { t: 'digest', ask: this.#fitness.ask(now), ...this.#known, view: idsOf(this.view), version, synced, former }
  }

  #receiveDigest(id: string, peer: Peer, message: Extract<Message, { t: 'digest' }>, now: number): void {
    const { vector, unknown, ask, version, former } = message
    peer.version = version
    peer.former = former
    const [told, ballot] = message.view.at(-1) ?? [0, '']
    if (!everybodyIn(this.view).has(id) && isNewer(this.membership, { version: told, ballot })) {
      if (!former) this.#say(id, { t: 'chosen', membership: this.membership })
      return
    }
    const view = this.#viewOf(id, peer, message.view, now)
    const newest = view?.at(-1)
    if (!view || !newest || !everybodyIn(this.view).has(id)) return
    this.#tell(id, peer, { vector, unknown }, view, now)
    const granted = isMember(this.membership, id) && !isNewer(this.membership, newest) && !this.rolledBack
    this.#say(id, { t: 'answer', ask, granted, known: this.#known })
    if (isNewer(this.membership, newest)) this.#say(id, { t: 'view', memberships: this.view })
    if (!reaches(this.#known.vector, vector)) this.#exchange.pullFrom(id, now)
  }

  /** The view that a peer told by its names. Null: one is not known here; what it told with it counts for nothing. */
  #viewOf(id: string, peer: Peer, ids: readonly MembershipId[], now: number): Membership[] | null {
    const view = resolve(ids, [...this.view, ...peer.memberships])
    if (view) {
      peer.memberships = view
      this.#learn(id, view, true, now)
    } else if (now - peer.askedViewAt >= this.options.timing.digestMs) {
      peer.askedViewAt = now
      this.#say(id, { t: 'which' })
    }
    return view
  }

  #receiveFacts(id: string, message: Extract<Message, { t: 'facts' }>, now: number): void {
    const received = this.#exchange.receive(id, message)
    if (!received) return
    for (const { origin, seq } of received.applied.revocations) this.#completions.watch(origin, seq)
    for (const origin of received.origins) this.#completions.update(origin, this.#survey, now)
    this.#fitness.redeem()
    this.#exchange.goOn(id, message, received, now)
  }

  #receiveAck(id: string, peer: Peer, message: Extract<Message, { t: 'ack' }>, now: number): void {
    this.#receipts.acked(id, message.acks, now)
    const view = this.#viewOf(id, peer, message.view, now)
    if (view) this.#tell(id, peer, { vector: message.vector, unknown: message.unknown }, view, now)
  }

  /** Takes in what a member told of itself, unless it told more before. */
  #tell(id: string, peer: Peer, known: Known, view: readonly Membership[], now: number): void {
    const [base] = view
    const newest = view.at(-1)
    if (!base || !newest) return
    const { self, replica } = this.options
    const told: Told = { known, view, base, newest }
    const last = peer.told
    if (
      behindBy({ [self.id]: replica.vector[self.id] ?? [0, 0] }, { [self.id]: known.vector[self.id] ?? [0, 0] }) > 0
    ) {
      this.rolledBack = true
      this.#exchange.stopped = true
    }
    if (last && !isLater(told, last)) return
    peer.told = told
    if (!last || !isSame(last.newest, newest) || !isSame(last.base, base) || last.known.unknown.length > 0) {
      return this.#completions.updateAll(this.#survey, now)
    }
    for (const origin of Object.keys(known.vector)) {
      const reach = reachOf(known.vector, origin, 'revocation')
      if (reach > reachOf(last.known.vector, origin, 'revocation')) this.#completions.update(origin, this.#survey, now)
    }
  }

  // Memberships

  #vote(from: string, message: Extract<Message, { t: 'prepare' | 'accept' }>, now: number): void {
    const answer = this.rolledBack ? null : this.#memberships.vote(message)
    if (!answer) return
    this.#heardOfChangeAt = now
    if (from !== this.options.self.id) this.#say(from, answer)
    else if (answer.t === 'promise') this.#changing.promised(from, answer, this.#grounds(now), now)
    else this.#changing.accepted(from, answer, this.#grounds(now), now)
  }

  /** Goes on with a change that was begun here, as long as each step leads to the next at once. */
  #advance(now: number): void {
    const { self } = this.options
    for (let messages = this.#next(now); messages.length > 0; messages = this.#next(now)) {
      for (const message of messages) {
        // Told to all once it is on this disk; if it never is, the next round finds it.
        if (message.t === 'chosen' && !this.#adopt([message.membership], false, now)) return
        if (message.t === 'chosen') continue
        this.#say('all', message)
        if (message.t === 'prepare' || message.t === 'accept') this.#vote(self.id, message, now)
      }
    }
  }

  #next(now: number): Message[] {
    return this.#changing.running ? this.#changing.advance(this.#grounds(now), now) : []
  }

  #grounds(now: number): Grounds {
    return {
      self: this.options.self.id,
      view: this.view,
      newest: this.membership,
      inForce: this.#memberships.isApplied(this.membership),
      known: this.#known,
      covered: this.#memberships.covered,
      round: roundOf(this.#memberships.promised?.ballot ?? ''),
      linked: (id) => this.#peers.isLinked(id),
      recent: (id) => this.#isRecent(id, now),
      told: (id) => this.#peers.told(id),
    }
  }

  /** Linked, or heard from within a lease. */
  #isRecent(id: string, now: number): boolean {
    const heardAt = Math.max(this.#startedAt, this.#peers.heardAt(id))
    return this.#peers.isLinked(id) || heardAt > now - longestLeaseMs(this.view) * this.options.timing.leaseGuard
  }

  /** Memberships that a peer says were chosen. One that was removed is not listened to. */
  #learn(from: string, memberships: readonly Membership[], whole: boolean, now: number): void {
    if (!this.#memberships.gone.includes(from)) this.#adopt(memberships, whole, now)
  }

  /** Returns whether they are on disk. */
  #adopt(memberships: readonly Membership[], whole: boolean, now: number): boolean {
    const before = this.membership
    const news = this.#memberships.adopt(memberships, whole)
    if (!news) return false
    if (news.length === 0) return true
    if (isNewer(this.membership, before)) {
      for (const membership of news) this.#say('all', { t: 'chosen', membership })
    }
    this.#completions.updateAll(this.#survey, now)
    return true
  }

  #settle(now: number): void {
    if (this.#memberships.settle(now)) this.#completions.updateAll(this.#survey, now)
  }

  /** What this node agreed to and never heard of again may be in force elsewhere: it is finished, by one after the other. */
  #finish(now: number): void {
    const { self, timing } = this.options
    const { accepted } = this.#memberships
    if (!accepted || this.#changing.running || !isMember(this.membership, self.id)) return
    const rank = this.membership.members.findIndex(({ id }) => id === self.id) + 1
    if (now - this.#heardOfChangeAt < timing.digestMs * 8 * rank) return
    this.#changing.begin({ kind: 'finish', version: accepted.membership.version }, accepted.membership.actor, true, now)
  }

  /** A restored or copied folder takes the place of the member that it was; a whole cluster of them those of all. */
  #replaceFormer(now: number): void {
    const { self, formerly = [], retired = false, timing } = this.options
    if (this.#changing.running) return
    const grounds: FormerGrounds = {
      ...{ self, formerly, newest: this.membership, peers: this.#peers, gone: this.#memberships.gone },
      known: this.#known,
      recent: (id) => this.#isRecent(id, now),
    }
    if (isMember(this.membership, self.id)) {
      const replacement = this.#fitness.synced ? replacementOf(grounds) : null
      if (replacement) this.#changing.begin(replacement.change, replacement.actor, true, now)
      return
    }
    // Others may know of later members than an old backup does, also when all that it knows are there.
    const restored = retired && now - this.#startedAt >= timing.syncGraceMs ? restoredFrom(grounds) : null
    if (restored) this.#adopt([restored], false, now)
  }

  // Small things

  get #known(): Known {
    const { vector, unknown } = this.options.replica
    return { vector, unknown }
  }

  get #survey(): Survey {
    return {
      self: this.options.self.id,
      view: this.view,
      known: this.#known,
      told: (id) => this.#peers.told(id),
    }
  }

  #say(to: string, message: Message): void {
    const linked = to === 'all' ? this.#peers.linked.map(([id]) => id) : [to]
    const fit = linked.map((id) => ({ to: id, message: confidential(message, id) }))
    if (fit.every((one) => one.message === message)) this.#output.push({ to, message })
    else for (const { to: id, message: one } of fit) if (one) this.#output.push({ to: id, message: one })
  }

  #schedule(now: number): void {
    const busy = this.#completions.waits(this.#survey) || this.#exchange.busy
    this.nextTickAt = busy ? now : this.#digestAt
  }
}
