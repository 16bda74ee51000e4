import { randomBytes } from 'node:crypto'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import type { Limits } from '../limits.ts'
import type { Stopwatch } from '../time.ts'
import { decodeMessage, encodeMessage } from './frame.ts'
import { accept, type Claim, dial, type Established, type KeyOf, type Trust } from './handshake.ts'
import type { Message } from './message.ts'
import { NatsLine, type NatsSettings } from './nats-connection.ts'
import { NatsStream } from './nats-stream.ts'
import type { Session } from './seal.ts'
import { HeardKey, SenderKey } from './sender-key.ts'
import type { Refusal, Transport, TransportEvents } from './transport.ts'

/**
 * Links over NATS, for clusters in which a WebSocket for each pair is too much. Subjects, of a cluster with the id C:
 * `portcullis.C.to.A.B`: from B to A alone, sealed for the two; `portcullis.C.digest.B` and `portcullis.C.facts.B`: from B to
 * all, published once, sealed under B's sender key. JetStream keeps the last. Whoever else is on these servers can hold
 * frames up, drop and repeat them: that is counted, and ends no link.
 */

/** The first byte of what goes to one node; then eight that name the handshake and the session that came of it. */
const HELLO = 1
const WELCOME = 2
const PROOF = 3
const SEALED = 4
const ID_BYTES = 8
const HEAD_BYTES = 1 + ID_BYTES

/** The first byte inside a sealed frame. A message larger than the server takes comes in parts, each with both numbers. */
const LAST_PART = 0
const PART = 1
const KEY = 2
const BYE = 3
const PART_HEAD_BYTES = 9

/** Room for heads and seals around a part. */
const PART_MARGIN_BYTES = 256

const NO_ID = Buffer.alloc(ID_BYTES)

const partHead = (kind: number, message: number, index: number): Buffer => {
  const head = Buffer.alloc(PART_HEAD_BYTES)
  head[0] = kind
  // Nobody sends so many over one session; were it so, the first of a new round is still told from the last of the old.
  head.writeUInt32BE(message % 2 ** 32, 1)
  head.writeUInt32BE(index, 5)
  return head
}

interface Link {
  /** Its public key, as the membership says; null: it is no member, and was let in as one that was. */
  key: string | null
  /** What it said of itself. */
  claim: Claim | null
  id: Buffer
  session: Session | null
  /** What it broadcasts; known: it is linked. */
  heard: HeardKey | null
  silentMs: number
  /** Of messages that went to it, and of the one that comes in parts: a lost part must not join the ends of others. */
  messages: number
  partsOf: number
  parts: Buffer[]
  partBytes: number
  /** Until the next handshake, if it is not linked by then. */
  dueMs: number
}

const clearParts = (link: Link, partsOf: number): void => {
  Object.assign(link, { partsOf, parts: [], partBytes: 0 } satisfies Partial<Link>)
}

export interface NatsDeps {
  trust: Trust
  settings: NatsSettings
  events: TransportEvents
  limits: Limits
  stopwatch: Stopwatch
  warn(text: string): void
}

export class NatsTransport implements Transport {
  readonly name = 'nats'
  readonly #line: NatsLine
  readonly #prefix: string
  /** Members, and nodes let in as former ones. */
  readonly #links = new Map<string, Link>()
  /** Handshakes under way, by their ids. A far node's answer comes after the next one began. */
  readonly #dials = new Map<string, { peer: string; finish: ReturnType<typeof dial>['finish'] }>()
  readonly #accepts = new Map<string, { peer: string; finish(proof: string): Established | Refusal }>()
  #key = new SenderKey()
  /** A peer went that knows the key: nothing more is said under it. */
  #keyIsOld = false
  #stream: NatsStream | null = null
  #beat: NodeJS.Timeout | null = null
  #lastBeat = 0

  constructor(readonly deps: NatsDeps) {
    const { settings, limits, trust, warn } = deps
    this.#prefix = `portcullis.${trust.cluster()}`
    const name = `portcullis ${trust.self().id}`
    this.#line = new NatsLine({ settings, name, limits, warn, onConnection: (made) => this.#subscribe(made) })
  }

  async start(): Promise<void> {
    this.#lastBeat = this.deps.stopwatch()
    this.#beat = setInterval(() => this.#tick(), this.deps.limits.clusterBeatMs)
    await this.#line.start()
  }

  stop(): void {
    clearInterval(this.#beat ?? undefined)
    for (const [peer, link] of this.#links) this.#seal(peer, link, Buffer.of(BYE))
    this.#stream?.stop()
    this.#line.stop()
  }

  // Whom it is linked to

  members(members: readonly { id: string; url: string; key: string }[]): void {
    const keys = new Map(members.map(({ id, key }) => [id, key]))
    for (const [id, link] of this.#links) {
      const key = keys.get(id)
      const stays = key === undefined ? this.#isFormer(link) : link.key === key || link.claim?.key === key
      if (!stays) this.#endSoon(id, link)
      if (key !== undefined) link.key = key
      else if (!stays) this.#forget(id)
    }
    for (const [id, key] of keys) if (!this.#links.has(id)) this.#links.set(id, this.#newLink(key, id))
  }

  #isFormer({ key, claim }: Link): boolean {
    return key === null && claim !== null && this.deps.trust.former(claim)
  }

  #forget(id: string): void {
    this.#links.delete(id)
    this.#endHandshakes(this.#dials, id)
    this.#endHandshakes(this.#accepts, id)
  }

  /** The larger id waits a little: mostly it is dialled by then. */
  #newLink(key: string | null, id = ''): Link {
    return {
      key,
      claim: null,
      id: NO_ID,
      session: null,
      heard: null,
      silentMs: 0,
      messages: 0,
      partsOf: 0,
      parts: [],
      partBytes: 0,
      dueMs: id > this.deps.trust.self().id ? 0 : this.deps.limits.clusterRedialMs,
    }
  }

  linked(): readonly string[] {
    return [...this.#links].filter(([, { heard }]) => heard !== null).map(([id]) => id)
  }

  drop(peer: string): void {
    const link = this.#links.get(peer)
    if (link) this.#endSoon(peer, link)
  }

  /** Whether it was linked. The other notices at last by the silence: it can't read what is said from here on. */
  #end(link: Link): boolean {
    if (link.session) this.#keyIsOld = true
    return this.#reset(link)
  }

  #reset(link: Link): boolean {
    const wasLinked = link.heard !== null
    Object.assign(link, this.#newLink(link.key))
    return wasLinked
  }

  /** Tells it in a later turn: who called is in the middle of something. */
  #endSoon(peer: string, link: Link): void {
    this.#seal(peer, link, Buffer.of(BYE))
    if (this.#end(link)) queueMicrotask(() => this.deps.events.unlinked(peer))
  }

  /** What is due: peers that are silent, and those that there is no link to yet. */
  #tick(): void {
    const { limits, stopwatch } = this.deps
    const now = stopwatch()
    // A process that was stopped must not take its own absence for silence.
    const passedMs = Math.min(now - this.#lastBeat, 4 * limits.clusterBeatMs)
    this.#lastBeat = now
    for (const [id, link] of this.#links) {
      link.silentMs += passedMs
      link.dueMs -= passedMs
      const silent = link.session !== null && link.silentMs > limits.clusterSilentMs
      if (silent && this.#end(link)) this.deps.events.unlinked(id)
      if (link.key === null && !link.session) this.#forget(id)
      else if (link.dueMs <= 0 && this.#line.up && !this.#reached(id)) this.#dial(id, link)
    }
  }

  /** Also when a restored folder answers in the member's place. */
  #reached(id: string): boolean {
    if (this.#links.get(id)?.heard) return true
    for (const { heard, claim } of this.#links.values()) if (heard && claim?.formerly.includes(id)) return true
    return false
  }

  #wait(link: Link, ms: number): void {
    link.dueMs = ms * (0.5 + Math.random())
  }

  /** Once both have spoken, a far node's next word takes longer than until the next try, which would begin all anew. */
  #waitLong(link: Link): void {
    const { clusterRedialMs, clusterDialsMax } = this.deps.limits
    this.#wait(link, clusterRedialMs * clusterDialsMax)
  }

  // Handshakes

  #keyOf: KeyOf = (id) => this.#links.get(id)?.key ?? null

  #dial(to: string, link: Link): void {
    this.#wait(link, this.deps.limits.clusterRedialMs)
    const { hello, finish } = dial(this.deps.trust, this.#keyOf, to)
    const id = randomBytes(ID_BYTES)
    this.#begin(this.#dials, id, { peer: to, finish })
    this.#publish(this.#to(to), Buffer.concat([Buffer.of(HELLO), id, Buffer.from(hello)]))
  }

  /** The oldest of too many with one peer is given up. */
  #begin<T extends { peer: string }>(under: Map<string, T>, id: Buffer, handshake: T): void {
    const others = [...under].filter(([, { peer }]) => peer === handshake.peer)
    if (others.length >= this.deps.limits.clusterDialsMax) under.delete(others[0]?.[0] as string)
    under.set(id.toString('hex'), handshake)
  }

  #endHandshakes(under: Map<string, { peer: string }>, peer: string): void {
    for (const [id, handshake] of under) if (handshake.peer === peer) under.delete(id)
  }

  #onHello(from: string, id: Buffer, text: string): void {
    const { trust, limits } = this.deps
    // Of two that dial each other, the smaller id is heard.
    const crossed = [...this.#dials.values()].some(({ peer }) => peer === from)
    if (crossed && trust.self().id < from) return
    if (this.#accepts.size >= limits.membersMax * limits.clusterDialsMax) return this.#refuse('too_many')
    const accepted = accept(trust, this.#keyOf, text)
    if (typeof accepted === 'string') return this.#refuse(accepted)
    const link = this.#links.get(from)
    if (link) this.#waitLong(link)
    this.#endHandshakes(this.#dials, from)
    this.#begin(this.#accepts, id, { peer: from, finish: accepted.finish })
    this.#publish(this.#to(from), Buffer.concat([Buffer.of(WELCOME), id, Buffer.from(accepted.welcome)]))
  }

  #onWelcome(from: string, id: Buffer, text: string): void {
    const established = this.#dials.get(id.toString('hex'))?.finish(text)
    if (established === undefined) return
    if (typeof established === 'string') return this.#refuse(established)
    if (established.peer !== from) return this.#refuse('not_a_member')
    this.#dials.delete(id.toString('hex'))
    this.#publish(this.#to(from), Buffer.concat([Buffer.of(PROOF), id, Buffer.from(established.proof)]))
    this.#establish(id, established)
  }

  #onProof(from: string, id: Buffer, text: string): void {
    const pending = this.#accepts.get(id.toString('hex'))
    if (pending?.peer !== from) return
    const established = pending.finish(text)
    if (typeof established === 'string') return this.#refuse(established)
    if (established.peer !== from) return this.#refuse('not_a_member')
    this.#accepts.delete(id.toString('hex'))
    this.#establish(id, established)
  }

  #establish(id: Buffer, { peer, session, claim, former, removal }: Established): void {
    if (removal) {
      // It does not know yet. The key of the others' secret is none of its business, nor what they say to all.
      const chosen = encodeMessage({ t: 'chosen', membership: { ...removal, secret: '' } })
      this.#seal(peer, { id, session }, Buffer.concat([Buffer.of(KEY), new SenderKey().told()]))
      this.#seal(peer, { id, session }, Buffer.concat([partHead(LAST_PART, 1, 0), chosen]))
      return this.#refuse('not_a_member')
    }
    if (former && !this.#links.has(peer)) this.#links.set(peer, this.#newLink(null))
    const link = this.#links.get(peer)
    if (!link) return
    if (this.#reset(link)) this.deps.events.unlinked(peer)
    Object.assign(link, { id, session, claim } satisfies Partial<Link>)
    this.#waitLong(link)
    // What is still under way would only end the session that there is now.
    this.#endHandshakes(this.#dials, peer)
    this.#endHandshakes(this.#accepts, peer)
    this.#renewKey()
    this.#tellKey(peer, link)
  }

  /** All that are linked learn the new key before anything is said under it. */
  #renewKey(): void {
    if (!this.#keyIsOld) return
    this.#keyIsOld = false
    this.#key = new SenderKey()
    for (const [peer, link] of this.#links) this.#tellKey(peer, link)
  }

  #tellKey(peer: string, link: Link): void {
    this.#seal(peer, link, Buffer.concat([Buffer.of(KEY), this.#key.told()]))
  }

  // What is said

  send(to: string, message: Message): boolean {
    const link = this.#links.get(to)
    if (!link?.heard || !this.#line.up) return false
    const bytes = encodeMessage(message)
    if (bytes.length > this.deps.limits.clusterFrameBytesMax) {
      this.#refuse('too_large')
      return false
    }
    link.messages += 1
    const partBytesMax = this.#partBytesMax
    for (let index = 0; index * partBytesMax < bytes.length; index += 1) {
      const part = bytes.subarray(index * partBytesMax, (index + 1) * partBytesMax)
      const kind = (index + 1) * partBytesMax < bytes.length ? PART : LAST_PART
      this.#seal(to, link, Buffer.concat([partHead(kind, link.messages, index), part]))
    }
    return true
  }

  /** Of a message, without what is around it. */
  get #partBytesMax(): number {
    const { natsPayloadBytes } = this.deps.limits
    const takes = Math.min(natsPayloadBytes, this.#line.up?.info?.max_payload ?? natsPayloadBytes)
    return Math.max(PART_MARGIN_BYTES, takes - PART_MARGIN_BYTES)
  }

  broadcast(message: Message): void {
    const line = this.#line.up
    const linked = this.linked()
    if (!line || linked.length === 0) return
    const once = message.t === 'digest' || (message.t === 'facts' && !message.pulled)
    const bytes = once ? encodeMessage(message) : null
    if (bytes === null || bytes.length > this.#partBytesMax) {
      for (const peer of linked) this.send(peer, message)
      return
    }
    this.#renewKey()
    const [road, what] = message.t === 'digest' ? (['digest', 'digests'] as const) : (['facts', 'facts'] as const)
    this.#publish(`${this.#prefix}.${road}.${this.deps.trust.self().id}`, this.#key.seal(what, bytes))
    // The client writes at the end of the run; flushing writes now, before anything is cut. The answer tells nothing more.
    if (message.t === 'facts') line.flush().catch(() => undefined)
  }

  #seal(peer: string, { id, session }: Pick<Link, 'id' | 'session'>, plain: Uint8Array): void {
    if (session) this.#publish(this.#to(peer), Buffer.concat([Buffer.of(SEALED), id, session.seal(plain)]))
  }

  #to(peer: string): string {
    return `${this.#prefix}.to.${peer}.${this.deps.trust.self().id}`
  }

  /** Without a connection it is dropped: digests find what is missing. */
  #publish(subject: string, frame: Uint8Array): void {
    this.#line.up?.publish(subject, frame)
  }

  // What is heard

  #subscribe(connection: NatsConnection): void {
    const { trust, limits, warn } = this.deps
    const { id, formerly } = trust.self()
    const on = (subject: string, heard: (from: string, frame: Uint8Array) => void) =>
      connection.subscribe(`${this.#prefix}.${subject}`, {
        callback: (error: Error | null, message: Msg) => {
          if (error) warn(`NATS: ${error.message}`)
          else heard(message.subject.slice(message.subject.lastIndexOf('.') + 1), message.data)
        },
      })
    for (const own of [id, ...formerly]) on(`to.${own}.*`, (from, frame) => this.#onDirect(from, Buffer.from(frame)))
    on('digest.*', (from, frame) => this.#onBroadcast(from, 'digests', frame))
    on('facts.*', (from, frame) => this.#onBroadcast(from, 'facts', frame))
    this.#stream?.stop()
    this.#stream = new NatsStream(connection, {
      name: `portcullis_${trust.cluster()}`,
      subject: `${this.#prefix}.facts.*`,
      limits,
      onMessage: (subject, frame) => this.#onBroadcast(subject.slice(subject.lastIndexOf('.') + 1), 'stored', frame),
      warn,
    })
    void this.#stream.keep()
  }

  #onBroadcast(from: string, what: 'digests' | 'facts' | 'stored', frame: Uint8Array): void {
    const link = this.#links.get(from)
    const plain = link?.heard?.open(what, frame)
    if (!link || plain === undefined || plain === null) return
    if (typeof plain === 'string') return this.#refuse(plain)
    // What was stored says nothing of whether the sender still lives.
    if (what !== 'stored') link.silentMs = 0
    this.#deliver(from, plain)
  }

  #onDirect(from: string, frame: Buffer): void {
    if (frame.length < HEAD_BYTES) return this.#refuse('truncated')
    const id = frame.subarray(1, HEAD_BYTES)
    const rest = frame.subarray(HEAD_BYTES)
    if (frame[0] === HELLO) return this.#onHello(from, id, rest.toString())
    if (frame[0] === WELCOME) return this.#onWelcome(from, id, rest.toString())
    if (frame[0] === PROOF) return this.#onProof(from, id, rest.toString())
    if (frame[0] !== SEALED) return this.#refuse('wrong_version')
    const link = this.#links.get(from)
    // Of a session before, or of one that the other side has not ended yet.
    if (!link?.session || !link.id.equals(id)) return
    const plain = link.session.open(rest)
    if (typeof plain === 'string') return this.#refuse(plain)
    link.silentMs = 0
    this.#onSealed(from, link, plain)
  }

  #onSealed(from: string, link: Link, plain: Buffer): void {
    if (plain[0] === KEY) return this.#onKey(from, link, plain.subarray(1))
    if (plain[0] === BYE) {
      if (this.#end(link)) this.deps.events.unlinked(from)
      return
    }
    if (plain[0] !== PART && plain[0] !== LAST_PART) return this.#refuse('wrong_version')
    if (plain.length < PART_HEAD_BYTES) return this.#refuse('truncated')
    const number = plain.readUInt32BE(1)
    const bytes = plain.subarray(PART_HEAD_BYTES)
    if (number !== link.partsOf) clearParts(link, number)
    // One before it got lost: digests find what the message would have said.
    if (plain.readUInt32BE(5) !== link.parts.length) return
    link.parts.push(bytes)
    link.partBytes += bytes.length
    if (link.partBytes > this.deps.limits.clusterFrameBytesMax) {
      clearParts(link, number)
      this.#refuse('too_large')
    } else if (plain[0] === LAST_PART) {
      const whole = link.parts.length === 1 ? bytes : Buffer.concat(link.parts)
      clearParts(link, number)
      this.#deliver(from, whole)
    }
  }

  #onKey(from: string, link: Link, told: Buffer): void {
    const heard = HeardKey.of(told)
    if (typeof heard === 'string') return this.#refuse(heard)
    const isNew = link.heard === null
    link.heard = heard
    if (isNew) this.deps.events.linked(from)
  }

  #deliver(from: string, bytes: Buffer): void {
    const message = decodeMessage(bytes)
    if (message === null) return
    if (typeof message === 'string') return this.#refuse(message)
    this.deps.events.message(from, message)
  }

  #refuse(reason: Refusal): void {
    this.deps.events.refused(reason)
  }
}
