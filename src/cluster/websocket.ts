import { limits } from '../limits.ts'
import type { Stopwatch } from '../time.ts'
import { decodeMessage, encodeMessage } from './frame.ts'
import { accept, type Claim, dial, type Established, type Trust } from './handshake.ts'
import type { ClusterListener, Door } from './listener.ts'
import type { Message } from './message.ts'
import { SEAL_BYTES, type Session } from './seal.ts'
import type { Refusal, Transport, TransportEvents } from './transport.ts'
import { dialWire, type Wire } from './wire.ts'

interface Link {
  peer: string
  wire: Wire
  session: Session
  claim: Claim
  former: boolean
  /** By this node. */
  dialled: boolean
  silentMs: number
  /** Another link of this pair is in use; this one is read for so long more. null: it is the one in use. */
  lingerMs: number | null
  over: boolean
}

/** A member to be linked to. */
interface Target {
  id: string
  key: string
  url: string
  /** Until it is dialled again. */
  dueMs: number
  /** Under way, the oldest first. */
  dials: Set<{ wire: Wire; ageMs: number }>
}

/** The path of links on the cluster's port; behind a proxy it follows that of the advertised URL. */
const PATH = '/link'

const giveUp = ({ dials }: Target): void => {
  for (const { wire } of dials) wire.terminate()
}

/**
 * One WebSocket a pair. Both sides dial, since perhaps only one can reach the other; of two, the one that the smaller id
 * dialled is used. What is lost on the way is found by the digests.
 */
export class WebSocketTransport implements Transport {
  readonly name = 'websocket'
  #targets = new Map<string, Target>()
  /** In use, by peer. */
  #links = new Map<string, Link>()
  /** Those that linger as well. */
  #all = new Set<Link>()
  #beat: ReturnType<typeof setInterval> | null = null
  #lastBeat = 0

  constructor(
    readonly trust: Trust,
    readonly listener: ClusterListener,
    readonly stopwatch: Stopwatch,
    readonly events: TransportEvents,
    readonly most = { silentMs: limits.clusterSilentMs, bufferBytes: limits.clusterBufferBytesMax },
  ) {
    listener.open(PATH, this.#door)
  }

  async start(): Promise<void> {
    this.#lastBeat = this.stopwatch()
    this.#beat = setInterval(() => this.#tick(), limits.clusterBeatMs)
  }

  members(members: readonly { id: string; url: string; key: string }[]): void {
    const before = this.#targets
    this.#targets = new Map()
    for (const { id, url, key } of members) {
      const known = before.get(id)
      before.delete(id)
      const target = known ?? { id, url, key, dueMs: this.#firstMs(id), dials: new Set() }
      this.#targets.set(id, Object.assign(target, { url, key }))
    }
    for (const target of before.values()) giveUp(target)
    for (const link of this.#all) {
      const stays = this.#targets.has(link.peer) || (link.former && this.trust.former(link.claim))
      if (!stays) this.#endSoon(link)
    }
  }

  linked(): readonly string[] {
    return [...this.#links.keys()]
  }

  send(to: string, message: Message): boolean {
    const link = this.#links.get(to)
    return link !== undefined && this.#write(link, encodeMessage(message))
  }

  broadcast(message: Message): void {
    const plain = encodeMessage(message)
    for (const link of this.#links.values()) this.#write(link, plain)
  }

  drop(peer: string): void {
    const link = this.#links.get(peer)
    if (link) this.#endSoon(link)
  }

  stop(): void {
    if (this.#beat) clearInterval(this.#beat)
    for (const target of this.#targets.values()) giveUp(target)
    this.#targets.clear()
    for (const link of this.#all) this.#end(link)
  }

  #write(link: Link, plain: Buffer): boolean {
    if (plain.length + SEAL_BYTES > limits.clusterFrameBytesMax) {
      this.events.refused('too_large')
      return false
    }
    link.wire.send(link.session.seal(plain))
    if (link.wire.buffered > this.most.bufferBytes) this.#endSoon(link)
    return true
  }

  #keyOf = (id: string): string | null => this.#targets.get(id)?.key ?? null

  #door: Door = (wire, proven) => {
    let answer: Exclude<ReturnType<typeof accept>, Refusal> | null = null
    let link: Link | null = null
    let over = false
    const refuse = (reason: Refusal) => {
      over = true
      this.events.refused(reason)
      wire.terminate()
    }
    return {
      received: (data) => {
        if (over) return
        if (link) return this.#received(link, data)
        if (typeof data !== 'string') return refuse('malformed')
        if (!answer) {
          const answered = accept(this.trust, this.#keyOf, data)
          if (typeof answered === 'string') return refuse(answered)
          answer = answered
          return wire.send(answer.welcome)
        }
        const established = answer.finish(data)
        if (typeof established === 'string') return refuse(established)
        if (!established.removal) {
          proven()
          link = this.#establish(wire, false, established)
          return
        }
        // Not proven: it is sent away in time if it does not go by itself.
        over = true
        this.events.refused('not_a_member')
        // It shares the key ring, and must not learn the secret of the cluster that it is no part of.
        const chosen = encodeMessage({ t: 'chosen', membership: { ...established.removal, secret: '' } })
        wire.send(established.session.seal(chosen))
        wire.close()
      },
      closed: () => {
        if (link) this.#lost(link)
      },
    }
  }

  #dial(target: Target): void {
    // Who dials proves nothing by its name; what stands between nodes can tell their links apart by it.
    const url = `${target.url.replace(/\/+$/, '')}${PATH}?from=${this.trust.self().id}`
    if (!URL.canParse(url)) return
    const step = dial(this.trust, this.#keyOf, target.id)
    let link: Link | null = null
    let over = false
    const refuse = (reason: Refusal) => {
      over = true
      this.events.refused(reason)
      wire.terminate()
    }
    const wire = dialWire(new URL(url), {
      opened: () => wire.send(step.hello),
      received: (data) => {
        if (over) return
        if (link) return this.#received(link, data)
        const established = typeof data === 'string' ? step.finish(data) : 'malformed'
        if (typeof established === 'string') return refuse(established)
        wire.send(established.proof)
        target.dials.delete(dialling)
        link = this.#establish(wire, true, established)
      },
      closed: (refusal) => {
        if (refusal) this.events.refused(refusal)
        target.dials.delete(dialling)
        if (link) this.#lost(link)
      },
    })
    const dialling = { wire, ageMs: 0 }
    target.dials.add(dialling)
  }

  #establish(wire: Wire, dialled: boolean, { peer, session, claim, former }: Established): Link {
    const link: Link = {
      ...{ peer, wire, session, claim, former, dialled },
      ...{ silentMs: 0, lingerMs: null, over: false },
    }
    this.#all.add(link)
    const old = this.#links.get(peer)
    if (old && old.dialled !== dialled && old.silentMs < limits.clusterLingerMs) {
      // Both sides come to the same choice, whichever they saw first.
      const chosen = dialled === this.trust.self().id < peer ? link : old
      this.#links.set(peer, chosen)
      const other = chosen === link ? old : link
      other.lingerMs = limits.clusterLingerMs
      return link
    }
    // Who dials again has lost the link that it had.
    if (old && this.#end(old)) this.events.unlinked(peer)
    this.#links.set(peer, link)
    for (const target of this.#targets.values()) if (this.#reached(target)) giveUp(target)
    this.events.linked(peer)
    return link
  }

  #received(link: Link, data: string | Buffer): void {
    if (link.over) return
    const plain = typeof data === 'string' ? 'malformed' : link.session.open(data)
    const message = typeof plain === 'string' ? plain : decodeMessage(plain)
    if (typeof message === 'string') {
      this.events.refused(message)
      return this.#lost(link)
    }
    link.silentMs = 0
    if (message) this.events.message(link.peer, message)
  }

  #lost(link: Link): void {
    if (this.#end(link)) this.events.unlinked(link.peer)
  }

  /** Tells it in a later turn: who called is in the middle of something. */
  #endSoon(link: Link): void {
    if (this.#end(link)) queueMicrotask(() => this.events.unlinked(link.peer))
  }

  /** Whether it was the one in use. */
  #end(link: Link): boolean {
    if (link.over) return false
    link.over = true
    this.#all.delete(link)
    link.wire.terminate()
    if (this.#links.get(link.peer) !== link) return false
    this.#links.delete(link.peer)
    return true
  }

  /** The larger id waits longer: mostly it is dialled by then. */
  #firstMs(id: string): number {
    return limits.clusterRedialMs / (this.trust.self().id < id ? 4 : 1)
  }

  /** Also when a restored folder answers in the member's place. */
  #reached({ id }: Target): boolean {
    if (this.#links.has(id)) return true
    for (const { claim } of this.#links.values()) if (claim.formerly.includes(id)) return true
    return false
  }

  #tick(): void {
    const now = this.stopwatch()
    // A process that was stopped must not take its own absence for silence.
    const passedMs = Math.min(now - this.#lastBeat, 4 * limits.clusterBeatMs)
    this.#lastBeat = now
    for (const link of this.#all) {
      link.silentMs += passedMs
      if (link.lingerMs !== null) link.lingerMs -= passedMs
      if (link.silentMs > this.most.silentMs || (link.lingerMs ?? 1) <= 0) this.#lost(link)
    }
    for (const target of this.#targets.values()) {
      for (const dial of target.dials) {
        dial.ageMs += passedMs
        if (dial.ageMs > limits.clusterHandshakeMs) dial.wire.terminate()
      }
      if (this.#reached(target)) {
        target.dueMs = this.#firstMs(target.id)
        continue
      }
      target.dueMs -= passedMs
      if (target.dueMs > 0) continue
      target.dueMs = limits.clusterRedialMs * (0.5 + Math.random())
      const [oldest] = target.dials
      if (target.dials.size >= limits.clusterDialsMax) oldest?.wire.terminate()
      this.#dial(target)
    }
  }
}
