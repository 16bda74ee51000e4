/** @jsxImportSource hono/jsx */
export interface TokenNamed {
  id: string
  name: string
}

/** Where one is: in something of a token. */
export const TokenCrumb = ({ token }: { token: TokenNamed }) => (
  <p class="crumb">
    <a href="/tokens">Tokens</a> /{' '}
    <a href={`/tokens/${token.id}`}>
      <bdi>{token.name}</bdi>
    </a>
  </p>
)
