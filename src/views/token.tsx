/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import type { Snippet } from '../connect.ts'
import type { Policy } from '../policy.ts'
import { CopyButton } from './copy.tsx'
import { type Frame, Layout } from './layout.tsx'
import { Snippets } from './snippets.tsx'
import { Text } from './table.tsx'
import { Time, TimeOrNever } from './time.tsx'
import { type ActivityCard, TokenActivity, type Window } from './token-activity.tsx'
import { RevokeButton, type TokenRow } from './tokens.tsx'
import { bytes, count, number } from './words.ts'

export interface TokenCard extends TokenRow {
  createdAt: string
  createdBy: string
  oldSecretDiesAt: string | null
  policy: Policy | null
  requests: number
  refusals: number
  bytesIn: number
  bytesOut: number
  urls: Record<string, string>
}

/** A policy, one sentence a rule. */
const rulesOf = ({ allow, deny, readOnly, callsPerMinute, concurrentStreams }: Policy): string[] => [
  ...(allow === null ? [] : [allow.length === 0 ? 'No tool at all' : `Only the tools ${allow.join(', ')}`]),
  ...(deny.length === 0 ? [] : [`Never the tools ${deny.join(', ')}`]),
  ...(readOnly ? ['Only tools that their server marks as read-only'] : []),
  ...(callsPerMinute === null ? [] : [`At most ${count(callsPerMinute, 'call')} a minute`]),
  ...(concurrentStreams === null ? [] : [`At most ${count(concurrentStreams, 'event stream')} at once`]),
]

const Rules = ({ policy }: { policy: Policy | null }) =>
  policy === null ? (
    <>Everything that its servers offer</>
  ) : (
    <ul>
      {rulesOf(policy).map((rule) => (
        <li>{rule}</li>
      ))}
    </ul>
  )

const Urls = ({ urls }: { urls: TokenCard['urls'] }) => (
  <ul class="urls">
    {Object.entries(urls).map(([server, url]) => (
      <li>
        {server}
        <span class="paste">
          <code id={`url-${server}`}>{url}</code>
          <CopyButton of={`url-${server}`} what={`the URL of ${server}`} />
        </span>
      </li>
    ))}
  </ul>
)

const Fact = ({ term, children }: { term: string; children: Child }) => (
  <>
    <dt>{term}</dt>
    <dd>{children}</dd>
  </>
)

/** Who tried a secret that no longer lives: also one that a rotation replaced, so of any token. */
const Tries = ({ deadTries: { count: tries, lastAt, addresses }, linesMax }: TokenCard & { linesMax: number }) => (
  <>
    {count(tries, 'time')}
    {lastAt !== null && (
      <>
        {', last '}
        <Time at={lastAt} exact />
      </>
    )}
    <ul>
      {addresses.slice(0, linesMax).map(({ address, count: times }) => (
        <li>
          {address} <span class="quiet">× {number(times)}</span>
        </li>
      ))}
      {addresses.length > linesMax && <li>and {number(addresses.length - linesMax)} more</li>}
    </ul>
  </>
)

const Facts = ({ token, linesMax }: { token: TokenCard; linesMax: number }) => (
  <dl class="card">
    <Fact term="Status">
      <span class={`status ${token.status}`}>{token.status}</span>
      {token.revokedAt !== null && (
        <>
          {' since '}
          <Time at={token.revokedAt} exact />
        </>
      )}
    </Fact>
    <Fact term="Subject">
      <Text of={token.subject} />
    </Fact>
    <Fact term="Group">
      <Text of={token.group} />
    </Fact>
    <Fact term="Servers">
      {token.servers.length === 0 ? <span class="quiet">all removed</span> : <Urls urls={token.urls} />}
    </Fact>
    <Fact term="Policy">
      <Rules policy={token.policy} />
    </Fact>
    <Fact term="Expires">
      <TimeOrNever at={token.expiresAt} />
    </Fact>
    <Fact term="Made">
      <Time at={token.createdAt} /> by {token.createdBy}
    </Fact>
    {token.oldSecretDiesAt !== null && (
      <Fact term="Old secret dies">
        <Time at={token.oldSecretDiesAt} />
      </Fact>
    )}
    <Fact term="Last used">
      <TimeOrNever at={token.lastUsedAt} />
      {token.client !== null && (
        <span class="detail">
          by <bdi>{token.client}</bdi>
        </span>
      )}
    </Fact>
    {token.deadTries.count > 0 && (
      <Fact term="Tried when dead">
        <Tries {...token} linesMax={linesMax} />
      </Fact>
    )}
    <Fact term="Live now">{count(token.connections, 'connection')}</Fact>
    <Fact term="Last 30 days">
      {count(token.requests, 'request')}, {number(token.refusals)} refused, {bytes(token.bytesIn)} in,{' '}
      {bytes(token.bytesOut)} out
    </Fact>
  </dl>
)

const DEAD = {
  revoked: 'This token is dead: it was revoked, and nothing brings it back.',
  expired: 'This token is dead: it has expired, and nothing gets in with it.',
}

const Connect = ({ snippets }: { snippets: Record<string, Snippet> }) => (
  <details class="card">
    <summary>Connect a client</summary>
    <p class="hint">The secret is not shown again: put it where the placeholder stands.</p>
    <Snippets snippets={snippets} />
  </details>
)

interface TokenProps {
  frame: Frame
  token: TokenCard
  activity: ActivityCard
  window: Window
  linesMax: number
  snippets: Record<string, Snippet>
  mayAct: boolean
}

export const TokenPage = ({ frame, token, activity, window, linesMax, snippets, mayAct }: TokenProps) => (
  <Layout title={token.name} frame={frame}>
    <div class="sheet">
      <p>
        <a href="/">Tokens and connections</a>
      </p>
      <div class="heading">
        <h1>{token.name}</h1>
        {mayAct && token.status !== 'revoked' && <RevokeButton {...token} />}
      </div>
      {token.status !== 'active' && <p class="failure">{DEAD[token.status]}</p>}
      <Facts token={token} linesMax={linesMax} />
      {token.status === 'active' && token.servers.length > 0 && <Connect snippets={snippets} />}
      <TokenActivity tokenId={token.id} window={window} activity={activity} linesMax={linesMax} />
    </div>
    <dialog id="confirm" aria-labelledby="title"></dialog>
  </Layout>
)
