import type { ClusterStatus, Completion, PeerReceipt } from '../cluster-view.ts'
import { AppError } from '../error.ts'
import type { FactId, StoredFact } from '../fact.ts'
import type { Limits } from '../limits.ts'
import type { Actor } from '../operator.ts'
import type { Replica } from '../replica.ts'
import type { RevocationRecord } from '../revocation-record.ts'
import type { Standing } from '../standing.ts'
import type { Clock, Stopwatch } from '../time.ts'
import type { Member, Membership, Message } from './message.ts'
import { everybodyIn, isMember, isSame, type MembershipChange } from './membership.ts'
import type { Protocol } from './protocol.ts'
import type { Transport } from './transport.ts'

/** Where a revocation stands among the facts, and what its peers did, as it is kept. */
export interface CompletionStore {
  factOf(revocation: string): FactId | null
  revocationOf(fact: FactId): string | null
  completionOf(revocation: string): { completedAt: number | null; peers: readonly PeerReceipt[] } | null
  /** All of them in one commit. Throws `storage`. */
  putCompletions(completed: readonly { id: string; peers: readonly PeerReceipt[] }[], at: number): void
  /** Those that are not known to be complete, the newest first. */
  incomplete(limit: number): { id: string; origin: string; seq: number }[]
  countIncomplete(limit: number): number
}

export interface RunningDeps {
  self: Member
  clusterId: string
  protocol: Protocol
  transport: Transport
  replica: Replica & { adopt(record: RevocationRecord): void }
  completions: CompletionStore
  /** Revocations that the own disk has not taken yet. */
  waiting(): readonly { record: RevocationRecord; issuedUntil: number }[]
  standing: Standing
  limits: Limits
  now: Clock
  stopwatch: Stopwatch
  /** Told when the standing changed: why nobody is let in, or null. */
  onStanding(unfit: 'not_synced' | 'node_stale' | null): void
  /** The first time that a new identity knows all that its peers know. */
  onSynced(): void
  /** A peer knows facts of this node that it does not know itself: it needs another identity. */
  onRolledBack(): void
  /** The newest membership, whenever it is another, and once at the start. */
  onMembership(membership: Membership): void
  onError(error: unknown, doing: string): void
}

interface Waiter {
  done(): boolean
  resolve(): void
}

/** The protocol at work: its messages on the transport, its clock, and what the rest of the node learns from it. */
export class Running {
  #timer: NodeJS.Timeout | null = null
  #stale: NodeJS.Timeout | null = null
  #unfit: 'not_synced' | 'node_stale' | null = null
  /** What was told of it: the protocol makes another when it changes. */
  #view: readonly Membership[] = []
  #stopped = false
  #rolledBack = false
  #committed: StoredFact[] = []
  /** Complete, and not written yet; tried again from then on. */
  #completed: FactId[] = []
  #completedAgainAt = -Infinity
  readonly #waiters = new Set<Waiter>()
  /** When requests came whose revocations are not complete yet, by the stopwatch. */
  readonly #arrivals = new Map<string, number>()

  constructor(readonly deps: RunningDeps) {}

  async start(): Promise<void> {
    const { protocol, transport, completions, limits } = this.deps
    protocol.start(this.#now)
    // The oldest first, which is the order of their numbers.
    for (const { origin, seq } of completions.incomplete(limits.openRevocationsMax).toReversed())
      protocol.track(origin, seq, this.#now)
    this.#turn()
    await transport.start()
    this.#turn()
  }

  get #now(): number {
    return this.deps.stopwatch()
  }

  // What comes from the transport

  linked(peer: string): void {
    this.#run('link', () => {
      this.deps.protocol.linked(peer, this.#now)
      // Who was away when the disk refused them has not heard of them.
      for (const { record, issuedUntil } of this.deps.waiting()) this.#relay(record, issuedUntil)
    })
  }

  unlinked(peer: string): void {
    this.#run('unlink', () => this.deps.protocol.unlinked(peer, this.#now))
  }

  message(peer: string, message: Message): void {
    if (message.t === 'relay') return this.#adopt(peer, message)
    this.#run(message.t, () => this.deps.protocol.receive(peer, message, this.#now))
  }

  /** Another node's disk refused a revocation: it becomes a fact of this one. */
  #adopt(peer: string, { record }: Extract<Message, { t: 'relay' }>): void {
    const { view } = this.deps.protocol
    if (!view.some(({ members }) => members.some(({ id }) => id === peer))) return
    this.#run('relay', () => this.deps.replica.adopt(record as unknown as RevocationRecord))
    this.push()
  }

  // What comes from this node

  /** Facts of its own were committed: handed to the peers in this run, or by `push` before. */
  committed(facts: readonly StoredFact[]): void {
    if (this.#committed.length === 0) queueMicrotask(() => this.push())
    this.#committed.push(...facts)
  }

  push(about?: { revocation: string; arrivedAt: number }): void {
    if (about) this.#arrivals.set(about.revocation, about.arrivedAt)
    if (this.#committed.length === 0) return
    const facts = this.#committed
    this.#committed = []
    this.#run('push', () => this.deps.protocol.committed(facts, this.#now))
  }

  relay(record: RevocationRecord, issuedUntil: number): void {
    this.#run('relay', () => this.#relay(record, issuedUntil))
  }

  /** The selector says whom it kills; the list may be longer than a frame. */
  #relay(record: RevocationRecord, issuedUntil: number): void {
    this.deps.protocol.relay({ ...record, tokens: [] }, issuedUntil, this.#now)
  }

  /** Resolves once the change is in force. Throws `conflict` with why it is not. */
  async change(change: MembershipChange, actor: Actor): Promise<void> {
    const { protocol, limits } = this.deps
    const id = protocol.change(change, actor.name, this.#now)
    this.#turn()
    await this.#until(() => protocol.changeOutcome(id) !== 'running', limits.clusterChangeMs)
    const outcome = protocol.changeOutcome(id)
    if (outcome === 'in_force') return
    if (outcome === 'running')
      throw new AppError('unavailable', 'the change is not in force yet: not all members answer')
    throw new AppError('conflict', outcome.failed)
  }

  // What it tells

  completion(revocation: string): Completion {
    const { completions, protocol } = this.deps
    const kept = completions.completionOf(revocation)
    if (kept?.completedAt) return { complete: true, peers: [...kept.peers] }
    const fact = completions.factOf(revocation)
    // It waits in the journal: told to the peers, and on no disk of the cluster as far as this node knows.
    if (fact === null) return { complete: false, peers: this.#nobodyAcked() }
    const { complete, peers } = protocol.completion(fact, this.#now)
    return { complete, peers: this.#receiptsOf(peers, this.#arrivals.get(revocation)) }
  }

  #receiptsOf(peers: ReturnType<Protocol['completion']>['peers'], arrivedAt: number | undefined): PeerReceipt[] {
    return peers
      .map(({ id, state, ackedAt, cut, leaseEndsAt }) => ({
        id,
        node: this.#nameOf(id),
        state,
        ms: ackedAt === null || arrivedAt === undefined ? null : round(ackedAt - arrivedAt),
        cut,
        leaseEndsAt: leaseEndsAt === null ? null : Math.round(this.deps.now() + leaseEndsAt - this.#now),
      }))
      .toSorted((a, b) => (a.node < b.node ? -1 : 1))
  }

  #nobodyAcked(): PeerReceipt[] {
    return this.deps.protocol.membership.members
      .filter(({ id }) => id !== this.deps.self.id)
      .map(({ id, name }) => ({ id, node: name, state: 'pending', ms: null, cut: null, leaseEndsAt: null }))
  }

  #nameOf(id: string): string {
    const { membership, view } = this.deps.protocol
    const known = [...membership.members, ...membership.void, ...view.flatMap(({ members }) => members)]
    return known.find((member) => member.id === id)?.name ?? id
  }

  /** As `Cluster.settled`. */
  settled(revocation: string, waitMs: number, whole: boolean): Promise<void> {
    return this.#until(() => {
      const { complete, peers } = this.completion(revocation)
      const linked = this.deps.transport.linked()
      return complete || (!whole && !peers.some(({ id, state }) => state === 'pending' && linked.includes(id)))
    }, waitMs)
  }

  /** As `Cluster.spread`. */
  spread(waitMs: number): Promise<void> {
    this.push()
    const lacks = () =>
      this.deps.protocol.status(this.#now).members.some(({ state, behind }) => state === 'linked' && behind !== 0)
    return this.#until(() => !lacks(), waitMs)
  }

  status(): ClusterStatus {
    const { protocol, transport, clusterId, self, completions, limits, now } = this.deps
    const status = protocol.status(this.#now)
    const wall = (at: number | null) => (at === null ? null : Math.round(now() - (this.#now - at)))
    const { policy, leaseMs, void: gone } = protocol.membership
    return {
      id: clusterId,
      node: { id: self.id, name: this.#nameOf(self.id) },
      transport: transport.name,
      policy,
      leaseMs,
      serving: this.deps.standing.unfit === null,
      reason: this.deps.standing.unfit,
      leaseLeftMs: status.leaseLeftMs && Math.round(status.leaseLeftMs),
      restored: !isMember(protocol.membership, self.id) && (protocol.options.formerly?.length ?? 0) > 0,
      isolated: status.isolated,
      behind: status.behind,
      members: status.members
        .map(({ heardAt, roundTripMs, ...member }) => ({
          ...member,
          roundTripMs: roundTripMs && round(roundTripMs),
          heardAt: wall(heardAt),
        }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      void: gone.map(({ id, name, url }) => ({ id, name, url })),
      changing: isMember(protocol.membership, self.id) ? status.changing : null,
      incomplete: completions.incomplete(limits.incompleteShownMax).map(({ id, ...fact }) => ({
        id,
        waitsFor: protocol
          .completion(fact, this.#now)
          .peers.flatMap((peer) => (peer.state === 'acked' ? [] : [this.#nameOf(peer.id)])),
      })),
      incompleteCount: completions.countIncomplete(limits.openRevocationsMax),
    }
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer ?? undefined)
    clearTimeout(this.#stale ?? undefined)
    this.deps.transport.stop()
    for (const { resolve } of this.#waiters) resolve()
    this.#waiters.clear()
  }

  // Its turns

  /** One peer's message, or one failure of the disk, must not end the process. */
  #run(doing: string, step: () => void): void {
    if (this.#stopped) return
    this.#try(doing, step)
    this.#turn()
  }

  #try(doing: string, step: () => void): void {
    try {
      step()
    } catch (error) {
      this.deps.onError(error, doing)
    }
  }

  /** After every input: messages go out, and everybody learns what changed. */
  #turn(): void {
    if (this.#stopped) return
    // Each by itself: a disk that fails one must not keep the lease, or the clock, from going on.
    this.#try('messages', () => this.#send())
    this.#try('standing', () => this.#tellStanding())
    this.#try('members', () => this.#tellMembers())
    this.#try('completion', () => this.#tellCompleted())
    this.#try('roll back', () => this.#tellRolledBack())
    this.#try('waiters', () => this.#tellWaiters())
    this.#schedule()
  }

  #send(): void {
    const { protocol, transport } = this.deps
    for (const { to, message } of protocol.drain()) {
      if (to === 'all') transport.broadcast(message)
      else transport.send(to, message)
    }
  }

  #tellRolledBack(): void {
    if (!this.deps.protocol.rolledBack || this.#rolledBack) return
    this.#rolledBack = true
    this.deps.onRolledBack()
  }

  #tellWaiters(): void {
    for (const waiter of this.#waiters) {
      if (!waiter.done()) continue
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
  }

  #schedule(): void {
    clearTimeout(this.#timer ?? undefined)
    const waitMs = Math.max(0, this.deps.protocol.nextTickAt - this.#now)
    this.#timer = setTimeout(() => this.#run('tick', () => this.deps.protocol.tick(this.#now)), waitMs)
  }

  /** Those to be linked to: whoever stands in any membership that counts. */
  #tellMembers(): void {
    const { protocol, transport, self, onMembership } = this.deps
    const { view, membership } = protocol
    if (view === this.#view) return
    const before = this.#view.at(-1)
    this.#view = view
    if (!before || !isSame(before, membership)) this.#try('membership', () => onMembership(membership))
    const members = everybodyIn(view)
    members.delete(self.id)
    transport.members([...members.values()])
  }

  #tellStanding(): void {
    const { protocol, standing } = this.deps
    const { unfit, validUntil } = protocol.standing(this.#now)
    const wasSynced = standing.synced
    standing.synced = unfit !== 'not_synced'
    standing.validUntil = validUntil
    if (!wasSynced && standing.synced) this.#try('synced', () => this.deps.onSynced())
    clearTimeout(this.#stale ?? undefined)
    // The predicate asks the clock itself: this timer is for those who listen and send nothing.
    if (validUntil !== Infinity && unfit === null) {
      this.#stale = setTimeout(() => this.#turn(), Math.max(0, validUntil - this.#now) + 1)
    }
    if (standing.unfit === this.#unfit) return
    this.#unfit = standing.unfit
    this.deps.onStanding(this.#unfit)
  }

  #tellCompleted(): void {
    const { protocol, completions, limits, now } = this.deps
    this.#completed.push(...protocol.takeCompleted())
    // A disk that refuses is not asked again with every message.
    if (this.#completed.length === 0 || this.#now < this.#completedAgainAt) return
    this.#completedAgainAt = this.#now + limits.journalRetryMs
    const slice = this.#completed.slice(0, limits.completedSlice)
    const written = slice.flatMap((fact) => {
      const id = completions.revocationOf(fact)
      if (id === null) return []
      const { peers } = protocol.completion(fact, this.#now)
      return [{ id, peers: this.#receiptsOf(peers, this.#arrivals.get(id)) }]
    })
    completions.putCompletions(written, now())
    this.#completedAgainAt = -Infinity
    this.#completed.splice(0, slice.length)
    for (const { id } of written) this.#arrivals.delete(id)
  }

  #until(done: () => boolean, waitMs: number): Promise<void> {
    if (done()) return Promise.resolve()
    return new Promise((resolve) => {
      const waiter = { done, resolve: () => (clearTimeout(timer), resolve()) }
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        resolve()
      }, waitMs)
      this.#waiters.add(waiter)
    })
  }
}

const round = (ms: number): number => Math.round(Math.max(0, ms) * 1000) / 1000
