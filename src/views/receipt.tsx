/** @jsxImportSource hono/jsx */
import { Copyable } from './copy.tsx'
import { Crumb } from './crumb.tsx'
import { Fact } from './fact.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { type DeadConnection, DeadConnections } from './receipt-connections.tsx'
import { Completion, type CompletionCard, Peers } from './receipt-peers.tsx'
import { type Measured, Times } from './receipt-times.tsx'
import { owned, type Owned, selectorWords, type SelectorCard, Words } from './revocation-words.tsx'
import { Time } from './time.tsx'
import { count, number, spaced } from './words.ts'

export interface ReceiptCard extends Measured, CompletionCard {
  id: string
  /** Where it stays, in full. */
  url: string
  at: string
  actor: string
  reason: string
  note: string
  selector: SelectorCard
  first: (Owned & { id: string })[]
  connections: { items: DeadConnection[]; next: string | null; isFirst: boolean }
  tries: { count: number; atLeast: boolean; lastAt: string | null; addresses: TriesFromCard[] }
  audit: { sequence: number; hash: string; previousHash: string; node: string } | null
  /** It is about more nodes than this one. */
  isClustered: boolean
  /** The instance that shows it. */
  node: { id: string; version: string }
}

export interface TriesFromCard {
  address: string
  count: number
  firstAt: string
  lastAt: string
}

/** To two digits: the table has them all. */
const brief = (ms: number): string => `${ms < 1 ? Number(ms.toPrecision(2)) : Number(ms.toFixed(1))} ms`

const cutText = (cut: number): string => `${count(cut, 'connection')} ${cut === 1 ? 'was' : 'were'} cut`

const Cut = ({ receipt: { cut, timings, peers } }: { receipt: ReceiptCard }) => {
  if (cut === null) return null
  const elsewhere = peers.reduce((sum, peer) => sum + (peer.cut ?? 0), 0)
  if (cut === 0)
    return elsewhere === 0 ? <> Nothing was connected.</> : <> {cutText(elsewhere)}, all of them on other nodes.</>
  const took = timings.lastCutMs === null ? '' : ` in ${brief(timings.lastCutMs)}`
  return (
    <>
      {' '}
      {cutText(cut)}
      {took}
      {elsewhere > 0 && `, and ${number(elsewhere)} on other nodes`}.
    </>
  )
}

const Verdict = ({ receipt }: { receipt: ReceiptCard }) => {
  const [only] = receipt.first
  return (
    <h1 id="verdict" class="verdict">
      {receipt.tokens === 0 ? (
        'No token died that this node knew.'
      ) : receipt.tokens === 1 && only ? (
        <>
          <Words of={owned(only)} /> is dead.
        </>
      ) : (
        `${count(receipt.tokens, 'token')} are dead.`
      )}
      <Cut receipt={receipt} />
    </h1>
  )
}

const NotDurable = ({ lostOnRestart = false }: { lostOnRestart?: boolean | undefined }) => (
  <p id="not-durable" class="failure" role="alert">
    {lostOnRestart
      ? 'It is in force: the tokens are refused, the connections are cut. But neither the database nor the journal could be written: a restart would undo it. Do not restart the node; look at its disk now. '
      : 'It is in force, and nothing of it can come back: the tokens are refused, the connections are cut. But the database could not be written, so it waits in the journal, which outlives a restart. '}
    It is written as soon as the database takes it; this page then says so by itself.
  </p>
)

const Dead = ({ receipt: { id, tokens, first } }: { receipt: ReceiptCard }) => (
  <>
    <ul>
      {first.map((token) => (
        <li>
          <a href={`/tokens/${token.id}`}>
            <Words of={owned(token)} />
          </a>
        </li>
      ))}
    </ul>
    {tokens === 0 && <span class="quiet">none that was known here</span>}
    {tokens > first.length && (
      <p class="detail">
        and {number(tokens - first.length)} more; <a href={`/api/v1/revocations/${id}`}>all of them as JSON</a>
      </p>
    )}
  </>
)

const Facts = ({ receipt }: { receipt: ReceiptCard }) => (
  <dl class="card">
    <Fact term={receipt.tokens === 1 ? 'Token' : count(receipt.tokens, 'token')}>
      <Dead receipt={receipt} />
    </Fact>
    <Fact term="Chosen by">
      <Words of={selectorWords(receipt.selector)} />
    </Fact>
    <Fact term="By whom">
      <bdi>{receipt.actor}</bdi>
    </Fact>
    <Fact term="When">
      <Time at={receipt.at} exact />
      <span class="detail mono">{receipt.at}</span>
    </Fact>
    <Fact term="Why">
      {spaced(receipt.reason)}
      {receipt.note !== '' && (
        <span class="detail">
          <bdi>{receipt.note}</bdi>
        </span>
      )}
    </Fact>
    <Fact term="State">
      <State receipt={receipt} />
    </Fact>
  </dl>
)

const State = ({ receipt: { durable, lostOnRestart, complete, peers } }: { receipt: ReceiptCard }) => {
  if (lostOnRestart) return <span class="status closed">in force until the node restarts</span>
  if (!durable) return <span class="status closed">in force, not in the database yet</span>
  if (!complete) return <>in the database here; not known to be complete</>
  if (peers.length === 0) return <>complete: in the database; there is one node</>
  const all = peers.every(({ state }) => state === 'acked')
  return (
    <>complete: in the database, and {all ? 'all nodes have it' : 'nodes that have not heard of it let nobody in'}</>
  )
}

const times = (n: number): string => (n === 1 ? 'once' : `${number(n)} times`)

const TriesSince = ({ receipt: { tries, tokens } }: { receipt: ReceiptCard }) => {
  const them = tokens === 1 ? 'it' : 'them'
  return (
    <section id="tries" aria-labelledby="tries-title">
      <h2 id="tries-title">Tried since</h2>
      {tries.count === 0 ? (
        <p class="card">
          <span class="status active">No.</span> Nobody has tried to use {them} since: good.
        </p>
      ) : (
        <div class="card">
          <p>
            {tries.atLeast ? 'At least ' : ''}
            {times(tries.count)}, and refused each time
            {tries.lastAt !== null && (
              <>
                ; last <Time at={tries.lastAt} exact />
              </>
            )}
            . Somebody still holds {them}.
          </p>
          <ul class="tries">
            {tries.addresses.map(({ address, count: n, lastAt }) => (
              <li>
                <bdi class="mono">{address}</bdi>
                <span class="number">× {number(n)}</span>
                <span class="quiet">
                  last <Time at={lastAt} exact />
                </span>
              </li>
            ))}
          </ul>
        </div>
      )}
    </section>
  )
}

const Proof = ({ receipt: { audit, durable } }: { receipt: ReceiptCard }) => (
  <section aria-labelledby="audit-title">
    <h2 id="audit-title">In the audit log</h2>
    {audit === null ? (
      <p class="card">
        {durable
          ? 'This log has no row of it: it came with a restore, or from a log before this one.'
          : 'Not yet: its row is written with it, as soon as the database takes it.'}
      </p>
    ) : (
      <div class="card">
        <dl>
          <Fact term="Row">
            <a href={`/audit/${audit.sequence}`}>{number(audit.sequence)}</a>
            <span class="detail">
              written by node <span class="mono">{audit.node}</span>
            </span>
          </Fact>
          <Fact term="Hash">
            <Copyable id="hash" what="the hash">
              {audit.hash}
            </Copyable>
          </Fact>
          <Fact term="Hash of the row before">
            <Copyable id="previous-hash" what="the hash of the row before">
              {audit.previousHash}
            </Copyable>
          </Fact>
        </dl>
        <p class="hint">
          Each row's hash covers all of it and the hash of the row before: none can be changed, taken out or put in
          without all later ones showing it. <code>portcullis audit verify</code> reads the whole log and says so; with
          a signed checkpoint kept elsewhere, it also says if rows were cut off at the end.
        </p>
      </div>
    )}
  </section>
)

const HandOver = ({ receipt: { url, node } }: { receipt: ReceiptCard }) => (
  <section aria-labelledby="link-title">
    <h2 id="link-title">To hand over</h2>
    <dl class="card">
      <Fact term="Permanent link">
        <Copyable id="link" what="the permanent link">
          {url}
        </Copyable>
      </Fact>
      <Fact term="Made by">
        Portcullis {node.version} on node <span class="mono">{node.id}</span>
      </Fact>
    </dl>
    <p class="hint screen">Print it or save it as PDF with your browser: this page is made for paper too.</p>
  </section>
)

/** What was done, proven: for whoever did it, and for whoever has to believe it. */
export const ReceiptPage = ({ frame, receipt }: { frame: Frame; receipt: ReceiptCard }) => (
  <Layout title={`${count(receipt.tokens, 'token')} revoked`} frame={frame} refreshed>
    <div class="sheet receipt">
      <Crumb to="/revocations">Revocations</Crumb>
      <Live frame={frame} every={receipt.isNew || !receipt.complete ? '2s' : '15s'}>
        <Verdict receipt={receipt} />
        <p class="hint">
          Receipt of a revocation by Portcullis, <span class="mono">{receipt.id}</span>
        </p>
        {receipt.isClustered && <Completion card={receipt} />}
        {!receipt.durable && <NotDurable lostOnRestart={receipt.lostOnRestart} />}
        <Facts receipt={receipt} />
        <Times receipt={receipt} />
        {receipt.peers.length > 0 && <Peers card={receipt} />}
        <DeadConnections cut={receipt.cut} list={receipt.connections} tokens={receipt.tokens} path={frame.path} />
        <TriesSince receipt={receipt} />
        <Proof receipt={receipt} />
        <HandOver receipt={receipt} />
      </Live>
    </div>
  </Layout>
)

/** Somebody was faster, or sent the same twice. */
export const DeadAlreadyPage = ({ frame }: { frame: Frame }) => (
  <Layout title="Dead already" frame={frame} narrow>
    <h1 id="title">Dead already</h1>
    <p>All that you named was revoked before; nothing was written again.</p>
    <p>
      <a class="button" href="/revocations">
        See the receipts
      </a>
    </p>
  </Layout>
)
