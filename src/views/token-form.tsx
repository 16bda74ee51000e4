/** @jsxImportSource hono/jsx */
import type { GateState, UpstreamKind } from '../upstream.ts'
import { type Frame, Layout } from './layout.tsx'
import { count } from './words.ts'

/** What a person typed, as it stood there. */
export interface TokenTyped {
  name: string
  servers: string[]
  subject: string
  group: string
  expires: string
  allow: string
  deny: string
  readOnly: boolean
  callsPerMinute: string
  concurrentStreams: string
}

/** What is wrong, by the field that it stands in. */
export type TokenFailures = { [K in keyof TokenTyped]?: string }

export interface ServerChoice {
  name: string
  kind: UpstreamKind
  state: GateState
}

type Textual = Exclude<keyof TokenTyped, 'servers' | 'readOnly'>
interface FieldProps {
  name: Textual
  label: string
  hint: string
  filled: Filled
  required?: boolean
  inputmode?: 'numeric'
}
interface Filled {
  typed: TokenTyped
  failures: TokenFailures
  /** The first field to look at. */
  focus: keyof TokenTyped
}

const Wrong = ({ id, failure }: { id: string; failure: string | undefined }) =>
  failure === undefined ? null : (
    <p id={id} class="wrong">
      {failure}
    </p>
  )

const Field = ({ name, label, hint, filled: { typed, failures, focus }, required, inputmode }: FieldProps) => {
  const failure = failures[name]
  return (
    <>
      <label>
        {label}
        <input
          name={name}
          value={typed[name]}
          required={required}
          inputmode={inputmode}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          autofocus={focus === name}
          aria-invalid={failure && 'true'}
          aria-describedby={failure ? `${name}-hint ${name}-wrong` : `${name}-hint`}
        />
      </label>
      <p id={`${name}-hint`} class="hint">
        {hint}
      </p>
      <Wrong id={`${name}-wrong`} failure={failure} />
    </>
  )
}

const ServerChoices = ({ servers, filled }: { servers: ServerChoice[]; filled: Filled }) => {
  const { typed, failures, focus } = filled
  const failure = failures.servers
  return (
    <fieldset aria-describedby={failure && 'servers-wrong'}>
      <legend>Servers</legend>
      <div class="choosing">
        {servers.map(({ name, kind, state }, index) => (
          <label class="check">
            <input
              type="checkbox"
              name="server"
              value={name}
              checked={typed.servers.includes(name)}
              autofocus={focus === 'servers' && index === 0}
            />
            <span>
              {name} {kind === 'http' && <span class="quiet">plain HTTP</span>}
              {state === 'closed' && <span class="quiet">closed now</span>}
            </span>
          </label>
        ))}
      </div>
      <Wrong id="servers-wrong" failure={failure} />
    </fieldset>
  )
}

const POLICY_FIELDS = ['allow', 'deny', 'readOnly', 'callsPerMinute', 'concurrentStreams'] as const

const PolicyFields = ({ filled }: { filled: Filled }) => (
  <details open={POLICY_FIELDS.some((field) => filled.typed[field] || filled.failures[field])}>
    <summary>Policy: which tools, how often (optional)</summary>
    <div class="stack">
      <Field
        name="allow"
        label="Only these tools"
        hint="Names with commas between; * stands for any characters, ? for one. Empty: any tool."
        filled={filled}
      />
      <Field name="deny" label="Never these tools" hint="Whatever is allowed above." filled={filled} />
      <label class="check">
        <input type="checkbox" name="readOnly" value="yes" checked={filled.typed.readOnly} />
        <span>Only tools that their server marks as read-only</span>
      </label>
      <Field
        name="callsPerMinute"
        label="Calls a minute"
        hint="At the most. Empty: no limit."
        filled={filled}
        inputmode="numeric"
      />
      <Field
        name="concurrentStreams"
        label="Event streams at once"
        hint="At the most. Empty: no limit."
        filled={filled}
        inputmode="numeric"
      />
    </div>
  </details>
)

interface TokenFormProps {
  frame: Frame
  /** The same form sent twice makes one token. */
  formId: string
  servers: ServerChoice[]
  typed: TokenTyped
  failures: TokenFailures
  /** What is wrong with none of the fields. */
  failure: string | null
}

export const TokenFormPage = ({ frame, formId, servers, typed, failures, failure }: TokenFormProps) => {
  const wrong = Object.keys(failures) as (keyof TokenTyped)[]
  const filled = { typed, failures, focus: wrong[0] ?? 'name' }
  return (
    <Layout title="New token" frame={frame} narrow>
      <h1>New token</h1>
      {(failure !== null || wrong.length > 0) && (
        <p class="failure" role="alert">
          No token was made. {failure ?? `${count(wrong.length, 'field')} below must be put right.`}
        </p>
      )}
      {servers.length === 0 ? (
        <p>
          A token is for a server, and there is none yet. <code>portcullis server add NAME URL</code> adds one.
        </p>
      ) : (
        <form class="stack" method="post" action="/tokens/new" data-once>
          <input type="hidden" name="form" value={formId} />
          <Field name="name" label="Name" hint="What it is for, such as “Cursor IDE”." filled={filled} required />
          <ServerChoices servers={servers} filled={filled} />
          <Field
            name="subject"
            label="Subject (optional)"
            hint="Whose it is, such as an e-mail address."
            filled={filled}
          />
          <Field
            name="group"
            label="Group (optional)"
            hint="What it can be revoked with, all at once."
            filled={filled}
          />
          <Field
            name="expires"
            label="Expires"
            hint="In 12h or 30d, or on a date like 2026-12-31 (its end, UTC). Empty: never."
            filled={filled}
          />
          <PolicyFields filled={filled} />
          <div class="choices">
            <button type="submit" class="main">
              Make the token
            </button>
            <a class="button" href="/">
              Cancel
            </a>
          </div>
        </form>
      )}
    </Layout>
  )
}
