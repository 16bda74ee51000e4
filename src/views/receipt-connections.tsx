/** @jsxImportSource hono/jsx */
import type { ConnectionKind } from '../registry.ts'
import { Pager } from './pager.tsx'
import type { Owned } from './revocation-words.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { age, bytes, count, number } from './words.ts'

/** A connection that died with a revocation. */
export interface DeadConnection {
  n: number
  kind: ConnectionKind
  server: string
  token: Owned & { id: string }
  client: string | null
  address: string
  startedAt: string
  ageMs: number
  bytesIn: number
  bytesOut: number
}

type LineProps = { connection: DeadConnection; manyTokens: boolean }

const Line = ({ connection, manyTokens }: LineProps) => (
  <Row id={`dead-${connection.n}`}>
    <HeadCell label="Client">
      {connection.client === null ? <span class="quiet">unknown</span> : <bdi>{connection.client}</bdi>}
    </HeadCell>
    {manyTokens && (
      <Cell label="Token">
        <a href={`/tokens/${connection.token.id}`}>
          <bdi>{connection.token.name}</bdi>
        </a>
      </Cell>
    )}
    <Cell label="Address">
      <bdi>{connection.address}</bdi>
    </Cell>
    <Cell label="Server">
      <bdi>{connection.server}</bdi>
    </Cell>
    <Cell label="Kind">{connection.kind}</Cell>
    <Cell label="Age" kind="number">
      <time datetime={connection.startedAt} data-keep>
        {age(connection.ageMs)}
      </time>
    </Cell>
    <Cell label="In" kind="number">
      {bytes(connection.bytesIn)}
    </Cell>
    <Cell label="Out" kind="number">
      {bytes(connection.bytesOut)}
    </Cell>
  </Row>
)

const COLUMNS = ['Address', 'Server', 'Kind', 'Age', 'In', 'Out']

interface DeadConnectionsProps {
  /** Null where it is not known, or not yet. */
  cut: number | null
  tokens: number
  list: { items: DeadConnection[]; next: string | null; isFirst: boolean }
  path: string
}

const Rows = ({ cut, tokens, list: { items, next, isFirst }, path }: DeadConnectionsProps) => {
  const columns = tokens > 1 ? ['Client', 'Token', ...COLUMNS] : ['Client', ...COLUMNS]
  const [first, last] = [items[0], items.at(-1)]
  return (
    <>
      {first && last && (next !== null || !isFirst) && (
        <p class="hint">
          {number(first.n)} to {number(last.n)} of {number(cut ?? 0)}, in the order in which they were cut.
        </p>
      )}
      <Table labelledBy="connections-title" columns={columns}>
        {items.map((connection) => (
          <Line connection={connection} manyTokens={tokens > 1} />
        ))}
      </Table>
      <Pager path={path} next={next} of="connections" />
    </>
  )
}

const whyNone = (cut: number | null, isFirst: boolean): string => {
  if (cut === null) return 'How many were cut is not recorded, or not yet.'
  if (cut === 0) return 'None: nothing was connected.'
  if (!isFirst) return 'There are no more.'
  return 'Which ones is not recorded: by a version that kept only how many, or while the disk was full.'
}

/** What died, with its last figures. */
export const DeadConnections = (props: DeadConnectionsProps) => {
  const { cut, list } = props
  return (
    <section id="connections" aria-labelledby="connections-title">
      <h2 id="connections-title">{cut ? `${count(cut, 'connection')} died` : 'Connections that died'}</h2>
      {list.items.length > 0 && <Rows {...props} />}
      {list.items.length === 0 && <p class="card">{whyNone(cut, list.isFirst)}</p>}
    </section>
  )
}
