/** @jsxImportSource hono/jsx */
import type { Policy } from '../policy.ts'
import { Choices } from './choices.tsx'
import { TokenCrumb } from './crumb.tsx'
import { FormFailure } from './failure.tsx'
import { Field, type Filled } from './field.tsx'
import { type Frame, Layout } from './layout.tsx'
import { count } from './words.ts'

/** A policy as a person typed it. */
export interface PolicyTyped {
  allow: string
  deny: string
  readOnly: boolean
  callsPerMinute: string
  concurrentStreams: string
}

/** A policy, one sentence a rule. */
const rulesOf = ({ allow, deny, readOnly, callsPerMinute, concurrentStreams }: Policy): string[] => [
  ...(allow === null ? [] : [allow.length === 0 ? 'No tool at all' : `Only the tools ${allow.join(', ')}`]),
  ...(deny.length === 0 ? [] : [`Never the tools ${deny.join(', ')}`]),
  ...(readOnly ? ['Only tools that their server marks as read-only'] : []),
  ...(callsPerMinute === null ? [] : [`At most ${count(callsPerMinute, 'call')} a minute`]),
  ...(concurrentStreams === null ? [] : [`At most ${count(concurrentStreams, 'event stream')} at once`]),
]

export const Rules = ({ policy }: { policy: Policy | null }) =>
  policy === null ? (
    <>Everything that its servers offer</>
  ) : (
    <ul>
      {rulesOf(policy).map((rule) => (
        <li>
          <bdi>{rule}</bdi>
        </li>
      ))}
    </ul>
  )

export const PolicyFields = ({ filled }: { filled: Filled<PolicyTyped> }) => (
  <>
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
  </>
)

/** What a change does besides: connections that began under the old rules do not go on. */
const WillCut = ({ connections }: { connections: number }) => (
  <p id="will-cut" class="hint">
    {connections === 0
      ? 'It is in force at once. Nothing is connected with the token now.'
      : `It is in force at once: ${count(connections, 'live connection')} of the token will be cut. Clients may come back.`}
  </p>
)

interface PolicyProps {
  frame: Frame
  token: { id: string; name: string; connections: number; policy: Policy | null }
  typed: PolicyTyped
  failures: { [K in keyof PolicyTyped]?: string }
  /** What is wrong with none of the fields. */
  failure: string | null
}

export const PolicyPage = ({ frame, token, typed, failures, failure }: PolicyProps) => {
  const { id, name, connections, policy } = token
  const wrong = Object.keys(failures) as (keyof PolicyTyped)[]
  return (
    <Layout title={`Policy of ${name}`} frame={frame} narrow>
      <TokenCrumb token={token} />
      <h1>What it may do</h1>
      <FormFailure what="The policy stays as it was." {...{ failure, failures }} />
      <form class="stack" method="post" action={`/tokens/${id}/policy`} data-once>
        <PolicyFields filled={{ typed, failures, focus: wrong[0] ?? 'allow' }} />
        <WillCut connections={connections} />
        <Choices verb="Put it in force" back={`/tokens/${id}`} describedBy="will-cut" />
      </form>
      {policy !== null && (
        <section class="card" aria-labelledby="remove-title">
          <h2 id="remove-title">No policy at all</h2>
          <p>The token may then do everything that its servers offer, as often as it likes.</p>
          <form method="post" action={`/tokens/${id}/policy`} data-once>
            <button type="submit" aria-describedby="will-cut">
              Remove the policy
            </button>
          </form>
        </section>
      )}
    </Layout>
  )
}
