import type { Message } from '../../src/cluster/message.ts'
import { idsOf } from '../../src/cluster/membership.ts'
import type { Protocol, Timing } from '../../src/cluster/protocol.ts'
import type { Process } from './process.ts'
import { type Kills, kills } from './store.ts'

type Standing = ReturnType<Protocol['standing']>

/** A fault put into the code from outside, to see that the simulator finds it. */
export interface Break {
  name: string
  timing?: (timing: Timing) => Timing
  /** What a process reads and says instead. */
  incoming?: (process: Process, peer: string, message: Message) => Message[]
  outgoing?: (process: Process, to: string, message: Message) => Message[]
  standing?: (process: Process, standing: Standing) => Standing
  kills?: Kills
}

export const SOUND: Break = { name: 'sound' }

/** By how much an answer came later than its question, on the asker's clock. */
const late = new WeakMap<Process, number>()
/** Facts that were acked already and are applied now. */
const acked = new WeakSet<Message>()
const APPLIED_LATER_MS = 400

/** What one who acks before it applied says. */
const ackAtOnce = (process: Process, peer: string, message: Extract<Message, { t: 'facts' }>): void => {
  const vector: Record<string, readonly [number, number]> = { ...process.store.vector }
  for (const { origin, stream, seq } of message.facts) {
    const [revocation, change] = vector[origin] ?? [0, 0]
    vector[origin] = stream === 'revocation' ? [Math.max(seq, revocation), change] : [revocation, Math.max(seq, change)]
  }
  const acks = message.facts.flatMap(({ stream, origin, seq }) =>
    stream === 'revocation' ? [{ origin, seq, cut: 0 }] : [],
  )
  process.deps.network.send(process.id, peer, {
    t: 'ack',
    acks,
    vector,
    unknown: process.store.unknown,
    view: idsOf(process.protocol.view),
  })
}

export const BREAKS: readonly Break[] = [
  {
    name: 'a lease from whoever was heard, granted or not',
    incoming: (_process, _peer, message) => [
      message.t === 'answer' ? { ...message, granted: true, known: { vector: {}, unknown: [] } } : message,
    ],
  },
  {
    name: 'an ack before the facts are applied',
    incoming: (process, peer, message) => {
      if (message.t !== 'facts' || acked.has(message)) return [message]
      const later = { ...message }
      acked.add(later)
      ackAtOnce(process, peer, message)
      process.deps.at(process.deps.now() + APPLIED_LATER_MS, () =>
        process.deliver({ t: 'message', peer, message: later }),
      )
      return []
    },
  },
  {
    name: 'complete once a majority acked, without waiting for leases that were granted before',
    timing: (timing) => ({ ...timing, leaseGuard: 0 }),
  },
  {
    name: 'a lease counted from its answer instead of its question',
    incoming: (process, _peer, message) => {
      const askedAt = message.t === 'answer' && message.granted ? process.asked.get(message.ask) : undefined
      if (askedAt !== undefined) late.set(process, process.mono - askedAt)
      return [message]
    },
    standing: (process, { unfit, validUntil }) => {
      const until = validUntil + (late.get(process) ?? 0)
      return { unfit: unfit === 'node_stale' && process.mono < until ? null : unfit, validUntil: until }
    },
  },
  {
    name: 'a selector kills only what is there when it arrives',
    kills: (revocation, token, arriving) => !arriving && kills(revocation, token, arriving),
  },
  {
    name: 'a node serves before it is synced',
    standing: (_process, { unfit, validUntil }) => ({ unfit: unfit === 'not_synced' ? null : unfit, validUntil }),
  },
]
