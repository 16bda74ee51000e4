/** @jsxImportSource hono/jsx */
import { type AuditEventCard, Deed } from './audit-event.tsx'
import { type AuditFilterCard, AuditFilterForm, auditUrl } from './audit-filter.tsx'
import { Empty } from './empty.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Pager } from './pager.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Time } from './time.tsx'
import { age, count, number } from './words.ts'

export interface VerificationCard {
  status: 'intact' | 'altered' | 'truncated' | 'forked'
  rows: number
  sequence: number | null
  message: string
  checkedAt: string
  tookMs: number
}

/** What stands above the rows and is fetched again and again. */
export interface AuditNews {
  verification: VerificationCard | null
  /** How many rows were written that match and are not shown; at most `newMax`. */
  newRows: number
  newMax: number
}

const WORDS = { intact: 'intact', altered: 'altered', truncated: 'cut off at its end', forked: 'forked' }

const State = ({ verification }: Pick<AuditNews, 'verification'>) => {
  if (verification === null) {
    return (
      <p class="quiet">
        Not verified since this node started. Verifying reads every row, and tells whether one was changed or taken
        away.
      </p>
    )
  }
  const { status, rows, sequence, message, checkedAt, tookMs } = verification
  const isIntact = status === 'intact'
  return (
    <p>
      <span class={`status ${isIntact ? 'intact' : 'altered'}`}>{WORDS[status]}</span>{' '}
      {isIntact ? `${count(rows, 'row')}, each follows the one before it.` : `${message}.`}{' '}
      {!isIntact && sequence !== null && <a href={`/audit/${sequence}`}>Row {number(sequence)}</a>}
      <span class="detail">
        Verified <Time at={checkedAt} />, in {tookMs < 1_000 ? `${Math.ceil(tookMs)} ms` : age(tookMs)}
      </span>
    </p>
  )
}

/** New rows are announced and not put in: nothing moves under what one reads. */
const NewRows = ({ newRows, newMax, href }: AuditNews & { href: string }) => (
  <p id="news" class="news" role="status">
    {newRows > 0 && (
      <a class="button main" href={href}>
        {newRows > newMax ? `More than ${number(newMax)} new rows` : count(newRows, 'new row')}: show
      </a>
    )}
  </p>
)

type LiveProps = { frame: Frame; news: AuditNews; filter: Pick<AuditFilterCard, 'typed'> }

/** `frame.path` says up to which row the reader has seen all. */
export const AuditLive = ({ frame, news, filter }: LiveProps) => (
  <Live frame={frame}>
    <NewRows {...news} href={auditUrl(filter.typed)} />
    <State verification={news.verification} />
  </Live>
)

const Line = ({ event }: { event: AuditEventCard }) => (
  <Row id={`row-${event.sequence}`}>
    <Cell label="When">
      <Time at={event.time} exact />
    </Cell>
    <HeadCell label="What happened">
      <span class="deed">
        <Deed event={event} />
      </span>
    </HeadCell>
    <Cell label="Action">
      <code class="quiet">{event.action}</code>
    </Cell>
    <Cell label="Row" kind="number">
      <a href={`/audit/${event.sequence}`}>{number(event.sequence)}</a>
    </Cell>
  </Row>
)

const Takeaway = ({ filter: { typed, since, until } }: { filter: AuditFilterCard }) => {
  const { actor, action, target } = typed
  const asked = { actor, action, target, since: since ?? '', until: until ?? '' }
  const exportUrl = (format: string) => auditUrl({ format, ...asked }, '/api/v1/audit/export')
  const isFiltered = Object.values(asked).some((text) => text !== '')
  return (
    <section class="columns screen" aria-label="Take it with you">
      <div class="card">
        <h2>Export</h2>
        <p>{isFiltered ? 'All rows that match the filter' : 'All rows'}, the oldest first, with their hashes.</p>
        <p class="links">
          <a class="button" href={exportUrl('jsonl')} download="portcullis-audit.jsonl">
            JSON Lines
          </a>
          <a class="button" href={exportUrl('csv')} download="portcullis-audit.csv">
            CSV
          </a>
        </p>
      </div>
      <div class="card">
        <h2>Checkpoint</h2>
        <p>
          A signed note of the last row's hash. Keep it where this machine can't reach it:{' '}
          <code>portcullis audit verify --checkpoint FILE</code> then tells whether rows were cut off, or the whole log
          was written anew.
        </p>
        <p class="links">
          <a class="button" href="/api/v1/audit/checkpoint" download="portcullis-checkpoint.json">
            Download checkpoint
          </a>
        </p>
      </div>
    </section>
  )
}

const Verify = ({ filter }: Pick<AuditProps, 'filter'>) => (
  <form method="post" action={auditUrl(filter.typed, '/audit/verification')} data-once>
    <span class="working">Reading every row…</span>
    <button type="submit">Verify now</button>
  </form>
)

interface AuditProps {
  frame: Frame
  events: AuditEventCard[]
  /** The key of the next page; null: there is none. */
  next: string | null
  filter: AuditFilterCard
  /** On the first page alone; `frame` is that of the live part. */
  live: { frame: Frame; news: AuditNews } | null
  verification: VerificationCard | null
  /** A restricted sign-in looks, and nothing else. */
  mayVerify: boolean
}

export const AuditPage = ({ frame, events, next, filter, live, verification, mayVerify }: AuditProps) => {
  const isFiltered = Object.values(filter.typed).some((text) => text !== '')
  const isRefused = Object.keys(filter.failures).length > 0
  return (
    <Layout title="Audit" frame={frame} refreshed={live !== null}>
      <h1 id="audit-title">Audit</h1>
      <div class="card heading">
        {live ? <AuditLive {...live} filter={filter} /> : <State verification={verification} />}
        {mayVerify && <Verify filter={filter} />}
      </div>
      <AuditFilterForm filter={filter} />
      {events.length > 0 && (
        <div class="log">
          <Table labelledBy="audit-title" columns={['When', 'What happened', 'Action', 'Row']}>
            {events.map((event) => (
              <Line event={event} />
            ))}
          </Table>
        </div>
      )}
      {events.length === 0 && !isRefused && (
        <Empty title={isFiltered ? 'No row matches the filter' : 'Nothing happened yet'}>
          {isFiltered ? (
            <p>
              <a href="/audit">Show all rows</a>
            </p>
          ) : (
            <p>Every change will stand here: who did what, when and why.</p>
          )}
        </Empty>
      )}
      <Pager path={frame.path} next={next} of="rows" />
      {mayVerify && !isRefused && <Takeaway filter={filter} />}
    </Layout>
  )
}
