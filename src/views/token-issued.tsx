/** @jsxImportSource hono/jsx */
import type { Snippet } from '../connect.ts'
import { CopyButton } from './copy.tsx'
import { type Frame, Layout } from './layout.tsx'
import { Snippets } from './snippets.tsx'
import { Time } from './time.tsx'

export interface IssuedCard {
  id: string
  name: string
  servers: string[]
  expiresAt: string | null
}

const Ways = ({ id }: { id: string }) => (
  <p class="links">
    <a class="button" href={`/tokens/${id}`}>
      Open its page
    </a>
    <a class="button" href="/tokens/new">
      Make another
    </a>
  </p>
)

type IssuedProps = { frame: Frame; token: IssuedCard; secret: string; snippets: Record<string, Snippet> }

/** The one page that holds the secret. */
export const TokenIssuedPage = ({ frame, token, secret, snippets }: IssuedProps) => (
  <Layout title="Token made" frame={frame}>
    <div class="sheet">
      <h1>Token made: {token.name}</h1>
      <p>
        A token for {token.servers.join(', ')}, good{' '}
        {token.expiresAt === null ? 'until it is revoked' : <>until {<Time at={token.expiresAt} />}</>}.
      </p>
      <section class="card" aria-labelledby="secret-title">
        <h2 id="secret-title">Its secret</h2>
        <p class="secret">
          <code id="secret">{secret}</code>
          <CopyButton of="secret" what="the secret" />
        </p>
        <p class="warning">Copy it now: it is shown this once, and never again.</p>
      </section>
      <section class="card" aria-labelledby="connect-title">
        <h2 id="connect-title">Connect a client</h2>
        <Snippets snippets={snippets} />
      </section>
      <Ways id={token.id} />
    </div>
  </Layout>
)

/** What a reload of that page gets, or the second of two submits. */
export const TokenIssuedBeforePage = ({ frame, token }: { frame: Frame; token: { id: string; name: string } }) => (
  <Layout title="Made already" frame={frame} narrow>
    <h1>Made already</h1>
    <p>
      This form made <strong>{token.name}</strong> before, and no second token was made now. Its secret was shown then,
      and is not shown again.
    </p>
    <p>
      If nobody copied it, <code>portcullis token rotate {token.id}</code> gives it a new one.
    </p>
    <Ways id={token.id} />
  </Layout>
)
