/** @jsxImportSource hono/jsx */
import { Crumb } from './crumb.tsx'
import { DangerLink } from './danger.tsx'
import { Empty } from './empty.tsx'
import { Failure } from './failure.tsx'
import { type Frame, Layout } from './layout.tsx'
import { count } from './words.ts'

/** What a person typed, as it stood there. */
export interface RevocationTyped {
  subject: string
  group: string
  server: string
  /** Without a zone: in the reader's own. */
  issuedBefore: string
}

export type RevocationField = keyof RevocationTyped
export type RevocationFailures = { [K in RevocationField]?: string }

/** To choose from; anything else may be typed. */
export type KnownNames = { subject: string[]; group: string[]; server: string[] }

interface FieldProps {
  name: RevocationField
  label: string
  hint: string
  filled: { typed: RevocationTyped; failures: RevocationFailures; known: KnownNames }
}

const isListed = (name: RevocationField): name is keyof KnownNames => name !== 'issuedBefore'

const Field = ({ name, label, hint, filled: { typed, failures, known } }: FieldProps) => {
  const failure = failures[name]
  const [focused = 'subject'] = Object.keys(failures)
  return (
    <>
      <label>
        <span class="named">
          {label}
          {!isListed(name) && (
            <>
              , <span class="zone">UTC</span>
            </>
          )}
        </span>
        <input
          name={name}
          value={typed[name]}
          list={isListed(name) ? `known-${name}` : undefined}
          data-time={isListed(name) ? undefined : ''}
          placeholder={isListed(name) ? undefined : '2026-12-31 18:00'}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          autofocus={focused === name}
          aria-invalid={failure && 'true'}
          aria-describedby={failure ? `${name}-hint ${name}-wrong` : `${name}-hint`}
        />
      </label>
      {isListed(name) && (
        <datalist id={`known-${name}`}>
          {known[name].map((text) => (
            <option value={text} />
          ))}
        </datalist>
      )}
      <p id={`${name}-hint`} class="hint">
        {hint}
      </p>
      {failure !== undefined && (
        <p id={`${name}-wrong`} class="wrong">
          {failure}
        </p>
      )}
    </>
  )
}

type RevocationFormProps = {
  frame: Frame
  /** Whether it comes into the dialog of a page, which takes its name from the title. */
  isPart: boolean
  typed: RevocationTyped
  failures: RevocationFailures
  failure: string | null
  known: KnownNames
  /** All that is not dead. */
  total: { tokens: number; connections: number }
}

const Everything = ({ total: { tokens, connections } }: Pick<RevocationFormProps, 'total'>) => (
  <section class="card deadly" aria-labelledby="everything-title">
    <h2 id="everything-title">Everything</h2>
    <p>
      {count(tokens, 'token')}, {count(connections, 'live connection')}. To stop all traffic for a while,{' '}
      <a href="/gate">close every gate</a> instead: tokens stay valid.
    </p>
    <p>
      <DangerLink id="revoke-all" href="/revocations/new?all=yes">
        Revoke every token…
      </DangerLink>
    </p>
  </section>
)

/** Several at once, by what they have in common. It kills nothing: it leads to the list of what would die. */
export const RevocationFormPage = ({ frame, isPart, typed, failures, failure, known, total }: RevocationFormProps) => {
  const filled = { typed, failures, known }
  return (
    <Layout title="Revoke several tokens" frame={frame} narrow>
      <Crumb to="/revocations">Revocations</Crumb>
      <h1 id={isPart ? 'title' : undefined}>Revoke several tokens</h1>
      {total.tokens === 0 ? (
        <Empty title="No token lives">
          <p>
            There is nothing to revoke. <a href="/tokens">See the tokens</a>
          </p>
        </Empty>
      ) : (
        <>
          <p>
            Fill in one or more: meant are tokens for which all of it is true. You see the list before anything dies.
          </p>
          <Failure text={failure} />
          <form class="stack" method="get" action="/revocations/new">
            <Field
              name="subject"
              label="Of the subject"
              hint="The whole of it, in any case of letters."
              {...{ filled }}
            />
            <Field name="group" label="Of the group" hint="Such as a team, or what they are for." {...{ filled }} />
            <Field
              name="server"
              label="For the server"
              hint="All that may reach it, whatever else they reach."
              {...{ filled }}
            />
            <Field
              name="issuedBefore"
              label="Issued before"
              hint="When they were made, whatever their secret's age."
              {...{ filled }}
            />
            <button type="submit" class="main">
              Show what would die
            </button>
          </form>
          <Everything total={total} />
        </>
      )}
    </Layout>
  )
}
