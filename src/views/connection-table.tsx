/** @jsxImportSource hono/jsx */
import type { ConnectionKind } from '../registry.ts'
import { DangerLink } from './danger.tsx'
import { Cell, HeadCell, Row, Table, Text } from './table.tsx'
import { age, bytes } from './words.ts'

export interface ConnectionRow {
  id: string
  kind: ConnectionKind
  server: string
  token: { id: string; name: string; subject: string | null }
  client: string | null
  address: string
  startedAt: string
  ageMs: number
  bytesOut: number
}

const KillLink = ({ connection: { id, token } }: { connection: ConnectionRow }) => (
  <DangerLink href={`/connections/${id}/kill`} id={`kill-${id}`} label={`Kill connection ${id} of ${token.name}`}>
    Kill
  </DangerLink>
)

type LineProps = { connection: ConnectionRow; mayAct: boolean; isOfOneToken: boolean }

const ConnectionLine = ({ connection, mayAct, isOfOneToken }: LineProps) => {
  const { id, token, client, server, kind, address, startedAt, ageMs, bytesOut } = connection
  const clientName = (
    <bdi>
      <Text of={client} />
    </bdi>
  )
  return (
    <Row id={`connection-${id}`}>
      {isOfOneToken ? (
        <HeadCell label="Client">{clientName}</HeadCell>
      ) : (
        <>
          <HeadCell label="Token">
            <a href={`/tokens/${token.id}`}>
              <bdi>{token.name}</bdi>
            </a>
            {token.subject !== null && (
              <span class="detail">
                <bdi>{token.subject}</bdi>
              </span>
            )}
          </HeadCell>
          <Cell label="Client">{clientName}</Cell>
        </>
      )}
      <Cell label="Server">
        {server}
        <span class="detail">{kind}</span>
      </Cell>
      <Cell label="Address">{address}</Cell>
      <Cell label="Age" kind="number">
        <time datetime={startedAt} data-keep>
          {age(ageMs)}
        </time>
      </Cell>
      <Cell label="Bytes out" kind="number">
        {bytes(bytesOut)}
      </Cell>
      {mayAct && (
        <Cell label="" kind="action">
          <KillLink connection={connection} />
        </Cell>
      )}
    </Row>
  )
}

const COLUMNS = ['Client', 'Server', 'Address', 'Age', 'Bytes out']

interface TableProps {
  rows: ConnectionRow[]
  labelledBy: string
  mayAct: boolean
  /** Then it need not be named in each row. */
  isOfOneToken?: boolean
}

export const ConnectionTable = ({ rows, labelledBy, mayAct, isOfOneToken = false }: TableProps) => (
  <Table
    labelledBy={labelledBy}
    columns={[...(isOfOneToken ? [] : ['Token']), ...COLUMNS, ...(mayAct ? ['Action'] : [])]}
  >
    {rows.map((connection) => (
      <ConnectionLine connection={connection} mayAct={mayAct} isOfOneToken={isOfOneToken} />
    ))}
  </Table>
)
