/** @jsxImportSource hono/jsx */
import type { TokenStatus } from '../token.ts'
import { DangerLink } from './danger.tsx'
import { Cell, HeadCell, Row, Text } from './table.tsx'
import { Countdown, Time, TimeOrNever } from './time.tsx'
import { number } from './words.ts'

export interface TokenRow {
  id: string
  name: string
  subject: string | null
  group: string | null
  servers: string[]
  status: TokenStatus
  expiresAt: string | null
  oldSecretDiesAt: string | null
  revokedAt: string | null
  lastUsedAt: string | null
  client: string | null
  connections: number
  deadTries: { count: number; lastAt: string | null; addresses: { address: string; count: number }[] }
}

/** Of a long list, so many stand in a row. */
const NAMED_MAX = 3

const Servers = ({ servers }: TokenRow) => {
  if (servers.length === 0) return <span class="quiet">all removed</span>
  const more = servers.length - NAMED_MAX
  return (
    <>
      {servers.slice(0, NAMED_MAX).join(', ')}
      {more > 0 && <span class="detail">and {number(more)} more</span>}
    </>
  )
}

const Tries = ({ deadTries: { count: tries, addresses } }: TokenRow) => {
  const more = addresses.length - NAMED_MAX
  return (
    <span class="detail">
      {`tried ${tries === 1 ? 'once' : `${number(tries)} times`} since, from `}
      {addresses
        .slice(0, NAMED_MAX)
        .map(({ address }) => address)
        .join(', ')}
      {more > 0 && ` and ${number(more)} more`}
    </span>
  )
}

const Status = ({ token, now }: { token: TokenRow; now: number }) => {
  const { status, expiresAt, revokedAt, oldSecretDiesAt, deadTries } = token
  const at = status === 'revoked' ? revokedAt : expiresAt
  return (
    <>
      <span class={`status ${status}`}>{status}</span>
      {at !== null && (
        <span class="detail">
          {status === 'active' && 'until '}
          <Time at={at} />
        </span>
      )}
      {status === 'active' && oldSecretDiesAt !== null && (
        <span class="detail">
          old secret dies in <Countdown until={oldSecretDiesAt} now={now} />
        </span>
      )}
      {status !== 'active' && deadTries.count > 0 && <Tries {...token} />}
    </>
  )
}

export const RevokeLink = ({ id, name }: { id: string; name: string }) => (
  <DangerLink href={`/revocations/new?token=${id}`} id={`revoke-${id}`} label={`Revoke ${name}`}>
    Revoke
  </DangerLink>
)

type LineProps = { token: TokenRow; mayAct: boolean; now: number }

export const TokenLine = ({ token, mayAct, now }: LineProps) => (
  <Row id={`token-${token.id}`} dead={token.status !== 'active'}>
    <HeadCell label="Name">
      <a href={`/tokens/${token.id}`}>
        <bdi>{token.name}</bdi>
      </a>
      {(token.subject ?? token.group) !== null && (
        <span class="detail">
          {token.subject !== null && <bdi>{token.subject}</bdi>}
          {token.subject !== null && token.group !== null && ' · '}
          {token.group !== null && <bdi>{token.group}</bdi>}
        </span>
      )}
    </HeadCell>
    <Cell label="Servers">
      <Servers {...token} />
    </Cell>
    <Cell label="Status" kind="long">
      <Status token={token} now={now} />
    </Cell>
    <Cell label="Client">
      <bdi>
        <Text of={token.client} />
      </bdi>
    </Cell>
    <Cell label="Last used">
      <TimeOrNever at={token.lastUsedAt} />
    </Cell>
    <Cell label="Live" kind="number">
      {number(token.connections)}
    </Cell>
    {mayAct && (
      <Cell label="" kind="action">
        {token.status !== 'revoked' && <RevokeLink {...token} />}
      </Cell>
    )}
  </Row>
)

export const TOKEN_COLUMNS = ['Name', 'Servers', 'Status', 'Client', 'Last used', 'Live']
