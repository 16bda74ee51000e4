import type { Membership } from '../../src/cluster/message.ts'
import { type FactId, type StoredFact, type Vector, reachOf } from '../../src/fact.ts'
import { matches } from '../../src/revocation.ts'
import type { RevocationRecord, Selector } from '../../src/revocation-record.ts'
import type { Disk } from './disk.ts'
import type { Process } from './process.ts'
import { type SimRevocation, type SimToken, type Store, type StoreEvents, keyOf, kills } from './store.ts'

export class Violation extends Error {}

/** Whether one knows all revocations that the other knows. */
const coversRevocations = (vector: Vector, other: Vector): boolean =>
  Object.keys(other).every((origin) => reachOf(vector, origin, 'revocation') >= reachOf(other, origin, 'revocation'))

/** What must hold after every step, kept up as things happen instead of counted anew. */
export class Checks implements StoreEvents {
  readonly tokens = new Map<string, SimToken>()
  readonly counts = { complete: 0, doomed: 0, heldBack: 0, served: 0, revocations: 0 }
  /** All facts that were ever made, by where they stand. */
  readonly #ledger = new Map<string, StoredFact>()
  readonly #complete = new Map<string, SimRevocation>()
  /** By token: the revocation that named it and was called complete. */
  readonly #doomed = new Map<string, string>()
  /**
   * After a removal by force, until all is healed: it was the operator's word that those removed serve nobody any more, and
   * that nothing they alone knew counts.
   */
  suspended = false
  /** By version: who counts. Only a removal by force makes two of one. */
  readonly #memberships = new Map<number, string>()
  readonly #seen = new WeakSet<Membership>()
  forced = false
  /** Records that were denied before they became facts. */
  readonly relayed: RevocationRecord[] = []

  constructor(
    readonly processes: () => Iterable<Process>,
    readonly disks: () => Iterable<Disk>,
    readonly gone: ReadonlySet<string>,
    readonly trace: (tell: () => string) => void,
  ) {}

  stored(fact: StoredFact): void {
    const key = `${fact.stream} ${keyOf(fact)}`
    const known = this.#ledger.get(key)
    if (known && (known.payload !== fact.payload || known.hlc !== fact.hlc)) {
      throw new Violation(`two facts under ${key}: ${known.payload} and ${fact.payload}`)
    }
    if (known) return
    this.#ledger.set(key, fact)
    if (fact.stream === 'revocation') this.counts.revocations += 1
    if (fact.kind !== 'token.issue') return
    const plain = JSON.parse(fact.payload) as SimToken
    const token = { ...plain, servers: new Set(plain.servers as unknown as string[]) }
    this.tokens.set(token.id, token)
    for (const revocation of this.#complete.values())
      if (kills(revocation, token, false)) this.#doom(token.id, revocation)
  }

  lives(store: Store, token: SimToken): void {
    if (store.dead.has(token.id)) throw new Violation(`${token.id} was dead on ${store.disk.identity} and lives again`)
    if (this.#doomed.has(token.id)) store.doomed.add(token.id)
  }

  dies(store: Store, token: string): void {
    store.doomed.delete(token)
  }

  declared(process: Process, fact: FactId): void {
    const key = keyOf(fact)
    if (process.membership.void.length > 0)
      throw new Violation(`${process.id} calls ${key} complete, with members void`)
    if (this.suspended || this.#complete.has(key)) return
    const revocation = this.revocationOf(fact)
    if (!revocation) throw new Violation(`${process.id} calls ${key} complete, which never was`)
    this.counts.complete += 1
    this.trace(() => `${process.id} calls ${key} complete: ${JSON.stringify(revocation.selector)}`)
    this.#complete.set(key, revocation)
    for (const token of this.tokens.values()) if (kills(revocation, token, false)) this.#doom(token.id, revocation)
    this.look()
  }

  isComplete(fact: Pick<FactId, 'origin' | 'seq'>): boolean {
    return this.#complete.has(keyOf(fact))
  }

  /** After every step. */
  stepped(process: Process): void {
    if (!process.served && process.fit) this.#serves(process)
    this.#oneMembership(process)
    this.look()
  }

  /** Complete means: nobody can let it in any more, as it runs or as it would wake now. */
  look(): void {
    if (this.suspended) return
    for (const process of this.processes()) {
      const [token] = process.store.doomed
      if (token === undefined) continue
      this.counts.heldBack += 1
      if (!process.fit) continue
      throw new Violation(`${process.id} can let in ${token}, though ${this.#doomed.get(token)} was called complete`)
    }
  }

  revocationOf({ origin, seq }: Pick<FactId, 'origin' | 'seq'>): SimRevocation | null {
    const fact = this.#ledger.get(`revocation ${origin}/${seq}`)
    if (!fact) return null
    const { id = '', selector = {} } = JSON.parse(fact.payload) as { id?: string; selector?: Selector }
    return { origin, stream: 'revocation', seq, id, selector }
  }

  /** What everybody has in the end says what its facts say: each selector killed all it names, and nothing else died. */
  settled(store: Store): void {
    for (const token of this.tokens.values()) {
      const killer = store.revocations.find((revocation) => kills(revocation, token, false))
      if (killer && store.live.has(token.id)) throw new Violation(`${keyOf(killer)} names ${token.id}, which lives`)
      if (killer || !store.dead.has(token.id) || this.#everNamed(token)) continue
      throw new Violation(`${token.id} is dead, and no revocation ever named it`)
    }
  }

  /** Also by one that was denied in memory when a disk refused it, and was lost with another. */
  #everNamed(token: SimToken): boolean {
    return (
      this.relayed.some(({ selector }) => matches(selector, token)) ||
      [...this.#ledger.values()].some((fact) => {
        const revocation = fact.stream === 'revocation' ? this.revocationOf(fact) : null
        return revocation !== null && kills(revocation, token, false)
      })
    )
  }

  #oneMembership({ id, membership }: Process): void {
    if (this.#seen.has(membership)) return
    this.#seen.add(membership)
    const { version, ballot, members, policy, leaseMs } = membership
    // So the core marks what was decided without a majority.
    this.forced ||= this.suspended || ballot.startsWith('~')
    const said = JSON.stringify([members.map((member) => member.id), policy, leaseMs])
    const known = this.#memberships.get(version) ?? said
    this.#memberships.set(version, known)
    if (known !== said && !this.forced)
      throw new Violation(`${id} has ${said} as version ${version}, others have ${known}`)
  }

  /** What no folder knows any more, after some were lost, nobody can keep to. */
  forget(): void {
    const lost = [...this.#complete].filter(([, { origin, seq }]) => {
      // A copy that runs beside its original, and was never let in, is nobody's to ask.
      const asked = [...this.disks()].filter(({ fresh, retired }) => !fresh || retired)
      return !asked.some(({ facts }) => (facts.get(origin)?.revocation.length ?? 0) >= seq)
    })
    if (lost.length === 0) return
    for (const [key] of lost) this.#complete.delete(key)
    this.#doomed.clear()
    for (const { store } of this.processes()) store.doomed.clear()
    for (const revocation of this.#complete.values()) {
      for (const token of this.tokens.values()) if (kills(revocation, token, false)) this.#doom(token.id, revocation)
    }
  }

  #doom(token: string, revocation: SimRevocation): void {
    if (this.#doomed.has(token)) return
    this.counts.doomed += 1
    this.#doomed.set(token, keyOf(revocation))
    for (const { store } of this.processes()) if (store.live.has(token)) store.doomed.add(token)
  }

  /** Synced before serving: what others knew when it started. */
  #serves(process: Process): void {
    process.served = true
    this.counts.served += 1
    const { vector } = process.store
    if (this.suspended) return
    const isMember = (id: string) => process.membership.members.some((member) => member.id === id)
    const others = [...process.bootVectors].filter(([id]) => isMember(id) && !this.gone.has(id))
    const lacking = others.filter(([, known]) => !coversRevocations(vector, known))
    if (process.wasFresh && lacking.length > 0) {
      throw new Violation(
        `${process.id} serves, and lacks what ${lacking.map(([id]) => id).join()} knew when it started`,
      )
    }
    const alone = others.length === 0 || process.mayServeAlone
    if (!alone && lacking.length === others.length) {
      throw new Violation(`${process.id} serves, and knows less than each of the others knew when it started`)
    }
  }
}
