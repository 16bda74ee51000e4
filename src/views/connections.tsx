/** @jsxImportSource hono/jsx */
import { type ConnectionRow, ConnectionTable } from './connection-table.tsx'
import { Empty } from './empty.tsx'
import { FilterForm, Kept, PastedSecret, ServerChoice } from './filter.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Pager } from './pager.tsx'
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
  <FilterForm
    list="/connections"
    label="Token, subject, group, client or address"
    q={query.q}
    lengthMax={filterLengthMax}
    kept={
      <Kept
        name="token"
        label="Token"
        value={query.token}
        text={tokenName ?? query.token}
        without={connectionsPath({ ...query, token: '' })}
      />
    }
  >
    <ServerChoice names={serverNames} value={query.server} />
  </FilterForm>
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
