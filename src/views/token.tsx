/** @jsxImportSource hono/jsx */
import { type AuditEventCard, Deed } from './audit-event.tsx'
import { type ConnectionRow, ConnectionTable } from './connection-table.tsx'
import { Crumb } from './crumb.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Countdown, Time } from './time.tsx'
import { type ActivityCard, TokenActivity } from './token-activity.tsx'
import { Death, type DeathCard, Tries } from './token-death.tsx'
import { type SeenFrom, type TokenCard, TokenFacts, TokenState } from './token-facts.tsx'
import { RevokeLink } from './token-row.tsx'
import { TokenUse, type UsageCard } from './token-use.tsx'
import { type TokenView } from './token-view.ts'
import { number } from './words.ts'

const Grace = ({ until, now }: { until: string; now: number }) => (
  <p class="notice" id="grace">
    It has a new secret. The old one works for another{' '}
    <strong>
      <Countdown until={until} now={now} />
    </strong>
    .
  </p>
)

interface TokenLiveProps {
  frame: Frame
  token: TokenCard
  death: DeathCard
  seenFrom: SeenFrom
  usage: UsageCard
  view: TokenView
  /** The first of them. */
  connections: ConnectionRow[]
  linesMax: number
  mayAct: boolean
  mayIssue: boolean
  now: number
}

const Ways = ({ token: { id, servers } }: { token: TokenCard }) => (
  <p class="links">
    {servers.length > 0 && (
      <a class="button" href={`/tokens/${id}/connect`}>
        Connect a client
      </a>
    )}
    <a class="button" href={`/tokens/${id}/rotations/new`}>
      Rotate
    </a>
    <a class="button" href={`/tokens/${id}/policy`}>
      Policy
    </a>
  </p>
)

const Connections = ({ token, connections, mayAct }: TokenLiveProps) => (
  <section class="connections" aria-labelledby="live-title">
    <h2 id="live-title">Live connections</h2>
    {connections.length === 0 ? (
      <p class="quiet">Nothing is connected.</p>
    ) : (
      <ConnectionTable rows={connections} labelledBy="live-title" mayAct={mayAct} isOfOneToken />
    )}
    {token.connections > connections.length && (
      <p>
        <a href={`/connections?token=${token.id}`}>All {number(token.connections)} of them</a>
      </p>
    )}
  </section>
)

/** Where somebody in a hurry finds it: below the state, apart from what is harmless. */
const Danger = ({ token }: { token: TokenCard }) => (
  <section class="card deadly" aria-labelledby="danger-title">
    <div class="heading">
      <div>
        <h2 id="danger-title">Revoke for ever</h2>
        <p class="hint">Cuts every live connection of this token at once, and nothing brings it back.</p>
      </div>
      <RevokeLink {...token} />
    </div>
  </section>
)

const TokenLive = (props: TokenLiveProps) => {
  const { frame, token, death, seenFrom, usage, view, linesMax, mayAct, mayIssue, now } = props
  const isLive = token.status === 'active'
  return (
    <Live frame={frame}>
      <div class="heading">
        <h1>
          <bdi>{token.name}</bdi>
        </h1>
        {isLive && mayIssue && <Ways token={token} />}
      </div>
      <TokenState token={token} now={now} />
      {mayAct && token.status !== 'revoked' && <Danger token={token} />}
      {isLive && token.oldSecretDiesAt !== null && <Grace until={token.oldSecretDiesAt} now={now} />}
      {!isLive && <Death token={token} death={death} />}
      {token.deadTries.count > 0 && <Tries deadTries={token.deadTries} linesMax={linesMax} />}
      <TokenFacts token={token} seenFrom={seenFrom} />
      <TokenUse id={token.id} view={view} usage={usage} />
      {(isLive || token.connections > 0) && <Connections {...props} />}
    </Live>
  )
}

const History = ({ id, events }: { id: string; events: AuditEventCard[] }) => (
  <section aria-labelledby="history">
    <div class="heading">
      <h2 id="history">History</h2>
      <a href={`/audit?target=${id}`}>All of it in the audit log</a>
    </div>
    {events.length === 0 ? (
      <p class="quiet">Nothing is on record.</p>
    ) : (
      <ol class="card history">
        {events.map((event) => (
          <li>
            <a href={`/audit/${event.sequence}`}>
              <Time at={event.time} exact />
            </a>{' '}
            <Deed event={event} />
          </li>
        ))}
      </ol>
    )}
  </section>
)

interface TokenProps extends TokenLiveProps {
  /** What is not fetched again and again: reading it takes longer. Null when only the rest is asked for. */
  past: { activity: ActivityCard; events: AuditEventCard[] } | null
}

export const TokenPage = (props: TokenProps) => {
  const { frame, token, past, view, linesMax } = props
  return (
    <Layout title={token.name} frame={frame} refreshed>
      <div class="sheet">
        <Crumb to="/tokens">Tokens</Crumb>
        <TokenLive {...props} />
        {past && <TokenActivity tokenId={token.id} view={view} activity={past.activity} linesMax={linesMax} />}
        {past && <History id={token.id} events={past.events} />}
      </div>
    </Layout>
  )
}
