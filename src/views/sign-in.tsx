/** @jsxImportSource hono/jsx */
import { type Frame, Layout } from './layout.tsx'

/** What was typed does not come back: people type passwords into the wrong field. */
const Form = ({ failed }: { failed: boolean }) => (
  <form class="stack" method="post" action="/sign-in" data-once>
    <label>
      Name
      <input
        name="name"
        autocomplete="username"
        autocapitalize="none"
        spellcheck={false}
        required
        autofocus
        aria-describedby={failed ? 'failure' : undefined}
      />
    </label>
    <label>
      Password
      <input
        name="password"
        type="password"
        autocomplete="current-password"
        required
        aria-describedby={failed ? 'failure' : undefined}
      />
    </label>
    <button type="submit" class="main">
      Sign in
    </button>
  </form>
)

/** While there is no owner: where the link is that makes one. */
const NobodyYet = () => (
  <>
    <h1>Nobody can sign in yet</h1>
    <p>This Portcullis has no owner. Whoever opens its setup link first becomes the owner.</p>
    <p>The link was printed where it was started:</p>
    <ul>
      <li>
        in the terminal, as the line that begins with <code>Setup</code>
      </li>
      <li>
        as a service: <code>journalctl -u portcullis</code>
      </li>
      <li>
        in a container: <code>docker logs NAME</code>
      </li>
    </ul>
    <p>
      It is good for an hour, and once. On that machine, <code>portcullis setup</code> prints another.
    </p>
  </>
)

interface SignInProps {
  frame: Frame
  failure: string | null
  hasOwner: boolean
}

export const SignInPage = ({ frame, failure, hasOwner }: SignInProps) => (
  <Layout title={hasOwner ? 'Sign in' : 'Nobody can sign in yet'} frame={frame} narrow>
    {hasOwner ? (
      <>
        <h1>Sign in</h1>
        {failure !== null && (
          <p id="failure" class="failure" role="alert">
            {failure}
          </p>
        )}
        <Form failed={failure !== null} />
        <p class="hint">
          Forgotten? An owner can make a new link for you, under Access. Nobody else left? On that machine,{' '}
          <code>portcullis operator reset NAME</code> prints one.
        </p>
      </>
    ) : (
      <NobodyYet />
    )}
  </Layout>
)
