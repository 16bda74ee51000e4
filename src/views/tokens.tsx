/** @jsxImportSource hono/jsx */
import type { TokenStatus } from '../token.ts'
import { Cell, HeadCell, Row, Table, Text } from './table.tsx'
import { Time, TimeOrNever } from './time.tsx'
import { count, number } from './words.ts'

export interface TokenRow {
  id: string
  name: string
  subject: string | null
  group: string | null
  servers: string[]
  status: TokenStatus
  expiresAt: string | null
  revokedAt: string | null
  lastUsedAt: string | null
  client: string | null
  connections: number
  deadTries: { count: number; lastAt: string | null; addresses: { address: string; count: number }[] }
}

const Status = ({ status, expiresAt, revokedAt }: TokenRow) => {
  const since = status === 'revoked' ? revokedAt : expiresAt
  return (
    <>
      <span class={`status ${status}`}>{status}</span>
      {since !== null && (
        <span class="detail">
          {status === 'active' && 'until '}
          <Time at={since} />
        </span>
      )}
    </>
  )
}

const Tries = ({ id, deadTries }: TokenRow) =>
  deadTries.count === 0 ? null : (
    <details id={`tries-${id}`} class="detail">
      <summary>tried {deadTries.count === 1 ? 'once' : `${number(deadTries.count)} times`} since</summary>
      {deadTries.lastAt !== null && (
        <p>
          last <Time at={deadTries.lastAt} />
        </p>
      )}
      <ul>
        {deadTries.addresses.map(({ address, count: tries }) => (
          <li>
            {address} <span class="quiet">× {number(tries)}</span>
          </li>
        ))}
      </ul>
    </details>
  )

/** Opens the confirmation in the page's dialog, or as a page of its own where no script runs. */
export const RevokeButton = ({ id, name }: TokenRow) => (
  <form
    action="/revocations/new"
    hx-get="/revocations/new"
    hx-target="#confirm"
    hx-select="#main > *"
    hx-swap="innerHTML ignoreTitle:true"
  >
    <input type="hidden" name="token" value={id} />
    <button type="submit" id={`revoke-${id}`} class="danger" aria-haspopup="dialog" aria-label={`Revoke ${name}`}>
      Revoke
    </button>
  </form>
)

const TokenLine = ({ token, mayAct }: { token: TokenRow; mayAct: boolean }) => (
  <Row id={`token-${token.id}`} dead={token.status !== 'active'}>
    <HeadCell label="Name">
      <a href={`/tokens/${token.id}`}>{token.name}</a>
    </HeadCell>
    <Cell label="Subject" kind="long">
      <Text of={token.subject} />
    </Cell>
    <Cell label="Group">
      <Text of={token.group} />
    </Cell>
    <Cell label="Servers">
      <Text of={token.servers.join(', ') || null} />
    </Cell>
    <Cell label="Status">
      <Status {...token} />
      {token.status !== 'active' && <Tries {...token} />}
    </Cell>
    <Cell label="Client">
      <Text of={token.client} />
    </Cell>
    <Cell label="Last used">
      <TimeOrNever at={token.lastUsedAt} />
    </Cell>
    <Cell label="Live" kind="number">
      {number(token.connections)}
    </Cell>
    {mayAct && (
      <Cell label="" kind="action">
        {token.status !== 'revoked' && <RevokeButton {...token} />}
      </Cell>
    )}
  </Row>
)

const COLUMNS = ['Name', 'Subject', 'Group', 'Servers', 'Status', 'Client', 'Last used', 'Live']

export interface TokenList {
  rows: TokenRow[]
  /** How many there are, shown or not, that the filter names. */
  found: number
  total: number
}

type TokensProps = { list: TokenList; mayAct: boolean; mayIssue: boolean }

export const Tokens = ({ list, mayAct, mayIssue }: TokensProps) => (
  <section aria-labelledby="tokens-title">
    <div class="heading">
      <h2 id="tokens-title">Tokens</h2>
      {mayIssue && (
        <a id="new-token" class="button" href="/tokens/new">
          New token
        </a>
      )}
    </div>
    {list.found > list.rows.length && (
      <p class="hint">
        {number(list.rows.length)} of {count(list.found, 'token')} are shown: use the filter for others.
      </p>
    )}
    {list.total === 0 && (
      <p>
        No token yet. <code>portcullis token create</code> makes one.
      </p>
    )}
    {list.total > 0 && list.found === 0 && <p>No token matches the filter.</p>}
    {list.rows.length > 0 && (
      <Table labelledBy="tokens-title" columns={mayAct ? [...COLUMNS, 'Action'] : COLUMNS}>
        {list.rows.map((token) => (
          <TokenLine token={token} mayAct={mayAct} />
        ))}
      </Table>
    )}
  </section>
)
