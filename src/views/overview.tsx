/** @jsxImportSource hono/jsx */
import type { AttentionKind } from '../attention.ts'
import type { GateState } from '../upstream.ts'
import { Chart, type Series } from './chart.tsx'
import { whoOf } from './deeds.ts'
import { type Frame, Layout, Live } from './layout.tsx'
import { type EventCard, Events } from './overview-events.tsx'
import { type StepsCard, Steps } from './overview-steps.tsx'
import { serverHref } from './server-cells.tsx'
import { Time } from './time.tsx'
import type { Look as LookWord } from './token-filter.tsx'
import { count, number } from './words.ts'

/** The one thing that is not well, and where to act. */
export interface Wrong {
  say: string
  detail: string | null
  href: string
  act: string
}

export interface Tile {
  name: string
  /** Now, or in the last minute. */
  value: number
  unit: string
  kind: Series['kind']
  values: number[]
}

export interface ServerLine {
  id: string
  name: string
  state: GateState
  reason: string | null
  reachable: boolean | null
  connections: number
}

/** Live tokens that need a look for one reason, and the first of them. */
export interface Look {
  kind: AttentionKind
  count: number
  first: { id: string; name: string }[]
}

export interface OverviewCard {
  tokens: number
  connections: number
  servers: number
  /** How many nodes there are; null: this one stands alone. */
  nodes: number | null
  wrong: Wrong | null
  steps: StepsCard | null
  tiles: Tile[]
  chartMinutes: number
  serverLines: ServerLine[]
  revoked: { id: string; at: string; actor: string; on: string | null; tokens: number; name: string | null }[]
  events: EventCard[]
  looks: Look[]
  /** What the words about tokens that need a look are counted by. */
  bounds: { unusedDays: number; expiresDays: number; addresses: number }
}

const Sums = ({ tokens, connections, servers, nodes }: OverviewCard) => (
  <>
    {count(tokens, 'live token')}, {count(connections, 'live connection')} on {count(servers, 'server')}
    {nodes !== null && (
      <>
        ; one of <a href="/cluster">{count(nodes, 'node')}</a>
      </>
    )}
  </>
)

/** Only what is wrong is read out: the figures move all the time. */
const State = ({ card }: { card: OverviewCard }) => {
  const { wrong } = card
  return (
    <div class={wrong ? 'state wrong' : 'state'}>
      <p>
        <strong id="state" role="status">
          {wrong ? wrong.say : 'All is well'}
        </strong>
        {wrong === null ? (
          <>
            {': '}
            <Sums {...card} />
          </>
        ) : (
          wrong.detail !== null && (
            <>
              {': '}
              <bdi>{wrong.detail}</bdi>
            </>
          )
        )}
      </p>
      {wrong && (
        <>
          <a class="button" id="act" href={wrong.href}>
            {wrong.act}
          </a>
          <p class="detail">
            <Sums {...card} />
          </p>
        </>
      )}
    </div>
  )
}

const TileOf = ({ tile: { name, value, unit, kind, values }, minutes }: { tile: Tile; minutes: number }) => (
  <div class="stat">
    <p class="stat-name">{name}</p>
    <p class="stat-value">{number(value)}</p>
    <Chart
      label={`${name} over the last ${minutes} minutes: ${number(value)} ${unit}, at most ${number(Math.max(0, ...values))} in a bar`}
      series={[{ kind, values }]}
    />
  </div>
)

const reachText = ({ state, reachable, reason }: ServerLine) => {
  if (state === 'closed') return reason
  return reachable === null ? 'not looked yet' : reachable ? null : 'not reachable'
}

const Servers = ({ card: { serverLines, servers } }: { card: OverviewCard }) => (
  <section aria-labelledby="servers-title">
    <div class="heading">
      <h2 id="servers-title">Servers</h2>
      <a href="/servers">{servers > serverLines.length ? `All ${number(servers)}` : 'All servers'}</a>
    </div>
    <ul class="lines">
      {serverLines.map((server) => (
        <li id={`server-${server.id}`}>
          <a href={serverHref(server.name)}>
            <span>
              <span class="what">{server.name}</span>
              {reachText(server) !== null && (
                <span class="detail">
                  <bdi>{reachText(server)}</bdi>
                </span>
              )}
            </span>
            <span class="number">{count(server.connections, 'connection')}</span>
            <span
              class={`status ${server.state === 'open' && server.reachable === false ? 'unreachable' : server.state}`}
            >
              {server.state}
            </span>
          </a>
        </li>
      ))}
    </ul>
  </section>
)

const Revoked = ({ revoked }: { revoked: OverviewCard['revoked'] }) =>
  revoked.length === 0 ? null : (
    <section aria-labelledby="revoked-title">
      <div class="heading">
        <h2 id="revoked-title">Revoked in the last hour</h2>
        <a href="/revocations">All revocations</a>
      </div>
      <ul class="lines">
        {revoked.map(({ id, at, actor, on, tokens, name }) => (
          <li id={`revoked-${id}`}>
            <a href={`/revocations/${id}`}>
              <span>
                {name === null ? count(tokens, 'token') : <bdi class="what">{name}</bdi>}
                <span class="detail">
                  by <bdi>{whoOf(actor, on)}</bdi>
                </span>
              </span>
              <span>Receipt</span>
              <Time at={at} />
            </a>
          </li>
        ))}
      </ul>
    </section>
  )

/** The words of the list of tokens for each reason. */
const LOOKS: Record<AttentionKind, { look: LookWord; text: (bounds: OverviewCard['bounds'], one: boolean) => string }> =
  {
    'many-addresses': {
      look: 'many-addresses',
      text: ({ addresses }) => `used from ${addresses} addresses or more in a day`,
    },
    'expires-soon': {
      look: 'expiring',
      text: ({ expiresDays }, one) => `${one ? 'expires' : 'expire'} within ${expiresDays} days`,
    },
    'never-expires': { look: 'never-expires', text: (_, one) => `never ${one ? 'expires' : 'expire'}` },
    unused: { look: 'unused', text: ({ unusedDays }) => `not used for ${unusedDays} days` },
    'no-server': { look: 'no-servers', text: (_, one) => `${one ? 'reaches' : 'reach'} no server any more` },
  }

const Names = ({ look }: { look: Look }) => (
  <span class="detail">
    {look.first.map(({ id, name }, index) => (
      <>
        {index > 0 && ', '}
        <a href={`/tokens/${id}`}>
          <bdi>{name}</bdi>
        </a>
      </>
    ))}
    {look.count > look.first.length && `, and ${number(look.count - look.first.length)} more`}
  </span>
)

const Looks = ({ card: { looks, bounds } }: { card: OverviewCard }) => (
  <section aria-labelledby="looks-title">
    <div class="heading">
      <h2 id="looks-title">Needs a look</h2>
      <a href="/tokens">All tokens</a>
    </div>
    {looks.length === 0 ? (
      <p class="lines none">No token is unused, about to expire, without an end, or used from many places.</p>
    ) : (
      <ul class="lines">
        {looks.map((look) => (
          <li id={`look-${look.kind}`}>
            <div>
              <span>
                <a class="what" href={`/tokens?look=${LOOKS[look.kind].look}`}>
                  {count(look.count, 'token')}
                </a>{' '}
                {LOOKS[look.kind].text(bounds, look.count === 1)}
                <Names look={look} />
              </span>
            </div>
          </li>
        ))}
      </ul>
    )}
  </section>
)

export const OverviewPage = ({ frame, card }: { frame: Frame; card: OverviewCard }) => (
  <Layout title="Overview" frame={frame} refreshed>
    <h1>Overview</h1>
    <Live frame={frame}>
      {(card.wrong || (!card.steps && frame.alarms.length === 0)) && <State card={card} />}
      {card.steps && <Steps card={card.steps} />}
      {card.servers > 0 && (
        <>
          <div class="stats">
            {card.tiles.map((tile) => (
              <TileOf tile={tile} minutes={card.chartMinutes} />
            ))}
          </div>
          <div class="columns">
            <div>
              <Servers card={card} />
              {card.tokens > 0 && <Looks card={card} />}
            </div>
            <div>
              <Revoked revoked={card.revoked} />
              <Events events={card.events} />
            </div>
          </div>
        </>
      )}
    </Live>
  </Layout>
)
