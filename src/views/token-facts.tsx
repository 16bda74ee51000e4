/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import type { Policy } from '../policy.ts'
import { Copyable } from './copy.tsx'
import { Fact } from './fact.tsx'
import { Rules } from './policy.tsx'
import { Time } from './time.tsx'
import { tokensPath } from './token-filter.tsx'
import type { TokenRow } from './token-row.tsx'
import { age, bytes, number } from './words.ts'

export interface TokenCard extends TokenRow {
  createdAt: string
  createdBy: string
  revocationId: string | null
  policy: Policy | null
  requests: number
  refusals: number
  bytesIn: number
  bytesOut: number
  urls: Record<string, string>
}

/** Where it was used from in the last day, the last seen first. */
export type SeenFrom = { address: string; lastAt: string }[]

/** Of a long list, so many stand on the page. */
const URLS_MAX = 5
const ADDRESSES_MAX = 5

type StatProps = { name: string; children: Child; detail?: Child }

const Stat = ({ name, children, detail }: StatProps) => (
  <div class="stat">
    <p class="stat-name">{name}</p>
    <p class="stat-value">{children}</p>
    <p class="stat-detail">{detail}</p>
  </div>
)

const Until = ({ token: { status, expiresAt, revokedAt }, now }: { token: TokenRow; now: number }) => {
  if (status === 'revoked' && revokedAt !== null) return <Time at={revokedAt} />
  if (expiresAt === null) return <>never expires</>
  return status === 'active' ? <>{age(Date.parse(expiresAt) - now)} left</> : <Time at={expiresAt} />
}

/** What somebody in a hurry must see. */
export const TokenState = ({ token, now }: { token: TokenCard; now: number }) => (
  <div class="stats" id="state">
    <Stat name="State" detail={<Until token={token} now={now} />}>
      <span class={`status ${token.status}`}>{token.status}</span>
    </Stat>
    <Stat
      name="Live now"
      detail={token.connections === 0 ? 'nothing is connected' : <a href="#live-title">which they are</a>}
    >
      {number(token.connections)}
    </Stat>
    <Stat name="Last used" detail={token.client === null ? '' : <>by {<bdi>{token.client}</bdi>}</>}>
      {token.lastUsedAt === null ? 'never' : <LastUsed at={token.lastUsedAt} now={now} />}
    </Stat>
    <Stat
      name="Requests, 30 days"
      detail={`${number(token.refusals)} refused, ${bytes(token.bytesIn)} in, ${bytes(token.bytesOut)} out`}
    >
      {number(token.requests)}
    </Stat>
  </div>
)

const LastUsed = ({ at, now }: { at: string; now: number }) => (
  <time datetime={at} title={`${at.slice(0, 19).replace('T', ' ')} UTC`} data-keep>
    {`${age(now - Date.parse(at))} ago`}
  </time>
)

const Urls = ({ id, urls }: { id: string; urls: TokenCard['urls'] }) => {
  const more = Object.keys(urls).length - URLS_MAX
  return (
    <ul class="urls">
      {Object.entries(urls)
        .slice(0, URLS_MAX)
        .map(([server, url]) => (
          <li>
            <a href={`/servers/${encodeURIComponent(server)}`}>{server}</a>
            <Copyable id={`url-${server}`} what={`the URL of ${server}`}>
              {url}
            </Copyable>
          </li>
        ))}
      {more > 0 && (
        <li>
          <a href={`/tokens/${id}/connect`}>and {number(more)} more</a>
        </li>
      )}
    </ul>
  )
}

const Seen = ({ addresses }: { addresses: SeenFrom }) => (
  <>
    {addresses.length > 1 && `${number(addresses.length)} addresses`}
    <ul>
      {addresses.slice(0, ADDRESSES_MAX).map(({ address, lastAt }) => (
        <li>
          <bdi>{address}</bdi>{' '}
          <span class="quiet">
            last <Time at={lastAt} />
          </span>
        </li>
      ))}
      {addresses.length > ADDRESSES_MAX && <li>and {number(addresses.length - ADDRESSES_MAX)} more</li>}
    </ul>
  </>
)

/** All tokens of a subject or group, dead or alive. */
const Shared = ({ field, text }: { field: 'subject' | 'group'; text: string | null }) =>
  text === null ? (
    <span class="quiet">none</span>
  ) : (
    <a href={tokensPath({ [field]: text, state: 'all' })}>
      <bdi>{text}</bdi>
    </a>
  )

export const TokenFacts = ({ token, seenFrom }: { token: TokenCard; seenFrom: SeenFrom }) => (
  <dl class="card">
    <Fact term="Subject">
      <Shared field="subject" text={token.subject} />
    </Fact>
    <Fact term="Group">
      <Shared field="group" text={token.group} />
    </Fact>
    <Fact term="Servers">
      {token.servers.length === 0 ? <span class="quiet">all removed</span> : <Urls id={token.id} urls={token.urls} />}
    </Fact>
    <Fact term="Policy">
      <Rules policy={token.policy} />
    </Fact>
    <Fact term="Expires">
      {token.expiresAt === null ? <span class="quiet">never</span> : <Time at={token.expiresAt} />}
    </Fact>
    <Fact term="Made">
      <Time at={token.createdAt} /> by <bdi>{token.createdBy}</bdi>
    </Fact>
    {seenFrom.length > 0 && (
      <Fact term="Seen from, 24 hours">
        <Seen addresses={seenFrom} />
      </Fact>
    )}
  </dl>
)
