/** @jsxImportSource hono/jsx */
import { type Frame, Layout } from './layout.tsx'

const Form = ({ failed }: { failed: boolean }) => (
  <form class="stack" method="post" action="/sign-in">
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

type SignInProps = { frame: Frame; failure: string | null; hasOwner: boolean }

export const SignInPage = ({ frame, failure, hasOwner }: SignInProps) => (
  <Layout title="Sign in" frame={frame} narrow>
    <h1>Sign in</h1>
    {failure !== null && (
      <p id="failure" class="failure" role="alert">
        {failure}
      </p>
    )}
    {hasOwner ? (
      <Form failed={failure !== null} />
    ) : (
      <>
        <p>Nobody can sign in with a password yet.</p>
        <p>
          Open the link that the server printed when it started. <code>portcullis setup</code> prints another.
        </p>
      </>
    )}
  </Layout>
)
