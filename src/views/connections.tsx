/** @jsxImportSource hono/jsx */
import type { ConnectionKind } from '../registry.ts'
import { Cell, HeadCell, Row, Table, Text } from './table.tsx'
import { age, bytes, count, number } from './words.ts'

export interface ConnectionRow {
  id: string
  kind: ConnectionKind
  server: string
  token: { name: string; subject: string | null }
  client: string | null
  address: string
  startedAt: string
  ageMs: number
  bytesOut: number
}

const KillButton = ({ connection, q }: { connection: ConnectionRow; q: string }) => (
  <form method="post" action={`/connections/${connection.id}/kill`}>
    {q !== '' && <input type="hidden" name="q" value={q} />}
    <button
      type="submit"
      id={`kill-${connection.id}`}
      aria-label={`Kill connection ${connection.id} of ${connection.token.name}`}
    >
      Kill
    </button>
  </form>
)

type LineProps = { connection: ConnectionRow; mayAct: boolean; q: string }

const ConnectionLine = ({ connection, mayAct, q }: LineProps) => (
  <Row id={`connection-${connection.id}`}>
    <HeadCell label="Token">
      {connection.token.name}
      {connection.token.subject !== null && <span class="detail">{connection.token.subject}</span>}
    </HeadCell>
    <Cell label="Server">{connection.server}</Cell>
    <Cell label="Kind">{connection.kind}</Cell>
    <Cell label="Client">
      <Text of={connection.client} />
    </Cell>
    <Cell label="Address">{connection.address}</Cell>
    <Cell label="Age" kind="number">
      <time datetime={connection.startedAt} data-keep>
        {age(connection.ageMs)}
      </time>
    </Cell>
    <Cell label="Bytes out" kind="number">
      {bytes(connection.bytesOut)}
    </Cell>
    {mayAct && (
      <Cell label="" kind="action">
        <KillButton connection={connection} q={q} />
      </Cell>
    )}
  </Row>
)

const COLUMNS = ['Token', 'Server', 'Kind', 'Client', 'Address', 'Age', 'Bytes out']

export interface ConnectionList {
  rows: ConnectionRow[]
  found: number
  total: number
}

export const Connections = ({ list, mayAct, q }: { list: ConnectionList; mayAct: boolean; q: string }) => (
  <section aria-labelledby="connections-title">
    <h2 id="connections-title">Live connections</h2>
    {list.found > list.rows.length && (
      <p class="hint">
        {number(list.rows.length)} of {count(list.found, 'connection')} are shown: use the filter for others.
      </p>
    )}
    {list.found === 0 && <p>{list.total === 0 ? 'Nothing is connected.' : 'No connection matches the filter.'}</p>}
    {list.rows.length > 0 && (
      <Table labelledBy="connections-title" columns={mayAct ? [...COLUMNS, 'Action'] : COLUMNS}>
        {list.rows.map((connection) => (
          <ConnectionLine connection={connection} mayAct={mayAct} q={q} />
        ))}
      </Table>
    )}
  </section>
)
