/** @jsxImportSource hono/jsx */
import { Empty } from './empty.tsx'
import { PastedSecret } from './filter.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Pager } from './pager.tsx'
import { Table } from './table.tsx'
import { TokenFilter, type TokenQuery, tokensPath } from './token-filter.tsx'
import { TOKEN_COLUMNS, TokenLine, type TokenRow } from './token-row.tsx'
import { count, number } from './words.ts'

export interface TokenList {
  rows: TokenRow[]
  /** How many the filter lets through, shown or not. */
  found: number
  /** How many there are, dead or alive. */
  total: number
  /** The id of the last row, when there are more. */
  next: string | null
}

export interface TokensProps {
  frame: Frame
  query: TokenQuery
  /** A secret was typed into the filter, and left out. */
  isPasted: boolean
  list: TokenList
  /** Null: there are too many to choose from. */
  serverNames: string[] | null
  hasServers: boolean
  mayAct: boolean
  mayIssue: boolean
  now: number
  filterLengthMax: number
}

/** The filter, as far as it can name what to revoke; and where it can't, what is shown, if that is all of it. */
const bulkPath = ({ query: { q, look, subject, group, server }, list }: TokensProps): string => {
  const fields = new URLSearchParams()
  if (q === '' && look === '') {
    for (const [name, value] of Object.entries({ subject, group, server })) if (value !== '') fields.set(name, value)
  } else if (list.found === list.rows.length) {
    for (const { id, status } of list.rows) if (status !== 'revoked') fields.append('token', id)
  }
  return fields.size === 0 ? '/revocations/new' : `/revocations/new?${fields}`
}

const Nothing = ({ query, list, hasServers, mayIssue }: TokensProps) => {
  if (list.total > 0) {
    return (
      <Empty title={query.state === 'active' ? 'No live token matches' : 'No token matches'}>
        <p>
          {query.state === 'active' && (
            <>
              <a href={tokensPath({ ...query, state: 'all' })}>Look among the dead too</a>, or{' '}
            </>
          )}
          <a href="/tokens">show all that live</a>.
        </p>
      </Empty>
    )
  }
  return (
    <Empty title="No token yet">
      <p>A token lets one client reach servers through the gate, until it expires or you revoke it.</p>
      {mayIssue && (
        <p>
          <a class="button main" href={hasServers ? '/tokens/new' : '/servers/new'}>
            {hasServers ? 'Make the first token' : 'Add a server first'}
          </a>
        </p>
      )}
    </Empty>
  )
}

const Listed = (props: TokensProps) => {
  const { frame, list, mayAct, now } = props
  if (list.found === 0) return <Nothing {...props} />
  return (
    <>
      <div class="heading tally">
        <p id="summary" role="status">
          {list.found === list.total
            ? count(list.total, 'token')
            : `${number(list.found)} of ${count(list.total, 'token')}`}
        </p>
        {mayAct && (
          <a class="button danger" id="revoke-several" href={bulkPath(props)}>
            Revoke several…
          </a>
        )}
      </div>
      {list.rows.length > 0 && (
        <Table labelledBy="tokens-title" columns={mayAct ? [...TOKEN_COLUMNS, 'Action'] : TOKEN_COLUMNS}>
          {list.rows.map((token) => (
            <TokenLine token={token} mayAct={mayAct} now={now} />
          ))}
        </Table>
      )}
      <Pager path={frame.path} next={list.next} of="tokens" />
    </>
  )
}

export const TokensPage = (props: TokensProps) => {
  const { frame, query, isPasted, list, serverNames, mayIssue, filterLengthMax } = props
  return (
    <Layout title="Tokens" frame={frame} refreshed>
      <div class="heading">
        <h1 id="tokens-title">Tokens</h1>
        {mayIssue && list.total > 0 && (
          <a id="new-token" class="button main" href="/tokens/new">
            New token
          </a>
        )}
      </div>
      {list.total > 0 && <TokenFilter query={query} serverNames={serverNames} lengthMax={filterLengthMax} />}
      <Live frame={frame}>
        {isPasted && <PastedSecret />}
        <Listed {...props} />
      </Live>
    </Layout>
  )
}
