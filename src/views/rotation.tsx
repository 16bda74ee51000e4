/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import { Choices } from './choices.tsx'
import { ConfirmationPage } from './confirm.tsx'
import { TokenCrumb, type TokenNamed } from './crumb.tsx'
import { Wrong } from './field.tsx'
import { type Frame, Layout } from './layout.tsx'
import { count } from './words.ts'

/** How long the old secret goes on, as people are asked; `other` is typed. */
export const GRACES = {
  '0s': 'Now',
  '10m': '10 minutes',
  '1h': '1 hour',
  '1d': '1 day',
  other: 'Something else',
} as const
export type Grace = keyof typeof GRACES

const meaningOf = (grace: Grace, connections: number): string => {
  if (grace === '0s') {
    return connections === 0
      ? 'The old secret dies at once.'
      : `The old secret dies at once, and ${count(connections, 'live connection')} with it.`
  }
  return grace === 'other' ? 'Such as 45m, 12h or 3d; seven days at the most.' : 'Both secrets work until then.'
}

type ChoiceProps = { grace: Grace; chosen: Grace; connections: number; children?: Child }

const Choice = ({ grace, chosen, connections, children }: ChoiceProps) => (
  <div class="option">
    <label class="check">
      <input
        type="radio"
        name="grace"
        value={grace}
        checked={grace === chosen}
        autofocus={grace === chosen && grace !== 'other'}
        aria-describedby={`grace-${grace}`}
      />
      <span>{GRACES[grace]}</span>
    </label>
    <p id={`grace-${grace}`} class="hint">
      {meaningOf(grace, connections)}
    </p>
    {children}
  </div>
)

interface RotationProps {
  frame: Frame
  token: TokenNamed
  /** The same form sent twice makes one secret. */
  formId: string
  /** How many live connections would be cut without a grace. */
  connections: number
  /** An earlier rotation is not over yet. */
  isInGrace: boolean
  typed: { grace: Grace; other: string }
  failure: string | null
}

export const RotationPage = ({ frame, token, formId, connections, isInGrace, typed, failure }: RotationProps) => (
  <Layout title={`Rotate ${token.name}`} frame={frame} narrow>
    <TokenCrumb token={token} />
    <h1>A new secret</h1>
    <p>
      The token stays: its name, servers and policy too. It gets a new secret, shown once, and the old one dies when you
      say.
    </p>
    {isInGrace && (
      <p class="notice">
        An earlier rotation is not over: the secret before the present one still works, and dies now whatever you
        choose.
      </p>
    )}
    <form class="stack" method="post" action={`/tokens/${token.id}/rotations`} data-once>
      <input type="hidden" name="form" value={formId} />
      <fieldset>
        <legend>The old secret dies</legend>
        {(Object.keys(GRACES) as Grace[]).map((grace) => (
          <Choice grace={grace} chosen={typed.grace} connections={connections}>
            {grace === 'other' && (
              <>
                <input
                  name="other"
                  value={typed.other}
                  placeholder="45m"
                  aria-label="How long the old secret goes on"
                  autocomplete="off"
                  autocapitalize="none"
                  spellcheck={false}
                  autofocus={failure !== null}
                  aria-invalid={failure ? 'true' : undefined}
                  aria-describedby={failure ? 'other-wrong' : 'grace-other'}
                />
                <Wrong id="other-wrong" failure={failure ?? undefined} />
              </>
            )}
          </Choice>
        ))}
      </fieldset>
      <Choices verb="Make a new secret" back={`/tokens/${token.id}`} />
    </form>
  </Layout>
)

type ConfirmProps = { frame: Frame; token: TokenNamed; formId: string; connections: number }

/** Without a grace it cuts, and that is asked about. */
export const RotationConfirmPage = ({ frame, token, formId, connections }: ConfirmProps) => (
  <ConfirmationPage
    frame={frame}
    title="Let the old secret die now?"
    action={`/tokens/${token.id}/rotations`}
    verb="Rotate now"
    back={`/tokens/${token.id}/rotations/new`}
    doomed={
      <p>
        The old secret of{' '}
        <strong>
          <bdi>{token.name}</bdi>
        </strong>
        , for ever
        {connections > 0 && `, and ${count(connections, 'live connection')} with it`}. Whoever uses it is out until the
        new one is put in its place.
      </p>
    }
  >
    <input type="hidden" name="form" value={formId} />
    <input type="hidden" name="grace" value="0s" />
    <input type="hidden" name="confirmed" value="yes" />
    <p class="say" tabindex={-1} autofocus>
      The new secret is shown once, right after this.
    </p>
  </ConfirmationPage>
)
