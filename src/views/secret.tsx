/** @jsxImportSource hono/jsx */
import type { Snippet } from '../connect.ts'
import { CopyButton } from './copy.tsx'
import { Snippets } from './snippets.tsx'

/** Where a secret stands, this one time. */
export const SecretCard = ({ secret }: { secret: string }) => (
  <section class="card" aria-labelledby="secret-title">
    <h2 id="secret-title">Its secret</h2>
    <p class="secret">
      <code id="secret">{secret}</code>
      <CopyButton of="secret" what="the secret" />
    </p>
    <p class="warning">Copy it now: it is shown this once, and never again.</p>
  </section>
)

/** What to paste; for a token of very many servers it stands on pages of its own. */
export const ConnectCard = ({ id, snippets }: { id: string; snippets: Record<string, Snippet> | null }) => (
  <section class="card" aria-labelledby="connect-title">
    <h2 id="connect-title">Connect a client</h2>
    {snippets === null ? (
      <p>
        It reaches so many servers that <a href={`/tokens/${id}/connect`}>what to paste into a client</a> has pages of
        its own. Copy the secret first: there a placeholder stands for it.
      </p>
    ) : (
      <Snippets snippets={snippets} />
    )}
  </section>
)
