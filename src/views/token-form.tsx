/** @jsxImportSource hono/jsx */
import type { GateState, UpstreamKind } from '../upstream.ts'
import { Choices } from './choices.tsx'
import { Crumb } from './crumb.tsx'
import { Empty } from './empty.tsx'
import { FormFailure } from './failure.tsx'
import { Field, type Filled, Wrong } from './field.tsx'
import { type Frame, Layout } from './layout.tsx'
import { PolicyFields, type PolicyTyped } from './policy.tsx'

/** What a person typed, as it stood there. */
export interface TokenTyped extends PolicyTyped {
  name: string
  servers: string[]
  subject: string
  group: string
  expires: string
}

/** What is wrong, by the field that it stands in. */
export type TokenFailures = { [K in keyof TokenTyped]?: string }

export interface ServerChoice {
  name: string
  kind: UpstreamKind
  state: GateState
}

const ServerChoices = ({ servers, filled }: { servers: ServerChoice[]; filled: Filled<TokenTyped> }) => {
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
              {name} {kind === 'http' && <span class="quiet">plain HTTP</span>}{' '}
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

const PolicyDetails = ({ filled }: { filled: Filled<TokenTyped> }) => (
  <details open={POLICY_FIELDS.some((field) => filled.typed[field] || filled.failures[field])}>
    <summary>Policy: which tools, how often (optional)</summary>
    <div class="stack">
      <PolicyFields filled={filled} />
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

const Fields = ({ servers, filled }: { servers: ServerChoice[]; filled: Filled<TokenTyped> }) => (
  <>
    <Field name="name" label="Name" hint="What it is for, such as “Cursor IDE”." filled={filled} required />
    <ServerChoices servers={servers} filled={filled} />
    <Field name="subject" label="Subject (optional)" hint="Whose it is, such as an e-mail address." filled={filled} />
    <Field name="group" label="Group (optional)" hint="What it can be revoked with, all at once." filled={filled} />
    <Field
      name="expires"
      label="Expires"
      hint="In 12h or 30d, or on a date like 2026-12-31 (its end, UTC). Empty: never."
      filled={filled}
    />
    <PolicyDetails filled={filled} />
  </>
)

export const TokenFormPage = ({ frame, formId, servers, typed, failures, failure }: TokenFormProps) => {
  const wrong = Object.keys(failures) as (keyof TokenTyped)[]
  return (
    <Layout title="New token" frame={frame} narrow>
      <Crumb to="/tokens">Tokens</Crumb>
      <h1>New token</h1>
      <FormFailure what="No token was made." {...{ failure, failures }} />
      {servers.length === 0 ? (
        <Empty title="A server comes first">
          <p>A token is for a server, and there is none yet.</p>
          <p>
            <a class="button main" href="/servers/new">
              Add a server
            </a>
          </p>
        </Empty>
      ) : (
        <form class="stack" method="post" action="/tokens/new" data-once>
          <input type="hidden" name="form" value={formId} />
          <Fields servers={servers} filled={{ typed, failures, focus: wrong[0] ?? 'name' }} />
          <Choices verb="Make the token" back="/tokens" />
        </form>
      )}
    </Layout>
  )
}
