/** @jsxImportSource hono/jsx */
import { type Frame, Layout } from './layout.tsx'

type PasswordProps = {
  frame: Frame
  code: string
  /** Whose password it is; null: the first owner's, who still needs a name. */
  name: string | null
  /** What was typed as the first owner's name. */
  typed: string
  failure: string | null
  passwordLengthMin: number
  passwordLengthMax: number
}

const Name = ({ name, typed }: Pick<PasswordProps, 'name' | 'typed'>) => (
  <label>
    Name
    {name === null ? (
      <input
        name="name"
        value={typed}
        autocomplete="username"
        autocapitalize="none"
        spellcheck={false}
        required
        autofocus={typed === ''}
      />
    ) : (
      <input value={name} autocomplete="username" readonly />
    )}
  </label>
)

type PasswordsProps = { lengthMin: number; lengthMax: number; hasFocus: boolean }

const Passwords = ({ lengthMin, lengthMax, hasFocus }: PasswordsProps) => {
  const lengths = { minlength: lengthMin, maxlength: lengthMax }
  return (
    <>
      <label>
        Password
        <input
          name="password"
          type="password"
          autocomplete="new-password"
          required
          {...lengths}
          aria-describedby="password-rule"
          autofocus={hasFocus}
        />
      </label>
      <p id="password-rule" class="hint">
        At least {lengthMin} characters. A few words that only you put together are good.
      </p>
      <label>
        The same password again
        <input name="again" type="password" autocomplete="new-password" required {...lengths} />
      </label>
    </>
  )
}

export const PasswordPage = (props: PasswordProps) => {
  const { frame, code, name, typed, failure, passwordLengthMin, passwordLengthMax } = props
  const isFirst = name === null
  const title = isFirst ? 'Make the first owner' : 'Choose a password'
  return (
    <Layout title={title} frame={frame} narrow>
      <h1>{title}</h1>
      <p class="quiet">
        {isFirst
          ? 'Portcullis stands in front of your servers, and shuts out any client the moment you say so. It belongs to you from here on.'
          : 'From then on you sign in with it. The link that brought you here is used up by it.'}
      </p>
      {failure !== null && (
        <p id="failure" class="failure" role="alert">
          {failure}
        </p>
      )}
      <form class="stack" method="post" action="/setup" data-once>
        <input type="hidden" name="code" value={code} />
        <Name name={name} typed={typed} />
        <Passwords lengthMin={passwordLengthMin} lengthMax={passwordLengthMax} hasFocus={!isFirst || typed !== ''} />
        <button type="submit" class="main">
          {isFirst ? 'Make the owner' : 'Set the password'}
        </button>
      </form>
      {isFirst && (
        <p class="hint">Next: add a server, make a token for it, and point a client at it. You are led through it.</p>
      )}
    </Layout>
  )
}

/** A button, because what fetches links ahead of people must not use this one up. */
export const SignInLinkPage = ({ frame, code }: { frame: Frame; code: string }) => (
  <Layout title="Sign in" frame={frame} narrow>
    <h1>Sign in</h1>
    <p>This link signs you in once.</p>
    <form class="stack" method="post" action="/setup" data-once>
      <input type="hidden" name="code" value={code} />
      <button type="submit" class="main" autofocus>
        Sign in
      </button>
    </form>
  </Layout>
)
