/** @jsxImportSource hono/jsx */
import { type ConnectionRow, ConnectionTable } from './connection-table.tsx'
import { Empty } from './empty.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Pager } from './pager.tsx'
import { PastedSecret, ServerChoice } from './token-filter.tsx'
import { count, number } from './words.ts'

export interface ConnectionQuery {
  /** A part of the token's name, subject or group, or of the client or the address. */
  q: string
  server: string
  /** The token's id. */
  token: string
}

export const connectionsPath = (query: Partial<ConnectionQuery>): string => {
  const fields = Object.entries(query).filter(([, value]) => value !== '')
  return fields.length === 0 ? '/connections' : `/connections?${new URLSearchParams(fields)}`
}

export interface ConnectionList {
  rows: ConnectionRow[]
  /** How many the filter lets through, shown or not. */
  found: number
  total: number
  next: string | null
}

interface ConnectionsProps {
  frame: Frame
  query: ConnectionQuery
  /** The token of the filter by its name, where there is one. */
  tokenName: string | null
  isPasted: boolean
  list: ConnectionList
  /** Null: there are too many to choose from. */
  serverNames: string[] | null
  hasTokens: boolean
  mayAct: boolean
  filterLengthMax: number
}

const Filter = ({ query, tokenName, serverNames, filterLengthMax }: ConnectionsProps) => (
  <form
    class="filter"
    method="post"
    action="/connections/filter"
    role="search"
    hx-post="/connections/filter"
    hx-target="#live"
    hx-select="#live"
    hx-swap="outerMorph ignoreTitle:true"
    hx-trigger="input delay:150ms"
    hx-sync="#live:replace"
  >
    <label class="wide">
      Token, subject, group, client or address
      <input
        name="q"
        type="search"
        value={query.q}
        maxlength={filterLengthMax}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
      />
    </label>
    <ServerChoice names={serverNames} value={query.server} />
    <button type="submit">Filter</button>
    <a class="button" href="/connections">
      Clear
    </a>
    {query.token !== '' && (
      <p class="kept">
        <input type="hidden" name="token" value={query.token} />
        Token <bdi>{tokenName ?? query.token}</bdi>
        <a class="button" href={connectionsPath({ ...query, token: '' })} aria-label="Any token">
          ✕
        </a>
      </p>
    )}
  </form>
)

const Nothing = ({ list, hasTokens }: ConnectionsProps) =>
  list.total > 0 ? (
    <Empty title="No connection matches">
      <p>
        <a href="/connections">Show all {number(list.total)}</a>.
      </p>
    </Empty>
  ) : (
    <Empty title="Nothing is connected">
      <p>Here stands whatever is in flight through the gate: streams, sessions, requests. Each can be cut by itself.</p>
      <p>
        {hasTokens ? (
          <>
            To connect something, open one of the <a href="/tokens">tokens</a> and choose “Connect a client”.
          </>
        ) : (
          <>
            To connect something, <a href="/tokens/new">make a token</a>: it comes with what to paste into each client.
          </>
        )}
      </p>
    </Empty>
  )

const Listed = (props: ConnectionsProps) => {
  const { frame, list, mayAct } = props
  if (list.found === 0) return <Nothing {...props} />
  return (
    <>
      <p id="summary" role="status">
        {list.found === list.total
          ? count(list.total, 'live connection')
          : `${number(list.found)} of ${count(list.total, 'live connection')}`}
      </p>
      {list.rows.length > 0 && (
        <div class="connections">
          <ConnectionTable rows={list.rows} labelledBy="connections-title" mayAct={mayAct} />
        </div>
      )}
      <Pager path={frame.path} next={list.next} of="connections" />
    </>
  )
}

export const ConnectionsPage = (props: ConnectionsProps) => (
  <Layout title="Connections" frame={props.frame} refreshed>
    <h1 id="connections-title">Connections</h1>
    <Filter {...props} />
    <Live frame={props.frame}>
      {props.isPasted && <PastedSecret />}
      <Listed {...props} />
    </Live>
  </Layout>
)
