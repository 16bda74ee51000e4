import type { MemberStatus } from '../cluster-view.ts'
import { AppError } from '../error.ts'
import { type FactId, reachOf, type StoredFact, type Vector } from '../fact.ts'
import { limits } from '../limits.ts'
import type { Applied } from '../replica.ts'
import type { Unfit } from '../standing.ts'
import { type ChangeOutcome, Changing, forced, type Grounds, roundOf, ballotOf } from './changing.ts'
import { confidential } from './confidential.ts'
import { Completions, everybodyWho, hasApplied, type Survey } from './completion.ts'
import { behindBy, covers, isLater, reaches, type Told } from './known.ts'
import { Lease } from './lease.ts'
import {
  checkChange,
  everybodyIn,
  idsOf,
  isMember,
  isNewer,
  isSame,
  longestLeaseMs,
  majorityOf,
  type MembershipChange,
  policyFor,
  resolve,
  someLease,
} from './membership.ts'
import type { Former, Known, Member, Membership, MembershipId, Message } from './message.ts'
import { Pieces } from './pieces.ts'
import {
  type Output,
  type ProtocolCompletion,
  type ProtocolOptions,
  type ProtocolState,
  type ProtocolStatus,
  stateOf,
} from './protocol-state.ts'

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

interface Peer {
  linked: boolean
  heardAt: number
  told: Told | null
  /** The memberships of the last view that it told in whole; and when it was asked for one. */
  memberships: readonly Membership[]
  askedViewAt: number
  roundTripMs: number | null
  version: string | null
  former: Former | null
  /** A lease that counts once this node knows what `known` says. */
  pending: { sentAt: number; known: Known } | null
}

/**
 * One member of the cluster: what it says and does on each input, at a time that comes in as monotonic milliseconds. It
 * has no clock, no timer and no socket. Why it is sound stands in ARCHITECTURE.md and is tried by the simulator.
 */
export class Protocol {
  nextTickAt = Infinity
  /** A peer knows facts of this node that this node has not: its disk went back, and its numbers must not be used again. */
  rolledBack = false
  #state: ProtocolState = stateOf([], false)
  #synced = false
  #startedAt = 0
  #digestAt = 0
  #ask = 0
  #floorReached = false
  #heardOfChangeAt = 0
  /** Since when all members are known to have applied a membership: the older ones count for a lease more. */
  #appliedSince: { membership: Membership; at: number } | null = null
  #pull: { from: string; at: number } | null = null
  #output: Output[] = []
  readonly #peers = new Map<string, Peer>()
  readonly #lease = new Lease()
  readonly #completions: Completions
  readonly #changing: Changing
  readonly #pieces: Pieces
  /** By revocation and peer: when its ack came, and what it cut. */
  readonly #acks = new Map<string, Map<string, { at: number; cut: number }>>()

  constructor(readonly options: ProtocolOptions) {
    const { leaseGuard, digestMs, changeTimeoutMs } = options.timing
    this.#completions = new Completions(leaseGuard, digestMs)
    this.#changing = new Changing(changeTimeoutMs, digestMs)
    this.#pieces = new Pieces(options.replica, options.timing.pullBytesMax, (to, message) => this.#say(to, message))
  }

  start(now: number): void {
    const { disk, self, fresh } = this.options
    const state = disk.load()
    if (!state || state.memberships.length === 0) throw new Error('a member starts with a membership')
    // What another identity promised binds nobody any more: it is another member, or none.
    const same = state.self === self.id || (state.self === null && !fresh)
    this.#state = same
      ? { ...state, self: self.id }
      : { ...state, self: self.id, promised: null, accepted: null, covered: false }
    this.#startedAt = now
    this.#heardOfChangeAt = now
    this.#digestAt = now
    this.tick(now)
  }

  // Inputs

  tick(now: number): void {
    this.#pieces.turn(now)
    if (now >= this.#digestAt) {
      this.#digestAt = now + this.options.timing.digestMs
      this.#say('all', this.#digest(now))
      if (this.#pull && now - this.#pull.at >= limits.clusterPullMs) this.#pull = null
      this.#completions.tick(this.#survey, now)
      this.#finish(now)
      this.#replaceFormer(now)
    }
    this.#settle(now)
    this.#sync(now)
    this.#advance(now)
    this.#schedule(now)
  }

  linked(id: string, now: number): void {
    const peer = this.#peer(id)
    peer.linked = true
    // An answer to a question on the link before would never come.
    if (this.#pull?.from === id) this.#pull = null
    peer.askedViewAt = -Infinity
    this.#say(id, { t: 'view', memberships: this.view })
    this.#say(id, this.#digest(now))
  }

  unlinked(id: string, now: number): void {
    const peer = this.#peer(id)
    peer.linked = false
    this.#pieces.drop(id)
    if (this.#pull?.from === id) this.#pull = null
    if (!everybodyIn(this.view).has(id)) this.#peers.delete(id)
    this.#schedule(now)
  }

  receive(id: string, message: Message, now: number): void {
    if (id === this.options.self.id) return
    const peer = this.#peer(id)
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
    this.#sync(now)
    this.#advance(now)
    this.#schedule(now)
  }

  #receive(id: string, peer: Peer, message: Message, now: number): void {
    switch (message.t) {
      case 'answer':
        return this.#receiveAnswer(id, peer, message, now)
      case 'facts':
        return this.#receiveFacts(id, message, now)
      case 'pull':
        return this.#pieces.asked(id, message, now)
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
    const { self, timing } = this.options
    const bytes = facts.reduce((sum, { payload }) => sum + payload.length, 0)
    // So many are asked for in pieces, by whoever has room.
    if (bytes > timing.pullBytesMax) this.#say('all', this.#digest(now))
    else if (facts.length > 0) this.#say('all', { t: 'facts', facts, pulled: false, more: false })
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
    return this.#state.memberships.at(-1) as Membership
  }

  get view(): readonly Membership[] {
    return this.#state.memberships
  }

  standing(_now: number): { unfit: Unfit | null; validUntil: number } {
    const { self } = this.options
    if (this.rolledBack || !this.#synced || !isMember(this.membership, self.id) || !this.#reachesFloor()) {
      return { unfit: 'not_synced', validUntil: Infinity }
    }
    const validUntil = this.#lease.validUntil(this.view, self.id)
    return { unfit: _now >= validUntil ? 'node_stale' : null, validUntil }
  }

  /** A revocation of before the start that was not complete. */
  track(origin: string, seq: number, now: number): void {
    this.#completions.watch(origin, seq)
    this.#completions.update(origin, this.#survey, now)
    this.#schedule(now)
  }

  completion({ origin, seq }: Pick<FactId, 'origin' | 'seq'>, _now: number): ProtocolCompletion {
    const complete = this.#completions.isComplete(origin, seq, this.#survey)
    const details = this.#acks.get(`${origin}/${seq}`)
    const leaseEndsAt = this.#completions.ripeAt(origin, seq)
    const peers: ProtocolCompletion['peers'] = []
    for (const id of everybodyWho(this.#survey).keys()) {
      if (id === this.options.self.id || this.membership.void.some((one) => one.id === id)) continue
      const known = this.#peers.get(id)?.told?.known
      const ack = details?.get(id)
      const acked = ack !== undefined || (known !== undefined && hasApplied(known, origin, seq))
      const state = acked ? 'acked' : complete ? 'lease_expired' : 'pending'
      peers.push({
        id,
        state,
        ackedAt: ack?.at ?? null,
        cut: ack?.cut ?? null,
        leaseEndsAt: acked ? null : leaseEndsAt,
      })
    }
    for (const { id } of this.membership.void) {
      peers.push({ id, state: 'removed', ackedAt: null, cut: null, leaseEndsAt: null })
    }
    return { complete, peers }
  }

  /** Revocations that became complete since it was asked last, some at a time. */
  takeCompleted(): FactId[] {
    return this.#completions.take(limits.completedSlice, this.#survey)
  }

  /** Throws `conflict`, `not_found` or `invalid` for what can't be done now. */
  change(change: MembershipChange, actor: string, now: number): string {
    checkChange(this.view, change, this.#state.gone)
    const id = this.#changing.begin(change, actor, false, now)
    this.#advance(now)
    this.#schedule(now)
    return id
  }

  changeOutcome(id: string): ChangeOutcome {
    return this.#changing.outcome(id)
  }

  status(now: number): ProtocolStatus {
    const { self, replica, timing } = this.options
    const [base] = this.view
    const { validUntil } = this.standing(now)
    const members = this.membership.members.map(({ id, name, url }): MemberStatus => {
      const peer = this.#peers.get(id)
      const joining = base !== undefined && !isMember(base, id) && !peer?.told
      return {
        id,
        name,
        url,
        state: id === self.id ? 'self' : joining ? 'joining' : peer?.linked ? 'linked' : 'unreachable',
        roundTripMs: peer?.roundTripMs ?? null,
        behind: peer?.told ? behindBy(peer.told.known.vector, replica.vector) : null,
        heardAt: peer && peer.heardAt > -Infinity ? peer.heardAt : null,
        version: id === self.id ? this.options.version : (peer?.version ?? null),
      }
    })
    const heard = (id: string) =>
      id === self.id || (this.#peers.get(id)?.linked && this.#heardAt(id) > now - timing.digestMs * 8)
    return {
      members,
      isolated: members.filter(({ id }) => heard(id)).length < majorityOf(this.membership),
      behind: Math.max(
        0,
        ...[...this.#peers.values()].map(({ told }) => (told ? behindBy(replica.vector, told.known.vector) : 0)),
      ),
      leaseLeftMs: validUntil === Infinity ? null : Math.max(0, validUntil - now),
      changing: this.#changing.told ?? this.#unheard(),
    }
  }

  // Digests, leases, facts

  #digest(now: number): Message {
    const { self, replica, version, formerly, retired } = this.options
    this.#ask += 1
    this.#lease.asked(this.#ask, now, longestLeaseMs(this.view))
    const stranger = !isMember(this.membership, self.id) && formerly !== undefined && formerly.length > 0
    const former = stranger ? { ids: formerly, retired: retired ?? false, member: self } : null
    const { vector, unknown } = replica
    const view = idsOf(this.view)
    return { t: 'digest', ask: this.#ask, vector, unknown, view, version, synced: this.#synced, former }
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
    if (!reaches(this.#known.vector, vector)) this.#pullFrom(id, now)
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

  #receiveAnswer(
    id: string,
    peer: Peer,
    { ask, granted, known }: Extract<Message, { t: 'answer' }>,
    now: number,
  ): void {
    const sentAt = this.#lease.sentAt(ask)
    if (sentAt === undefined) return
    peer.roundTripMs = now - sentAt
    if (!granted) return
    // The older one is waited for: what it asks for is had first.
    if (!peer.pending || now - peer.pending.sentAt > longestLeaseMs(this.view)) peer.pending = { sentAt, known }
    if (covers(this.#known, known)) this.#lease.granted(id, sentAt)
    this.#redeem()
  }

  /** Leases that were granted on the condition that this node knows more than it did. */
  #redeem(): void {
    for (const [id, peer] of this.#peers) {
      if (!peer.pending || !covers(this.#known, peer.pending.known)) continue
      this.#lease.granted(id, peer.pending.sentAt)
      peer.pending = null
    }
  }

  #receiveFacts(id: string, { facts, pulled, more }: Extract<Message, { t: 'facts' }>, now: number): void {
    const { self, replica, timing } = this.options
    const others = facts.filter(({ origin }) => origin !== self.id)
    const gap = !pulled && !follow(replica.vector, others)
    let applied: Applied
    try {
      applied = others.length > 0 ? replica.apply(others, pulled) : { revocations: [], count: 0 }
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'storage')) throw error
      // Denied and cut, but on no disk: not acked, and asked for again with the next digest.
      this.#pull = null
      return
    }
    const origins = new Set<string>()
    for (const { origin, seq } of applied.revocations) {
      this.#completions.watch(origin, seq)
      origins.add(origin)
    }
    for (const { origin, stream } of others) if (stream === 'revocation') origins.add(origin)
    if (others.length > 0) this.#ack(id, applied, pulled)
    for (const origin of origins) this.#completions.update(origin, this.#survey, now)
    this.#redeem()
    if (pulled && this.#pull?.from === id) this.#pull = null
    if (gap) this.#pullFrom(id, now)
    else if (pulled && more) this.#say(id, this.#pullMessage(id, timing.pullBytesMax, now))
    // What brought nothing new is not asked for again at once.
    else if (pulled && applied.count > 0) this.#pullFromAny(now)
  }

  /** To who sent them, who may be waiting, and to whose revocations they are: that one tells people. */
  #ack(from: string, { revocations }: Applied, pulled: boolean): void {
    const { vector, unknown } = this.#known
    const to = new Set(revocations.map(({ origin }) => origin).filter((origin) => this.#peers.get(origin)?.linked))
    if (!pulled || revocations.length > 0) to.add(from)
    for (const id of to) {
      const acks = revocations.filter(({ origin }) => id === from || origin === id)
      this.#say(id, {
        t: 'ack',
        acks: acks.map(({ origin, seq, cut }) => ({ origin, seq, cut })),
        vector,
        unknown,
        view: idsOf(this.view),
      })
    }
  }

  #receiveAck(id: string, peer: Peer, message: Extract<Message, { t: 'ack' }>, now: number): void {
    for (const { origin, seq, cut } of message.acks) {
      const key = `${origin}/${seq}`
      const acks = this.#acks.get(key) ?? new Map<string, { at: number; cut: number }>()
      if (!acks.has(id)) acks.set(id, { at: now, cut })
      this.#acks.set(key, acks)
    }
    for (const key of this.#acks.keys()) {
      if (this.#acks.size <= limits.ackedRevocationsMax) break
      this.#acks.delete(key)
    }
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

  #pullFrom(id: string, now: number): void {
    // One at a time: others would send the same.
    if (this.rolledBack || (this.#pull && now - this.#pull.at < limits.clusterPullMs)) return
    this.#say(id, this.#pullMessage(id, this.options.timing.pullBytesMax, now))
  }

  #pullMessage(from: string, bytesMax: number, at: number): Message {
    this.#pull = { from, at }
    return { t: 'pull', vector: this.#known.vector, bytesMax }
  }

  #pullFromAny(now: number): void {
    const { vector } = this.#known
    for (const [id, { linked, told }] of this.#peers) {
      if (linked && told && !reaches(vector, told.known.vector)) return this.#pullFrom(id, now)
    }
  }

  // Standing

  /** A restarted node knows what one peer knew; a new identity what all of them know. */
  #sync(now: number): void {
    if (this.#synced) return
    const { self, replica, timing } = this.options
    const { membership } = this
    if (!isMember(membership, self.id)) return
    const others = membership.members.filter(({ id }) => id !== self.id).map(({ id }) => this.#peers.get(id))
    if (!this.#state.covered) {
      const inStep = others.every((peer) => {
        const told = peer?.told
        return (
          told &&
          !isNewer(membership, told.newest) &&
          reaches(replica.vector, told.known.vector) &&
          covers(this.#known, told.known)
        )
      })
      this.#synced = inStep && replica.unknown.length === 0 && this.#save({ covered: true })
      return
    }
    const heardAt = Math.max(this.#startedAt, ...others.map((peer) => peer?.heardAt ?? -Infinity))
    this.#synced =
      others.length === 0 ||
      others.some((peer) => peer?.told && reaches(replica.vector, peer.told.known.vector)) ||
      (!someLease(this.view) && now - heardAt >= timing.syncGraceMs)
  }

  #reachesFloor(): boolean {
    return (this.#floorReached ||= covers(this.#known, this.membership.floor))
  }

  // Memberships

  #vote(from: string, message: Extract<Message, { t: 'prepare' | 'accept' }>, now: number): void {
    const { self } = this.options
    const version = message.t === 'prepare' ? message.version : message.membership.version
    const { ballot } = message
    // Who knows no more than the version before, and is a member of that.
    if (version !== this.membership.version + 1 || !isMember(this.membership, self.id) || this.rolledBack) return
    // What nobody may serve without must not be lost with its proposer.
    if (message.t === 'accept' && !covers(this.#known, message.membership.floor)) return
    const promised = this.#promised?.ballot ?? ''
    const agrees = message.t === 'prepare' ? ballot > promised : ballot >= promised
    const state =
      message.t === 'prepare'
        ? { promised: { version, ballot } }
        : { promised: { version, ballot }, accepted: { ballot, membership: message.membership } }
    // Nothing is said that a crash could take back.
    if (agrees && !this.#save(state)) return
    this.#heardOfChangeAt = now
    const answer: Message =
      message.t === 'prepare'
        ? {
            t: 'promise',
            version,
            ballot: agrees ? ballot : promised,
            ok: agrees,
            known: this.#known,
            accepted: this.#accepted,
          }
        : { t: 'accepted', version, ballot: agrees ? ballot : promised, ok: agrees }
    if (from !== self.id) this.#say(from, answer)
    else if (answer.t === 'promise') this.#changing.promised(from, answer, this.#grounds(now), now)
    else if (answer.t === 'accepted') this.#changing.accepted(from, answer, this.#grounds(now), now)
  }

  get #promised(): ProtocolState['promised'] {
    const { promised } = this.#state
    return promised?.version === this.membership.version + 1 ? promised : null
  }

  get #accepted(): ProtocolState['accepted'] {
    const { accepted } = this.#state
    return accepted?.membership.version === this.membership.version + 1 ? accepted : null
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
    const heardAfter = now - longestLeaseMs(this.view) * this.options.timing.leaseGuard
    return {
      self: this.options.self.id,
      view: this.view,
      newest: this.membership,
      inForce: this.#isApplied(this.membership),
      known: this.#known,
      covered: this.#state.covered,
      round: roundOf(this.#promised?.ballot ?? ''),
      linked: (id) => this.#peers.get(id)?.linked ?? false,
      recent: (id) =>
        (this.#peers.get(id)?.linked ?? false) || Math.max(this.#startedAt, this.#heardAt(id)) > heardAfter,
      told: (id) => this.#peers.get(id)?.told ?? null,
    }
  }

  #heardAt(id: string): number {
    return this.#peers.get(id)?.heardAt ?? -Infinity
  }

  /** Memberships that a peer says were chosen. One that was removed is not listened to. */
  #learn(from: string, memberships: readonly Membership[], whole: boolean, now: number): void {
    if (!this.#state.gone.includes(from)) this.#adopt(memberships, whole, now)
  }

  /**
   * `whole`: somebody's view, which may leave a gap to this one, since what is older than its first one is over. One alone must
   * follow what is known. Returns whether they are on disk.
   */
  #adopt(memberships: readonly Membership[], whole: boolean, now: number): boolean {
    const { self } = this.options
    const [base] = this.view
    if (!base) return false
    const news = memberships.filter(
      (one) =>
        isNewer(one, base) &&
        !this.view.some((mine) => isSame(mine, one)) &&
        (whole || one.version <= this.membership.version + 1 || !isMember(one, self.id)),
    )
    if (news.length === 0) return true
    const view = [...this.view, ...news].toSorted((a, b) => (isNewer(a, b) ? 1 : -1))
    const newest = view.at(-1) as Membership
    const left = [...everybodyIn(view).keys(), ...newest.void.map(({ id }) => id)].filter((id) => !isMember(newest, id))
    const gone = [...new Set([...this.#state.gone, ...left])]
      .filter((id) => !isMember(newest, id))
      .slice(-limits.clusterGoneMax)
    const changed = isNewer(newest, this.membership)
    if (!this.#save({ memberships: view, gone })) return false
    if (changed) {
      this.#floorReached = false
      for (const membership of news) this.#say('all', { t: 'chosen', membership })
    }
    this.#completions.updateAll(this.#survey, now)
    return true
  }

  /** Whether all members that knew an older one have told that they know this one, and this node has what they had then. */
  #isApplied(membership: Membership): boolean {
    const older = this.view.filter((one) => isNewer(membership, one))
    return this.membership.members.every(({ id }) => {
      if (id === this.options.self.id || !older.some((one) => isMember(one, id))) return true
      const told = this.#peers.get(id)?.told
      return told && !isNewer(membership, told.newest) && covers(this.#known, told.known)
    })
  }

  /**
   * Older memberships are over once nobody can let anybody in by them: all who stay know the newer one, and who left knows
   * it too, or runs nowhere, or had its last lease run out. What one member found to be over is over for all.
   */
  #settle(now: number): void {
    if (this.view.length < 2) return
    const shared = this.view.findLast((one) =>
      [...this.#peers.values()].some(({ told }) => told && isSame(told.base, one) && covers(this.#known, told.known)),
    )
    const own = this.view.slice(1).findLast((one) => this.#isOver(one, now))
    const base = shared && (!own || isNewer(shared, own)) ? shared : own
    if (!base || base === this.view[0]) return
    if (!this.#save({ memberships: this.view.filter((one) => !isNewer(base, one)) })) return
    this.#appliedSince = null
    this.#completions.updateAll(this.#survey, now)
  }

  /** Who left with it, or before, and has not told that it knows. */
  #leavers(membership: Membership): Member[] {
    const older = this.view.filter((one) => isNewer(membership, one))
    const off = new Set(this.view.flatMap((one) => [...one.off, ...this.membership.void.map(({ id }) => id)]))
    return [...everybodyIn(older).values()].filter(({ id }) => {
      if (isMember(this.membership, id) || off.has(id) || id === this.options.self.id) return false
      const newest = this.#peers.get(id)?.told?.newest
      return !newest || isNewer(membership, newest)
    })
  }

  /** Who may go on serving by a membership that is older: no lease of its own ends. */
  #servers(leavers: readonly Member[], membership: Membership): Member[] {
    const serve = this.view.filter((one) => isNewer(membership, one) && one.policy === 'serve')
    return leavers.filter(({ id }) => serve.some((one) => isMember(one, id)))
  }

  /** Why the newest membership is not in force yet, in words; null: it is, or will be by itself. */
  #unheard(): string | null {
    const { membership } = this
    if (this.view.length === 1) return null
    const [server] = this.#servers(this.#leavers(membership), membership)
    if (server) return `${membership.change}: ${server.name} has not told that it knows; say so once it is off`
    return this.#isApplied(membership) ? null : `${membership.change}: not all members know it yet`
  }

  #isOver(membership: Membership, now: number): boolean {
    if (!this.#isApplied(membership)) return false
    const waiting = this.#leavers(membership)
    if (waiting.length === 0) return true
    if (this.#servers(waiting, membership).length > 0) return false
    if (!this.#appliedSince || isNewer(membership, this.#appliedSince.membership))
      this.#appliedSince = { membership, at: now }
    return now - this.#appliedSince.at >= longestLeaseMs(this.view) * this.options.timing.leaseGuard
  }

  /** What this node agreed to and never heard of again may be in force elsewhere: it is finished, by one after the other. */
  #finish(now: number): void {
    const { self, timing } = this.options
    const accepted = this.#accepted
    if (!accepted || this.#changing.running || !isMember(this.membership, self.id)) return
    const rank = this.membership.members.findIndex(({ id }) => id === self.id) + 1
    if (now - this.#heardOfChangeAt < timing.digestMs * 8 * rank) return
    this.#changing.begin({ kind: 'finish', version: accepted.membership.version }, accepted.membership.actor, true, now)
  }

  /** A restored or copied folder takes the place of the member that it was; a whole cluster of them those of all. */
  #replaceFormer(now: number): void {
    const { self, formerly = [], retired = false } = this.options
    const { membership } = this
    if (this.#changing.running) return
    const linked = [...this.#peers].filter(([, peer]) => peer.linked)
    if (!isMember(membership, self.id)) {
      const was = formerly.find((id) => isMember(membership, id))
      if (was && retired) this.#restoreAll(was, now)
      return
    }
    // The first of those that are linked does it.
    const first = membership.members
      .map(({ id }) => id)
      .filter((id) => id === self.id || this.#peers.get(id)?.linked)
      .toSorted()[0]
    if (first !== self.id || !this.#synced) return
    for (const [id, { former }] of linked) {
      if (!former || isMember(membership, id) || former.member.id !== id || this.#state.gone.includes(id)) continue
      const was = former.ids.find((one) => isMember(membership, one))
      if (!was && membership.heir?.id !== id) continue
      if (was && this.#grounds(now).recent(was)) continue
      const change: MembershipChange = was
        ? { kind: 'replace', id: was, member: former.member, off: former.retired, secret: '' }
        : { kind: 'add', member: former.member }
      this.#changing.begin(change, former.member.name, true, now)
      return
    }
  }

  /**
   * Nobody is left but restored folders. The first of a majority of them puts all of them in the places of those that they
   * were; as each must know what all others know before it lets anybody in, nobody does so by a membership of a part only.
   */
  #restoreAll(was: string, now: number): void {
    const { self, timing } = this.options
    const { membership } = this
    const pairs = new Map([[was, self]])
    for (const [id, { linked, former }] of this.#peers) {
      if (isMember(membership, id) && this.#heardAt(id) > -Infinity) return
      const theirs = linked && former?.retired ? former.ids.find((one) => isMember(membership, one)) : undefined
      if (theirs && former) pairs.set(theirs, former.member)
    }
    // Others may know of later members than an old backup does, also when all that it knows are there.
    if (pairs.size < majorityOf(membership) || now - this.#startedAt < timing.syncGraceMs) return
    if ([...pairs.keys()].toSorted()[0] !== was) return
    const members = membership.members.map((member) => pairs.get(member.id) ?? member)
    const chosen: Membership = {
      ...membership,
      version: membership.version + 1,
      ballot: forced(ballotOf(roundOf(membership.ballot) + 1, self.id)),
      // Who keeps revocations that its program does not know has to be upgraded first: nobody is left who may have applied them.
      floor: { vector: this.#known.vector, unknown: [] },
      members,
      policy: membership.auto ? policyFor(members.length) : membership.policy,
      off: [...pairs.keys()],
      heir: null,
      actor: self.name,
      change: 'restored from backups',
    }
    this.#adopt([chosen], false, now)
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
      told: (id) => this.#peers.get(id)?.told ?? null,
    }
  }

  #peer(id: string): Peer {
    let peer = this.#peers.get(id)
    if (!peer) {
      peer = {
        linked: false,
        heardAt: -Infinity,
        told: null,
        memberships: [],
        askedViewAt: -Infinity,
        roundTripMs: null,
        version: null,
        former: null,
        pending: null,
      }
      this.#peers.set(id, peer)
    }
    return peer
  }

  #say(to: string, message: Message): void {
    const linked = to === 'all' ? [...this.#peers].flatMap(([id, peer]) => (peer.linked ? [id] : [])) : [to]
    const fit = linked.map((id) => ({ to: id, message: confidential(message, id) }))
    if (fit.every((one) => one.message === message)) this.#output.push({ to, message })
    else for (const { to: id, message: one } of fit) if (one) this.#output.push({ to: id, message: one })
  }

  /** Returns whether it is on disk: what is not has not happened. */
  #save(change: Partial<ProtocolState>): boolean {
    const state = { ...this.#state, ...change }
    try {
      this.options.disk.save(state)
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'storage')) throw error
      return false
    }
    this.#state = state
    return true
  }

  #schedule(now: number): void {
    const busy = this.#completions.waits(this.#survey) || this.#pieces.busy
    this.nextTickAt = busy ? now : this.#digestAt
  }
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
