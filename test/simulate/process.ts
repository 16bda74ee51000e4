import type { Member, Membership, Message } from '../../src/cluster/message.ts'
import type { MembershipChange } from '../../src/cluster/membership.ts'
import { Protocol, type ProtocolState, type Timing } from '../../src/cluster/protocol.ts'
import { AppError } from '../../src/error.ts'
import type { FactId, FactStream, StoredFact, Vector } from '../../src/fact.ts'
import type { RevocationRecord } from '../../src/revocation-record.ts'
import type { Break } from './breaks.ts'
import { Crash, type Disk } from './disk.ts'
import type { Endpoint, Input, Network } from './network.ts'
import { KNOWN, Store, type StoreEvents, keyOf } from './store.ts'

export interface ProcessDeps extends StoreEvents {
  now(): number
  at(time: number, run: () => void): void
  network: Network
  timing: Timing
  broken: Break
  /** One step of the simulation was made by this process: what must hold is looked at. */
  stepped(process: Process): void
  trace(tell: () => string): void
  declared(process: Process, fact: FactId): void
  died(process: Process): void
  wallNow(machine: string): number
  /** What a peer says that it was, before its folder was restored or copied. */
  formerly(peer: string): readonly string[]
}

const TIMER_MS = 0.01

/** How a timer is late: the loop was busy. */
export interface Clockwork {
  /** Monotonic milliseconds per simulated one: within ±3%. */
  rate: number
  offset: number
}

/** One run of the program on a data folder: the protocol's core with a driver as thin as the real one. */
export class Process implements Endpoint {
  readonly store: Store
  readonly protocol: Protocol
  stopped = false
  dead = false
  /** It was let in once since it started. */
  served = false
  /** It started under an identity that was never synced. */
  readonly wasFresh: boolean
  readonly bootedAt: number
  readonly #inbox: Input[] = []
  #tickAt = Infinity
  /** By number of the question: when it was sent. */
  readonly asked = new Map<number, number>()

  constructor(
    readonly machine: string,
    readonly self: Member,
    readonly disk: Disk,
    readonly program: 'old' | 'new',
    readonly clock: Clockwork,
    /** What the disks of the others knew when it started. */
    readonly bootVectors: ReadonlyMap<string, Vector>,
    readonly deps: ProcessDeps,
  ) {
    this.wasFresh = disk.fresh
    this.bootedAt = deps.now()
    const kills = deps.broken.kills
    this.store = new Store(disk, KNOWN[program], deps, kills)
    this.protocol = new Protocol({
      self,
      replica: this.store,
      disk: disk.protocolDisk<ProtocolState>(),
      timing: deps.timing,
      version: program,
      fresh: disk.fresh,
      formerly: disk.formerly,
      retired: disk.retired,
    })
  }

  get id(): string {
    return this.self.id
  }

  get mono(): number {
    return this.deps.now() * this.clock.rate + this.clock.offset
  }

  start(): void {
    this.#run(() => {
      this.protocol.start(this.mono)
      for (const [origin, { revocation }] of this.disk.facts) {
        for (const { seq } of revocation) {
          if (!this.disk.completed.has(keyOf({ origin, seq }))) this.protocol.track(origin, seq, this.mono)
        }
      }
    })
  }

  accepts(peer: string): boolean {
    const names = [peer, ...this.deps.formerly(peer)]
    return this.protocol.view.some(({ members }) => members.some(({ id }) => names.includes(id)))
  }

  /** What is said to one that was removed, before its link is refused. */
  farewell(peer: string): Message | null {
    return this.accepts(peer) ? null : { t: 'chosen', membership: { ...this.membership, secret: '' } }
  }

  /** Whether it lets in whoever shows a live token, now. */
  get fit(): boolean {
    const standing = this.protocol.standing(this.mono)
    const { unfit, validUntil } = this.deps.broken.standing?.(this, standing) ?? standing
    return unfit === null && this.mono < validUntil
  }

  /** Under `serve` it goes on with what it knows when nobody can be reached for 3 s. */
  get mayServeAlone(): boolean {
    return this.membership.policy === 'serve' && this.deps.now() - this.bootedAt > this.deps.timing.syncGraceMs * 0.95
  }

  deliver(input: Input): void {
    if (this.dead) return
    if (this.stopped) this.#inbox.push(input)
    else this.#take(input)
  }

  /** It goes on after it was stopped: the clock went on, and what was sent meanwhile is read at once, timers first or last. */
  wake(timersFirst: boolean): void {
    this.stopped = false
    this.deps.stepped(this)
    if (timersFirst) this.tick()
    for (const input of this.#inbox.splice(0)) if (!this.dead) this.#take(input)
    if (!this.dead) this.tick()
  }

  tick(): void {
    this.#run(() => this.protocol.tick(this.mono))
  }

  /** A change of this node's own, told to all in the same run. Returns whether the disk took it. */
  commit(stream: FactStream, kind: string, payload: Record<string, unknown>): StoredFact | null {
    let fact: StoredFact | null = null
    this.#run(() => {
      fact = this.store.commit(stream, kind, payload, this.deps.wallNow(this.machine))
      this.protocol.committed([fact], this.mono)
    })
    return fact
  }

  /** What the contract wants of a revocation when the disk refuses it. */
  revoke(record: RevocationRecord): StoredFact | null {
    if (!this.disk.broken) return this.commit('revocation', 'token.revoke', { ...record })
    this.#run(() => {
      const entry = { record, issuedUntil: record.at }
      this.disk.journal.push(entry)
      this.store.deny(record)
      this.protocol.relay({ ...record }, entry.issuedUntil, this.mono)
    })
    return null
  }

  /** The disk takes writes again: what the journal kept becomes facts. */
  flushJournal(): void {
    for (const { record } of this.disk.journal.splice(0)) this.#adopt(record)
  }

  change(change: MembershipChange): string | null {
    let id: string | null = null
    this.#run(() => {
      try {
        id = this.protocol.change(change, 'sim', this.mono)
      } catch (error) {
        // What can't be done is refused at once, in words.
        if (!(error instanceof AppError)) throw error
        this.deps.trace(() => `${this.id} refuses: ${error.message}`)
      }
    })
    return id
  }

  /** Somebody asks for a receipt. */
  askCompletion(fact: Pick<FactId, 'origin' | 'seq'>): boolean {
    if (this.disk.completed.has(keyOf(fact))) return true
    const { complete } = this.protocol.completion({ ...fact, stream: 'revocation' } as FactId, this.mono)
    if (complete) this.deps.declared(this, { ...fact, stream: 'revocation' })
    return complete
  }

  get membership(): Membership {
    return this.protocol.membership
  }

  #adopt(record: RevocationRecord): void {
    this.#run(() => {
      const facts = this.store.adopt(record, this.deps.wallNow(this.machine))
      if (facts.length > 0) this.protocol.committed(facts, this.mono)
    })
  }

  #take(input: Input): void {
    const { trace, broken } = this.deps
    if (input.t !== 'message') {
      trace(() => `${this.id} ${input.t} ${input.peer}`)
      if (input.t === 'linked') this.#run(() => this.protocol.linked(input.peer, this.mono))
      else this.#run(() => this.protocol.unlinked(input.peer, this.mono))
      return
    }
    const { peer } = input
    for (const message of broken.incoming ? broken.incoming(this, peer, input.message) : [input.message]) {
      trace(() => `${peer} → ${this.id} ${tell(message)}`)
      if (message.t === 'relay') this.#adopt(message.record as unknown as RevocationRecord)
      else this.#run(() => this.protocol.receive(peer, message, this.mono))
    }
  }

  /** As the real driver: after every input what is to be said goes out, unless the process died of it. */
  #run(work: () => void): void {
    if (this.dead) return
    try {
      work()
    } catch (error) {
      const known = error instanceof Crash || (error instanceof AppError && error.kind === 'storage')
      if (!known) throw error
    }
    if (this.disk.crashed) {
      this.deps.died(this)
      return
    }
    this.#send()
    if (this.disk.fresh && this.protocol.standing(this.mono).unfit !== 'not_synced') this.disk.fresh = false
    for (const fact of this.protocol.takeCompleted()) {
      this.disk.completed.add(keyOf(fact))
      this.deps.declared(this, fact)
    }
    this.#schedule()
    this.deps.stepped(this)
  }

  #send(): void {
    const { network, broken } = this.deps
    for (const output of this.protocol.drain()) {
      const { to, message } = output
      if (message.t === 'digest') this.asked.set(message.ask, this.mono)
      const sent = broken.outgoing ? broken.outgoing(this, to, message) : [message]
      for (const one of sent) {
        if (to === 'all') network.broadcast(this.id, one)
        else network.send(this.id, to, one)
      }
    }
  }

  #schedule(): void {
    const { now, at } = this.deps
    // A hair later, as a timer is: by the clock that the protocol is shown it must not be too early.
    const next = Math.max(now(), (this.protocol.nextTickAt - this.clock.offset) / this.clock.rate) + TIMER_MS
    if (next >= this.#tickAt - 0.001 || next === Infinity) return
    this.#tickAt = next
    at(next, () => {
      if (this.dead || this.#tickAt !== next) return
      this.#tickAt = Infinity
      if (this.stopped) return
      this.tick()
    })
  }
}

/** A message in few words. */
export const tell = (message: Message): string => {
  switch (message.t) {
    case 'digest': {
      const { ask, vector, unknown, view, synced } = message
      const reached = Object.entries(vector).map(([id, [r, c]]) => `${id}:${r}/${c}`)
      const views = view.map(([version]) => `v${version}`)
      const odd = unknown.length > 0 ? ` unknown ${unknown.map(keyOf).join()}` : ''
      return `digest #${ask} ${reached.join(' ')} ${views.join('')}${odd}${synced ? '' : ' unsynced'}`
    }
    case 'answer':
      return `answer #${message.ask} ${message.granted ? 'granted' : 'refused'}`
    case 'facts':
      return `facts ${message.facts.map((fact) => `${keyOf(fact)} ${fact.kind}`).join(', ')}`
    case 'ack':
      return `ack ${message.acks.map(keyOf).join(' ')} ${JSON.stringify(message.vector)}`
    case 'view':
      return `view ${message.memberships.map(({ version, ballot }) => `v${version} ${ballot}`).join(', ')}`
    case 'accept':
    case 'chosen':
      return `${message.t} v${message.membership.version} ${message.membership.ballot} ${message.membership.change}`
    default:
      return JSON.stringify(message)
  }
}
