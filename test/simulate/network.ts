import type { Message } from '../../src/cluster/message.ts'
import type { Random } from '../support/random.ts'

/** What reaches a process from outside, in the order in which it reads it. */
export type Input =
  | { t: 'linked'; peer: string }
  | { t: 'unlinked'; peer: string }
  | { t: 'message'; peer: string; message: Message }

export interface Endpoint {
  readonly id: string
  /** Whether it keeps a link to that peer, by the members that it knows. */
  accepts(peer: string): boolean
  /** What it says to a peer that it does not accept. */
  farewell(peer: string): Message | null
  /** A stopped process neither dials nor answers, but what was sent to it waits. */
  readonly stopped: boolean
  deliver(input: Input): void
}

/** How frames fare; a world changes it as it goes. */
export interface Weather {
  delayMs: number
  jitterMs: number
  loss: number
  doubling: number
  /** Of frames that may be overtaken on their link. */
  reordering: number
}
export const FAIR: Weather = { delayMs: 2, jitterMs: 3, loss: 0, doubling: 0, reordering: 0 }

interface Side {
  id: string
  /** The process was told that it is linked. */
  told: boolean
  closed: boolean
  heardAt: number
  /** When the last frame to it arrives. */
  arrivesAt: number
}

/** One connection of a pair, with keys of its own: its frames are nothing on the next one. */
type Link = readonly [Side, Side]

export interface NetworkDeps {
  random: Random
  now(): number
  at(time: number, run: () => void): void
  endpoint(id: string): Endpoint | undefined
  endpoints(): Iterable<Endpoint>
  /** Through bytes, as on the wire, or handed on as it is: cheaper. */
  encoded: boolean
}

const SILENT_MS = 3_000
const DIALLED = 0.5

const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)

export class Network {
  weather: Weather = { ...FAIR }
  /** Directions in which nothing passes, `from to`. */
  readonly blocked = new Set<string>()
  /** Directions in which messages of some types are lost. */
  readonly muted = new Map<string, ReadonlySet<Message['t']>>()
  /** Directions that take so many milliseconds more. */
  readonly slow = new Map<string, number>()
  readonly #links = new Map<string, Link>()

  constructor(readonly deps: NetworkDeps) {}

  send(from: string, to: string, message: Message): void {
    const link = this.#links.get(pairOf(from, to))
    if (!link) return
    const [mine, theirs] = link[0].id === from ? link : [link[1], link[0]]
    if (!mine.told || mine.closed) return
    const { random, now, encoded } = this.deps
    const { loss, doubling, reordering } = this.weather
    if (this.#lost(from, to, message.t) || random.chance(loss)) return
    const sent = encoded ? (JSON.parse(JSON.stringify(message)) as Message) : message
    for (let copies = random.chance(doubling) ? 2 : 1; copies > 0; copies -= 1) {
      let arrivesAt = now() + this.#delay(from, to)
      if (!random.chance(reordering)) theirs.arrivesAt = arrivesAt = Math.max(arrivesAt, theirs.arrivesAt)
      this.deps.at(arrivesAt, () => this.#arrive(link, theirs, from, sent))
    }
  }

  broadcast(from: string, message: Message): void {
    for (const link of this.#links.values()) {
      if (link[0].id === from) this.send(from, link[1].id, message)
      else if (link[1].id === from) this.send(from, link[0].id, message)
    }
  }

  get isClear(): boolean {
    return this.blocked.size + this.muted.size + this.slow.size === 0
  }

  /** Dials what is to be linked and is not; closes what was silent for too long, or is a member no more. */
  sweep(): void {
    const { random, now } = this.deps
    for (const [pair, link] of this.#links) {
      if (link[0].closed && link[1].closed) this.#links.delete(pair)
      for (const side of link) {
        const other = link[0] === side ? link[1] : link[0]
        const endpoint = this.deps.endpoint(side.id)
        if (side.closed || !endpoint || endpoint.stopped) continue
        if (!endpoint.accepts(other.id) || (side.told && now() - side.heardAt > SILENT_MS))
          this.#close(link, side, true)
      }
    }
    const all = [...this.deps.endpoints()].filter(({ stopped }) => !stopped)
    for (const [at, one] of all.entries()) {
      for (const other of all.slice(at + 1)) {
        const link = this.#links.get(pairOf(one.id, other.id))
        if (link && !link[0].closed && !link[1].closed) continue
        if (!this.#open(one.id, other.id) || !this.#open(other.id, one.id)) continue
        if (!random.chance(DIALLED)) continue
        const [wanted, wants] = [one.accepts(other.id), other.accepts(one.id)]
        if (wanted && wants) this.#link(one.id, other.id)
        else if (wanted) this.#refuse(one, other)
        else if (wants) this.#refuse(other, one)
      }
    }
  }

  /** Its links end: told to the others at once by its kernel, or not at all when the machine lost its power. */
  died(id: string, silently: boolean): void {
    for (const link of this.#links.values()) {
      const side = link.find((one) => one.id === id)
      if (!side || side.closed) continue
      side.closed = true
      if (!silently) this.#sayClosed(link, side)
    }
  }

  drop(a: string, b: string): void {
    const link = this.#links.get(pairOf(a, b))
    if (link) for (const side of link) this.#close(link, side, false)
  }

  #refuse(dialler: Endpoint, by: Endpoint): void {
    const message = by.farewell(dialler.id)
    if (message)
      this.deps.at(this.deps.now() + this.#delay(by.id, dialler.id), () =>
        dialler.deliver({ t: 'message', peer: by.id, message }),
      )
  }

  #link(a: string, b: string): void {
    const now = this.deps.now()
    this.drop(a, b)
    const side = (id: string): Side => ({ id, told: false, closed: false, heardAt: now, arrivesAt: now })
    const link: Link = [side(a), side(b)]
    this.#links.set(pairOf(a, b), link)
    for (const one of link) this.deps.at(now + this.#delay(a, b), () => this.#tell(link, one))
  }

  #tell(link: Link, side: Side): void {
    if (side.told || side.closed) return
    const other = link[0] === side ? link[1] : link[0]
    side.told = true
    side.heardAt = this.deps.now()
    this.deps.endpoint(side.id)?.deliver({ t: 'linked', peer: other.id })
  }

  #arrive(link: Link, side: Side, from: string, message: Message): void {
    if (side.closed) return
    this.#tell(link, side)
    side.heardAt = this.deps.now()
    this.deps.endpoint(side.id)?.deliver({ t: 'message', peer: from, message })
  }

  #close(link: Link, side: Side, say: boolean): void {
    if (side.closed) return
    side.closed = true
    const other = link[0] === side ? link[1] : link[0]
    if (side.told) this.deps.endpoint(side.id)?.deliver({ t: 'unlinked', peer: other.id })
    if (say) this.#sayClosed(link, side)
  }

  #sayClosed(link: Link, side: Side): void {
    const other = link[0] === side ? link[1] : link[0]
    if (!this.#open(side.id, other.id)) return
    // Behind what was sent before it, as a FIN is.
    const at = Math.max(this.deps.now() + this.#delay(side.id, other.id), other.arrivesAt)
    this.deps.at(at, () => this.#close(link, other, false))
  }

  #open(from: string, to: string): boolean {
    return !this.blocked.has(`${from} ${to}`)
  }

  #lost(from: string, to: string, type: Message['t']): boolean {
    return !this.#open(from, to) || (this.muted.get(`${from} ${to}`)?.has(type) ?? false)
  }

  #delay(from: string, to: string): number {
    const more = this.slow.size > 0 ? (this.slow.get(`${from} ${to}`) ?? 0) : 0
    return more + this.weather.delayMs + this.deps.random.next() * this.weather.jitterMs
  }
}
