/** @jsxImportSource hono/jsx */
import type { Timings } from '../revocation-record.ts'
import { type Phase, Timeline } from './timeline.tsx'
import { spaced } from './words.ts'

export interface PeerCard {
  node: string
  state: string
  ms: number | null
  cut: number
}

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
  isNew: boolean
}

const isUnmeasured = ({ commitMs, lastCutMs }: Timings): boolean => commitMs === null && lastCutMs === null

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
    ...peers.map(({ node, state, ms }): Phase => ({
      name: `Node ${node}: ${spaced(state)}`,
      kind: 'after',
      fromMs: denied,
      ms,
      missing: spaced(state),
    })),
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
    <div class="card">
      <Timeline phases={phasesOf(receipt)} labelledBy="timeline-title" />
      <Promised receipt={receipt} />
      {receipt.durable && isUnmeasured(receipt.timings) && (
        <p class="hint">
          No times are kept of it: the node that did it stopped before they were written, or merged it.
        </p>
      )}
    </div>
  </section>
)
