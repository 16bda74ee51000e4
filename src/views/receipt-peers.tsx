/** @jsxImportSource hono/jsx */
import type { ClusterPolicy, PeerState } from '../cluster-view.ts'
import { type Holdout, Holdouts } from './holdouts.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Countdown } from './time.tsx'
import { milliseconds } from './timeline.tsx'
import { number } from './words.ts'

/** What another node did with a revocation. */
export interface PeerCard {
  id: string
  node: string
  state: PeerState
  /** From the arrival of the request to its ack; null: none yet, or it came later with others. */
  ms: number | null
  /** Connections that it cut; null: not told. */
  cut: number | null
}

/** Whether any node anywhere can still let it in. */
export interface CompletionCard {
  complete: boolean
  tokens: number
  peers: PeerCard[]
  holdouts: Holdout[]
  policy: ClusterPolicy
  now: number
}

export const Completion = ({ card: { complete, tokens, holdouts, policy, now } }: { card: CompletionCard }) => {
  const it = tokens === 1 ? 'it' : 'them'
  return (
    <div class={complete ? 'state' : 'state wrong'}>
      <p>
        <strong id="completion" role="status">
          {complete ? 'Complete' : 'Not known to be complete'}
        </strong>
        {': '}
        {complete ? (
          `no node anywhere lets ${it} in any more.`
        ) : (
          <>
            <Holdouts of={holdouts} what={it} policy={policy} now={now} />.
          </>
        )}
      </p>
    </div>
  )
}

const STYLES: Record<PeerState, string> = {
  acked: 'active',
  pending: 'unreachable',
  lease_expired: 'expired',
  removed: 'expired',
}

type StateProps = { peer: PeerCard; holdout: Holdout | undefined; now: number }

const stateText = ({ state }: PeerCard, holdout: Holdout | undefined): string => {
  if (state === 'acked') return 'refuses it'
  if (state === 'lease_expired') return 'lets nobody in'
  if (state === 'removed') return 'removed'
  return holdout?.why === 'silent' ? 'linked' : 'unreachable'
}

const State = ({ peer, holdout, now }: StateProps) => (
  <>
    <span class={`status ${holdout?.why === 'removed' ? 'unreachable' : STYLES[peer.state]}`}>
      {stateText(peer, holdout)}
    </span>
    {peer.state === 'lease_expired' && <span class="detail">it can't be reached, and its lease has run out</span>}
    {holdout?.why === 'silent' && <span class="detail">it has not answered yet</span>}
    {holdout?.why === 'unreachable' && <span class="detail">until it hears of it, it may let it in</span>}
    {holdout?.why === 'removed' && (
      <span class="detail">
        it may still let it in: <a href="/cluster">say so once it is off</a>
      </span>
    )}
    {holdout?.why === 'lease' && holdout.until !== null && (
      <span class="detail">
        it can let it in for another <Countdown until={holdout.until} now={now} />
      </span>
    )}
  </>
)

const Missing = () => <span class="quiet">–</span>

/** Each of the other nodes: since when it refuses what died, and what it cut. */
export const Peers = ({ card: { peers, holdouts, now } }: { card: CompletionCard }) => (
  <section id="peers" aria-labelledby="peers-title">
    <h2 id="peers-title">On the other nodes</h2>
    <Table labelledBy="peers-title" columns={['Node', 'State', 'After', 'Cut']}>
      {peers.map((peer) => (
        <Row id={`peer-${peer.id}`}>
          <HeadCell label="Node">
            <bdi>{peer.node}</bdi>
          </HeadCell>
          <Cell label="State">
            <State peer={peer} holdout={holdouts.find(({ id }) => id === peer.id)} now={now} />
          </Cell>
          <Cell label="After" kind="number">
            {peer.ms === null ? <Missing /> : milliseconds(peer.ms)}
          </Cell>
          <Cell label="Cut" kind="number">
            {peer.cut === null ? <Missing /> : number(peer.cut)}
          </Cell>
        </Row>
      ))}
    </Table>
    <p class="hint">
      After the arrival of the request, by this node's clock. What was cut is told by each node itself.
    </p>
  </section>
)
