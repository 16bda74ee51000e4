/** @jsxImportSource hono/jsx */
import { REASONS } from '../revocation.ts'
import { type Frame, Layout } from './layout.tsx'
import { count, spaced } from './words.ts'

export interface Doomed {
  id: string
  name: string
  subject: string | null
  connections: number
}

export const ownedName = ({ name, subject }: { name: string; subject: string | null }): string =>
  subject === null ? name : `${name} of ${subject}`

const Named = ({ doomed }: { doomed: Doomed[] }) => {
  const [only] = doomed
  if (doomed.length === 1 && only) {
    return (
      <p>
        <strong>{ownedName(only)}</strong>, {count(only.connections, 'live connection')}, for ever.
      </p>
    )
  }
  return (
    <>
      <ul>
        {doomed.map((token) => (
          <li>
            <strong>{ownedName(token)}</strong>, {count(token.connections, 'live connection')}
          </li>
        ))}
      </ul>
      <p>All of them, for ever.</p>
    </>
  )
}

type RevocationProps = { frame: Frame; doomed: Doomed[]; noteLengthMax: number }

/**
 * The second of the two steps: names what dies. The first field has the focus and not the red button,
 * so that a key held down on the first step does not take the second.
 */
export const RevocationPage = ({ frame, doomed, noteLengthMax }: RevocationProps) => {
  const title = doomed.length === 1 ? 'Revoke this token?' : `Revoke ${count(doomed.length, 'token')}?`
  return (
    <Layout title={title} frame={frame} narrow>
      <h1 id="title">{title}</h1>
      <Named doomed={doomed} />
      <p class="hint">It is cut at once and can't be undone; whoever needs access again gets a new token.</p>
      <form class="stack" method="post" action="/revocations">
        {doomed.map(({ id }) => (
          <input type="hidden" name="token" value={id} />
        ))}
        <label>
          Reason
          <select name="reason" autofocus>
            {REASONS.map((reason) => (
              <option value={reason} selected={reason === 'compromised'}>
                {spaced(reason)}
              </option>
            ))}
          </select>
        </label>
        <label>
          Note (optional)
          <input name="note" maxlength={noteLengthMax} autocomplete="off" />
        </label>
        <div class="choices">
          <button type="submit" class="danger main">
            Revoke for ever
          </button>
          <a class="button" href="/" data-close>
            Cancel
          </a>
        </div>
      </form>
    </Layout>
  )
}
