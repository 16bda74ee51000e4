/** @jsxImportSource hono/jsx */
import { Empty } from './empty.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Pager } from './pager.tsx'
import { type Owned, type SelectorCard, tokensWords, Words } from './revocation-words.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Time } from './time.tsx'
import { milliseconds } from './timeline.tsx'
import { number, spaced } from './words.ts'

export interface RevocationRow {
  id: string
  at: string
  actor: string
  reason: string
  note: string
  selector: SelectorCard
  tokens: number
  only: Owned | undefined
  cut: number | null
  lastCutMs: number | null
  /** Not known to be complete: some node may still let it in. */
  isOpen: boolean
}

const NOTE_SHOWN = 120

const RevocationLine = ({ row }: { row: RevocationRow }) => (
  <Row id={`revocation-${row.id}`}>
    <HeadCell label="What">
      <a href={`/revocations/${row.id}`}>
        <Words of={tokensWords(row.tokens, row.only, row.selector)} />
      </a>
      {row.isOpen && <span class="detail open">not known to be complete</span>}
    </HeadCell>
    <Cell label="When">
      <Time at={row.at} exact />
    </Cell>
    <Cell label="Who">
      <bdi>{row.actor}</bdi>
    </Cell>
    <Cell label="Reason" kind="long">
      {spaced(row.reason)}
      {row.note !== '' && (
        <span class="detail">
          <bdi>{row.note.length > NOTE_SHOWN ? `${row.note.slice(0, NOTE_SHOWN)}…` : row.note}</bdi>
        </span>
      )}
    </Cell>
    <Cell label="Tokens" kind="number">
      {number(row.tokens)}
    </Cell>
    <Cell label="Cut" kind="number">
      {row.cut === null ? <span class="quiet">–</span> : number(row.cut)}
    </Cell>
    <Cell label="Last cut" kind="number">
      {row.lastCutMs === null ? <span class="quiet">–</span> : milliseconds(row.lastCutMs)}
    </Cell>
  </Row>
)

const COLUMNS = ['What', 'When', 'Who', 'Reason', 'Tokens', 'Cut', 'Last cut']

type RevocationsProps = { frame: Frame; rows: RevocationRow[]; next: string | null; mayAct: boolean }

export const RevocationsPage = ({ frame, rows, next, mayAct }: RevocationsProps) => (
  <Layout title="Revocations" frame={frame} refreshed>
    <div class="heading">
      <h1 id="revocations-title">Revocations</h1>
      {mayAct && (
        <a class="button" href="/revocations/new">
          Revoke several…
        </a>
      )}
    </div>
    <Live frame={frame}>
      {rows.length === 0 ? (
        <Empty title="Nothing was revoked yet">
          <p>Each revocation leaves a receipt here: what died, by whom, why, and how fast.</p>
          {mayAct && (
            <p>
              <a href="/tokens">Choose a token</a>, or <a href="/revocations/new">revoke several</a>.
            </p>
          )}
        </Empty>
      ) : (
        <Table labelledBy="revocations-title" columns={COLUMNS}>
          {rows.map((row) => (
            <RevocationLine row={row} />
          ))}
        </Table>
      )}
      <Pager path={frame.path} next={next} of="revocations" />
    </Live>
  </Layout>
)
