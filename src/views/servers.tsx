/** @jsxImportSource hono/jsx */
import type { McpIdentity } from '../health.ts'
import type { GateState } from '../upstream.ts'
import { CopyButton } from './copy.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { TimeOrNever } from './time.tsx'
import { count, number, percent } from './words.ts'

export interface ServerRow {
  id: string
  name: string
  state: GateState
  reason: string | null
  publicUrl: string
  health: {
    reachable: boolean | null
    lookedAt: string | null
    detail: string | null
    mcp: McpIdentity | null
    requests: number
    errors: number
    errorRate: number | null
  }
}

const Gate = ({ state, reason }: ServerRow) => (
  <>
    <span class={`status ${state}`}>{state}</span>
    {reason !== null && <span class="detail">{reason}</span>}
  </>
)

const Reachable = ({ health: { reachable, detail } }: ServerRow) => {
  if (reachable === null) return <span class="quiet">not looked yet</span>
  if (reachable) return <span class="status reachable">yes</span>
  return (
    <>
      <span class="status unreachable">no</span>
      {detail !== null && <span class="detail">{detail}</span>}
    </>
  )
}

/** Name and version are the server's own words, so they are kept from turning the text around them. */
const Mcp = ({ health: { mcp, reachable } }: ServerRow) =>
  mcp === null ? (
    <span class="quiet">{reachable ? 'none' : 'unknown'}</span>
  ) : (
    <>
      <bdi>{mcp.name ?? 'unnamed'}</bdi> {mcp.version !== null && <bdi>{mcp.version}</bdi>}
      <span class="detail">
        {mcp.revision}
        {mcp.transport === 'sse' && ', HTTP+SSE'}
      </span>
    </>
  )

const Tools = ({ health: { mcp } }: ServerRow) =>
  mcp?.tools == null ? <span class="quiet">{mcp ? 'not listed' : '–'}</span> : <>{number(mcp.tools)}</>

const Errors = ({ health: { errorRate, errors, requests } }: ServerRow) =>
  errorRate === null ? (
    <span class="quiet">no request</span>
  ) : (
    <>
      {percent(errorRate)}
      <span class="detail">
        {number(errors)} of {number(requests)}
      </span>
    </>
  )

const ServerLine = ({ server }: { server: ServerRow }) => (
  <Row id={`server-${server.id}`}>
    <HeadCell label="Server">
      {server.name}
      <span class="paste">
        <code id={`url-${server.id}`}>{server.publicUrl}</code>
        <CopyButton of={`url-${server.id}`} what={`the URL of ${server.name}`} />
      </span>
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
    <Cell label="Last looked">
      <TimeOrNever at={server.health.lookedAt} />
    </Cell>
  </Row>
)

const COLUMNS = ['Server', 'Gate', 'Reachable', 'MCP', 'Tools', 'Errors, 1 h', 'Last looked']

export interface ServerList {
  rows: ServerRow[]
  found: number
  total: number
}

export const Servers = ({ list }: { list: ServerList }) => (
  <section aria-labelledby="servers-title">
    <h2 id="servers-title">Servers</h2>
    {list.found > list.rows.length && (
      <p class="hint">
        {number(list.rows.length)} of {count(list.found, 'server')} are shown: use the filter for others.
      </p>
    )}
    {list.total === 0 && (
      <p>
        No server yet. <code>portcullis server add NAME URL</code> adds one.
      </p>
    )}
    {list.total > 0 && list.found === 0 && <p>No server matches the filter.</p>}
    {list.rows.length > 0 && (
      <Table labelledBy="servers-title" columns={COLUMNS}>
        {list.rows.map((server) => (
          <ServerLine server={server} />
        ))}
      </Table>
    )}
  </section>
)
