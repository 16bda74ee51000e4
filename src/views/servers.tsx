/** @jsxImportSource hono/jsx */
import type { GateState } from '../upstream.ts'
import { Empty } from './empty.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Pager } from './pager.tsx'
import { shellWords } from '../shell-word.ts'
import { Errors, Gate, LiveOf, Mcp, PublicUrl, Reachable, type ServerCard, serverHref, Tools } from './server-cells.tsx'
import { Marks, type StdioCard } from './stdio-facts.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { count, number } from './words.ts'

/** Which servers are listed. */
export const SHOWN = { all: 'All', closed: 'Closed', unreachable: 'Not reachable' } as const
export type Shown = keyof typeof SHOWN

export interface ServersCard {
  rows: ServerCard[]
  next: string | null
  /** How many match the filter, and how many there are. */
  found: number
  total: number
  states: Record<GateState, number>
  q: string
  shown: Shown
}

/** The beginning of a long command; all of it stands on the server's page. */
const Runs = ({ stdio }: { stdio: StdioCard }) => (
  <span class="detail">
    <code class="beginning">{shellWords(stdio.command)}</code>
    <Marks stdio={stdio} />
  </span>
)

const ServerLine = ({ server }: { server: ServerCard }) => (
  <Row id={`server-${server.id}`}>
    <HeadCell label="Server">
      <a href={serverHref(server.name)}>{server.name}</a>
      <PublicUrl {...server} />
      {server.stdio !== null && <Runs stdio={server.stdio} />}
    </HeadCell>
    <Cell label="Gate">
      <Gate {...server} />
    </Cell>
    <Cell label="Reachable">
      <Reachable {...server} />
    </Cell>
    <Cell label="MCP">
      <Mcp {...server} />
    </Cell>
    <Cell label="Tools" kind="number">
      <Tools {...server} />
    </Cell>
    <Cell label="Errors, 1 h" kind="number">
      <Errors {...server} />
    </Cell>
    <Cell label="Live" kind="number">
      <LiveOf {...server} />
    </Cell>
  </Row>
)

const COLUMNS = ['Server', 'Gate', 'Reachable', 'MCP', 'Tools', 'Errors, 1 h', 'Live']

export const AddServer = () => (
  <a class="button main" href="/servers/new">
    Add a server
  </a>
)

const Nothing = ({ total, mayChange }: { total: number; mayChange: boolean }) =>
  total > 0 ? (
    <Empty title="No server is like that">
      <p>
        <a href="/servers">Show all {number(total)}</a>
      </p>
    </Empty>
  ) : (
    <Empty title="No server yet">
      <p>A server is what stands behind the gate: an MCP server, or any HTTP API. Clients reach it by its URL here.</p>
      {mayChange && (
        <p>
          <AddServer />
        </p>
      )}
    </Empty>
  )

const Filter = ({ q, shown, lengthMax }: { q: string; shown: Shown; lengthMax: number }) => (
  <form class="filter" method="get" action="/servers" role="search">
    <label>
      Part of a name
      <input name="q" type="search" value={q} maxlength={lengthMax} autocomplete="off" spellcheck={false} />
    </label>
    <label>
      Which
      <select name="show">
        {Object.entries(SHOWN).map(([value, text]) => (
          <option value={value} selected={value === shown}>
            {text}
          </option>
        ))}
      </select>
    </label>
    <button type="submit">Filter</button>
  </form>
)

type ServersProps = { frame: Frame; card: ServersCard; mayChange: boolean; filterLengthMax: number }

export const ServersPage = ({ frame, card, mayChange, filterLengthMax }: ServersProps) => {
  const { rows, next, found, total, states, q, shown } = card
  return (
    <Layout title="Servers" frame={frame} refreshed>
      <div class="heading">
        <h1 id="servers-title">Servers</h1>
        {mayChange && total > 0 && <AddServer />}
      </div>
      {total > 0 && <Filter q={q} shown={shown} lengthMax={filterLengthMax} />}
      <Live frame={frame}>
        {total > 0 && (
          <p class="summary">
            {found < total && `${number(found)} of `}
            {count(total, 'server')}, {number(states.closed)} closed
          </p>
        )}
        {rows.length === 0 ? (
          <Nothing total={total} mayChange={mayChange} />
        ) : (
          <Table labelledBy="servers-title" columns={COLUMNS}>
            {rows.map((server) => (
              <ServerLine server={server} />
            ))}
          </Table>
        )}
        <Pager path={frame.path} next={next} of="servers" />
      </Live>
    </Layout>
  )
}
