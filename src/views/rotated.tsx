/** @jsxImportSource hono/jsx */
import type { Snippet } from '../connect.ts'
import { TokenCrumb, type TokenNamed } from './crumb.tsx'
import { type Frame, Layout } from './layout.tsx'
import { ConnectCard, SecretCard } from './secret.tsx'
import { Countdown } from './time.tsx'

interface RotatedProps {
  frame: Frame
  token: TokenNamed & { oldSecretDiesAt: string | null }
  secret: string
  /** Null for a token of too many servers. */
  snippets: Record<string, Snippet> | null
  now: number
}

/** The one page that holds the new secret. */
export const RotatedPage = ({ frame, token, secret, snippets, now }: RotatedProps) => (
  <Layout title="New secret" frame={frame}>
    <div class="sheet">
      <TokenCrumb token={token} />
      <h1>
        New secret of <bdi>{token.name}</bdi>
      </h1>
      <p>
        {token.oldSecretDiesAt === null ? (
          'The old one is dead.'
        ) : (
          <>
            The old one works for another <Countdown until={token.oldSecretDiesAt} now={now} />: put the new one in its
            place until then.
          </>
        )}
      </p>
      <SecretCard secret={secret} />
      <ConnectCard id={token.id} snippets={snippets} />
      <p class="links">
        <a class="button" href={`/tokens/${token.id}`}>
          Back to the token
        </a>
      </p>
    </div>
  </Layout>
)

/** What a reload of that page gets, or the second of two submits. */
export const RotatedBeforePage = ({ frame, token }: { frame: Frame; token: TokenNamed }) => (
  <Layout title="Rotated already" frame={frame} narrow>
    <TokenCrumb token={token} />
    <h1>Rotated already</h1>
    <p>
      This form made a new secret for{' '}
      <strong>
        <bdi>{token.name}</bdi>
      </strong>{' '}
      before, and no second one was made now. It was shown then, and is not shown again.
    </p>
    <p>If nobody copied it, rotate once more, and let the secret that nobody has die now.</p>
    <p class="links">
      <a class="button main" href={`/tokens/${token.id}/rotations/new`}>
        Rotate once more
      </a>
      <a class="button" href={`/tokens/${token.id}`}>
        Back to the token
      </a>
    </p>
  </Layout>
)
