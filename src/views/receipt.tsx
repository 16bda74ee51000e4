/** @jsxImportSource hono/jsx */
import type { Timings } from '../revocation.ts'
import { type Frame, Layout } from './layout.tsx'
import { ownedName } from './revocation.tsx'
import { Time } from './time.tsx'
import { count, number, spaced } from './words.ts'

export interface ReceiptCard {
  id: string
  at: string
  actor: string
  reason: string
  note: string
  tokens: { id: string; name: string; subject: string | null }[]
  connections: { cut: number }
  timings: Timings
  durable: boolean
}

const Milliseconds = ({ ms }: { ms: number | null }) =>
  ms === null ? <span class="quiet">nothing to measure</span> : <>{`${ms.toFixed(3)} ms`}</>

const Facts = ({ receipt, namedMax }: { receipt: ReceiptCard; namedMax: number }) => (
  <dl>
    <dt>What</dt>
    <dd>
      <ul>
        {receipt.tokens.slice(0, namedMax).map((token) => (
          <li>
            <a href={`/tokens/${token.id}`}>{ownedName(token)}</a>
          </li>
        ))}
      </ul>
      {receipt.tokens.length > namedMax && <p>and {number(receipt.tokens.length - namedMax)} more</p>}
    </dd>
    <dt>Who</dt>
    <dd>{receipt.actor}</dd>
    <dt>When</dt>
    <dd>
      <Time at={receipt.at} exact />
    </dd>
    <dt>Why</dt>
    <dd>
      {spaced(receipt.reason)}
      {receipt.note !== '' && <span class="detail">{receipt.note}</span>}
    </dd>
    <dt>Connections cut</dt>
    <dd>{number(receipt.connections.cut)}</dd>
    <dt>In the database after</dt>
    <dd>{receipt.durable ? <Milliseconds ms={receipt.timings.commitMs} /> : 'not yet'}</dd>
    <dt>First cut after</dt>
    <dd>
      <Milliseconds ms={receipt.timings.firstCutMs} />
    </dd>
    <dt>Last cut after</dt>
    <dd>
      <Milliseconds ms={receipt.timings.lastCutMs} />
    </dd>
  </dl>
)

type ReceiptProps = { frame: Frame; receipt: ReceiptCard; namedMax: number }

export const ReceiptPage = ({ frame, receipt, namedMax }: ReceiptProps) => {
  const nothing = receipt.tokens.length === 0
  const title = nothing ? 'Dead already' : `${count(receipt.tokens.length, 'token')} revoked`
  return (
    <Layout title={title} frame={frame} narrow>
      <h1>{title}</h1>
      {!receipt.durable && (
        <p class="failure" role="alert">
          It is in force, but the database could not be written yet. It is tried again until it is.
        </p>
      )}
      {nothing ? (
        <p>What you named was revoked before; nothing was written again.</p>
      ) : (
        <>
          <Facts receipt={receipt} namedMax={namedMax} />
          <p class="hint">Times run from the arrival of the request. Receipt {receipt.id}</p>
        </>
      )}
      <p>
        <a href="/">Back to tokens and connections</a>
      </p>
    </Layout>
  )
}
