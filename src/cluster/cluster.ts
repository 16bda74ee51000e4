import { isIP } from 'node:net'
import { unbracketed } from '../address.ts'
import type { Cluster, ClusterPolicy, ClusterStatus, Completion, Removal } from '../cluster-view.ts'
import { AppError, conflict, invalid, notFound } from '../error.ts'
import type { StoredFact } from '../fact.ts'
import { type Actor, requireRole } from '../operator.ts'
import type { RevocationRecord } from '../revocation-record.ts'
import type { Claim, Trust } from './handshake.ts'
import type { Welcome } from './join.ts'
import type { MembershipChange } from './membership.ts'
import type { Member, Membership } from './message.ts'
import type { Running } from './running.ts'
import type { Tickets } from './ticket.ts'

/** Who the node is in its cluster. */
export interface Identity {
  clusterId: string
  privateKey: Uint8Array
  publicKey: string
  formerly: readonly string[]
  retired: boolean
  fresh: boolean
}

/** What the folder keeps of the cluster, apart from what the protocol does. */
export interface ClusterKeep {
  identity(): Identity | null
  /** Ids that the folder had before it was copied or restored, until it has its place again. */
  formerly(): readonly string[]
  /** The node's own pair; made when first it is asked for. */
  keys(): { publicKey: string }
  create(clusterId: string, fresh: boolean): Identity
  seal(secret: Uint8Array): string
  /** The secret of a membership; it is kept from then on. */
  open(membership: Membership): Uint8Array | null
  secrets(): readonly { version: number; secret: Uint8Array }[]
}

export interface ClusterNodeDeps {
  id: string
  name: string
  /** Where others reach it; null: it listens for nobody. */
  url: string | null
  policy: ClusterPolicy | 'auto'
  leaseMs: number
  keep: ClusterKeep
  tickets: Pick<Tickets, 'issue'>
  newId(): string
  /** Restates all that this node has as facts: before it, nobody else could have known them. */
  found(actor: Actor): Promise<void>
  /** A member has the place of one that is lost. */
  onReplaced(lost: string, member: string): void
  /** The first membership, on the disk before anything else happens. */
  putFirst(membership: Membership): void
  /** The protocol at work, from here on. */
  run(self: Member, identity: Identity, trust: Trust): Promise<Running>
  /** Whether the machine at a URL answers that nobody listens there. */
  refuses(url: string): Promise<boolean>
  /** What a joiner is given beside the memberships. */
  welcome(): Pick<Welcome, 'database' | 'keys'>
}

const NO_LISTENER = 'this node listens for no other: restart it with --cluster-listen HOST:PORT'

/** The node in its cluster, and the way into one. */
export class ClusterNode implements Cluster {
  #running: Running | null = null
  #founding: Promise<void> | null = null

  constructor(readonly deps: ClusterNodeDeps) {}

  /** Goes on as the member that the folder says; of one that says nothing nothing is asked. */
  async start(): Promise<void> {
    const identity = this.deps.keep.identity()
    if (identity) await this.#run(identity)
  }

  async #run(identity: Identity): Promise<void> {
    const running = await this.deps.run(this.#self(identity.publicKey), identity, this.#trust(identity))
    this.#running = running
    await running.start()
  }

  #self(key: string): Member {
    const { id, name, url } = this.deps
    return { id, name, url: url ?? '', key }
  }

  #trust({ clusterId, privateKey }: Identity): Trust {
    const { keep, id, url } = this.deps
    return {
      cluster: () => clusterId,
      self: () => ({ id, url: url ?? '', formerly: keep.formerly() }),
      privateKey,
      secrets: () => {
        // Its key of the ring may have come after the membership.
        if (this.#running) keep.open(this.#running.deps.protocol.membership)
        return keep.secrets()
      },
      former: (claim) => this.#isFormer(claim),
      removed: (node) => {
        const membership = this.#running?.deps.protocol.membership ?? null
        return membership?.members.some((member) => member.id === node) ? null : membership
      },
    }
  }

  /** A member's folder that was restored or copied: let in to put itself in its own place, while that is empty. */
  #isFormer({ formerly, version }: Claim): boolean {
    const running = this.#running
    if (!running) return false
    const { members } = running.deps.protocol.membership
    // Who was removed took an older secret along, and could say that it was anybody.
    const newest = Math.max(...this.deps.keep.secrets().map((secret) => secret.version))
    if (version < newest) return false
    const own = this.deps.keep.formerly()
    return members.some(({ id }) => formerly.includes(id) || own.includes(id))
  }

  // Tickets and joining

  async ticket(actor: Actor): Promise<{ ticket: string; expiresAt: number }> {
    requireRole(actor, 'owner')
    if (this.deps.url === null) throw invalid(NO_LISTENER)
    await this.#founded(actor)
    return this.deps.tickets.issue(actor.name)
  }

  /** Makes this node the first member where there is no cluster. */
  #founded(actor: Actor): Promise<void> {
    if (this.#running) return Promise.resolve()
    this.#founding ??= this.#found(actor).finally(() => {
      this.#founding = null
    })
    return this.#founding
  }

  async #found(actor: Actor): Promise<void> {
    const { keep, newId, found, putFirst, policy, leaseMs } = this.deps
    await found(actor)
    const self = this.#self(keep.keys().publicKey)
    const membership: Membership = {
      version: 1,
      ballot: '',
      floor: { vector: {}, unknown: [] },
      members: [self],
      policy: policy === 'auto' ? 'serve' : policy,
      auto: policy === 'auto',
      leaseMs,
      void: [],
      off: [],
      heir: null,
      secret: this.#newSecret(),
      actor: actor.name,
      change: `found ${self.name}`,
    }
    putFirst(membership)
    // Last: a start that finds an identity goes on as a member, and a crash before is a founding that never was.
    await this.#run(keep.create(newId(), false))
  }

  /** Lets in who has shown a ticket. Throws `conflict` with what to do. */
  async admit(joiner: Member, named: boolean, actor: Actor): Promise<Welcome> {
    const running = this.#running
    if (!running) throw conflict('this node is in no cluster any more')
    const { protocol, transport, clusterId } = running.deps
    // Asked before anything is changed: who is let in must be able to go on.
    this.#secretOf(protocol.membership)
    const { members } = protocol.membership
    const others = members.filter(({ id }) => id !== joiner.id)
    const runs = (member: Member) => member.id === this.deps.id || transport.linked().includes(member.id)
    // Of names that nobody chose, that of a machine, each further node gets a number; one that was wiped has its address.
    const isOther = (member: Member) => runs(member) || member.url !== joiner.url
    const member = named ? joiner : { ...joiner, name: freeName(joiner.name, others.filter(isOther)) }
    const namesake = others.find(({ name }) => name === member.name)
    if (namesake && runs(namesake)) {
      throw conflict(`a member that runs is called "${member.name}" already: give this one another --node-name`)
    }
    // The same may ask again, since it may have been stopped before it had its answer.
    if (others.length === members.length) {
      const secret = this.#newSecret()
      const change: MembershipChange = namesake
        ? { kind: 'replace', id: namesake.id, member, off: await this.#isOff(namesake, member.url), secret }
        : { kind: 'add', member }
      await running.change(change, actor)
      if (namesake) this.deps.onReplaced(namesake.id, member.id)
    }
    const secret = Buffer.from(this.#secretOf(protocol.membership)).toString('base64')
    return { ...this.deps.welcome(), cluster: clusterId, secret, memberships: protocol.view }
  }

  /** Throws `unavailable` while the key of the ring that it is sealed under has not come. */
  #secretOf(membership: Membership): Uint8Array {
    const secret = this.deps.keep.open(membership)
    if (secret) return secret
    throw new AppError('unavailable', "this node can't open the cluster's secret yet: try again, or at another member")
  }

  /**
   * Whether a member that is not linked certainly runs no more: its machine is there, at the address from which another now
   * joins in its name, and refuses. A name may lead elsewhere since, and silence may be a cut.
   */
  async #isOff({ url }: Member, joiner: string): Promise<boolean> {
    const { hostname } = new URL(url)
    return url === joiner && isIP(unbracketed(hostname)) !== 0 && (await this.deps.refuses(url))
  }

  #newSecret(): string {
    return this.deps.keep.seal(crypto.getRandomValues(new Uint8Array(32)))
  }

  // Members

  async remove(node: string, how: { force: boolean; off: boolean }, actor: Actor): Promise<Removal> {
    requireRole(actor, 'owner')
    const running = this.#running
    if (!running) throw notFound('no member has that name or id: this node stands alone')
    const { members, void: gone } = running.deps.protocol.membership
    const isIt = (member: Member) => member.id === node || member.name === node
    const member = members.find(isIt)
    const left = gone.find(isIt)
    // Who took the place of a lost one has its name: of the two only the lost one can be said to be off.
    if (left && (!member || (how.off && !how.force))) {
      if (!how.off) {
        throw conflict(
          `"${left.name}" is removed already. Is it off for sure? portcullis cluster remove ${left.name} --off`,
        )
      }
      await running.change({ kind: 'off', id: left.id }, actor)
      return { id: left.id, name: left.name, off: true }
    }
    if (!member) throw notFound('no member has that name or id')
    await running.change({ kind: 'remove', id: member.id, force: how.force, secret: this.#newSecret() }, actor)
    if (how.off && running.deps.protocol.membership.void.some(({ id }) => id === member.id)) {
      await running.change({ kind: 'off', id: member.id }, actor)
    }
    const off = !running.deps.protocol.membership.void.some(({ id }) => id === member.id)
    return { id: member.id, name: member.name, off }
  }

  /** A policy that was asked for by a setting, where it is another than the cluster's. */
  async putPolicy(actor: Actor): Promise<void> {
    const running = this.#running
    const { policy, leaseMs } = this.deps
    if (!running || policy === 'auto') return
    const now = running.deps.protocol.membership
    if (!now.auto && now.policy === policy && now.leaseMs === leaseMs) return
    await running.change({ kind: 'policy', policy, leaseMs }, actor)
  }

  // The rest is the running member's

  get clustered(): boolean {
    return this.#running !== null
  }

  status(): ClusterStatus | null {
    return this.#running?.status() ?? null
  }

  memberName(id: string): string | null {
    return this.#running?.deps.protocol.membership.members.find((member) => member.id === id)?.name ?? null
  }

  completion(revocation: string): Completion {
    return this.#running?.completion(revocation) ?? { complete: true, peers: [] }
  }

  settled(revocation: string, waitMs: number, whole = false): Promise<void> {
    return this.#running?.settled(revocation, waitMs, whole) ?? Promise.resolve()
  }

  committed(facts: readonly StoredFact[]): void {
    this.#running?.committed(facts)
  }

  push(about?: { revocation: string; arrivedAt: number }): void {
    this.#running?.push(about)
  }

  spread(waitMs: number): Promise<void> {
    return this.#running?.spread(waitMs) ?? Promise.resolve()
  }

  relay(record: RevocationRecord, issuedUntil: number): void {
    this.#running?.relay(record, issuedUntil)
  }

  stop(): void {
    this.#running?.stop()
  }
}

/** The name, or the first of `name-2`, `name-3`, … that nobody has. */
const freeName = (name: string, others: readonly Member[]): string => {
  const isTaken = (wanted: string) => others.some((other) => other.name === wanted)
  let free = name
  for (let number = 2; isTaken(free); number += 1) free = `${name}-${number}`
  return free
}
