/** @jsxImportSource hono/jsx */
import { type Frame, Layout } from './layout.tsx'

type PasswordProps = {
  frame: Frame
  code: string
  /** Whose password it is; null: the first owner's, who still needs a name. */
  name: string | null
  failure: string | null
  passwordLengthMin: number
  passwordLengthMax: number
}

export const PasswordPage = ({ frame, code, name, failure, passwordLengthMin, passwordLengthMax }: PasswordProps) => {
  const title = name === null ? 'Make the first owner' : 'Choose a password'
  const lengths = { minlength: passwordLengthMin, maxlength: passwordLengthMax }
  return (
    <Layout title={title} frame={frame} narrow>
      <h1>{title}</h1>
      {failure !== null && (
        <p id="failure" class="failure" role="alert">
          {failure}
        </p>
      )}
      <form class="stack" method="post" action="/setup">
        <input type="hidden" name="code" value={code} />
        <label>
          Name
          {name === null ? (
            <input name="name" autocomplete="username" autocapitalize="none" spellcheck={false} required autofocus />
          ) : (
            <input value={name} autocomplete="username" readonly />
          )}
        </label>
        <label>
          Password
          <input
            name="password"
            type="password"
            autocomplete="new-password"
            required
            {...lengths}
            aria-describedby="password-rule"
            autofocus={name !== null}
          />
        </label>
        <p id="password-rule" class="hint">
          At least {passwordLengthMin} characters.
        </p>
        <label>
          The same password again
          <input name="again" type="password" autocomplete="new-password" required {...lengths} />
        </label>
        <button type="submit" class="main">
          {name === null ? 'Make the owner' : 'Set the password'}
        </button>
      </form>
    </Layout>
  )
}

/** A button, because what fetches links ahead of people must not use this one up. */
export const SignInLinkPage = ({ frame, code }: { frame: Frame; code: string }) => (
  <Layout title="Sign in" frame={frame} narrow>
    <h1>Sign in</h1>
    <p>This link signs you in once.</p>
    <form class="stack" method="post" action="/setup">
      <input type="hidden" name="code" value={code} />
      <button type="submit" class="main" autofocus>
        Sign in
      </button>
    </form>
  </Layout>
)
