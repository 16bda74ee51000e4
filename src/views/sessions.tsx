/** @jsxImportSource hono/jsx */
import type { Role } from '../operator.ts'
import { browserOf } from './browser.ts'
import { ConfirmationPage } from './confirm.tsx'
import { DangerLink } from './danger.tsx'
import type { Frame } from './layout.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Time } from './time.tsx'

export interface SessionCard {
  id: string
  operator: string
  role: Role
  /** Of its last request. */
  address: string
  openedFrom: string
  client: string | null
  createdAt: string
  usedAt: string
  restricted: boolean
  /** The one that looks. */
  current: boolean
  /** Of the person who looks. */
  isOwn: boolean
}

const Ending = ({ id, isOwn, operator, client }: SessionCard) =>
  isOwn ? (
    <form method="post" action={`/access/sessions/${id}/end`}>
      <button type="submit" id={`end-${id}`} class="danger" aria-label={`End my session in ${browserOf(client)}`}>
        End
      </button>
    </form>
  ) : (
    <DangerLink id={`end-${id}`} href={`/access/sessions/${id}/end`} label={`End the session of ${operator}`}>
      End
    </DangerLink>
  )

const Line = ({ session, mayEnd }: { session: SessionCard; mayEnd: boolean }) => {
  const { id, operator, client, address, openedFrom, createdAt, usedAt, restricted, current } = session
  return (
    <Row id={id}>
      <HeadCell label="Whose">
        <bdi>{operator}</bdi>
        {current && <span class="detail">this one</span>}
        {restricted && <span class="detail">may only revoke, kill and close</span>}
      </HeadCell>
      <Cell label="Browser">
        <bdi title={client ?? undefined}>{browserOf(client)}</bdi>
      </Cell>
      <Cell label="Address">
        {address}
        {openedFrom !== address && <span class="detail">signed in from {openedFrom}</span>}
      </Cell>
      <Cell label="Since">
        <Time at={createdAt} />
      </Cell>
      <Cell label="Last used">
        <Time at={usedAt} />
      </Cell>
      {mayEnd && (
        <Cell label="" kind="action">
          {!current && <Ending {...session} />}
        </Cell>
      )}
    </Row>
  )
}

const COLUMNS = ['Whose', 'Browser', 'Address', 'Since', 'Last used']

type SessionsProps = { sessions: SessionCard[]; mayEnd: boolean }

export const Sessions = ({ sessions, mayEnd }: SessionsProps) => (
  <Table labelledBy="sessions-title" columns={mayEnd ? [...COLUMNS, 'End'] : COLUMNS}>
    {sessions.map((session) => (
      <Line session={session} mayEnd={mayEnd} />
    ))}
  </Table>
)

/** For those of one's own, which need no question: signing in again is all that it costs. */
export const EndOthers = () => (
  <form method="post" action="/access/sessions/others/end">
    <button type="submit" id="end-others" class="danger">
      End all my others
    </button>
  </form>
)

export const SessionEndPage = ({ frame, session }: { frame: Frame; session: SessionCard }) => (
  <ConfirmationPage
    frame={frame}
    title="End this session?"
    action={`/access/sessions/${session.id}/end`}
    verb="End the session"
    back="/access"
    doomed={
      <p>
        <strong>
          <bdi>{session.operator}</bdi>
        </strong>
        , {session.role}, in <bdi>{browserOf(session.client)}</bdi> from {session.address}, is signed out at once, and
        can sign in again. To keep somebody out, remove them or reset their password.
      </p>
    }
  />
)
