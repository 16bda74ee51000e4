/** @jsxImportSource hono/jsx */
import type { Timings } from '../revocation-record.ts'
import type { PeerCard } from './receipt-peers.tsx'
import { type Phase, Timeline } from './timeline.tsx'
import { age } from './words.ts'

/** What was measured of a revocation. */
export interface Measured {
  /** Null where it is not known, or not yet. */
  cut: number | null
  timings: Timings
  durable: boolean
  /** Not in the journal either. */
  lostOnRestart?: true
  peers: PeerCard[]
  promisedMs: number
  /** The name of the node that was asked for it, where that is another; null: this one. */
  askedAt: string | null
  isNew: boolean
}

const isUnmeasured = ({ commitMs, lastCutMs }: Timings): boolean => commitMs === null && lastCutMs === null

/** Acks that came later are told in words: drawn to scale, they would leave nothing to see of all the rest. */
const DRAWN_MS_MAX = 1_000

/** Since when each of the other nodes refuses it. */
const peerPhase = (fromMs: number, { node, state, ms }: PeerCard): Phase => {
  const isDrawn = ms !== null && ms <= DRAWN_MS_MAX
  const missing = state === 'acked' ? (ms === null ? 'later' : `after ${age(ms)}`) : 'not yet'
  return { name: `Node ${node} refuses it`, kind: 'after', fromMs, ms: isDrawn ? ms : null, missing }
}

const NOT_RECORDED = 'not recorded'

/** Each is drawn from when the one before it was done. */
const phasesOf = ({ timings, cut, durable, lostOnRestart, isNew, peers }: Measured): Phase[] => {
  const { commitMs, deniedMs, firstCutMs, lastCutMs, upstreamCancelledMs } = timings
  const unconnected = cut === 0
  const committed = commitMs ?? 0
  const denied = deniedMs ?? committed
  const cutting = unconnected ? 'nothing was connected' : NOT_RECORDED
  const cancelling = unconnected ? 'nothing to cancel' : deniedMs !== null && isNew ? 'not known yet' : NOT_RECORDED
  return [
    { name: 'Request arrived', kind: 'plain', fromMs: 0, ms: 0, missing: '' },
    {
      name: durable ? 'Written to the database' : lostOnRestart ? 'Could not be written' : 'Written to the journal',
      kind: 'plain',
      fromMs: 0,
      ms: commitMs,
      missing: NOT_RECORDED,
    },
    { name: 'Denied: no request passes', kind: 'plain', fromMs: committed, ms: deniedMs, missing: NOT_RECORDED },
    { name: 'First connection cut', kind: 'cut', fromMs: denied, ms: firstCutMs, missing: cutting },
    { name: 'Last connection cut', kind: 'cut', fromMs: firstCutMs ?? denied, ms: lastCutMs, missing: cutting },
    {
      name: 'Upstream requests cancelled',
      kind: 'after',
      fromMs: lastCutMs ?? denied,
      ms: upstreamCancelledMs,
      missing: cancelling,
    },
    ...peers.filter(({ state }) => state !== 'removed').map((peer) => peerPhase(denied, peer)),
  ]
}

const Promised = ({ receipt: { timings, promisedMs } }: { receipt: Measured }) => {
  const { lastCutMs } = timings
  if (lastCutMs === null) return null
  return (
    <p class="hint">
      {lastCutMs < promisedMs
        ? `The last cut came within the promised ${promisedMs} ms.`
        : `The last cut came later than the promised ${promisedMs} ms.`}{' '}
      A cut is when the last write of a connection went to the kernel.
    </p>
  )
}

/** How fast it was, as measured. */
export const Times = ({ receipt }: { receipt: Measured }) => (
  <section aria-labelledby="timeline-title">
    <h2 id="timeline-title">Since the request arrived</h2>
    {receipt.askedAt === null ? (
      <Drawn receipt={receipt} />
    ) : (
      <p class="card">
        The request came to node <bdi>{receipt.askedAt}</bdi>: how long it took was measured there, and stands in the
        receipt there.
      </p>
    )}
  </section>
)

const Drawn = ({ receipt }: { receipt: Measured }) => (
  <div class="card">
    <Timeline phases={phasesOf(receipt)} labelledBy="timeline-title" />
    <Promised receipt={receipt} />
    {receipt.durable && isUnmeasured(receipt.timings) && (
      <p class="hint">No times are kept of it: the node that did it stopped before they were written, or merged it.</p>
    )}
  </div>
)
