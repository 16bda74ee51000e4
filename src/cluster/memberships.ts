import { AppError } from '../error.ts'
import { limits } from '../limits.ts'
import type { ProtocolDisk } from '../replica.ts'
import { covers } from './known.ts'
import { everybodyIn, isMember, isNewer, isSame, longestLeaseMs } from './membership.ts'
import type { Known, Member, Membership, Message } from './message.ts'
import type { Peers } from './peers.ts'
import { type ProtocolState, stateOf } from './protocol-state.ts'

export interface MembershipsDeps {
  self: string
  disk: ProtocolDisk<ProtocolState>
  peers: Peers
  /** How much longer than the longest lease those of others are waited for. */
  leaseGuard: number
  known(): Known
}

/** What this node has on its disk: the memberships that it reckons with, and what it promised about the next. */
export class Memberships {
  #state: ProtocolState = stateOf([], false)
  /** Since when all members are known to have applied a membership: the older ones count for a lease more. */
  #appliedSince: { membership: Membership; at: number } | null = null

  constructor(readonly deps: MembershipsDeps) {}

  load(fresh: boolean): void {
    const { disk, self } = this.deps
    const state = disk.load()
    if (!state || state.memberships.length === 0) throw new Error('a member starts with a membership')
    // What another identity promised binds nobody any more: it is another member, or none.
    const same = state.self === self || (state.self === null && !fresh)
    this.#state = same ? { ...state, self } : { ...state, self, promised: null, accepted: null, covered: false }
  }

  /** Returns whether it is on disk: what is not has not happened. */
  #save(change: Partial<ProtocolState>): boolean {
    const state = { ...this.#state, ...change }
    try {
      this.deps.disk.save(state)
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'storage')) throw error
      return false
    }
    this.#state = state
    return true
  }

  get view(): readonly Membership[] {
    return this.#state.memberships
  }

  get newest(): Membership {
    return this.#state.memberships.at(-1) as Membership
  }

  get gone(): readonly string[] {
    return this.#state.gone
  }

  get covered(): boolean {
    return this.#state.covered
  }

  /** It knows now what all its peers know. Returns whether that is on disk. */
  cover(): boolean {
    return this.#save({ covered: true })
  }

  // The vote on the next

  get promised(): ProtocolState['promised'] {
    const { promised } = this.#state
    return promised?.version === this.newest.version + 1 ? promised : null
  }

  get accepted(): ProtocolState['accepted'] {
    const { accepted } = this.#state
    return accepted?.membership.version === this.newest.version + 1 ? accepted : null
  }

  /** Null: it has no say, or its disk refuses. */
  vote(message: Extract<Message, { t: 'prepare' | 'accept' }>): Extract<Message, { t: 'promise' | 'accepted' }> | null {
    const version = message.t === 'prepare' ? message.version : message.membership.version
    // Who knows no more than the version before, and is a member of that.
    if (version !== this.newest.version + 1 || !isMember(this.newest, this.deps.self)) return null
    const known = this.deps.known()
    // What nobody may serve without must not be lost with its proposer.
    if (message.t === 'accept' && !covers(known, message.membership.floor)) return null
    const { ballot } = message
    const promised = this.promised?.ballot ?? ''
    const ok = message.t === 'prepare' ? ballot > promised : ballot >= promised
    const accepted = message.t === 'accept' ? { accepted: { ballot, membership: message.membership } } : {}
    // Nothing is said that a crash could take back.
    if (ok && !this.#save({ promised: { version, ballot }, ...accepted })) return null
    const answer = { version, ballot: ok ? ballot : promised, ok }
    return message.t === 'prepare'
      ? { t: 'promise', ...answer, known, accepted: this.accepted }
      : { t: 'accepted', ...answer }
  }

  // The next

  /**
   * Takes in what was chosen. `whole`: somebody's view, which may leave a gap to this one, since what is older than its first
   * one is over. One alone must follow what is known. Returns what is new and on disk; null: the disk refuses it.
   */
  adopt(memberships: readonly Membership[], whole: boolean): Membership[] | null {
    const { view, newest: before } = this
    const [base] = view
    if (!base) return null
    const news = memberships.filter(
      (one) =>
        isNewer(one, base) &&
        !view.some((mine) => isSame(mine, one)) &&
        (whole || one.version <= before.version + 1 || !isMember(one, this.deps.self)),
    )
    if (news.length === 0) return []
    const next = [...view, ...news].toSorted((a, b) => (isNewer(a, b) ? 1 : -1))
    const newest = next.at(-1) as Membership
    const left = [...everybodyIn(next).keys(), ...newest.void.map(({ id }) => id)]
    const gone = [...new Set([...this.gone, ...left])].filter((id) => !isMember(newest, id))
    return this.#save({ memberships: next, gone: gone.slice(-limits.clusterGoneMax) }) ? news : null
  }

  /** Whether all members that knew an older one have told that they know this one, and this node has what they had then. */
  isApplied(membership: Membership): boolean {
    const older = this.view.filter((one) => isNewer(membership, one))
    return this.newest.members.every(({ id }) => {
      if (id === this.deps.self || !older.some((one) => isMember(one, id))) return true
      const told = this.deps.peers.told(id)
      return told && !isNewer(membership, told.newest) && covers(this.deps.known(), told.known)
    })
  }

  // The last

  /**
   * Older memberships are over once nobody can let anybody in by them: all who stay know the newer one, and who left knows
   * it too, or runs nowhere, or had its last lease run out. What one member found to be over is over for all. Returns
   * whether there is another first one.
   */
  settle(now: number): boolean {
    if (this.view.length < 2) return false
    const told = [...this.deps.peers].flatMap(([, peer]) => peer.told ?? [])
    const shared = this.view.findLast((one) =>
      told.some(({ base, known }) => isSame(base, one) && covers(this.deps.known(), known)),
    )
    const own = this.view.slice(1).findLast((one) => this.#isOver(one, now))
    const base = shared && (!own || isNewer(shared, own)) ? shared : own
    if (!base || base === this.view[0]) return false
    if (!this.#save({ memberships: this.view.filter((one) => !isNewer(base, one)) })) return false
    this.#appliedSince = null
    return true
  }

  /** Whether all before this one are over. */
  #isOver(membership: Membership, now: number): boolean {
    if (!this.isApplied(membership)) return false
    const waiting = this.#leavers(membership)
    if (waiting.length === 0) return true
    if (this.#servers(waiting, membership).length > 0) return false
    if (!this.#appliedSince || isNewer(membership, this.#appliedSince.membership))
      this.#appliedSince = { membership, at: now }
    return now - this.#appliedSince.at >= longestLeaseMs(this.view) * this.deps.leaseGuard
  }

  /** Who left with it, or before, and has not told that it knows. */
  #leavers(membership: Membership): Member[] {
    const older = this.view.filter((one) => isNewer(membership, one))
    const off = new Set(this.view.flatMap((one) => [...one.off, ...this.newest.void.map(({ id }) => id)]))
    return [...everybodyIn(older).values()].filter(({ id }) => {
      if (isMember(this.newest, id) || off.has(id) || id === this.deps.self) return false
      const newest = this.deps.peers.told(id)?.newest
      return !newest || isNewer(membership, newest)
    })
  }

  /** Who may go on serving by a membership that is older: no lease of its own ends. */
  #servers(leavers: readonly Member[], membership: Membership): Member[] {
    const serve = this.view.filter((one) => isNewer(membership, one) && one.policy === 'serve')
    return leavers.filter(({ id }) => serve.some((one) => isMember(one, id)))
  }

  /** Why the newest is not in force yet, in words; null: it is, or will be by itself. */
  get unheard(): string | null {
    const { newest } = this
    if (this.view.length === 1) return null
    const [server] = this.#servers(this.#leavers(newest), newest)
    if (server) return `${newest.change}: ${server.name} has not told that it knows; say so once it is off`
    return this.isApplied(newest) ? null : `${newest.change}: not all members know it yet`
  }
}
