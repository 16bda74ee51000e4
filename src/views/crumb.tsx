/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/** Where one is: below the page that this leads to. */
export const Crumb = ({ to, children }: { to: string; children: Child }) => (
  <p class="crumb">
    <a href={to}>{children}</a>
  </p>
)

export interface TokenNamed {
  id: string
  name: string
}

/** In something of a token. */
export const TokenCrumb = ({ token }: { token: TokenNamed }) => (
  <p class="crumb">
    <a href="/tokens">Tokens</a> /{' '}
    <a href={`/tokens/${token.id}`}>
      <bdi>{token.name}</bdi>
    </a>
  </p>
)
