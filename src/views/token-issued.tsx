/** @jsxImportSource hono/jsx */
import type { Snippet } from '../connect.ts'
import { Crumb } from './crumb.tsx'
import { type Frame, Layout } from './layout.tsx'
import { ConnectCard, SecretCard } from './secret.tsx'
import { Time } from './time.tsx'
import { number } from './words.ts'

export interface IssuedCard {
  id: string
  name: string
  servers: string[]
  expiresAt: string | null
}

const NAMED_MAX = 10

/** The first few by name. */
const named = (servers: string[]): string => {
  const more = servers.length - NAMED_MAX
  return servers.slice(0, NAMED_MAX).join(', ') + (more > 0 ? ` and ${number(more)} more` : '')
}

/** `snippets`: null for a token of too many servers. */
type IssuedProps = { frame: Frame; token: IssuedCard; secret: string; snippets: Record<string, Snippet> | null }

/** The one page that holds the secret. */
export const TokenIssuedPage = ({ frame, token, secret, snippets }: IssuedProps) => (
  <Layout title="Token made" frame={frame}>
    <div class="sheet">
      <Crumb to="/tokens">Tokens</Crumb>
      <h1>
        Token made: <bdi>{token.name}</bdi>
      </h1>
      <p>
        A token for {named(token.servers)}, good{' '}
        {token.expiresAt === null ? 'until it is revoked' : <>until {<Time at={token.expiresAt} />}</>}.
      </p>
      <SecretCard secret={secret} />
      <ConnectCard id={token.id} snippets={snippets} />
      <p class="links">
        <a class="button" href={`/tokens/${token.id}`}>
          Open its page
        </a>
        <a class="button" href="/tokens/new">
          Make another
        </a>
      </p>
    </div>
  </Layout>
)

/** What a reload of that page gets, or the second of two submits. */
export const TokenIssuedBeforePage = ({ frame, token }: { frame: Frame; token: { id: string; name: string } }) => (
  <Layout title="Made already" frame={frame} narrow>
    <Crumb to="/tokens">Tokens</Crumb>
    <h1>Made already</h1>
    <p>
      This form made{' '}
      <strong>
        <bdi>{token.name}</bdi>
      </strong>{' '}
      before, and no second token was made now. Its secret was shown then, and is not shown again.
    </p>
    <p>If nobody copied it, give the token a new one, and let the secret that nobody has die now.</p>
    <p class="links">
      <a class="button main" href={`/tokens/${token.id}/rotations/new`}>
        Give it a new secret
      </a>
      <a class="button" href={`/tokens/${token.id}`}>
        Open its page
      </a>
      <a class="button" href="/tokens/new">
        Make another
      </a>
    </p>
  </Layout>
)
